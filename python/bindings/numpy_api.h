// NumPy's C API, with one function table for all files.
#ifndef SAVEDMODEL_BINDINGS_NUMPY_API_H_
#define SAVEDMODEL_BINDINGS_NUMPY_API_H_

#include <Python.h>

#define PY_ARRAY_UNIQUE_SYMBOL savedmodel_numpy_api
#ifndef SAVEDMODEL_NUMPY_API_OWNER
#define NO_IMPORT_ARRAY
#endif
#include <numpy/arrayobject.h>

namespace savedmodel::python {

// Fills the table. Throws what importing NumPy raises. Requires GIL.
void ImportNumpy();

// The table. Importing NumPy takes longer than all else that savedmodel.inspect does, so
// the first use of NumPy's C API imports it, whatever that is. Requires GIL.
inline void** NumpyApi() {
  if (savedmodel_numpy_api == nullptr) ImportNumpy();
  return savedmodel_numpy_api;
}

}  // namespace savedmodel::python

#undef PyArray_API
#define PyArray_API ::savedmodel::python::NumpyApi()

#endif  // SAVEDMODEL_BINDINGS_NUMPY_API_H_
