#include "savedmodel/variable.h"

#include "core/tensor_access.h"
#include "load/bundle_handle.h"
#include "savedmodel/error.h"

namespace savedmodel {

std::string Variable::description() const {
  return "model '" + handle_->export_dir() + "', variable '" + name_ + "'";
}

std::string Variable::device() const {
  return handle_->Acquire()->graph->DeviceOf(node_);
}

Tensor Variable::value() const {
  return TensorAccess::Wrap(handle_->Acquire()->graph->ReadVariable(node_));
}

void Variable::Assign(const Tensor& value) const {
  if (value.dtype() != spec_.dtype || !spec_.shape.IsCompatibleWith(value.shape())) {
    throw Error(
        ErrorCode::kInvalidArgument,
        description() + ": expected " + spec_.ToString() + ", got " + value.ToString());
  }
  const Tensor copy = value.Clone();
  handle_->Acquire()->graph->AssignVariable(node_, TensorAccess::Get(copy));
}

}  // namespace savedmodel
