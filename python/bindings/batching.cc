#include "savedmodel/batching.h"

#include "batching.h"
// The public header goes first: it has this file's name.
#include <pybind11/stl.h>

#include <cmath>
#include <optional>

#include "annotations.h"
#include "completion_queue.h"
#include "direct_call.h"
#include "gil.h"
#include "register.h"
#include "savedmodel/cancellation.h"
#include "savedmodel/error.h"
#include "signature.h"

namespace savedmodel::python {

namespace {

// What Python's submit(*args, **inputs) was given.
using Arguments = py::typing::Tuple<py::object, py::ellipsis>;
using Inputs = py::typing::Dict<py::str, py::object>;

// A call whose inputs are converted and checked, to be run once on any thread.
class PreparedCall {
 public:
  PreparedCall(py::object signature, const Arguments& args, const Inputs& kwargs)
      : signature_(std::move(signature)),
        call_(GetSignature(signature_)
                  .BindPositional(ToInputs(signature_, args.ptr(), kwargs.ptr()))) {}

  ArrayDict Run() {
    DrainReleases();
    std::vector<Tensor> outputs;
    {
      const GilRelease released;
      // Gone with the call: the future may be kept for long.
      const std::optional<BoundCall> call = std::exchange(call_, std::nullopt);
      outputs = call->Run(&cancellation_);
    }
    DrainReleases();
    return ToOutputs(signature_, std::move(outputs));
  }

  // False: the thread that runs it will notify the future.
  bool Cancel() {
    cancellation_.StartCancel();
    return false;
  }

 private:
  py::object signature_;
  std::optional<BoundCall> call_;
  CancellationManager cancellation_;
};

// Requires GIL to make and to destroy.
class PyBatchedSignature {
 public:
  PyBatchedSignature(py::object wrapped, const BatchingOptions& options)
      : signature(std::move(wrapped)),
        batched_(std::in_place, GetSignature(signature), options) {}
  PyBatchedSignature(const PyBatchedSignature&) = delete;
  PyBatchedSignature& operator=(const PyBatchedSignature&) = delete;
  ~PyBatchedSignature() {
    const GilRelease released;  // it waits for what is in the queue
    batched_.reset();
  }

  const BatchedSignature& batched() const { return *batched_; }
  const py::object signature;

 private:
  std::optional<BatchedSignature> batched_;
};

ArrayDict Call(const PyBatchedSignature& self, PyObject* args, PyObject* kwargs,
               BatchedSignature::Timeout timeout = std::nullopt) {
  DrainReleases();
  std::vector<Tensor> inputs = ToInputs(self.signature, args, kwargs);
  std::vector<Tensor> outputs;
  {
    const GilRelease released;
    outputs = self.batched().RunPositional(std::move(inputs), timeout);
  }
  DrainReleases();
  return ToOutputs(self.signature, std::move(outputs));
}

PyObject* BatchedSignatureCall(PyObject* self, PyObject* args, PyObject* kwargs) {
  return Guarded([&] { return Call(Unwrap<PyBatchedSignature>(self), args, kwargs); });
}

BatchedSignature::Timeout ToTimeout(const std::optional<double>& seconds) {
  if (!seconds) return std::nullopt;
  if (std::isnan(*seconds)) throw py::value_error("timeout: expected seconds, got nan");
  // What no clock can add is no limit.
  constexpr double kLongest = 1e9;
  if (*seconds > kLongest) return std::nullopt;
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
      std::chrono::duration<double>(std::max(*seconds, 0.0)));
}

SubmittedCall Submit(const PyBatchedSignature& self, const py::object& future,
                     const Arguments& args, const Inputs& kwargs) {
  DrainReleases();
  std::vector<Tensor> inputs = ToInputs(self.signature, args.ptr(), kwargs.ptr());
  BatchedSignature::Callback done =
      [held = HoldObject(future.ptr()), signature = HoldObject(self.signature.ptr())](
          std::vector<Tensor> outputs, std::exception_ptr error) {
        PushCompletion({held, signature, std::move(outputs), std::move(error)});
      };
  const GilRelease released;
  return self.batched().Submit(std::move(inputs), std::move(done));
}

// The Python exception that an error is translated to.
py::object ToException(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (...) {
    py::detail::try_translate_exceptions();
  }
  return py::error_already_set().value();
}

py::object Borrow(const std::shared_ptr<const void>& held) {
  return py::reinterpret_borrow<py::object>(
      static_cast<PyObject*>(const_cast<void*>(held.get())));
}

// [(future, outputs or None, exception or None)], empty after stop_completions.
py::typing::List<py::typing::Tuple<py::object, py::object, py::object>>
WaitForCompletions() {
  std::vector<Completion> completions = TakeCompletions();
  DrainReleases();
  py::typing::List<py::typing::Tuple<py::object, py::object, py::object>> list;
  for (Completion& completion : completions) {
    py::object outputs = py::none();
    if (completion.error == nullptr) {
      try {
        outputs = ToOutputs(Borrow(completion.signature), std::move(completion.outputs));
      } catch (...) {
        completion.error = std::current_exception();
      }
    }
    const py::object error =
        completion.error == nullptr ? py::none() : ToException(completion.error);
    list.append(py::make_tuple(Borrow(completion.future), outputs, error));
  }
  return list;
}

py::object Asynchronous(const char* function) {
  return py::module_::import("savedmodel.asynchronous").attr(function);
}

constexpr char kSubmitDoc[] =
    R"(Calls the signature on another thread: a future of what the call returns.

Inputs are converted and checked here, so that what is wrong with them is raised here; do not
change an array's contents until the future is done. `cancel()` of a future that is not done
always succeeds: a call that waits is dropped, the result of one that runs.)";

constexpr char kRunAsyncDoc[] =
    R"(The same for asyncio: await signature.run_async(x=array).

Cancelling the task raises asyncio.CancelledError in it at once, and cancels the call as
`submit` has it.)";

}  // namespace

void DefineAsynchronousCalls(py::object signature_class) {
  auto cls = py::reinterpret_borrow<py::class_<Signature>>(signature_class);
  cls.def(
         "submit",
         [](const py::object& self, const py::args& args, const py::kwargs& inputs) {
           return FutureObject(Asynchronous("submit")(self, args, inputs));
         },
         kSubmitDoc)
      .def(
          "run_async",
          [](const py::object& self, const py::args& args, const py::kwargs& inputs) {
            return CoroutineObject(Asynchronous("run_async")(self, args, inputs));
          },
          kRunAsyncDoc)
      .def(
          "batched",
          [](const py::object& self, std::int64_t max_batch_size,
             std::int64_t batch_timeout_micros,
             const std::optional<std::vector<std::int64_t>>& allowed_batch_sizes,
             std::int64_t max_enqueued_batches,
             const std::optional<int>& num_batch_threads) {
            if (num_batch_threads == 0) {
              throw py::value_error("num_batch_threads: expected at least 1");
            }
            const BatchingOptions options{
                max_batch_size, batch_timeout_micros,
                allowed_batch_sizes.value_or(std::vector<std::int64_t>()),
                max_enqueued_batches, num_batch_threads.value_or(0)};
            BatchedSignatureObject batched(
                py::cast(std::make_unique<PyBatchedSignature>(self, options)));
            Asynchronous("close_at_exit")(batched);
            return batched;
          },
          py::arg("max_batch_size") = 1000, py::arg("batch_timeout_micros") = 0,
          py::arg("allowed_batch_sizes") = py::none(),
          py::arg("max_enqueued_batches") = 10, py::arg("num_batch_threads") = py::none(),
          R"(Makes a BatchedSignature, which runs the rows of many concurrent calls at once.

Names, meanings and defaults of TensorFlow Serving's batching parameters:

max_batch_size: the most rows of a batch, and of one call.
batch_timeout_micros: how long a batch waits for more rows while a thread is free to run it.
    With 0 none waits; rows gather while all threads are busy.
allowed_batch_sizes: increasing sizes that batches are padded to, by repeating the first row;
    the last is max_batch_size. None: no padding.
max_enqueued_batches: the most batches that wait for a thread; a call that would begin another
    raises UnavailableError.
num_batch_threads: the most batches that run at once. None: as many as there are CPUs.

Raises ValueError for a signature with an input or output that is known to have no first
dimension of any size.)");
}

void RegisterBatching(py::module_& m) {
  py::class_<PreparedCall>(m, "PreparedCall",
                           "What `Signature.submit` puts into its pool.")
      .def(py::init<py::object, const Arguments&, const Inputs&>(), py::arg("signature"),
           py::arg("args"), py::arg("inputs"))
      .def("run", &PreparedCall::Run)
      .def("cancel", &PreparedCall::Cancel);
  py::class_<SubmittedCall>(m, "SubmittedCall", "A call in a BatchedSignature's queue.")
      .def("cancel", &SubmittedCall::Cancel, py::call_guard<GilRelease>());
  m.def("wait_for_completions", &WaitForCompletions);
  m.def("stop_completions", &StopCompletions);

  py::class_<PyBatchedSignature> cls(
      m, "BatchedSignature",
      R"(Runs the rows of many concurrent calls of a signature at once.

Made by `Signature.batched`. batched(x=array, ...) -> dict of arrays waits for its batch; the
first dimension of every input and output counts the rows. Any number of threads may call it.

The rows of a batch are copied into one tensor for each input. Each caller gets its rows of the
outputs without a copy: views of one array, read-only unless the call was alone in its batch.
Calls whose other sizes differ run in separate batches. All inputs of a call have the same number
of rows; one that has a default value and is left out goes into the batch as it is.

Raises what `Signature` raises for its inputs, before they are enqueued; ValueError for unequal
numbers of rows, and for more than max_batch_size; UnavailableError if the queue is full;
FailedPreconditionError after close(), or if an output has not the rows of its batch. What the run
of a batch raises, each of its callers gets.)");
  cls.def(
         "__call__",
         [](const PyBatchedSignature& self, const py::args& args,
            const py::kwargs& inputs) { return Call(self, args.ptr(), inputs.ptr()); },
         "Waits for the call's batch, and returns its rows of the outputs.")
      .def(
          "run",
          [](const PyBatchedSignature& self, const py::object& inputs,
             const std::optional<double>& timeout) {
            if (!py::hasattr(inputs, "keys")) {
              throw py::type_error(
                  "inputs: expected a mapping of input names to arrays, got a " +
                  std::string(Py_TYPE(inputs.ptr())->tp_name));
            }
            return Call(self, py::tuple().ptr(), py::dict(inputs).ptr(),
                        ToTimeout(timeout));
          },
          py::arg("inputs"), py::arg("timeout") = py::none(),
          R"(The same, for no longer than `timeout` seconds.

Then the rows leave the queue, and DeadlineExceededError (a TimeoutError) is raised.)")
      .def(
          "submit",
          [](const py::object& self, const py::args& args, const py::kwargs& inputs) {
            return FutureObject(Asynchronous("submit_batched")(self, args, inputs));
          },
          kSubmitDoc)
      .def(
          "run_async",
          [](const py::object& self, const py::args& args, const py::kwargs& inputs) {
            return CoroutineObject(Asynchronous("run_batched_async")(self, args, inputs));
          },
          kRunAsyncDoc)
      .def("_submit", &Submit, py::arg("future"), py::arg("args"), py::arg("inputs"))
      .def(
          "close",
          [](const PyBatchedSignature& self, const std::optional<double>& limit) {
            DrainReleases();
            const GilRelease released;
            return self.batched().Close(ToTimeout(limit));
          },
          py::arg("limit") = py::none(),
          R"(Finishes what is in the queue, and waits for it.

Later calls raise FailedPreconditionError. limit: seconds after which it gives up and returns
False, leaving behind what still runs. May be repeated.)")
      .def_property_readonly(
          "signature",
          [](const PyBatchedSignature& self) { return SignatureObject(self.signature); },
          "The Signature.")
      .def_property_readonly(
          "stats",
          [](const PyBatchedSignature& self) {
            const BatchStats stats = self.batched().stats();
            return BatchStatsObject(
                py::module_::import("savedmodel.specs")
                    .attr("BatchStats")(stats.batches, stats.rows, stats.padded_rows));
          },
          "BatchStats(batches, rows, padded_rows): sums since the beginning.")
      .def("__enter__",
           [](const py::object& self) { return BatchedSignatureObject(self); })
      .def("__exit__",
           [](const PyBatchedSignature& self, const py::args&) {
             const GilRelease released;
             self.batched().Close();
           })
      .def("__repr__", [](const PyBatchedSignature& self) {
        return "<savedmodel.BatchedSignature of " +
               py::repr(self.signature).cast<std::string>() + ">";
      });
  SetCall(cls, &BatchedSignatureCall);
}

}  // namespace savedmodel::python
