// Calls of Python objects that do without pybind11's dispatch.
#ifndef SAVEDMODEL_BINDINGS_DIRECT_CALL_H_
#define SAVEDMODEL_BINDINGS_DIRECT_CALL_H_

#include <cxxabi.h>
#include <pybind11/pybind11.h>

#include <string>

namespace savedmodel::python {

namespace py = pybind11;

// The C++ object inside a Python object of a class bound here.
template <typename T>
const T& Unwrap(PyObject* object) {
  auto* instance = reinterpret_cast<py::detail::instance*>(object);
  const py::detail::value_and_holder held = instance->get_value_and_holder();
  if (!held.holder_constructed()) {  // made by __new__ alone
    throw py::type_error(std::string(Py_TYPE(object)->tp_name) +
                         " cannot be made from Python");
  }
  return *static_cast<const T*>(held.value_ptr());
}

// Runs `body`, turning what it throws into a Python exception as pybind11 does.
template <typename Body>
PyObject* Guarded(const Body& body) {
  try {
    return py::object(body()).release().ptr();
  } catch (const abi::__forced_unwind&) {
    throw;  // Python ends this thread; see GilRelease
  } catch (...) {
    py::detail::try_translate_exceptions();
    return nullptr;
  }
}

// Makes object(...) go straight to `call`: pybind11's dispatch costs as much as the rest
// of a call. The documented __call__ of the class stays, for those who name it.
inline void SetCall(const py::handle& cls, ternaryfunc call) {
  auto* type = reinterpret_cast<PyTypeObject*>(cls.ptr());
  type->tp_call = call;
  PyType_Modified(type);
}

}  // namespace savedmodel::python

#endif  // SAVEDMODEL_BINDINGS_DIRECT_CALL_H_
