// A pool of threads for the tests and benchmarks of the kernels; a model brings
// TensorFlow's.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace savedmodel::kernels {

// For a Team: one of the threads is the caller's.
class ThreadPool {
 public:
  explicit ThreadPool(int threads) {
    for (int i = 1; i < threads; ++i) workers_.emplace_back([this] { Work(); });
  }
  ~ThreadPool() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      stop_ = true;
    }
    wake_.notify_all();
    for (std::thread& worker : workers_) worker.join();
  }

  int NumThreads() const { return int(workers_.size()) + 1; }

  void Schedule(std::function<void()> closure) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      closures_.push_back(std::move(closure));
    }
    wake_.notify_one();
  }

 private:
  void Work() {
    std::unique_lock<std::mutex> lock(mutex_);
    while (true) {
      wake_.wait(lock, [this] { return stop_ || !closures_.empty(); });
      if (closures_.empty()) return;
      const std::function<void()> closure = std::move(closures_.front());
      closures_.pop_front();
      lock.unlock();
      closure();
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> closures_;
  bool stop_ = false;
  std::vector<std::thread> workers_;
};

}  // namespace savedmodel::kernels
