#ifndef SAVEDMODEL_VARIABLE_H_
#define SAVEDMODEL_VARIABLE_H_

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "savedmodel/export.h"
#include "savedmodel/shape.h"
#include "savedmodel/tensor.h"

namespace savedmodel {

class BundleHandle;

// A variable of a loaded model: a resource variable, or one (a partition of one) of TF1's
// reference variables. What a function, a signature or Assign() writes, every later call
// sees. A handle that does not keep a closed model alive. Thread-safe.
class SAVEDMODEL_EXPORT Variable {
 public:
  // As TensorFlow names it: "dense/kernel:0". Names may repeat.
  const std::string& name() const { return name_; }
  DataType dtype() const { return spec_.dtype; }
  // Sizes may be unknown.
  const PartialShape& shape() const { return spec_.shape; }
  bool trainable() const { return trainable_; }
  // "model '/path', variable 'dense/kernel:0'", for messages.
  std::string description() const;
  // "/job:localhost/replica:0/task:0/device:CPU:0".
  std::string device() const;

  // Its value now: it does not change with later writes. Shares the variable's memory
  // where TensorFlow copies that on writing. A variable that nothing has needed so far is
  // read from the checkpoint. Throws FailedPrecondition if it has no value or the model
  // is closed.
  Tensor value() const;

  // Copies `value` into the variable. Throws InvalidArgument for another dtype or a shape
  // that does not fit.
  void Assign(const Tensor& value) const;

  // The same variable of the same model.
  friend bool operator==(const Variable& a, const Variable& b) {
    return a.handle_ == b.handle_ && a.node_ == b.node_;
  }
  friend bool operator!=(const Variable& a, const Variable& b) { return !(a == b); }
  // Equal for equal variables.
  std::size_t hash() const { return std::hash<std::string>()(node_); }

 private:
  friend struct VariableAccess;
  Variable(std::shared_ptr<BundleHandle> handle, std::string node, std::string name,
           TensorSpec spec, bool trainable)
      : handle_(std::move(handle)),
        node_(std::move(node)),
        name_(std::move(name)),
        spec_(std::move(spec)),
        trainable_(trainable) {}

  std::shared_ptr<BundleHandle> handle_;
  std::string node_;  // that makes its handle or reference
  std::string name_;
  TensorSpec spec_;
  bool trainable_;
};

}  // namespace savedmodel

#endif  // SAVEDMODEL_VARIABLE_H_
