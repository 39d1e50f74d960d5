#include "savedmodel/tensorflow_interop.h"

#include "core/tensor_access.h"
#include "load/bundle_handle.h"
#include "load/load_saved_model.h"

namespace savedmodel {

namespace tf = tensorflow;

std::shared_ptr<tf::SavedModelBundle> GetTensorFlowBundle(
    const SavedModelBundle& bundle) {
  return BundleAccess::Handle(bundle)->Acquire();
}

tf::Tensor ToTensorFlow(const Tensor& tensor) { return TensorAccess::Get(tensor); }

Tensor FromTensorFlow(const tf::Tensor& tensor) {
  return TensorAccess::Wrap(tf::Tensor(tensor));
}

}  // namespace savedmodel
