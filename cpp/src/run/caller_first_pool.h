#ifndef SAVEDMODEL_RUN_CALLER_FIRST_POOL_H_
#define SAVEDMODEL_RUN_CALLER_FIRST_POOL_H_

#include <functional>
#include <thread>

#include "tensorflow/core/public/session.h"

namespace savedmodel {

// The inter-op pool of one run that starts on the caller's own thread.
//
// A session gives the first closure of a run to its pool and sleeps; waking the two
// threads takes longer than a small graph. Here the caller runs that closure itself, and
// with it whatever the executor does not hand on; what it hands on goes to a real pool,
// as ever. The kernels and their order are those of a plain run.
//
// Not for runs with a deadline, which nobody would watch while the caller is at work, nor
// for sessions with several devices, whose parts must start together.
class CallerFirstPool final : public tsl::thread::ThreadPoolInterface {
 public:
  void Schedule(std::function<void()> closure) override;
  int NumThreads() const override;
  int CurrentThreadId() const override;

 private:
  const std::thread::id caller_ = std::this_thread::get_id();
  bool started_ = false;  // of the caller's thread alone
};

}  // namespace savedmodel

#endif  // SAVEDMODEL_RUN_CALLER_FIRST_POOL_H_
