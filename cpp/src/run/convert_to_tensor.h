// What tf.convert_to_tensor makes of the values that a function is called with.
#ifndef SAVEDMODEL_RUN_CONVERT_TO_TENSOR_H_
#define SAVEDMODEL_RUN_CONVERT_TO_TENSOR_H_

#include <optional>

#include "savedmodel/tensor.h"
#include "savedmodel/value.h"

namespace savedmodel {

// The tensor of that dtype that a number, a string, a tensor or a regular nest of lists
// and tuples of such stands for; nothing if it stands for none. Bools and integers may
// become integers, floats and complex numbers, floats floats and complex numbers; a bool
// only comes of bools, a string only of strings. An integer that the dtype cannot hold is
// no tensor of it (TensorFlow wraps around). A tensor is cast by the same rules.
std::optional<Tensor> ConvertToTensor(const Value& value, DataType dtype);

}  // namespace savedmodel

#endif  // SAVEDMODEL_RUN_CONVERT_TO_TENSOR_H_
