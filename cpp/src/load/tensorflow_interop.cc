#include "savedmodel/tensorflow_interop.h"

#include "core/tensor_access.h"

namespace savedmodel {

namespace tf = tensorflow;

tf::Tensor ToTensorFlow(const Tensor& tensor) { return TensorAccess::Get(tensor); }

Tensor FromTensorFlow(const tf::Tensor& tensor) {
  return TensorAccess::Wrap(tf::Tensor(tensor));
}

}  // namespace savedmodel
