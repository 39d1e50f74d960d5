#include "register.h"
#include "savedmodel/error.h"

namespace savedmodel::python {

namespace py = pybind11;

// The one place where a C++ error becomes a Python exception; savedmodel/errors.py says
// which.
void RegisterErrors(py::module_&) {
  py::register_exception_translator([](std::exception_ptr pointer) {
    try {
      std::rethrow_exception(pointer);
    } catch (const Error& error) {
      // Not cached: errors are rare, and a cache would outlive the interpreter.
      const py::object type = py::module_::import("savedmodel.errors")
                                  .attr("exception_type")(static_cast<int>(error.code()));
      // Paths and names in a message are bytes of any kind.
      const std::string message = error.what();
      const py::object text = py::reinterpret_steal<py::object>(PyUnicode_DecodeUTF8(
          message.data(), static_cast<Py_ssize_t>(message.size()), "backslashreplace"));
      PyErr_SetObject(type.ptr(), text.ptr());
    }
  });
}

}  // namespace savedmodel::python
