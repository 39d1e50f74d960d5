#ifndef SAVEDMODEL_BINDINGS_DTYPES_H_
#define SAVEDMODEL_BINDINGS_DTYPES_H_

#include <pybind11/pybind11.h>

#include "numpy_api.h"
#include "savedmodel/dtype.h"

namespace savedmodel::python {

// The NumPy dtype that carries a TensorFlow dtype, by savedmodel/dtype.h's table
// (strings: object). A borrowed reference, valid for ever. Throws TypeError for resource
// and variant, and where ml_dtypes is too old to have the type. Requires GIL.
PyArray_Descr* NumpyDtype(DataType dtype);

// The TensorFlow dtype of an array with this NumPy dtype, whatever its byte order;
// kInvalid if there is none. Strings of every kind (S, U, object, StringDType) are
// kString. Requires GIL.
DataType TensorFlowDtype(PyArray_Descr* descr);

// The dtype whose NumPy arrays hold it: of the quantized types the integer of the same
// width, as TensorFlow's own .numpy() gives them; of others itself.
DataType StorageDtype(DataType dtype);

enum class DtypeKind { kBool, kInteger, kFloat, kComplex, kOther };
DtypeKind KindOf(DataType dtype);

}  // namespace savedmodel::python

#endif  // SAVEDMODEL_BINDINGS_DTYPES_H_
