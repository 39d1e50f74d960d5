#include "optimize/native_kernel.h"

#include <algorithm>
#include <atomic>
#include <thread>

#include "tensorflow/core/common_runtime/device.h"
#include "tensorflow/core/framework/device_base.h"
#include "tensorflow/core/platform/threadpool.h"

namespace savedmodel {

namespace tf = tensorflow;

const float* NativeContext::data(int index) const {
  return static_cast<const float*>(inputs_[index]->data());
}

float* NativeContext::Output(int index, const tf::TensorShape& shape) {
  const tf::Tensor& wanted = outputs_[index];
  if (wanted.IsInitialized() && wanted.dtype() == tf::DT_FLOAT && wanted.shape() == shape)
    return static_cast<float*>(wanted.data());
  tf::AllocationAttributes attributes;
  attributes.retry_on_failure = false;
  outputs_[index] = tf::Tensor(allocator_, tf::DT_FLOAT, shape, attributes);
  return outputs_[index].IsInitialized() ? static_cast<float*>(outputs_[index].data())
                                         : nullptr;
}

float* NativeContext::OutputSlices(const tf::TensorShape& shape) {
  const tf::Tensor whole(allocator_, tf::DT_FLOAT, shape);
  if (!whole.IsInitialized()) return nullptr;
  tf::TensorShape slice = shape;
  slice.RemoveDim(0);
  for (int i = 0; i < num_outputs(); ++i) {
    if (!outputs_[i].CopyFrom(whole.Slice(i, i + 1), slice)) return nullptr;
  }
  return static_cast<float*>(whole.data());
}

tf::Tensor NativeContext::Temporary(std::int64_t floats) {
  return tf::Tensor(allocator_, tf::DT_FLOAT, tf::TensorShape({floats}));
}

namespace {

class PoolParallel final : public kernels::Parallel {
 public:
  explicit PoolParallel(tsl::thread::ThreadPool* pool) : pool_(*pool) {}

  int threads() const override { return pool_.NumThreads(); }

  void For(std::int64_t tasks, kernels::TaskRef task) const override {
    // Threads of the pool may come when all is done: what they look at outlives the call.
    struct Work {
      Work(kernels::TaskRef given, std::int64_t count) : task(given), tasks(count) {}
      const kernels::TaskRef task;
      const std::int64_t tasks;
      std::atomic<std::int64_t> next{0};
      std::atomic<std::int64_t> done{0};

      void Take() {
        for (std::int64_t i = next.fetch_add(1); i < tasks; i = next.fetch_add(1)) {
          task(i);
          done.fetch_add(1, std::memory_order_release);
        }
      }
    };
    const auto work = std::make_shared<Work>(task, tasks);
    const std::int64_t helpers =
        std::min<std::int64_t>(pool_.NumThreads() - 1, tasks - 1);
    for (std::int64_t i = 0; i < helpers; ++i) pool_.Schedule([work] { work->Take(); });
    work->Take();
    for (int spins = 0; work->done.load(std::memory_order_acquire) < tasks; ++spins) {
      if (spins < kSpins) {
        __builtin_ia32_pause();
      } else {
        std::this_thread::yield();  // its thread may be waiting for ours
      }
    }
  }

 private:
  static constexpr int kSpins = 2000;
  tsl::thread::ThreadPool& pool_;
};

}  // namespace

std::unique_ptr<const kernels::Parallel> MakeParallel(tf::Device* device) {
  const tf::DeviceBase::CpuWorkerThreads* threads =
      device->tensorflow_cpu_worker_threads();
  if (threads == nullptr || threads->workers == nullptr || threads->num_threads < 2)
    return nullptr;
  return std::make_unique<PoolParallel>(threads->workers);
}

}  // namespace savedmodel
