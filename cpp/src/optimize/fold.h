#ifndef SAVEDMODEL_OPTIMIZE_FOLD_H_
#define SAVEDMODEL_OPTIMIZE_FOLD_H_

#include <optional>
#include <vector>

#include "tensorflow/core/framework/node_def.pb.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/framework/tensor_shape.h"

namespace savedmodel {

// What an op of one output of `shape` gives for these constants, where that is so simple
// that no kernel of TensorFlow's is needed for it: elementwise arithmetic on a few
// floats, and other shapes of the same elements. As TensorFlow computes it.
std::optional<tensorflow::Tensor> FoldSimply(
    const tensorflow::NodeDef& def, const std::vector<tensorflow::Tensor>& inputs,
    const tensorflow::PartialTensorShape& shape);

}  // namespace savedmodel

#endif  // SAVEDMODEL_OPTIMIZE_FOLD_H_
