#include "run/caller_first_pool.h"

#include <utility>

#include "tsl/platform/cpu_info.h"
#include "tsl/platform/denormal.h"
#include "xla/tsl/platform/threadpool.h"

namespace savedmodel {

namespace {

// Made by the first run that needs it; never destroyed, as TensorFlow's own global pool.
// As many threads as that has by default.
tsl::thread::ThreadPool& SharedPool() {
  static auto* pool = new tsl::thread::ThreadPool(
      tsl::Env::Default(), "savedmodel_inter_op", tsl::port::MaxParallelism());
  return *pool;
}

}  // namespace

void CallerFirstPool::Schedule(std::function<void()> closure) {
  if (std::this_thread::get_id() != caller_ || started_) {
    SharedPool().Schedule(std::move(closure));
    return;
  }
  started_ = true;
  // As on the threads of TensorFlow's pools; kernels would round tiny numbers
  // differently.
  const tsl::port::ScopedFlushDenormal flush;
  closure();
}

int CallerFirstPool::NumThreads() const { return tsl::port::MaxParallelism(); }

int CallerFirstPool::CurrentThreadId() const {
  return std::this_thread::get_id() == caller_ ? -1 : SharedPool().CurrentThreadId();
}

}  // namespace savedmodel
