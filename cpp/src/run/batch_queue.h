#ifndef SAVEDMODEL_RUN_BATCH_QUEUE_H_
#define SAVEDMODEL_RUN_BATCH_QUEUE_H_

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "run/signature_state.h"
#include "savedmodel/batching.h"

namespace savedmodel {

// Tells all callers of a batch at once that it has ended. They go on without a lock,
// which those of a condition variable would take from each other.
class BatchEnd {
 public:
  void Notify() noexcept;
  // False if the deadline comes first.
  bool Await(std::chrono::steady_clock::time_point deadline) const noexcept;

 private:
  std::atomic<std::uint32_t> ended_{0};
};

// One call on its way through a queue.
struct BatchEntry {
  enum class State {
    kQueued,
    kInBatch,
    kEnded,
    kDropped,  // cancelled, or its caller has gone
  };
  using Clock = std::chrono::steady_clock;

  std::vector<Tensor> inputs;
  // Where false, the input is the signature's default value and has no rows.
  std::vector<bool> has_rows;
  std::int64_t rows = 0;
  Clock::time_point deadline = Clock::time_point::max();
  BatchedSignature::Callback done;  // empty where a caller waits

  std::vector<Tensor> outputs;
  std::exception_ptr error;

  // What follows is the queue's, under its lock.
  State state = State::kQueued;
  std::shared_ptr<BatchEnd> end;  // of its batch
};

// The queue of a BatchedSignature and the threads that run its batches.
//
// TensorFlow's own scheduler (core/kernels/batching_util/shared_batch_scheduler.h) is a
// template, but calls PeriodicFunction and GetNextAllowedBatchSize of libtensorflow_cc,
// which nothing links to; and its threads look for due batches once a millisecond, which
// is the time of some fifty small calls.
class BatchQueue : public std::enable_shared_from_this<BatchQueue> {
 public:
  using Clock = BatchEntry::Clock;
  using Timeout = BatchedSignature::Timeout;

  BatchQueue(std::shared_ptr<SignatureState> signature, BatchingOptions options);
  ~BatchQueue();

  const BatchingOptions& options() const { return options_; }
  std::shared_ptr<BatchEntry> MakeEntry(std::vector<Tensor> inputs,
                                        Timeout timeout) const;
  void Enqueue(const std::shared_ptr<BatchEntry>& entry);
  // Until the entry's batch has ended. Throws what went wrong.
  std::vector<Tensor> Await(const std::shared_ptr<BatchEntry>& entry);
  // Takes an entry out; false if it is not in the queue any more.
  bool Drop(BatchEntry* entry);
  BatchStats stats();
  bool Close(Timeout limit);

 private:
  // Entries of the same sizes.
  struct Batch {
    std::vector<std::shared_ptr<BatchEntry>> entries;
    std::int64_t rows = 0;
    Clock::time_point due;
    bool full = false;  // takes no more entries
    std::shared_ptr<BatchEnd> end = std::make_shared<BatchEnd>();
  };

  bool CanShare(const BatchEntry& a, const BatchEntry& b) const;
  bool IsDue(const Batch& batch, Clock::time_point now) const;
  // Sees to it that a thread looks at the queue now.
  void WakeThread();
  void Work();
  void Process(Batch batch);
  void RunBatch(const Batch& batch);
  std::int64_t PaddedSize(std::int64_t rows) const;
  Tensor Concatenate(const Batch& batch, std::size_t input, std::int64_t size) const;
  bool Remove(BatchEntry* entry);

  const std::shared_ptr<SignatureState> signature_;
  const BatchingOptions options_;
  const std::chrono::microseconds batch_timeout_;
  const std::size_t num_threads_;

  std::mutex mutex_;  // of what follows
  std::condition_variable ready_;
  std::condition_variable drained_;
  std::deque<Batch> queue_;  // in the order of their beginning
  std::vector<std::thread> threads_;
  std::size_t idle_ = 0;     // threads that wait
  std::size_t running_ = 0;  // batches
  // When a waiting thread will look at the queue by itself.
  Clock::time_point timer_ = Clock::time_point::max();
  bool closed_ = false;
  BatchStats stats_;
};

}  // namespace savedmodel

#endif  // SAVEDMODEL_RUN_BATCH_QUEUE_H_
