// A pool of threads for the tests and benchmarks of the kernels; a model brings
// TensorFlow's.
#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "kernels/kernels.h"

namespace savedmodel::kernels {

// Workers look for work for a while before they sleep: layers follow each other within
// microseconds, and waking a thread takes as long. One For at a time.
class ThreadPool final : public Parallel {
 public:
  explicit ThreadPool(int threads) {
    for (int i = 1; i < threads; ++i) workers_.emplace_back([this] { Work(); });
  }
  ~ThreadPool() override {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      stop_ = true;
      ++round_;
    }
    wake_.notify_all();
    for (std::thread& worker : workers_) worker.join();
  }

  int threads() const override { return int(workers_.size()) + 1; }

  void For(int64_t tasks, TaskRef task) const override {
    const std::lock_guard<std::mutex> one(for_mutex_);
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      task_ = &task;
      tasks_ = tasks;
      next_ = 0;
      busy_ = int(workers_.size());
      ++round_;
    }
    wake_.notify_all();
    TakeTasks();
    while (busy_ > 0) __builtin_ia32_pause();
  }

 private:
  void TakeTasks() const {
    for (int64_t i = next_++; i < tasks_; i = next_++) (*task_)(i);
  }

  void Work() {
    int64_t seen = 0;
    while (true) {
      for (int spins = 0; round_ == seen && spins < 20000; ++spins)
        __builtin_ia32_pause();
      if (round_ == seen) {
        std::unique_lock<std::mutex> lock(mutex_);
        wake_.wait(lock, [&] { return round_ != seen; });
      }
      seen = round_;
      if (stop_) return;
      TakeTasks();
      --busy_;
    }
  }

  mutable std::mutex for_mutex_, mutex_;
  mutable std::condition_variable wake_;
  mutable std::atomic<int64_t> round_{0}, next_{0};
  mutable std::atomic<int> busy_{0};
  mutable int64_t tasks_ = 0;
  mutable const TaskRef* task_ = nullptr;
  bool stop_ = false;
  std::vector<std::thread> workers_;
};

}  // namespace savedmodel::kernels
