#include "savedmodel/model.h"

#include <pybind11/stl.h>

#include "annotations.h"
#include "convert.h"
#include "gil.h"
#include "register.h"
#include "saved_model.h"
#include "session.h"
#include "signature.h"

namespace savedmodel::python {

namespace {

namespace py = pybind11;

OptimizeLevel ToOptimizeLevel(const std::string& name) {
  if (name == "none") return OptimizeLevel::kNone;
  if (name == "default") return OptimizeLevel::kDefault;
  if (name == "max") return OptimizeLevel::kMax;
  throw py::value_error("optimize: expected 'none', 'default' or 'max', got '" + name +
                        "'");
}

Model Load(const py::object& path, const py::object& tags,
           const py::object& session_options, const py::object& run_options,
           std::optional<std::int64_t> version, const py::object& signatures,
           const std::string& optimize, bool warmup, bool verify) {
  DrainReleases();
  LoadOptions options;
  if (!tags.is_none()) options.tags = ToNames(tags, "tags");
  options.session_options = ToSessionOptions(session_options);
  options.run_options = ToRunOptions(run_options);
  options.version = version;
  if (!signatures.is_none()) options.signatures = ToNames(signatures, "signatures");
  options.warmup = warmup;
  options.optimize = ToOptimizeLevel(optimize);
  options.verify = verify;
  const std::string bytes = ToPath(path);
  const GilRelease released;
  return Model::Load(bytes, options);
}

}  // namespace

// The native half of savedmodel/model.py, which holds the documentation.
void RegisterModel(py::module_& m) {
  py::class_<Model>(m, "Model", "The native half of savedmodel.Model.",
                    py::release_gil_before_calling_cpp_dtor())
      .def(py::init(&Load), py::arg("path"), py::arg("tags"), py::arg("session_options"),
           py::arg("run_options"), py::arg("version"), py::arg("signatures"),
           py::arg("optimize"), py::arg("warmup"), py::arg("verify"))
      .def(
          "signature",
          [](const Model& self, const std::string& name) {
            return MakeSignature(self.signature(name));
          },
          py::arg("name"))
      .def("signature_names", &Model::signature_names)
      .def_property_readonly("bundle", [](const Model& self) { return self.bundle(); })
      .def_property_readonly(
          "session_options",
          [](const Model& self) { return self.bundle().session_options(); })
      .def_property_readonly(
          "run_options", [](const Model& self) { return self.bundle().run_options(); })
      .def_property_readonly(
          "fingerprint",
          [](const Model& self) { return ToFingerprint(self.bundle().fingerprint()); })
      .def_property_readonly("assets",
                             [](const Model& self) {
                               py::typing::Dict<py::str, py::str> assets;
                               for (const auto& [name, path] : self.bundle().assets()) {
                                 assets[FromPath(name)] = FromPath(path);
                               }
                               return assets;
                             })
      .def_property_readonly(
          "extra_assets",
          [](const Model& self) {
            py::typing::List<py::str> paths;
            for (const std::string& path : self.bundle().extra_assets()) {
              paths.append(FromPath(path));
            }
            return paths;
          })
      .def_property_readonly(
          "load_report",
          [](const Model& self) { return ToLoadReport(self.bundle().load_report()); })
      .def("root", &Model::root)
      .def("variables", &Model::variables)
      .def("trainable_variables", &Model::trainable_variables)
      .def("regularization_losses", &Model::regularization_losses)
      .def(
          "save",
          [](const Model& self, const py::object& path) {
            const std::string bytes = ToPath(path);
            const GilRelease released;
            self.Save(bytes);
          },
          py::arg("path"))
      .def(
          "save_optimized",
          [](const Model& self, const py::object& path) {
            const std::string bytes = ToPath(path);
            OptimizeReport report;
            {
              const GilRelease released;
              report = self.SaveOptimized(bytes);
            }
            const py::object make =
                py::module_::import("savedmodel.specs").attr("OptimizeReport");
            return OptimizeReportObject(make(report.variables_frozen, report.bytes_frozen,
                                             report.variables_kept));
          },
          py::arg("path"))
      .def("close", &Model::Close, py::call_guard<GilRelease>());
}

}  // namespace savedmodel::python
