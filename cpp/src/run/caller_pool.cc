#include "run/caller_pool.h"

#include <utility>

#include "tsl/platform/cpu_info.h"
#include "tsl/platform/denormal.h"
#include "xla/tsl/platform/threadpool.h"

namespace savedmodel {

namespace {

// Closures schedule closures. The stack of a thread that was made with a small one (64
// KiB in Python's threading.stack_size) must hold them.
constexpr int kMaxDepth = 6;

// Made by the first run that needs it; never destroyed, as TensorFlow's own global pool.
tsl::thread::ThreadPool& SharedPool() {
  static auto* pool = new tsl::thread::ThreadPool(
      tsl::Env::Default(), "savedmodel_inter_op", tsl::port::MaxParallelism());
  return *pool;
}

}  // namespace

void CallerPool::Schedule(std::function<void()> closure) {
  if (std::this_thread::get_id() != caller_ || depth_ == kMaxDepth) {
    SharedPool().Schedule(std::move(closure));
    return;
  }
  ++depth_;
  {
    // As on the threads of TensorFlow's pools: the answer must not depend on the thread.
    const tsl::port::ScopedFlushDenormal flush;
    closure();
  }
  --depth_;
}

int CallerPool::NumThreads() const { return tsl::port::MaxParallelism(); }

int CallerPool::CurrentThreadId() const {
  return std::this_thread::get_id() == caller_ ? -1 : SharedPool().CurrentThreadId();
}

}  // namespace savedmodel
