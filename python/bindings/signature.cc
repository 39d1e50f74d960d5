#include "signature.h"

#include <pybind11/stl.h>

#include <optional>
#include <string_view>

#include "annotations.h"
#include "array_in.h"
#include "array_out.h"
#include "batching.h"
#include "convert.h"
#include "direct_call.h"
#include "gil.h"
#include "numpy_api.h"
#include "register.h"
#include "savedmodel/error.h"

namespace savedmodel::python {

namespace {

namespace py = pybind11;

// A signature with its names as interned Python strings, so that a keyword argument is
// usually found by comparing pointers.
struct PySignature {
  explicit PySignature(Signature wrapped) : signature(std::move(wrapped)) {
    for (const NamedSpec& input : signature.inputs())
      input_names.push_back(Intern(input.name));
    for (const NamedSpec& output : signature.outputs()) {
      output_names.push_back(Intern(output.name));
    }
  }

  static py::object Intern(const std::string& name) {
    PyObject* text = PyUnicode_DecodeUTF8(
        name.data(), static_cast<Py_ssize_t>(name.size()), "backslashreplace");
    if (text == nullptr) throw py::error_already_set();
    PyUnicode_InternInPlace(&text);
    return py::reinterpret_steal<py::object>(text);
  }

  Place InputPlace(std::size_t index) const {
    return {signature.description(), "input", signature.inputs()[index].name};
  }
  Place OutputPlace(std::size_t index) const {
    return {signature.description(), "output", signature.outputs()[index].name};
  }

  Signature signature;
  std::vector<py::object> input_names;
  std::vector<py::object> output_names;
};

struct PyBoundCall {
  BoundCall call;
  std::vector<py::object> output_names;
};

std::string Describe(const py::handle& name) {
  return py::repr(name).cast<std::string>();
}

std::string ListNames(const std::vector<py::object>& names) {
  std::string list;
  for (const py::object& name : names)
    list += (list.empty() ? "" : ", ") + Describe(name);
  return list.empty() ? "(none)" : list;
}

[[noreturn]] void Fail(const PySignature& self, const std::string& message) {
  throw Error(ErrorCode::kInvalidArgument, self.signature.description() + ": " + message);
}

// What dict() takes as a mapping; an array has items too, but no keys.
bool IsMapping(const py::handle& object) { return py::hasattr(object, "keys"); }

// The position of a name, or -1.
int Find(const std::vector<py::object>& names, PyObject* name) {
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (names[i].ptr() == name) return static_cast<int>(i);
  }
  if (!PyUnicode_Check(name)) return -1;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (PyUnicode_Compare(names[i].ptr(), name) == 0) return static_cast<int>(i);
  }
  return -1;
}

// Converts `values`, borrowed and in the order of the inputs, null where none was given.
// `copy_of(value)` is the CopyMode of each.
template <typename CopyOf>
std::vector<Tensor> Convert(const PySignature& self, const std::vector<PyObject*>& values,
                            const CopyOf& copy_of) {
  const std::vector<NamedSpec>& specs = self.signature.inputs();
  std::vector<Tensor> tensors;
  tensors.reserve(specs.size());
  for (std::size_t i = 0; i < specs.size(); ++i) {
    if (values[i] != nullptr) {
      tensors.push_back(
          ToTensor(values[i], specs[i].spec, self.InputPlace(i), copy_of(values[i])));
    } else if (specs[i].has_default) {
      tensors.push_back(self.signature.default_input(static_cast<int>(i)));
    } else {
      Fail(self, "missing input " + Describe(self.input_names[i]) + " (" +
                     specs[i].spec.ToString() + ")");
    }
  }
  return tensors;
}

// The values of a mapping (a dict; borrowed) in the order of the inputs.
std::vector<PyObject*> Order(const PySignature& self, PyObject* mapping) {
  std::vector<PyObject*> values(self.input_names.size(), nullptr);
  PyObject* key = nullptr;
  PyObject* value = nullptr;
  Py_ssize_t position = 0;
  while (PyDict_Next(mapping, &position, &key, &value) != 0) {
    const int index = Find(self.input_names, key);
    if (index < 0) {
      Fail(self,
           "no input " + Describe(key) + "; inputs: " + ListNames(self.input_names));
    }
    values[static_cast<std::size_t>(index)] = value;
  }
  return values;
}

// The inputs of a call: all by keyword, or the only one by position.
std::vector<PyObject*> OrderArguments(const PySignature& self, PyObject* args,
                                      PyObject* kwargs) {
  const Py_ssize_t positional = PyTuple_GET_SIZE(args);
  if (positional == 0) {
    if (kwargs == nullptr)
      return std::vector<PyObject*>(self.input_names.size(), nullptr);
    return Order(self, kwargs);
  }
  if (positional != 1 || self.input_names.size() != 1 ||
      (kwargs != nullptr && PyDict_GET_SIZE(kwargs) != 0)) {
    throw py::type_error(
        self.signature.description() + ": inputs go by keyword (" +
        ListNames(self.input_names) +
        "); by position only the single input of a signature that has one");
  }
  return {PyTuple_GET_ITEM(args, 0)};
}

ArrayDict ToDict(const std::vector<py::object>& names, std::vector<Tensor> tensors,
                 CopyMode copy = CopyMode::kIfNeeded) {
  ArrayDict dict;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const py::object array = ToArray(std::move(tensors[i]), copy);
    if (PyDict_SetItem(dict.ptr(), names[i].ptr(), array.ptr()) != 0) {
      throw py::error_already_set();
    }
  }
  return dict;
}

// What `run()` gives, without the GIL; unless `run_if_short(&outputs)` is true, with it.
// Two threads that want the GIL wait for each other for longer than a short run takes.
// It needs no lock and no other thread, so it cannot wait for one that waits for the GIL;
// and Python itself sees to it between calls that other threads get their turn.
template <typename RunIfShort, typename Run>
std::vector<Tensor> Outputs(const RunIfShort& run_if_short, const Run& run) {
  std::vector<Tensor> outputs;
  {
    const GilHold hold;
    if (run_if_short(&outputs)) return outputs;
  }
  const GilRelease released;
  return run();
}

ArrayDict Call(const PySignature& self, PyObject* args, PyObject* kwargs) {
  DrainReleases();
  const std::vector<Tensor> inputs =
      Convert(self, OrderArguments(self, args, kwargs),
              [](PyObject*) { return CopyMode::kIfNeeded; });
  std::vector<Tensor> outputs = Outputs(
      [&](auto* given) { return self.signature.RunPositionalIfShort(inputs, given); },
      [&] { return self.signature.RunPositional(inputs); });
  DrainReleases();
  return ToDict(self.output_names, std::move(outputs));
}

ArrayDict Run(const PySignature& self, const py::object& inputs,
              const py::object& outputs, const py::object& out,
              const py::object& run_options, RunMetadata* metadata,
              const py::object& copy) {
  DrainReleases();
  const CopyMode mode = ToCopyMode(copy.ptr());
  // A copy of the mapping keeps its values alive, whatever another thread does to it.
  if (!inputs.is_none() && !IsMapping(inputs)) {
    throw py::type_error(self.signature.description() +
                         ": inputs: expected a mapping of input names to arrays, got a " +
                         Py_TYPE(inputs.ptr())->tp_name);
  }
  const py::dict given = inputs.is_none() ? py::dict() : py::dict(inputs);

  std::vector<int> indices;
  std::vector<py::object> names;
  if (outputs.is_none()) {
    names = self.output_names;
    for (std::size_t i = 0; i < names.size(); ++i) indices.push_back(static_cast<int>(i));
  } else {
    for (const std::string& name : ToNames(outputs, "outputs")) {
      const py::str key(name);
      const int index = Find(self.output_names, key.ptr());
      if (index < 0) {
        Fail(self,
             "no output " + Describe(key) + "; outputs: " + ListNames(self.output_names));
      }
      indices.push_back(index);
      names.push_back(self.output_names[static_cast<std::size_t>(index)]);
    }
  }

  const auto& specs = self.signature.outputs();
  py::dict into;
  if (!out.is_none()) {
    if (!IsMapping(out)) {
      throw py::type_error(self.signature.description() +
                           ": out: expected a mapping of output names to arrays, got a " +
                           Py_TYPE(out.ptr())->tp_name);
    }
    into = py::dict(out);
    for (const auto& [key, array] : into) {
      const int position = Find(names, key.ptr());
      if (position < 0) {
        Fail(self, "out: no output " + Describe(key) +
                       " in this call; outputs: " + ListNames(names));
      }
      const auto index =
          static_cast<std::size_t>(indices[static_cast<std::size_t>(position)]);
      CheckOut(array.ptr(), specs[index].spec, self.OutputPlace(index));
    }
  }
  if (mode == CopyMode::kNever) {
    for (const int index : indices) {
      if (specs[static_cast<std::size_t>(index)].spec.dtype == DataType::kString) {
        Fail(self, "copy=False, but a copy is needed: output " +
                       Describe(self.output_names[static_cast<std::size_t>(index)]) +
                       " holds strings, which are always copied");
      }
    }
  }

  const std::vector<Tensor> feeds =
      Convert(self, Order(self, given.ptr()), [mode](PyObject*) { return mode; });
  const std::optional<RunOptions> options = ToOptionalRunOptions(run_options);
  std::vector<Tensor> receivers;
  if (!into.empty()) {
    for (const py::object& name : names) {
      receivers.push_back(into.contains(name) ? ViewOut(py::object(into[name]).ptr())
                                              : Tensor());
    }
  }
  std::vector<Tensor> results;
  RunMetadata collected;
  {
    const GilRelease released;
    if (mode == CopyMode::kNever && self.signature.copies_shared_outputs()) {
      Fail(self,
           "copy=False, but a copy may be needed: the graph writes its variables in "
           "place (TF1 reference variables), so outputs that share their memory are "
           "copied");
    }
    if (mode == CopyMode::kNever && !feeds.empty() && self.signature.retains_inputs()) {
      Fail(
          self,
          "copy=False, but a copy is needed: the graph may keep an input beyond the call "
          "(it assigns to a variable, or fills a queue or a similar resource)");
    }
    results = self.signature.RunPositional(
        feeds, outputs.is_none() ? nullptr : &indices, options ? &*options : nullptr,
        metadata == nullptr ? nullptr : &collected, nullptr,
        receivers.empty() ? nullptr : &receivers);
  }
  // Not filled in place: other threads may read it meanwhile.
  if (metadata != nullptr) *metadata = std::move(collected);
  DrainReleases();
  ArrayDict dict;
  for (std::size_t i = 0; i < results.size(); ++i) {
    const auto index = static_cast<std::size_t>(indices[i]);
    if (into.contains(names[i])) {
      const py::object array = into[names[i]];
      if (mode == CopyMode::kNever && !IsIn(results[i], array.ptr())) {
        Fail(self, "copy=False, but out= needs a copy for output " + Describe(names[i]));
      }
      WriteOut(results[i], array.ptr(), self.OutputPlace(index));
      dict[names[i]] = array;
    } else {
      dict[names[i]] = ToArray(std::move(results[i]), mode);
    }
  }
  return dict;
}

PyBoundCall Bind(const PySignature& self, const py::args& args,
                 const py::kwargs& kwargs) {
  DrainReleases();
  // What cannot be read again in place must be something that cannot change.
  std::vector<Tensor> inputs =
      Convert(self, OrderArguments(self, args.ptr(), kwargs.ptr()), [](PyObject* value) {
        return IsImmutable(value) ? CopyMode::kIfNeeded : CopyMode::kNever;
      });
  return {self.signature.BindPositional(std::move(inputs)), self.output_names};
}

ArrayDict CallBound(const PyBoundCall& self) {
  DrainReleases();
  std::vector<Tensor> outputs =
      Outputs([&](auto* given) { return self.call.RunIfShort(given); },
              [&] { return self.call.Run(); });
  DrainReleases();
  return ToDict(self.output_names, std::move(outputs));
}

PyObject* SignatureCall(PyObject* self, PyObject* args, PyObject* kwargs) {
  return Guarded([&] { return Call(Unwrap<PySignature>(self), args, kwargs); });
}

PyObject* BoundCallCall(PyObject* self, PyObject* args, PyObject* kwargs) {
  return Guarded([&] {
    if (PyTuple_GET_SIZE(args) != 0 ||
        (kwargs != nullptr && PyDict_GET_SIZE(kwargs) != 0)) {
      throw py::type_error("a bound call takes no arguments");
    }
    return CallBound(Unwrap<PyBoundCall>(self));
  });
}

SpecDict Specs(const std::vector<py::object>& names, const std::vector<NamedSpec>& specs,
               bool by_key) {
  SpecDict dict;
  for (std::size_t i = 0; i < specs.size(); ++i) {
    dict[names[i]] =
        ToTensorSpec(by_key ? specs[i].name : specs[i].spec.name, specs[i].spec);
  }
  return dict;
}

std::string Repr(const PySignature& self) {
  std::string text = "<savedmodel.Signature '" + self.signature.name() + "'";
  const auto list = [&](const char* label, const std::vector<NamedSpec>& specs) {
    text += std::string(", ") + label + ": ";
    for (std::size_t i = 0; i < specs.size(); ++i) {
      text += (i == 0 ? "" : ", ") + specs[i].name + " " +
              DataTypeName(specs[i].spec.dtype) + " " + specs[i].spec.shape.ToString();
    }
  };
  list("inputs", self.signature.inputs());
  list("outputs", self.signature.outputs());
  return text + ">";
}

}  // namespace

py::object MakeSignature(Signature signature) {
  return py::cast(PySignature(std::move(signature)));
}

const Signature& GetSignature(const py::handle& signature) {
  return Unwrap<PySignature>(signature.ptr()).signature;
}

std::vector<Tensor> ToInputs(const py::handle& signature, PyObject* args,
                             PyObject* kwargs) {
  const auto& self = Unwrap<PySignature>(signature.ptr());
  return Convert(self, OrderArguments(self, args, kwargs),
                 [](PyObject*) { return CopyMode::kIfNeeded; });
}

ArrayDict ToOutputs(const py::handle& signature, std::vector<Tensor> outputs) {
  return ToDict(Unwrap<PySignature>(signature.ptr()).output_names, std::move(outputs));
}

void RegisterSignature(py::module_& m) {
  py::class_<PyBoundCall> bound(m, "BoundCall", R"(Inputs of a signature, checked once.

bound() -> dict of arrays. Each call reads the same buffers again: change their contents in
place between calls. Any number of threads may call it while nobody writes the buffers.)");
  bound.def("__call__", &CallBound, "Runs the signature on what its buffers hold now.");
  SetCall(bound, &BoundCallCall);

  py::class_<PySignature> cls(m, "Signature", R"(A named entry point of a model.

signature(x=array, ...) -> dict of arrays; signature(array) where there is one input. Any
number of threads may call it at once; the GIL is released while TensorFlow runs, unless that
takes only microseconds.

A C-contiguous array whose memory is aligned to 64 bytes (`savedmodel.aligned_empty`) goes in
without a copy, any other is copied once. Outputs share TensorFlow's memory; they are writable
unless something else holds that memory too (a constant, a variable, the caller's own input).
Do not change an input's contents during the call.

Raises TypeError for an array of another dtype and ValueError for another shape or name,
before anything runs; SavedModelError for what the graph reports.)");
  cls.def(
         "__call__",
         [](const PySignature& self, const py::args& args, const py::kwargs& inputs) {
           return Call(self, args.ptr(), inputs.ptr());
         },
         "Runs all outputs.")
      .def("run", &Run, py::arg("inputs"), py::arg("outputs") = py::none(),
           py::arg("out") = py::none(), py::arg("run_options") = py::none(),
           py::arg("metadata") = nullptr, py::arg("copy") = py::none(),
           R"(Runs the signature, with all that a call can be told.

inputs: mapping of input names to arrays (None: no inputs).
outputs: a name or names; only what they need is run. All by default.
out: mapping of output names to arrays that receive those outputs, of the same dtype and
    shape, and are returned in their place. The engine's last kernel writes them where it can
    (C-contiguous, 64-byte aligned arrays that overlap no input); otherwise they are copied.
run_options: RunOptions of this call, in place of those of loading.
metadata: a RunMetadata that is filled if run_options ask for a trace.
copy: None copies where it must, False raises ValueError instead, True copies every input
    first and makes every output writable.)")
      .def("bind", &Bind,
           R"(Checks the inputs once: signature.bind(x=buffer, ...) -> BoundCall.

Arrays must be such that no copy is needed (`savedmodel.aligned_empty` makes them), so that
every call reads their current contents. Python numbers, strings and NumPy scalars are fixed.)")
      .def_property_readonly(
          "name", [](const PySignature& self) { return self.signature.name(); })
      .def_property_readonly(
          "method_name",
          [](const PySignature& self) { return self.signature.method_name(); })
      .def_property_readonly(
          "inputs",
          [](const PySignature& self) {
            return Specs(self.input_names, self.signature.inputs(), false);
          },
          "Name -> TensorSpec, whose name is the tensor's in the graph.")
      .def_property_readonly(
          "outputs",
          [](const PySignature& self) {
            return Specs(self.output_names, self.signature.outputs(), false);
          },
          "Name -> TensorSpec, whose name is the tensor's in the graph.")
      .def_property_readonly(
          "default_inputs",
          [](const PySignature& self) {
            ArrayDict values;
            const auto& specs = self.signature.inputs();
            for (std::size_t i = 0; i < specs.size(); ++i) {
              if (!specs[i].has_default) continue;
              values[self.input_names[i]] =
                  ToArray(self.signature.default_input(static_cast<int>(i)));
            }
            return values;
          },
          "Name -> array, of the inputs that may be left out.")
      .def_property_readonly(
          "structured_input_signature",
          [](const PySignature& self) {
            return py::typing::Tuple<py::tuple, SpecDict>(py::make_tuple(
                py::tuple(), Specs(self.input_names, self.signature.inputs(), true)));
          },
          "As TensorFlow spells it: ((), {name: TensorSpec}).")
      .def_property_readonly(
          "structured_outputs",
          [](const PySignature& self) {
            return Specs(self.output_names, self.signature.outputs(), true);
          },
          "As TensorFlow spells it: {name: TensorSpec}.")
      .def_property_readonly(
          "runner",
          [](const PySignature& self) {
            Runner runner;
            {
              const GilRelease released;
              runner = self.signature.runner();
            }
            return RunnerObject(py::module_::import("savedmodel.specs")
                                    .attr("Runner")(runner.name, runner.reason));
          },
          "What answers calls: Runner(name, reason), \"engine\" or \"session\" and why "
          "not "
          "the engine.")
      .def("__repr__", &Repr);
  DefineAsynchronousCalls(cls);
  SetCall(cls, &SignatureCall);
}

}  // namespace savedmodel::python
