// The threads of one run of many kernels.
#pragma once

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <thread>

#include "kernels/kernels.h"

namespace savedmodel::kernels {

// What a team's caller and helpers share. Helpers may come when all is done, so it
// outlives the team.
class TeamWork {
 public:
  TeamWork() { ++Teams(); }

  // For the caller alone, as is Join.
  void Publish(int64_t tasks, const TaskRef& task) {
    task_ = &task;
    caller_core_.store(sched_getcpu(), std::memory_order_relaxed);
    unfinished_.store(tasks, std::memory_order_relaxed);
    unclaimed_.store(uint64_t(tasks) << 32, std::memory_order_release);
  }

  // Takes part until all tasks are done.
  void Join() {
    const uint64_t start = __builtin_ia32_rdtsc();
    const int64_t taken = TakeTasks(true);
    const uint64_t mine_done = __builtin_ia32_rdtsc();
    for (int i = 1; unfinished_.load(std::memory_order_acquire) > 0; ++i) {
      // A helper may be waiting for this core. Yielding often would have the scheduler
      // put us last.
      if (i % 4096 == 0) std::this_thread::yield();
      __builtin_ia32_pause();
    }
    const uint64_t done = __builtin_ia32_rdtsc();
    if (taken > 0 &&
        done - mine_done > 2 * (mine_done - start) / uint64_t(taken) + kHeldUpCycles) {
      LeaveAlone();
    }
  }

  // True for a while after other processes were seen to want the cores: a helper kept
  // its caller waiting for much longer than a task takes, or came to run on the caller's
  // own core. Then two threads take longer than one.
  static bool Alone() {
    return __builtin_ia32_rdtsc() < AloneUntil().load(std::memory_order_relaxed);
  }

  void Disband() {
    ended_.store(true, std::memory_order_relaxed);
    --Teams();
  }

  int helpers() const { return helpers_.load(std::memory_order_relaxed); }
  void AddHelper() { helpers_.fetch_add(1, std::memory_order_relaxed); }

  // What a helper does on its thread.
  void Help() {
    uint64_t idle_since = __builtin_ia32_rdtsc();
    while (!ended_.load(std::memory_order_relaxed)) {
      if (TakeTasks(false) > 0) {
        idle_since = __builtin_ia32_rdtsc();
      } else if (caller_core_.load(std::memory_order_relaxed) == sched_getcpu()) {
        LeaveAlone();
        break;
      } else if (Teams() > 1 || __builtin_ia32_rdtsc() - idle_since > kIdleCycles) {
        break;
      } else {
        __builtin_ia32_pause();
      }
    }
    helpers_.fetch_sub(1, std::memory_order_relaxed);
  }

 private:
  // At 2 to 3 GHz, the rate of time stamps:
  static constexpr uint64_t kIdleCycles = 100'000;      // 30 to 50 us
  static constexpr uint64_t kHeldUpCycles = 1'000'000;  // 0.3 to 0.5 ms
  static constexpr uint64_t kAloneCycles = 50'000'000;  // 15 to 25 ms

  static void LeaveAlone() {
    AloneUntil().store(__builtin_ia32_rdtsc() + kAloneCycles, std::memory_order_relaxed);
  }
  static std::atomic<uint64_t>& AloneUntil() {
    static std::atomic<uint64_t> until{0};
    return until;
  }

  // Of all teams that are sharing work.
  static std::atomic<int>& Teams() {
    static std::atomic<int> teams{0};
    return teams;
  }

  // The caller takes tasks from the front, helpers from the back: then the same thread
  // tends to read the part of a tensor that it wrote, which its cache has. A task that
  // was claimed belongs to what was published last: the next is published when all of
  // these are finished.
  int64_t TakeTasks(bool from_front) {
    int64_t taken = 0;
    uint64_t left = unclaimed_.load(std::memory_order_relaxed);
    while (Begin(left) < End(left)) {
      const uint64_t less = from_front ? left + 1 : left - (uint64_t{1} << 32);
      if (!unclaimed_.compare_exchange_weak(left, less, std::memory_order_acquire,
                                            std::memory_order_relaxed)) {
        continue;
      }
      (*task_)(from_front ? Begin(left) : End(less));
      unfinished_.fetch_sub(1, std::memory_order_release);
      ++taken;
      left = unclaimed_.load(std::memory_order_relaxed);
    }
    return taken;
  }

  // A range of tasks in one number.
  static int64_t Begin(uint64_t range) { return int64_t(range & 0xffffffff); }
  static int64_t End(uint64_t range) { return int64_t(range >> 32); }

  const TaskRef* task_ = nullptr;
  std::atomic<uint64_t> unclaimed_{0};
  std::atomic<int64_t> unfinished_{0};
  std::atomic<int> helpers_{0};
  std::atomic<int> caller_core_{-1};
  std::atomic<bool> ended_{false};
};

// The caller's thread, and those of a pool that come to help when there is something to
// share. They stay for what comes next: kernels follow each other within microseconds,
// and waking a thread takes as long as a small one. A helper leaves when the team ends,
// when there was nothing to do for a while, and at once when there are other teams, who
// may be waiting for its thread, or when it shares the caller's core.
//
// A Pool has NumThreads(), with one for the caller, and Schedule(std::function<void()>).
// One For at a time.
template <typename Pool>
class Team final : public Parallel {
 public:
  // pool: null for the caller's thread alone.
  explicit Team(Pool* pool) : pool_(pool), threads_(pool ? pool->NumThreads() : 1) {}
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;
  ~Team() override {
    if (work_) work_->Disband();
  }

  int threads() const override { return threads_; }

  void For(int64_t tasks, TaskRef task) const override {
    const int64_t helpers = std::min<int64_t>(threads_, tasks) - 1;
    if (helpers <= 0 || TeamWork::Alone()) return Serial().For(tasks, task);
    if (!work_) work_ = std::make_shared<TeamWork>();
    work_->Publish(tasks, task);
    while (work_->helpers() < helpers) {
      work_->AddHelper();
      pool_->Schedule([work = work_] { work->Help(); });
    }
    work_->Join();
  }

 private:
  Pool* const pool_;
  const int threads_;
  mutable std::shared_ptr<TeamWork> work_;  // made when there is something to share
};

}  // namespace savedmodel::kernels
