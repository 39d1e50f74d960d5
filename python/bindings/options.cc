#include "savedmodel/options.h"

#include <pybind11/stl.h>

#include "annotations.h"
#include "convert.h"
#include "register.h"
#include "savedmodel/error.h"

namespace savedmodel::python {

namespace {

namespace py = pybind11;

// One level deeper in nested Python objects, which may hold themselves.
class Level {
 public:
  Level() {
    if (Py_EnterRecursiveCall(" in nested options") != 0) throw py::error_already_set();
  }
  ~Level() { Py_LeaveRecursiveCall(); }
  Level(const Level&) = delete;
  Level& operator=(const Level&) = delete;
};

OptionValue FromPython(const py::handle& object, const std::string& path) {
  const Level level;
  PyObject* value = object.ptr();
  if (PyBool_Check(value)) return value == Py_True;
  if (PyFloat_Check(value)) return object.cast<double>();
  if (PyUnicode_Check(value) || PyBytes_Check(value)) return object.cast<std::string>();
  if (PyDict_Check(value) || py::hasattr(object, "items")) {
    OptionMap map;
    for (const py::handle item : object.attr("items")()) {
      const auto [key, entry] = item.cast<std::pair<py::object, py::object>>();
      const std::string name = py::str(key).cast<std::string>();
      map.emplace_back(name, FromPython(entry, path + "." + name));
    }
    return map;
  }
  if (PyList_Check(value) || PyTuple_Check(value)) {
    OptionList list;
    for (const py::handle item : object) {
      list.push_back(FromPython(item, path + "[" + std::to_string(list.size()) + "]"));
    }
    return list;
  }
  if (PyIndex_Check(value)) {
    const py::object number = py::reinterpret_steal<py::object>(PyNumber_Index(value));
    if (!number) throw py::error_already_set();
    int overflow = 0;
    const long long narrow = PyLong_AsLongLongAndOverflow(number.ptr(), &overflow);
    if (overflow == 0) return static_cast<std::int64_t>(narrow);
    if (overflow > 0) {
      const unsigned long long wide = PyLong_AsUnsignedLongLong(number.ptr());
      if (PyErr_Occurred() == nullptr) return static_cast<std::uint64_t>(wide);
      PyErr_Clear();
    }
    throw py::type_error("option '" + path + "': the integer is out of range");
  }
  throw py::type_error("option '" + path + "': cannot take a " + Py_TYPE(value)->tp_name);
}

py::object ToPython(const OptionValue& value) {
  return std::visit(
      [](const auto& held) -> py::object {
        using T = std::decay_t<decltype(held)>;
        if constexpr (std::is_same_v<T, OptionList>) {
          py::list list;
          for (const OptionValue& item : held) list.append(ToPython(item));
          return list;
        } else if constexpr (std::is_same_v<T, OptionMap>) {
          py::dict dict;
          for (const auto& [name, item] : held) dict[py::str(name)] = ToPython(item);
          return dict;
        } else if constexpr (std::is_same_v<T, std::string>) {
          PyObject* text = PyUnicode_DecodeUTF8(
              held.data(), static_cast<Py_ssize_t>(held.size()), nullptr);
          if (text != nullptr) return py::reinterpret_steal<py::object>(text);
          PyErr_Clear();
          return py::bytes(held);
        } else {
          return py::cast(held);
        }
      },
      value.value());
}

// A wrong field is a TypeError, as a wrong keyword argument is everywhere in Python.
void SetFields(ProtoMessage* message, const py::kwargs& fields) {
  for (const auto& [key, value] : fields) {
    const std::string name = key.cast<std::string>();
    // Only Set's dotted paths descend; here a name is one field.
    if (name.find('.') != std::string::npos) {
      throw py::type_error("unknown option '" + name + "'; nested options go as a dict");
    }
    try {
      message->Set(name, FromPython(value, name));
    } catch (const Error& error) {
      throw py::type_error(error.what());
    }
  }
}

template <typename Message>
void RegisterMessage(py::module_& m, const char* name, const char* doc,
                     Message (*convert)(const py::object&)) {
  py::class_<Message> cls(m, name, doc);
  if (convert != nullptr) {
    cls.def(py::init([convert](const py::object& proto, const py::kwargs& fields) {
              Message message = convert(proto);
              SetFields(&message, fields);
              return message;
            }),
            py::arg("proto") = py::none(), py::pos_only(),
            "proto: serialized bytes, or any object with SerializeToString(), to start "
            "from.\n"
            "fields: by name; nested messages as dicts, enums by name, repeated fields "
            "as lists.\n"
            "Raises TypeError for an unknown field or a value that it cannot take.");
  } else {
    cls.def(py::init<>());
  }
  cls.def(
         "to_dict",
         [](const Message& self) {
           return py::typing::Dict<py::str, py::object>(ToPython(self.ToMap()));
         },
         "The fields that are set, nested.")
      .def(
          "SerializeToString",
          [](const Message& self) { return py::bytes(self.Serialize()); },
          "The protocol buffer's wire format.")
      .def(
          "__getattr__",
          [name](const Message& self, const std::string& field) {
            try {
              return ToPython(self.Get(field));
            } catch (const Error&) {
              throw py::attribute_error(std::string(name) + " has no field '" + field +
                                        "'");
            }
          },
          "The value of a field, its default when it is not set.")
      .def("__dir__", [](const Message& self) { return self.FieldNames(); })
      .def(
          "__eq__",
          [](const Message& self, const Message& other) {
            return self.Serialize() == other.Serialize();
          },
          py::is_operator())
      .def("__repr__",
           [name](const Message& self) {
             std::string text = name;
             text += "(";
             for (const auto& [field, value] : self.ToMap()) {
               if (text.back() != '(') text += ", ";
               text +=
                   field + "=" + py::repr(ToPython(value)).template cast<std::string>();
             }
             return text + ")";
           })
      .def(py::pickle([](const Message& self) { return py::bytes(self.Serialize()); },
                      [](const py::bytes& state) {
                        Message message;
                        message.Parse(state.cast<std::string>());
                        return message;
                      }));
  cls.attr("__hash__") = py::none();
}

}  // namespace

void RegisterOptions(py::module_& m) {
  RegisterMessage<SessionOptions>(
      m, "SessionOptions",
      R"(How a session is set up: the fields of TensorFlow's ConfigProto, by name.

SessionOptions(intra_op_parallelism_threads=2, gpu_options={"allow_growth": True})

The fields are those of tensorflow/core/protobuf/config.proto; `dir()` lists them.)",
      &ToSessionOptions);
  RegisterMessage<RunOptions>(
      m, "RunOptions",
      R"(How a call is run: the fields of TensorFlow's RunOptions, by name.

RunOptions(timeout_in_ms=100, trace_level="FULL_TRACE")

The fields are those of tensorflow/core/protobuf/config.proto; `dir()` lists them.)",
      &ToRunOptions);
  RegisterMessage<RunMetadata>(
      m, "RunMetadata",
      R"(What a run reports, by the fields of TensorFlow's RunMetadata.

Give an empty one as `metadata=`; a call whose RunOptions ask for a trace fills it.)",
      nullptr);
}

}  // namespace savedmodel::python
