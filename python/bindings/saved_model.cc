#include "savedmodel/saved_model.h"

#include <pybind11/stl.h>

#include "convert.h"
#include "gil.h"
#include "register.h"
#include "saved_model.h"
#include "savedmodel/logging.h"

namespace savedmodel::python {

namespace {

namespace py = pybind11;

SpecDict ToSpecs(const std::map<std::string, TensorSpec>& specs) {
  SpecDict dict;
  for (const auto& [name, spec] : specs)
    dict[py::str(name)] = ToTensorSpec(spec.name, spec);
  return dict;
}

}  // namespace

FingerprintObject ToFingerprint(const std::optional<Fingerprint>& fingerprint) {
  if (!fingerprint) return py::object(py::none());
  return py::object(
      py::module_::import("savedmodel.specs")
          .attr("Fingerprint")(
              fingerprint->saved_model_checksum, fingerprint->graph_def_program_hash,
              fingerprint->signature_def_hash, fingerprint->saved_object_graph_hash,
              fingerprint->checkpoint_hash, fingerprint->version_producer,
              fingerprint->uuid));
}

LoadReportObject ToLoadReport(const LoadReport& report) {
  const py::module_ specs = py::module_::import("savedmodel.specs");
  const py::object phase_type = specs.attr("LoadPhase");
  py::dict phases;
  for (const LoadPhase& phase : report.phases) {
    phases[py::str(phase.name)] = phase_type(phase.seconds, phase.bytes);
  }
  return py::object(specs.attr("LoadReport")(phases, report.repairs,
                                             report.bytes_restored, report.bytes_saved));
}

void RegisterSavedModel(py::module_& m) {
  py::class_<SignatureDef>(m, "SignatureDef", "A signature as the SavedModel holds it.")
      .def_readonly("method_name", &SignatureDef::method_name)
      .def_property_readonly(
          "inputs", [](const SignatureDef& self) { return ToSpecs(self.inputs); },
          "Name -> TensorSpec, with the tensor's name in the graph.")
      .def_property_readonly(
          "outputs", [](const SignatureDef& self) { return ToSpecs(self.outputs); },
          "Name -> TensorSpec, with the tensor's name in the graph.");

  py::class_<SavedModelBundle>(
      m, "SavedModelBundle",
      R"(What tensorflow::LoadSavedModel gives: a MetaGraph in a session.)")
      .def_property_readonly(
          "meta_graph_def",
          [](const SavedModelBundle& self) { return py::bytes(self.meta_graph_def()); },
          "The MetaGraphDef, serialized.")
      .def_property_readonly(
          "signature_def",
          [](const SavedModelBundle& self) { return self.signature_def(); },
          "Name -> SignatureDef, without the loader's own init op.")
      .def_property_readonly("session", &SavedModelBundle::session)
      .def_property_readonly("tags",
                             [](const SavedModelBundle& self) { return self.tags(); })
      .def_property_readonly("export_dir", [](const SavedModelBundle& self) {
        return FromPath(self.export_dir());
      });

  m.def(
      "load_saved_model",
      [](const py::object& session_options, const py::object& run_options,
         const py::object& export_dir, const py::object& tags) {
        DrainReleases();
        const SessionOptions session = ToSessionOptions(session_options);
        const RunOptions run = ToRunOptions(run_options);
        const std::string path = ToPath(export_dir);
        const std::vector<std::string> names = ToNames(tags, "tags");
        const GilRelease released;
        return LoadSavedModel(session, run, path, names);
      },
      py::arg("session_options"), py::arg("run_options"), py::arg("export_dir"),
      py::arg("tags"),
      R"(tensorflow::LoadSavedModel: the MetaGraph with exactly these tags.

session_options, run_options: None for the defaults. tags: an iterable of str.
`savedmodel.load` is the comfortable way; this is the bare one.)");

  m.def(
      "contains_saved_model",
      [](const py::object& path) { return ContainsSavedModel(ToPath(path)); },
      py::arg("path"),
      "True if the directory holds a saved_model.pb, .pbtxt or .cpb. Loads nothing.");

  m.def(
      "set_log_level", [](int level) { SetLogLevel(static_cast<LogLevel>(level)); },
      py::arg("level"));
}

}  // namespace savedmodel::python
