#ifndef SAVEDMODEL_OPTIMIZE_KERNEL_HOST_H_
#define SAVEDMODEL_OPTIMIZE_KERNEL_HOST_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "tensorflow/core/common_runtime/device_mgr.h"
#include "tensorflow/core/common_runtime/process_function_library_runtime.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/protobuf/config.pb.h"

namespace savedmodel {

// Makes and runs TensorFlow's kernels on a session's CPU, with the session's resources,
// outside of any graph. Thread-safe. Must go before the session.
class KernelHost {
 public:
  // `producer`: the version of the graph that the ops are from.
  KernelHost(const tensorflow::DeviceMgr* devices, const tensorflow::ConfigProto& config,
             int producer);

  // `def` has all its attributes and no inputs. Throws NotFlat where there is no kernel
  // for it, or none with so many inputs.
  std::unique_ptr<tensorflow::OpKernel> Make(tensorflow::NodeDef def,
                                             std::size_t num_inputs) const;

  // What a kernel is run with, but for itself, its inputs and its outputs' attributes.
  void Prepare(tensorflow::OpKernelContext::Params* params) const;

  // Runs an op once.
  absl::Status Run(const tensorflow::NodeDef& def,
                   const std::vector<tensorflow::Tensor>& inputs,
                   std::vector<tensorflow::Tensor>* outputs) const;

  tensorflow::Device* device() const { return device_; }

 private:
  tensorflow::Device* device_;
  tensorflow::FunctionLibraryDefinition library_;
  std::unique_ptr<tensorflow::ProcessFunctionLibraryRuntime> runtimes_;
  tensorflow::FunctionLibraryRuntime* runtime_;
  mutable tensorflow::ScopedStepContainer step_container_;
  mutable std::function<void(std::function<void()>)> runner_;
};

// Computes what `kernel` gives; waits for kernels that answer later.
void Compute(tensorflow::OpKernel* kernel, tensorflow::Device* device,
             tensorflow::OpKernelContext* context);

}  // namespace savedmodel

#endif  // SAVEDMODEL_OPTIMIZE_KERNEL_HOST_H_
