#ifndef SAVEDMODEL_CANCELLATION_H_
#define SAVEDMODEL_CANCELLATION_H_

#include <atomic>
#include <memory>

namespace savedmodel {

// Asks calls to stop. A handle: copies share the request, and any number of calls may be
// given one. What is looked at it, and when, the functions that take one say; nothing is
// interrupted by force. Any thread.
class CancellationManager {
 public:
  CancellationManager() : cancelled_(std::make_shared<std::atomic<bool>>(false)) {}

  // For good: there is no way back.
  void StartCancel() const noexcept {
    cancelled_->store(true, std::memory_order_relaxed);
  }
  bool IsCancelled() const noexcept {
    return cancelled_->load(std::memory_order_relaxed);
  }

 private:
  std::shared_ptr<std::atomic<bool>> cancelled_;
};

}  // namespace savedmodel

#endif  // SAVEDMODEL_CANCELLATION_H_
