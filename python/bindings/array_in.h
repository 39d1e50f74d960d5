#ifndef SAVEDMODEL_BINDINGS_ARRAY_IN_H_
#define SAVEDMODEL_BINDINGS_ARRAY_IN_H_

#include <pybind11/pybind11.h>

#include <string>

#include "numpy_api.h"
#include "savedmodel/shape.h"
#include "savedmodel/tensor.h"

namespace savedmodel::python {

// As NumPy 2's `copy=`: where one is needed, never (an error instead), always.
enum class CopyMode { kIfNeeded, kNever, kAlways };
CopyMode ToCopyMode(PyObject* copy);  // None, False, True

// Who asks, for error messages: "<owner>, input 'x'". The strings outlive it.
struct Place {
  const std::string& owner;  // "model '/path', signature 'serving_default'"
  const char* kind;          // "input"
  const std::string& name;

  std::string ToString() const { return owner + ", " + kind + " '" + name + "'"; }
};

// The tensor that a Python object stands for, where a tensor of this spec is asked for.
//
// A C-contiguous array of native byte order whose memory is aligned to kTensorAlignment
// is viewed, and kept alive for as long as TensorFlow holds it; anything else is copied
// once, counted in CopyStats. Arrays (also by __dlpack__, __array__ or the buffer
// protocol) must have the spec's dtype; Python numbers, lists and strings take it if it
// can hold them. Throws TypeError for another dtype, Error(InvalidArgument) for ragged
// lists, for numbers out of range, and where CopyMode::kNever meets a copy. The shape is
// not compared with the spec's. Requires GIL.
Tensor ToTensor(PyObject* object, const TensorSpec& spec, const Place& place,
                CopyMode copy);

// The array that an object of another library holds or can give, by __dlpack__, __array__
// or the buffer protocol; null if it is no such object. Throws TypeError where it
// refuses. Requires GIL.
pybind11::object ForeignArray(const pybind11::handle& object, const Place& place);

// The sizes of an array's dimensions.
Shape ShapeOf(PyArrayObject* array);

// True if the object can never change: a Python number, str, bytes or a NumPy scalar. Its
// copy is as good as a view.
bool IsImmutable(PyObject* object);

}  // namespace savedmodel::python

#endif  // SAVEDMODEL_BINDINGS_ARRAY_IN_H_
