#ifndef SAVEDMODEL_RUN_CALLER_POOL_H_
#define SAVEDMODEL_RUN_CALLER_POOL_H_

#include <functional>
#include <thread>

#include "tensorflow/core/public/session.h"

namespace savedmodel {

// The inter-op pool of one small run: the caller's own thread.
//
// A session gives the closures of a run to a pool and sleeps until they are done. Waking
// the threads takes longer than a small graph. Here the caller runs each closure at once;
// what other threads schedule, and what is nested too deep, goes to a real pool. Executor
// and kernels are those of a plain run.
class CallerPool final : public tsl::thread::ThreadPoolInterface {
 public:
  void Schedule(std::function<void()> closure) override;
  int NumThreads() const override;
  int CurrentThreadId() const override;

 private:
  const std::thread::id caller_ = std::this_thread::get_id();
  int depth_ = 0;  // of the caller's thread alone
};

}  // namespace savedmodel

#endif  // SAVEDMODEL_RUN_CALLER_POOL_H_
