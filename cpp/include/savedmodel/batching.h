#ifndef SAVEDMODEL_BATCHING_H_
#define SAVEDMODEL_BATCHING_H_

#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "savedmodel/export.h"
#include "savedmodel/signature.h"
#include "savedmodel/tensor.h"

namespace savedmodel {

class BatchQueue;
struct BatchEntry;

// Names, meanings and defaults of TensorFlow Serving's batching parameters.
struct BatchingOptions {
  // The most rows of a batch, and of one call.
  std::int64_t max_batch_size = 1000;
  // How long a batch waits for more rows while a thread is free to run it. With 0 none
  // waits; rows gather while all threads are busy.
  std::int64_t batch_timeout_micros = 0;
  // Sizes that batches are padded to, increasing, the last of them max_batch_size. Empty:
  // no padding.
  std::vector<std::int64_t> allowed_batch_sizes;
  // The most batches that wait for a thread; what would begin another is refused.
  std::int64_t max_enqueued_batches = 10;
  // The most batches that run at once. Zero: as many as there are CPUs.
  int num_batch_threads = 0;
};

// Sums since the beginning.
struct BatchStats {
  std::uint64_t batches = 0;      // that were run
  std::uint64_t rows = 0;         // of the calls in them
  std::uint64_t padded_rows = 0;  // that were added to reach an allowed size
};

// A call that was submitted. A handle.
class SAVEDMODEL_EXPORT SubmittedCall {
 public:
  // Drops the call if it is still in the queue: true, and its callback is never called.
  // False if it is in a batch, which goes on, or has ended. Any thread.
  bool Cancel() const;

 private:
  friend class BatchedSignature;
  SubmittedCall(std::weak_ptr<BatchQueue> queue, std::weak_ptr<BatchEntry> entry)
      : queue_(std::move(queue)), entry_(std::move(entry)) {}
  std::weak_ptr<BatchQueue> queue_;
  std::weak_ptr<BatchEntry> entry_;
};

// Runs a signature on the rows of many calls at once.
//
// The first dimension of every input and output counts the rows. The rows of concurrent
// calls are copied into one tensor for each input, and each call gets its rows of the
// outputs: a view that shares the whole output and may not be written (IsExclusive() is
// false), unless its call was alone in the batch. Only calls whose other sizes are equal
// share a batch. Padding repeats the first row.
//
// A handle: copies share the queue. Thread-safe. The last handle finishes what is in the
// queue, as Close() does.
class SAVEDMODEL_EXPORT BatchedSignature {
 public:
  // Called once, on a thread of the queue, with the outputs or what went wrong (the other
  // is empty). It must not throw, and not wait.
  using Callback = std::function<void(std::vector<Tensor> outputs, std::exception_ptr)>;
  using Timeout = std::optional<std::chrono::nanoseconds>;

  // Throws InvalidArgument for options that contradict themselves, and for a signature
  // with an input or output that is known to have no dimension for the rows.
  explicit BatchedSignature(const Signature& signature,
                            const BatchingOptions& options = {});

  const Signature& signature() const;
  const BatchingOptions& options() const;

  // Enqueues the inputs, waits for their batch and returns their rows of the outputs.
  //
  // All inputs must have the same number of rows, except that one which is left out and
  // has a default value is given to the batch as it is. Throws, before anything is
  // enqueued, InvalidArgument for what Signature::Run refuses, for unequal numbers of
  // rows and for more than max_batch_size (TensorFlow Serving's
  // enable_large_batch_splitting is not there: a result would be no view);
  // FailedPrecondition after Close(); Unavailable if max_enqueued_batches wait. Throws
  // DeadlineExceeded when `timeout` is over, whose rows then leave the queue. Throws to
  // each caller of a batch what its run throws, FailedPrecondition if an output has not
  // the batch's rows.
  TensorMap Run(const std::vector<std::pair<std::string, Tensor>>& inputs,
                Timeout timeout = std::nullopt) const;
  // The same by position, in the order of Signature::inputs() and outputs().
  std::vector<Tensor> RunPositional(std::vector<Tensor> inputs,
                                    Timeout timeout = std::nullopt) const;

  // The same without waiting. Throws what Run throws before it enqueues. A call that is
  // not in a batch when `timeout` is over gets DeadlineExceeded.
  SubmittedCall Submit(std::vector<Tensor> inputs, Callback done,
                       Timeout timeout = std::nullopt) const;

  BatchStats stats() const;

  // Finishes what is in the queue and waits for it; later calls throw FailedPrecondition.
  // With a limit, gives up after that: false, and what still runs is left behind. May be
  // repeated. Not from a callback.
  bool Close(Timeout limit = std::nullopt) const;

 private:
  Signature signature_;
  // Closes the queue with the last handle; the threads share the queue itself.
  std::shared_ptr<BatchQueue> queue_;
};

}  // namespace savedmodel

#endif  // SAVEDMODEL_BATCHING_H_
