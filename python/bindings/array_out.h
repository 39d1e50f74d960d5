#ifndef SAVEDMODEL_BINDINGS_ARRAY_OUT_H_
#define SAVEDMODEL_BINDINGS_ARRAY_OUT_H_

#include <pybind11/pybind11.h>

#include "array_in.h"
#include "savedmodel/tensor.h"

namespace savedmodel::python {

// A tensor as a NumPy array that shares its memory and keeps it alive, also beyond the
// model. Writable only if nothing else holds that memory (a constant, a variable, the
// caller's own input), or if CopyMode::kAlways copied it. Strings become object arrays of
// bytes. Throws TypeError for dtypes that NumPy lacks. Requires GIL.
pybind11::object ToArray(Tensor tensor, CopyMode copy = CopyMode::kIfNeeded);

// The array, no longer writable. Requires GIL.
pybind11::object ReadOnly(pybind11::object array);

// The tensor behind an array that ToArray made, while the array lives; else null.
const Tensor* OutputTensor(PyArrayObject* array);

// Throws unless `object` can take an output of this spec: TypeError for another type or
// dtype, Error(InvalidArgument) for a read-only array or one of a shape that cannot fit.
void CheckOut(PyObject* object, const TensorSpec& spec, const Place& place);
// The memory of an array that passed CheckOut, for a result to be written to; empty where
// that cannot be. The array must outlive it. Requires GIL.
Tensor ViewOut(PyObject* object);
// True if the tensor is in the array's memory already.
bool IsIn(const Tensor& tensor, PyObject* object);
// Writes the tensor into an array that passed CheckOut. Throws Error(InvalidArgument) if
// the shapes differ. Requires GIL.
void WriteOut(const Tensor& tensor, PyObject* object, const Place& place);

}  // namespace savedmodel::python

#endif  // SAVEDMODEL_BINDINGS_ARRAY_OUT_H_
