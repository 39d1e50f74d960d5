#include "savedmodel/tensorflow_interop.h"

#include "core/tensor_access.h"
#include "load/bundle_handle.h"
#include "load/load_saved_model.h"

namespace savedmodel {

namespace tf = tensorflow;

std::shared_ptr<tf::SavedModelBundle> GetTensorFlowBundle(
    const SavedModelBundle& bundle) {
  const auto loaded = BundleAccess::Handle(bundle)->Acquire();
  loaded->GetSession();
  if (loaded->engines != nullptr) {
    // The engine needs neither the signatures nor their variables in the session, and
    // does not hear of what is done there.
    for (const auto& [name, signature] : bundle.signature_def())
      loaded->Require(TensorsOf(signature));
    loaded->graph->Watch();
  }
  return loaded;
}

tf::Tensor ToTensorFlow(const Tensor& tensor) { return TensorAccess::Get(tensor); }

Tensor FromTensorFlow(const tf::Tensor& tensor) {
  return TensorAccess::Wrap(tf::Tensor(tensor));
}

}  // namespace savedmodel
