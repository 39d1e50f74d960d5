#ifndef SAVEDMODEL_OPTIMIZE_NATIVE_KERNEL_H_
#define SAVEDMODEL_OPTIMIZE_NATIVE_KERNEL_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "kernels/kernels.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/platform/threadpool.h"

namespace tensorflow {
class Device;
}

namespace savedmodel {

// Memory of tensors that nobody reads any more, for the next ones. What was given back
// last is taken first: it is in the processor's caches.
class SpareMemory {
 public:
  // A tensor whose memory may be larger than it; empty if there is no memory.
  tensorflow::Tensor Take(const tensorflow::TensorShape& shape,
                          tensorflow::Allocator* allocator);
  // Forgets it if somebody else holds its memory.
  void GiveBack(tensorflow::Tensor tensor);

 private:
  std::vector<tensorflow::Tensor> tensors_;
  std::size_t bytes_ = 0;  // of all of them
};

// What a native kernel is run with.
class NativeContext {
 public:
  NativeContext(absl::Span<const tensorflow::Tensor* const> inputs,
                absl::Span<tensorflow::Tensor> outputs, tensorflow::Allocator* allocator,
                SpareMemory* spare, const kernels::Parallel& parallel)
      : inputs_(inputs),
        outputs_(outputs),
        allocator_(allocator),
        spare_(spare),
        parallel_(parallel) {}

  const tensorflow::Tensor& input(int index) const { return *inputs_[index]; }
  const float* data(int index) const;
  int num_inputs() const { return static_cast<int>(inputs_.size()); }
  int num_outputs() const { return static_cast<int>(outputs_.size()); }

  // `outputs`: empty, or memory that a result is wanted in, or that an earlier run has
  // left. `spare`: null, or where outputs that only other native kernels read may lie.
  //
  // Makes an output; null if there is no memory for it.
  float* Output(int index, const tensorflow::TensorShape& shape);
  // Makes an output that shares an input's memory; false if that has not as many
  // elements.
  bool Share(int index, int input, const tensorflow::TensorShape& shape);
  // Makes all outputs, as slices of one tensor along its first axis. Slices have to be
  // multiples of 64 bytes.
  float* OutputSlices(const tensorflow::TensorShape& shape);
  // Memory until the kernel returns; empty if there is none.
  tensorflow::Tensor Temporary(std::int64_t floats);

  const kernels::Parallel& parallel() const { return parallel_; }

 private:
  absl::Span<const tensorflow::Tensor* const> inputs_;
  absl::Span<tensorflow::Tensor> outputs_;
  tensorflow::Allocator* allocator_;
  SpareMemory* spare_;
  const kernels::Parallel& parallel_;
};

// An op of ours in a FlatGraph: what several of TensorFlow's ops do, on float32, with
// constant weights in a layout of its own. Immutable, so thread-safe.
class NativeKernel {
 public:
  virtual ~NativeKernel() = default;
  // For profiles: "Conv2D+Bias+Relu".
  virtual std::string name() const = 0;
  // False if the inputs have shapes that this cannot compute, so that the session has to.
  virtual bool Run(NativeContext* context) const = 0;
  // True if its outputs are its inputs' memory.
  virtual bool SharesInputs() const { return false; }
};

// Where kernels find a team to share their work: null if the device has no threads.
tsl::thread::ThreadPool* KernelThreads(tensorflow::Device* device);

}  // namespace savedmodel

#endif  // SAVEDMODEL_OPTIMIZE_NATIVE_KERNEL_H_
