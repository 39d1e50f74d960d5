#ifndef SAVEDMODEL_CORE_TENSOR_ACCESS_H_
#define SAVEDMODEL_CORE_TENSOR_ACCESS_H_

#include <new>
#include <utility>

#include "savedmodel/tensor.h"
#include "tensorflow/core/framework/tensor.h"

namespace savedmodel {

// The tensorflow::Tensor inside ours.
struct TensorAccess {
  static tensorflow::Tensor& Get(Tensor& tensor) {
    return *std::launder(reinterpret_cast<tensorflow::Tensor*>(tensor.storage_));
  }
  static const tensorflow::Tensor& Get(const Tensor& tensor) {
    return *std::launder(reinterpret_cast<const tensorflow::Tensor*>(tensor.storage_));
  }
  static Tensor Wrap(tensorflow::Tensor&& tensor) {
    Tensor wrapped;
    Get(wrapped) = std::move(tensor);
    return wrapped;
  }
};

// True for a View: memory of the caller's that TensorFlow only reads.
bool IsView(const Tensor& tensor);

}  // namespace savedmodel

#endif  // SAVEDMODEL_CORE_TENSOR_ACCESS_H_
