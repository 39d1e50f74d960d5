// NumPy's C API, with one function table for all files: module.cc fills it.
#ifndef SAVEDMODEL_BINDINGS_NUMPY_API_H_
#define SAVEDMODEL_BINDINGS_NUMPY_API_H_

#include <Python.h>

#define PY_ARRAY_UNIQUE_SYMBOL savedmodel_numpy_api
#ifndef SAVEDMODEL_NUMPY_API_OWNER
#define NO_IMPORT_ARRAY
#endif
#include <numpy/arrayobject.h>

#endif  // SAVEDMODEL_BINDINGS_NUMPY_API_H_
