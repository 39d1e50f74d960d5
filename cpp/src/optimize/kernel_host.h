#ifndef SAVEDMODEL_OPTIMIZE_KERNEL_HOST_H_
#define SAVEDMODEL_OPTIMIZE_KERNEL_HOST_H_

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "tensorflow/core/common_runtime/device_mgr.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/protobuf/config.pb.h"

namespace savedmodel {

// Makes and runs TensorFlow's kernels on a session's CPU, with the session's resources,
// outside of any graph. Native kernels have memory and threads of it that need no
// session, so that none is made for them alone. Thread-safe. Must go before the session.
class KernelHost {
 public:
  using Devices = std::function<const tensorflow::DeviceMgr*()>;
  // `devices` gives the session's, and is called when TensorFlow's kernels are first
  // needed. `config`: the session's. `producer`: the version of the graph that the ops
  // are from.
  KernelHost(Devices devices, const tensorflow::ConfigProto& config, int producer);
  ~KernelHost();

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

  // The session's.
  tensorflow::Device* device() const;
  // One of the same name, with the allocator and the threads of all CPU devices of the
  // process.
  tensorflow::Device* native_device() const { return native_device_.get(); }

 private:
  struct Runtime;
  const Runtime& runtime() const;

  const Devices devices_;
  const int producer_;
  const std::unique_ptr<tensorflow::Device> native_device_;
  mutable std::once_flag made_;
  mutable std::unique_ptr<const Runtime> runtime_;
};

// Computes what `kernel` gives; waits for kernels that answer later.
void Compute(tensorflow::OpKernel* kernel, tensorflow::Device* device,
             tensorflow::OpKernelContext* context);

}  // namespace savedmodel

#endif  // SAVEDMODEL_OPTIMIZE_KERNEL_HOST_H_
