#include "value.h"

#include <map>
#include <utility>
#include <vector>

#include "array_in.h"
#include "array_out.h"
#include "convert.h"
#include "dtypes.h"
#include "numpy_api.h"
#include "savedmodel/error.h"

namespace savedmodel::python {

namespace {

namespace py = pybind11;

class Reader {
 public:
  Reader(const std::string& owner, const std::string& name)
      : place_{owner, "argument", name} {}

  Value Read(py::handle object, int depth = 0) const {
    PyObject* raw = object.ptr();
    if (raw == Py_None) return Value();
    // NumPy's scalars first: its float64 is a Python float, too. Strings are none.
    if (PyArray_Check(raw) || (PyArray_IsScalar(raw, Generic) && !PyUnicode_Check(raw) &&
                               !PyBytes_Check(raw))) {
      return ReadArray(object);
    }
    if (PyBool_Check(raw)) return raw == Py_True;
    if (PyLong_Check(raw)) return ReadInt(raw);
    if (PyFloat_Check(raw)) return PyFloat_AS_DOUBLE(raw);
    if (PyComplex_Check(raw)) {
      return std::complex<double>(PyComplex_RealAsDouble(raw),
                                  PyComplex_ImagAsDouble(raw));
    }
    if (PyUnicode_Check(raw)) return ReadText(object);
    if (PyBytes_Check(raw)) return Value::Bytes(py::bytes(object.cast<py::bytes>()));
    if (PyList_Check(raw) || PyTuple_Check(raw) || IsMapping(object)) {
      if (depth >= Value::kMaxDepth) {
        Fail("nested deeper than " + std::to_string(Value::kMaxDepth) +
             " levels, or in itself");
      }
      return ReadNest(object, depth + 1);
    }
    // To take another type of Python object (a variable), add it here.
    const py::object array = ForeignArray(object, place_);
    if (!array) FailType(object);
    return ReadArray(array);
  }

 private:
  [[noreturn]] void Fail(const std::string& why) const {
    throw Error(ErrorCode::kInvalidArgument, place_.ToString() + ": " + why);
  }

  [[noreturn]] void FailType(py::handle object) const {
    throw py::type_error(
        place_.ToString() +
        ": expected None, numbers, strings, arrays or nests of such, got a " +
        Py_TYPE(object.ptr())->tp_name);
  }

  static bool IsMapping(py::handle object) {
    if (PyDict_Check(object.ptr())) return true;
    if (!PyMapping_Check(object.ptr())) return false;
    const py::object mapping = py::module_::import("collections.abc").attr("Mapping");
    return py::isinstance(object, mapping);
  }

  Value ReadInt(PyObject* object) const {
    int overflow = 0;
    const long long value = PyLong_AsLongLongAndOverflow(object, &overflow);
    if (overflow == 0) {
      if (value == -1 && PyErr_Occurred() != nullptr) throw py::error_already_set();
      return std::int64_t{value};
    }
    // Only a float can hold it.
    const double number = PyLong_AsDouble(object);
    if (number == -1 && PyErr_Occurred() != nullptr) {
      PyErr_Clear();
      Fail("an integer that no tensor can hold");
    }
    return number;
  }

  Value ReadText(py::handle object) const {
    Py_ssize_t size = 0;
    const char* text = PyUnicode_AsUTF8AndSize(object.ptr(), &size);
    if (text == nullptr) {
      PyErr_Clear();
      Fail("the string " + py::repr(object).cast<std::string>() +
           " cannot be encoded as UTF-8; give bytes");
    }
    return std::string(text, static_cast<std::size_t>(size));
  }

  Value ReadNest(py::handle object, int depth) const {
    if (PyList_Check(object.ptr())) {
      return Value::List(ReadElements(py::reinterpret_borrow<py::list>(object), depth));
    }
    if (!PyTuple_Check(object.ptr())) return ReadDict(object, depth);
    const auto tuple = py::reinterpret_borrow<py::tuple>(object);
    if (!py::hasattr(object, "_fields")) return Value::Tuple(ReadElements(tuple, depth));
    const py::tuple fields(object.attr("_fields"));
    if (fields.size() != tuple.size()) FailType(object);
    Value::Items items;
    for (std::size_t i = 0; i < tuple.size(); ++i) {
      if (!py::isinstance<py::str>(fields[i])) FailType(object);
      items.emplace_back(fields[i].cast<std::string>(), Read(tuple[i], depth));
    }
    return Value::NamedTuple(py::type::of(object).attr("__name__").cast<std::string>(),
                             std::move(items));
  }

  template <typename Sequence>
  Value::Elements ReadElements(const Sequence& sequence, int depth) const {
    Value::Elements elements;
    elements.reserve(sequence.size());
    // By index: an array's own code could change a list meanwhile.
    for (std::size_t i = 0; i < sequence.size(); ++i) {
      elements.push_back(Read(py::object(sequence[i]), depth));
    }
    return elements;
  }

  Value ReadDict(py::handle object, int depth) const {
    const py::dict dict(py::reinterpret_borrow<py::object>(object));
    Value::Items items;
    // A copy of the items, for the same reason.
    const py::list pairs(dict.attr("items")());
    for (const py::handle pair : pairs) {
      const auto item = py::reinterpret_borrow<py::tuple>(pair);
      if (!py::isinstance<py::str>(item[0])) {
        throw py::type_error(place_.ToString() + ": expected dicts with str keys, got " +
                             py::repr(item[0]).cast<std::string>());
      }
      items.emplace_back(ReadText(item[0]).string_value(), Read(item[1], depth));
    }
    return Value::Dict(std::move(items));
  }

  Value ReadArray(py::handle object) const {
    const py::object dtype = object.attr("dtype");
    TensorSpec spec;
    spec.dtype = TensorFlowDtype(reinterpret_cast<PyArray_Descr*>(dtype.ptr()));
    if (spec.dtype == DataType::kInvalid) {
      throw py::type_error(place_.ToString() + ": TensorFlow has no dtype for NumPy's " +
                           py::str(dtype).cast<std::string>());
    }
    return ToTensor(object.ptr(), spec, place_, CopyMode::kIfNeeded);
  }

  Place place_;
};

// The class of named tuples of that name and those fields, made once. Requires GIL.
py::object NamedTupleClass(const Value& value) {
  py::module_ specs = py::module_::import("savedmodel.specs");
  if (value.type_name() == "SparseTensorValue" ||
      value.type_name() == "RaggedTensorValue") {
    py::object known = specs.attr(value.type_name().c_str());
    const py::tuple fields(known.attr("_fields"));
    bool same = fields.size() == value.items().size();
    for (std::size_t i = 0; same && i < fields.size(); ++i) {
      same = fields[i].cast<std::string>() == value.items()[i].first;
    }
    if (same) return known;
  }
  // Never freed: the interpreter may be gone when static objects are.
  static auto* const classes = new std::map<std::vector<std::string>, py::object>();
  std::vector<std::string> key{value.type_name()};
  py::list fields;
  for (const auto& item : value.items()) {
    key.push_back(item.first);
    fields.append(item.first);
  }
  const auto found = classes->find(key);
  if (found != classes->end()) return found->second;
  py::object made;
  try {
    made =
        py::module_::import("collections").attr("namedtuple")(value.type_name(), fields);
  } catch (py::error_already_set& error) {
    // Names that Python does not allow, from a broken SavedModel.
    if (!error.matches(PyExc_ValueError)) throw;
    throw Error(ErrorCode::kInvalidArgument,
                "cannot make the named tuple " + value.type_name() + ": " +
                    py::str(error.value()).cast<std::string>());
  }
  // A hostile model could name many.
  constexpr std::size_t kMaxClasses = 1024;
  if (classes->size() < kMaxClasses) classes->emplace(std::move(key), made);
  return made;
}

}  // namespace

Value ToValue(py::handle object, const std::string& owner, const std::string& name) {
  return Reader(owner, name).Read(object);
}

py::object FromValue(const Value& value) {
  using Kind = Value::Kind;
  const auto text = [](const std::string& utf8) {
    PyObject* decoded = PyUnicode_DecodeUTF8(
        utf8.data(), static_cast<Py_ssize_t>(utf8.size()), "backslashreplace");
    if (decoded == nullptr) throw py::error_already_set();
    return py::reinterpret_steal<py::object>(decoded);
  };
  switch (value.kind()) {
    case Kind::kNone: return py::none();
    case Kind::kBool: return py::bool_(value.bool_value());
    case Kind::kInt: return py::int_(value.int_value());
    case Kind::kFloat: return py::float_(value.float_value());
    case Kind::kComplex: return py::cast(value.complex_value());
    case Kind::kString: return text(value.string_value());
    case Kind::kBytes: return py::bytes(value.string_value());
    case Kind::kTensor: return ToArray(value.tensor());
    case Kind::kTensorSpec:
      return ToTensorSpec(value.tensor_spec().name, value.tensor_spec());
    case Kind::kTypeSpec:
    case Kind::kOpaque: return text(value.ToString());
    case Kind::kList: {
      py::list list;
      for (const Value& element : value.elements()) list.append(FromValue(element));
      return std::move(list);
    }
    case Kind::kTuple: {
      py::tuple tuple(value.elements().size());
      for (std::size_t i = 0; i < tuple.size(); ++i) {
        tuple[i] = FromValue(value.elements()[i]);
      }
      return std::move(tuple);
    }
    case Kind::kNamedTuple: {
      py::tuple fields(value.items().size());
      for (std::size_t i = 0; i < fields.size(); ++i) {
        fields[i] = FromValue(value.items()[i].second);
      }
      return NamedTupleClass(value)(*fields);
    }
    case Kind::kDict: {
      py::dict dict;
      for (const auto& [key, item] : value.items()) dict[text(key)] = FromValue(item);
      return std::move(dict);
    }
  }
  return py::none();
}

}  // namespace savedmodel::python
