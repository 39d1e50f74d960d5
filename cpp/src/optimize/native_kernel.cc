#include "optimize/native_kernel.h"

#include <algorithm>
#include <utility>

#include "tensorflow/core/common_runtime/device.h"
#include "tensorflow/core/common_runtime/dma_helper.h"
#include "tensorflow/core/framework/allocation_description.pb.h"
#include "tensorflow/core/framework/device_base.h"

namespace savedmodel {

namespace tf = tensorflow;

namespace {

// A small tensor's memory, behind what counts its holders: one allocation, which needs no
// alignment of the allocator's, in place of two.
class SmallBuffer final : public tf::TensorBuffer {
 public:
  static constexpr std::size_t kMostBytes = 4096;

  static tsl::core::RefCountPtr<tf::TensorBuffer> Make(std::size_t bytes) {
    void* memory = ::operator new(sizeof(SmallBuffer) + kAlignment + bytes);
    return tsl::core::RefCountPtr<tf::TensorBuffer>(new (memory) SmallBuffer(bytes));
  }
  // Not as much memory as the class has.
  static void operator delete(void* memory) { ::operator delete(memory); }

  std::size_t size() const override { return bytes_; }
  TensorBuffer* root_buffer() override { return this; }
  void FillAllocationDescription(tf::AllocationDescription* proto) const override {
    proto->set_requested_bytes(static_cast<std::int64_t>(bytes_));
    proto->set_allocator_name("savedmodel small");
  }

 private:
  static constexpr std::size_t kAlignment = EIGEN_MAX_ALIGN_BYTES;

  explicit SmallBuffer(std::size_t bytes)
      : TensorBuffer(reinterpret_cast<void*>(
            (reinterpret_cast<std::uintptr_t>(this + 1) + kAlignment - 1) / kAlignment *
            kAlignment)),
        bytes_(bytes) {}

  const std::size_t bytes_;
};

// Null only if there is no memory: an empty tensor has some place, too.
float* DataOf(const tf::Tensor& tensor) {
  static float nothing;
  if (!tensor.IsInitialized()) return nullptr;
  return tensor.NumElements() == 0 ? &nothing : static_cast<float*>(tensor.data());
}

tf::Tensor Allocate(const tf::TensorShape& shape, tf::Allocator* allocator) {
  tf::AllocationAttributes attributes;
  attributes.retry_on_failure = false;
  return tf::Tensor(allocator, tf::DT_FLOAT, shape, attributes);
}

// What a frame may hold between its runs: more than a net for images needs for one of
// them.
constexpr std::size_t kMostSpareBytes = 16 << 20;

std::size_t Capacity(const tf::Tensor& tensor) {
  return tf::DMAHelper::buffer(&tensor)->size();
}

}  // namespace

tf::Tensor SpareMemory::Take(const tf::TensorShape& shape, tf::Allocator* allocator) {
  const auto bytes = static_cast<std::size_t>(shape.num_elements()) * sizeof(float);
  const auto found =
      std::find_if(tensors_.rbegin(), tensors_.rend(),
                   [=](const tf::Tensor& tensor) { return Capacity(tensor) >= bytes; });
  if (found == tensors_.rend()) return Allocate(shape, allocator);
  bytes_ -= Capacity(*found);
  tf::Tensor taken(tf::DT_FLOAT, shape, tf::DMAHelper::buffer(&*found));
  tensors_.erase(std::next(found).base());
  return taken;
}

void SpareMemory::GiveBack(tf::Tensor tensor) {
  tf::TensorBuffer* buffer = tf::DMAHelper::buffer(&tensor);
  if (buffer == nullptr || buffer->root_buffer() != buffer || !buffer->RefCountIsOne() ||
      buffer->size() > kMostSpareBytes) {
    return;
  }
  bytes_ += buffer->size();
  tensors_.push_back(std::move(tensor));
  std::size_t old = 0;
  for (; bytes_ > kMostSpareBytes; ++old) bytes_ -= Capacity(tensors_[old]);
  tensors_.erase(tensors_.begin(), tensors_.begin() + static_cast<std::ptrdiff_t>(old));
}

const float* NativeContext::data(int index) const {
  return static_cast<const float*>(inputs_[index]->data());
}

float* NativeContext::Output(int index, const tf::TensorShape& shape) {
  tf::Tensor& output = outputs_[index];
  if (output.IsInitialized() && output.dtype() == tf::DT_FLOAT && output.shape() == shape)
    return DataOf(output);
  const auto bytes = static_cast<std::size_t>(shape.num_elements()) * sizeof(float);
  if (bytes != 0 && bytes <= SmallBuffer::kMostBytes) {
    output = tf::Tensor(tf::DT_FLOAT, shape, SmallBuffer::Make(bytes));
  } else {
    // What has no elements would keep memory from others.
    output = spare_ != nullptr && bytes != 0 ? spare_->Take(shape, allocator_)
                                             : Allocate(shape, allocator_);
  }
  return DataOf(output);
}

bool NativeContext::Share(int index, int input, const tf::TensorShape& shape) {
  return outputs_[index].CopyFrom(*inputs_[input], shape);
}

float* NativeContext::OutputSlices(const tf::TensorShape& shape) {
  tf::TensorShape slice = shape;
  slice.RemoveDim(0);
  bool there = true;
  for (int i = 0; i < num_outputs() && there; ++i) {
    there = outputs_[i].IsInitialized() && outputs_[i].dtype() == tf::DT_FLOAT &&
            outputs_[i].shape() == slice &&
            outputs_[i].data() ==
                static_cast<float*>(outputs_[0].data()) + i * slice.num_elements();
  }
  if (there) return DataOf(outputs_[0]);
  const tf::Tensor whole(allocator_, tf::DT_FLOAT, shape);
  if (!whole.IsInitialized()) return nullptr;
  for (int i = 0; i < num_outputs(); ++i) {
    if (!outputs_[i].CopyFrom(whole.Slice(i, i + 1), slice)) return nullptr;
  }
  return DataOf(whole);
}

tf::Tensor NativeContext::Temporary(std::int64_t floats) {
  return tf::Tensor(allocator_, tf::DT_FLOAT, tf::TensorShape({floats}));
}

tsl::thread::ThreadPool* KernelThreads(tf::Device* device) {
  const tf::DeviceBase::CpuWorkerThreads* threads =
      device->tensorflow_cpu_worker_threads();
  return threads == nullptr ? nullptr : threads->workers;
}

}  // namespace savedmodel
