#include "completion_queue.h"

#include <condition_variable>
#include <mutex>
#include <utility>

#include "gil.h"

namespace savedmodel::python {

namespace {

struct Queue {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<Completion> completions;
  bool stopped = false;
};

// Never destroyed: threads of batches may outlive the static destructors.
Queue& TheQueue() {
  static auto* queue = new Queue;
  return *queue;
}

}  // namespace

void PushCompletion(Completion completion) {
  Queue& queue = TheQueue();
  bool was_empty = false;
  {
    const std::lock_guard<std::mutex> lock(queue.mutex);
    was_empty = queue.completions.empty();
    queue.completions.push_back(std::move(completion));
  }
  if (was_empty) queue.changed.notify_one();
}

std::vector<Completion> TakeCompletions() {
  Queue& queue = TheQueue();
  std::vector<Completion> taken;
  const GilRelease released;
  std::unique_lock<std::mutex> lock(queue.mutex);
  queue.changed.wait(lock, [&] { return queue.stopped || !queue.completions.empty(); });
  taken.swap(queue.completions);
  return taken;
}

void StopCompletions() {
  Queue& queue = TheQueue();
  {
    const std::lock_guard<std::mutex> lock(queue.mutex);
    queue.stopped = true;
  }
  queue.changed.notify_all();
}

}  // namespace savedmodel::python
