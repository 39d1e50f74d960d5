#include "savedmodel/session.h"

#include <pybind11/stl.h>

#include "array_in.h"
#include "array_out.h"
#include "convert.h"
#include "gil.h"
#include "register.h"
#include "savedmodel/error.h"
#include "session.h"

namespace savedmodel::python {

namespace {

namespace py = pybind11;

const std::string kFeeds = "feeds";

ArrayList ToList(std::vector<Tensor> tensors) {
  ArrayList arrays;
  for (Tensor& tensor : tensors) arrays.append(ToArray(std::move(tensor)));
  return arrays;
}

// A callable of make_callable().
struct PyCallable {
  Callable callable;

  ArrayList Call(const py::args& arrays) const {
    DrainReleases();
    const std::vector<TensorSpec>& specs = callable.feeds();
    if (arrays.size() != specs.size()) {
      throw py::type_error("the callable takes " + std::to_string(specs.size()) +
                           " feeds, got " + std::to_string(arrays.size()));
    }
    std::vector<Tensor> feeds;
    for (std::size_t i = 0; i < specs.size(); ++i) {
      feeds.push_back(ToTensor(arrays[i].ptr(), specs[i],
                               Place{kFeeds, "tensor", specs[i].name},
                               CopyMode::kIfNeeded));
    }
    std::vector<Tensor> outputs;
    {
      const GilRelease released;
      outputs = callable.Run(feeds);
    }
    DrainReleases();
    return ToList(std::move(outputs));
  }
};

}  // namespace

ArrayList RunSession(const Session& session, const py::dict& feeds,
                     const py::object& fetches, const py::object& targets,
                     const py::object& run_options, RunMetadata* metadata) {
  DrainReleases();
  std::vector<std::pair<std::string, Tensor>> inputs;
  // A copy, which converting a value (Python code may run) cannot change.
  for (const auto& [key, value] :
       py::reinterpret_steal<py::dict>(PyDict_Copy(feeds.ptr()))) {
    if (!py::isinstance<py::str>(key)) {
      throw py::type_error(std::string("feeds: expected tensor names as keys, got a ") +
                           Py_TYPE(key.ptr())->tp_name);
    }
    const std::string name = key.cast<std::string>();
    const TensorSpec spec = session.tensor_spec(name);
    inputs.emplace_back(name,
                        ToTensor(value.ptr(), spec, Place{kFeeds, "tensor", spec.name},
                                 CopyMode::kIfNeeded));
  }
  const std::vector<std::string> fetch_names = ToNames(fetches, "fetches");
  const std::vector<std::string> target_names = ToNames(targets, "targets");
  const std::optional<RunOptions> options = ToOptionalRunOptions(run_options);
  std::vector<Tensor> outputs;
  RunMetadata collected;
  {
    const GilRelease released;
    outputs =
        session.Run(inputs, fetch_names, target_names, options ? &*options : nullptr,
                    metadata == nullptr ? nullptr : &collected);
  }
  if (metadata != nullptr) *metadata = std::move(collected);
  DrainReleases();
  return ToList(std::move(outputs));
}

void RegisterSession(py::module_& m) {
  py::class_<DeviceAttributes>(m, "DeviceAttributes", "A device of a session.")
      .def_readonly("name", &DeviceAttributes::name,
                    "\"/job:localhost/replica:0/task:0/device:CPU:0\"")
      .def_readonly("device_type", &DeviceAttributes::device_type, "\"CPU\" or \"GPU\".")
      .def_readonly("memory_limit", &DeviceAttributes::memory_limit, "In bytes.")
      .def_readonly("physical_device_desc", &DeviceAttributes::physical_device_desc)
      .def("__repr__", [](const DeviceAttributes& self) {
        return "DeviceAttributes(name='" + self.name + "', device_type='" +
               self.device_type + "', memory_limit=" + std::to_string(self.memory_limit) +
               ")";
      });

  py::class_<PyCallable>(m, "SessionCallable", py::release_gil_before_calling_cpp_dtor(),
                         R"(Feeds and fetches resolved once, to be run many times.

Made by Session.make_callable. Any number of threads may call it at once.)")
      .def("__call__", &PyCallable::Call,
           "Takes the feeds in the order of make_callable; returns the fetches as a "
           "list.");

  py::class_<Session>(m, "Session",
                      R"(The TensorFlow session that a loaded SavedModel lives in.

Any tensor of the graph can be fed and fetched by its name ("dense/BiasAdd:0"; ":0" may be left
out). Any number of threads may use it at once.)")
      .def("run", &RunSession, py::arg("feeds"), py::arg("fetches"),
           py::arg("targets") = py::tuple(), py::arg("run_options") = py::none(),
           py::arg("metadata") = nullptr,
           R"(Runs the graph once and returns the fetches as a list of arrays.

feeds: tensor name -> array. fetches: tensor names. targets: names of operations to run
without fetching. run_options: those of loading by default. metadata: filled if the options
ask for a trace.
Raises ValueError for a name that is not in the graph, TypeError for a wrong dtype.)")
      .def(
          "make_callable",
          [](const Session& self, const py::object& feeds, const py::object& fetches,
             const py::object& targets, const py::object& run_options) {
            const std::vector<std::string> feed_names = ToNames(feeds, "feeds");
            const std::vector<std::string> fetch_names = ToNames(fetches, "fetches");
            const std::vector<std::string> target_names = ToNames(targets, "targets");
            const std::optional<RunOptions> options = ToOptionalRunOptions(run_options);
            const GilRelease released;
            return PyCallable{self.MakeCallable(feed_names, fetch_names, target_names,
                                                options ? &*options : nullptr)};
          },
          py::arg("feeds"), py::arg("fetches"), py::arg("targets") = py::tuple(),
          py::arg("run_options") = py::none(),
          "Resolves names once: callable(*arrays) -> list of arrays, with less overhead.")
      .def("list_devices", &Session::ListDevices)
      .def(
          "inline_functions",
          [](const Session& self, const py::object& tensors) {
            const std::vector<std::string> names = ToNames(tensors, "tensors");
            const GilRelease released;
            const InlinedFunctions inlined = self.InlineFunctions(names);
            return std::make_tuple(inlined.tensors, inlined.targets, inlined.nodes);
          },
          py::arg("tensors"),
          "Makes the tensors inside of functions fetchable.\n\n"
          "Adds a copy of the functions that these tensors' calls lead to: node "
          "\"dense/Relu\" of the\n"
          "function that \"StatefulPartitionedCall\" calls becomes\n"
          "\"savedmodel/inlined/StatefulPartitionedCall/dense/Relu\". Bodies of control "
          "flow stay functions.\n"
          "Returns (tensors, targets, nodes): what to fetch and to run in place of the "
          "given tensors, so\n"
          "that everything is computed once, and the names of all nodes that take part.")
      .def(
          "tensor_spec",
          [](const Session& self, const std::string& name) {
            const TensorSpec spec = self.tensor_spec(name);
            return TensorSpecObject(ToTensorSpec(spec.name, spec));
          },
          py::arg("name"), "The dtype and static shape of a tensor of the graph.")
      .def("close", &Session::Close, py::call_guard<GilRelease>(),
           "Frees the session's memory once calls under way have returned. Later calls "
           "raise\n"
           "FailedPreconditionError. Arrays stay valid. May be repeated.");
}

}  // namespace savedmodel::python
