#define SAVEDMODEL_NUMPY_API_OWNER
#include "numpy_api.h"
// NumPy's header goes first: it decides about its function table.
#include <pthread.h>

#include "gil.h"
#include "register.h"
#include "savedmodel/version.h"

void savedmodel::python::ImportNumpy() {
  if (_import_array() < 0) throw pybind11::error_already_set();
}

PYBIND11_MODULE(_core, m) {
  m.doc() = "The native half of savedmodel. Use the names that `savedmodel` exports.";
  m.attr("TENSORFLOW_VERSION") = SAVEDMODEL_TENSORFLOW_VERSION_STRING;

  pybind11::module_::import("atexit").attr("register")(
      pybind11::cpp_function(&savedmodel::python::EndCalls));
  pthread_atfork(nullptr, nullptr, &savedmodel::python::ForgetCalls);
  savedmodel::python::RegisterErrors(m);
  savedmodel::python::RegisterAllocator(m);
  savedmodel::python::RegisterOptions(m);
  savedmodel::python::RegisterSession(m);
  savedmodel::python::RegisterBatching(m);
  savedmodel::python::RegisterSignature(m);
  savedmodel::python::RegisterSavedModel(m);
  savedmodel::python::RegisterObjectGraph(m);
  savedmodel::python::RegisterInspect(m);
  savedmodel::python::RegisterModel(m);
}
