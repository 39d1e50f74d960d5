#include "convert.h"

#include "dtypes.h"

namespace savedmodel::python {

namespace py = pybind11;

namespace {

template <typename Options>
Options ToOptions(const py::object& object, const char* name) {
  if (py::isinstance<Options>(object)) return object.cast<Options>();
  Options options;
  if (object.is_none()) return options;
  if (py::isinstance<py::bytes>(object)) {
    options.Parse(object.cast<std::string>());
  } else if (py::hasattr(object, "SerializeToString")) {
    options.Parse(object.attr("SerializeToString")().template cast<std::string>());
  } else {
    throw py::type_error(
        std::string("expected ") + name +
        ", serialized bytes, or an object with SerializeToString(), got " +
        Py_TYPE(object.ptr())->tp_name);
  }
  return options;
}

}  // namespace

py::object ToShape(const PartialShape& shape) {
  if (shape.unknown_rank()) return py::none();
  py::tuple dims(shape.dims().size());
  for (std::size_t i = 0; i < dims.size(); ++i) {
    const std::int64_t dim = shape.dims()[i];
    dims[i] = dim == PartialShape::kUnknownDim ? py::object(py::none()) : py::int_(dim);
  }
  return dims;
}

py::object ToTensorSpec(const std::string& name, const TensorSpec& spec) {
  // A resource or variant has no NumPy dtype; the spec of one says so.
  py::object dtype = py::none();
  if (spec.dtype != DataType::kResource && spec.dtype != DataType::kVariant) {
    dtype = py::reinterpret_borrow<py::object>(
        reinterpret_cast<PyObject*>(NumpyDtype(spec.dtype)));
  }
  return py::module_::import("savedmodel.specs")
      .attr("TensorSpec")(name, dtype, ToShape(spec.shape));
}

SessionOptions ToSessionOptions(const py::object& object) {
  return ToOptions<SessionOptions>(object, "SessionOptions");
}

RunOptions ToRunOptions(const py::object& object) {
  return ToOptions<RunOptions>(object, "RunOptions");
}

std::optional<RunOptions> ToOptionalRunOptions(const py::object& object) {
  if (object.is_none()) return std::nullopt;
  return ToRunOptions(object);
}

std::vector<std::string> ToNames(const py::handle& object, const char* what) {
  const auto fail = [&](const py::handle& culprit) {
    throw py::type_error(std::string(what) +
                         ": expected a str or a sequence of str, got " +
                         Py_TYPE(culprit.ptr())->tp_name);
  };
  std::vector<std::string> names;
  if (py::isinstance<py::str>(object)) {
    names.push_back(object.cast<std::string>());
    return names;
  }
  if (!py::isinstance<py::iterable>(object) || py::isinstance<py::bytes>(object))
    fail(object);
  for (const py::handle name : object) {
    if (!py::isinstance<py::str>(name)) fail(name);
    names.push_back(name.cast<std::string>());
  }
  return names;
}

std::string ToPath(const py::handle& object) {
  const auto path =
      py::module_::import("os").attr("fsencode")(object).cast<std::string>();
  if (path.find('\0') != std::string::npos)
    throw py::value_error("embedded null byte in path");
  return path;
}

py::str FromPath(const std::string& path) {
  return py::reinterpret_steal<py::str>(PyUnicode_DecodeFSDefaultAndSize(
      path.data(), static_cast<Py_ssize_t>(path.size())));
}

}  // namespace savedmodel::python
