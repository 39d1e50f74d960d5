#include "run/batch_queue.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <ctime>
#include <string>
#include <utility>

#include "core/runtime.h"
#include "core/tensor_access.h"
#include "savedmodel/error.h"
#include "tsl/platform/cpu_info.h"

namespace savedmodel {

namespace {

namespace tf = tensorflow;

using State = BatchEntry::State;

std::exception_ptr DeadlineExceeded(const std::string& description) {
  return std::make_exception_ptr(
      Error(ErrorCode::kDeadlineExceeded,
            description + ": the timeout of a batched call is over"));
}

// Copies whole rows to where they begin in a tensor.
void CopyRows(const Tensor& from, std::int64_t num_rows, std::int64_t at, Tensor* to) {
  const std::int64_t row = to->num_elements() / to->dim(0);
  if (from.dtype() == DataType::kString) {
    const auto source = TensorAccess::Get(from).flat<tf::tstring>();
    auto target = TensorAccess::Get(*to).flat<tf::tstring>();
    for (std::int64_t i = 0; i < num_rows * row; ++i) target(at * row + i) = source(i);
    return;
  }
  const std::size_t size = static_cast<std::size_t>(row) * DataTypeSize(from.dtype());
  std::memcpy(
      static_cast<char*>(to->mutable_data()) + static_cast<std::size_t>(at) * size,
      from.data(), static_cast<std::size_t>(num_rows) * size);
}

}  // namespace

void BatchEnd::Notify() noexcept {
  ended_.store(1, std::memory_order_release);
  syscall(SYS_futex, &ended_, FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
}

bool BatchEnd::Await(std::chrono::steady_clock::time_point deadline) const noexcept {
  using std::chrono::duration_cast;
  // Linux's steady clock, CLOCK_MONOTONIC, is that of FUTEX_WAIT_BITSET.
  const auto since = deadline.time_since_epoch();
  const auto seconds = duration_cast<std::chrono::seconds>(since);
  const timespec until{seconds.count(),
                       duration_cast<std::chrono::nanoseconds>(since - seconds).count()};
  const bool waits_for_ever = deadline == std::chrono::steady_clock::time_point::max();
  while (ended_.load(std::memory_order_acquire) == 0) {
    if (syscall(SYS_futex, &ended_, FUTEX_WAIT_BITSET_PRIVATE, 0,
                waits_for_ever ? nullptr : &until, nullptr,
                FUTEX_BITSET_MATCH_ANY) != 0 &&
        errno == ETIMEDOUT) {
      return ended_.load(std::memory_order_acquire) != 0;
    }
  }
  return true;
}

BatchQueue::BatchQueue(std::shared_ptr<SignatureState> signature, BatchingOptions options)
    : signature_(std::move(signature)),
      options_(std::move(options)),
      batch_timeout_(options_.batch_timeout_micros),
      num_threads_(static_cast<std::size_t>(options_.num_batch_threads != 0
                                                ? options_.num_batch_threads
                                                : tsl::port::MaxParallelism())) {}

BatchQueue::~BatchQueue() {
  // A handle of a thread that fork() left behind can be neither joined nor destroyed.
  if (RuntimeForked()) new std::vector<std::thread>(std::move(threads_));
}

std::shared_ptr<BatchEntry> BatchQueue::MakeEntry(std::vector<Tensor> inputs,
                                                  Timeout timeout) const {
  signature_->CheckInputs(inputs);
  const std::string& description = signature_->description();
  const auto fail = [&](const std::string& message) {
    throw Error(ErrorCode::kInvalidArgument, description + message);
  };
  auto entry = std::make_shared<BatchEntry>();
  const NamedSpec* first = nullptr;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const NamedSpec& named = signature_->inputs()[i];
    const tf::Tensor& tensor = TensorAccess::Get(inputs[i]);
    const bool is_default =
        named.has_default && tensor.SharesBufferWith(TensorAccess::Get(
                                 signature_->default_input(static_cast<int>(i))));
    entry->has_rows.push_back(!is_default);
    if (is_default) continue;
    if (tensor.dims() == 0) fail(", input '" + named.name + "': a scalar has no rows");
    const std::int64_t rows = tensor.dim_size(0);
    if (first == nullptr) {
      first = &named;
      entry->rows = rows;
    } else if (rows != entry->rows) {
      fail(": unequal numbers of rows: input '" + first->name + "' has " +
           std::to_string(entry->rows) + ", input '" + named.name + "' " +
           std::to_string(rows));
    }
  }
  if (first == nullptr) fail(": a batched call needs an input with rows");
  if (entry->rows > options_.max_batch_size) {
    fail(", input '" + first->name + "': " + std::to_string(entry->rows) +
         " rows are more than max_batch_size, " +
         std::to_string(options_.max_batch_size));
  }
  entry->inputs = std::move(inputs);
  if (timeout) entry->deadline = Clock::now() + *timeout;
  return entry;
}

bool BatchQueue::CanShare(const BatchEntry& a, const BatchEntry& b) const {
  if (a.has_rows != b.has_rows) return false;
  for (std::size_t i = 0; i < a.inputs.size(); ++i) {
    if (!a.has_rows[i]) continue;
    const tf::Tensor& left = TensorAccess::Get(a.inputs[i]);
    const tf::Tensor& right = TensorAccess::Get(b.inputs[i]);
    if (left.dims() != right.dims()) return false;
    for (int axis = 1; axis < left.dims(); ++axis) {
      if (left.dim_size(axis) != right.dim_size(axis)) return false;
    }
  }
  return true;
}

void BatchQueue::Enqueue(const std::shared_ptr<BatchEntry>& entry) {
  ThrowIfForked();  // before the lock, which a thread that is gone may hold
  const std::lock_guard<std::mutex> lock(mutex_);
  if (closed_) {
    throw Error(ErrorCode::kFailedPrecondition,
                signature_->description() + ": the batched signature was closed");
  }
  Batch* batch = nullptr;
  for (auto it = queue_.rbegin(); it != queue_.rend(); ++it) {
    if (it->full || !CanShare(*it->entries.front(), *entry)) continue;
    // The one open batch of these sizes.
    if (it->rows + entry->rows <= options_.max_batch_size) {
      batch = &*it;
    } else if (static_cast<std::int64_t>(queue_.size()) < options_.max_enqueued_batches) {
      it->full = true;
      WakeThread();
    }
    break;
  }
  const bool begins = batch == nullptr;
  if (begins) {
    if (static_cast<std::int64_t>(queue_.size()) >= options_.max_enqueued_batches) {
      throw Error(ErrorCode::kUnavailable,
                  signature_->description() +
                      ": the queue is full: " + std::to_string(queue_.size()) +
                      " batches wait, as many as max_enqueued_batches allows");
    }
    batch = &queue_.emplace_back();
    batch->due = Clock::now() + batch_timeout_;
  }
  entry->end = batch->end;
  batch->entries.push_back(entry);
  batch->rows += entry->rows;
  batch->full = batch->rows == options_.max_batch_size;
  const bool is_due = batch->full || batch_timeout_.count() == 0;
  if (batch->full || (begins && (is_due || batch->due < timer_))) WakeThread();
}

std::vector<Tensor> BatchQueue::Await(const std::shared_ptr<BatchEntry>& entry) {
  if (!entry->end->Await(entry->deadline)) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (entry->state != State::kEnded) {
      if (entry->state == State::kQueued) Remove(entry.get());
      entry->state = State::kDropped;
      std::rethrow_exception(DeadlineExceeded(signature_->description()));
    }
  }
  entry->inputs.clear();  // here, and not wherever the last reference goes
  if (entry->error != nullptr) {
    std::rethrow_exception(std::exchange(entry->error, nullptr));
  }
  return std::move(entry->outputs);
}

bool BatchQueue::Remove(BatchEntry* entry) {
  for (auto batch = queue_.begin(); batch != queue_.end(); ++batch) {
    auto& entries = batch->entries;
    const auto found =
        std::find_if(entries.begin(), entries.end(),
                     [entry](const auto& held) { return held.get() == entry; });
    if (found == entries.end()) continue;
    entries.erase(found);
    batch->rows -= entry->rows;
    if (entries.empty()) queue_.erase(batch);
    if (queue_.empty() && running_ == 0) drained_.notify_all();
    return true;
  }
  return false;
}

bool BatchQueue::Drop(BatchEntry* entry) {
  if (RuntimeForked()) return false;
  const std::lock_guard<std::mutex> lock(mutex_);
  if (entry->state != State::kQueued) return false;
  Remove(entry);
  entry->state = State::kDropped;
  return true;
}

BatchStats BatchQueue::stats() {
  if (RuntimeForked()) return {};
  const std::lock_guard<std::mutex> lock(mutex_);
  return stats_;
}

bool BatchQueue::Close(Timeout limit) {
  if (RuntimeForked()) return true;
  std::vector<std::thread> threads;
  bool in_time = true;
  {
    std::unique_lock<std::mutex> lock(mutex_);
    closed_ = true;
    ready_.notify_all();
    const auto is_drained = [this] { return queue_.empty() && running_ == 0; };
    if (limit) {
      in_time = drained_.wait_for(lock, *limit, is_drained);
    } else {
      drained_.wait(lock, is_drained);
    }
    threads.swap(threads_);
  }
  for (std::thread& thread : threads) {
    if (in_time && thread.get_id() != std::this_thread::get_id()) {
      thread.join();
    } else {
      thread.detach();
    }
  }
  return in_time;
}

bool BatchQueue::IsDue(const Batch& batch, Clock::time_point now) const {
  return batch.full || closed_ || batch_timeout_.count() == 0 || now >= batch.due;
}

void BatchQueue::WakeThread() {
  if (idle_ > 0) {
    ready_.notify_one();
  } else if (threads_.size() < num_threads_) {
    // It shares the queue, so that Close() may leave it behind.
    threads_.emplace_back([self = shared_from_this()] { self->Work(); });
  }
}

void BatchQueue::Work() {
  constexpr auto kNever = Clock::time_point::max();
  bool lingers = true;
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    const auto now = Clock::now();
    const auto due = std::find_if(queue_.begin(), queue_.end(),
                                  [&](const Batch& batch) { return IsDue(batch, now); });
    if (due != queue_.end()) {
      Batch batch = std::move(*due);
      queue_.erase(due);
      if (!queue_.empty()) WakeThread();  // this one no longer looks
      ++running_;
      for (const auto& entry : batch.entries) entry->state = State::kInBatch;
      lock.unlock();
      Process(std::move(batch));
      lock.lock();
      if (--running_ == 0 && queue_.empty()) drained_.notify_all();
      lingers = true;
      continue;
    }
    if (closed_) return;
    auto until = kNever;
    for (const Batch& batch : queue_) until = std::min(until, batch.due);
    if (until == kNever && lingers && batch_timeout_.count() > 0) {
      // The next batch, which may begin at any moment, is due no earlier. Its first entry
      // need not wake this thread for no more than to set its alarm.
      until = now + batch_timeout_;
      lingers = false;
    }
    ++idle_;
    if (until == kNever || timer_ <= until) {
      ready_.wait(lock);
    } else {
      timer_ = until;
      ready_.wait_until(lock, until);
      timer_ = kNever;
    }
    --idle_;
  }
}

void BatchQueue::Process(Batch batch) {
  const auto now = Clock::now();
  // In place, so that the others keep their order.
  const auto expired =
      std::stable_partition(batch.entries.begin(), batch.entries.end(),
                            [now](const auto& entry) { return entry->deadline > now; });
  std::vector<std::shared_ptr<BatchEntry>> ended(
      std::make_move_iterator(expired), std::make_move_iterator(batch.entries.end()));
  batch.entries.erase(expired, batch.entries.end());
  for (const auto& entry : ended) {
    batch.rows -= entry->rows;
    entry->error = DeadlineExceeded(signature_->description());
  }
  if (!batch.entries.empty()) {
    try {
      RunBatch(batch);
    } catch (const Error& error) {
      // One for each, since each caller's thread may catch and change its own.
      for (const auto& entry : batch.entries) {
        entry->error = std::make_exception_ptr(Error(error.code(), error.what()));
      }
    } catch (...) {
      for (const auto& entry : batch.entries) {
        entry->outputs.clear();
        entry->error = std::current_exception();
      }
    }
  }
  ended.insert(ended.begin(), std::make_move_iterator(batch.entries.begin()),
               std::make_move_iterator(batch.entries.end()));

  {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (const auto& entry : ended) {
      if (entry->state != State::kDropped) entry->state = State::kEnded;
    }
  }
  batch.end->Notify();
  for (const auto& entry : ended) {
    if (!entry->done) continue;
    entry->inputs.clear();
    entry->done(std::move(entry->outputs), std::exchange(entry->error, nullptr));
  }
}

std::int64_t BatchQueue::PaddedSize(std::int64_t rows) const {
  const auto& allowed = options_.allowed_batch_sizes;
  // There is no row to repeat in a batch that has none.
  if (allowed.empty() || rows == 0) return rows;
  return *std::lower_bound(allowed.begin(), allowed.end(), rows);
}

Tensor BatchQueue::Concatenate(const Batch& batch, std::size_t input,
                               std::int64_t size) const {
  const Tensor& first = batch.entries.front()->inputs[input];
  if (!batch.entries.front()->has_rows[input] || first.dim(0) == size) return first;
  Shape shape = first.shape();
  shape[0] = size;
  Tensor whole(first.dtype(), shape);
  if (whole.num_elements() == 0) return whole;
  std::int64_t at = 0;
  for (const auto& entry : batch.entries) {
    CopyRows(entry->inputs[input], entry->rows, at, &whole);
    at += entry->rows;
  }
  const auto source = std::find_if(batch.entries.begin(), batch.entries.end(),
                                   [](const auto& entry) { return entry->rows != 0; });
  for (; at < size; ++at) CopyRows((*source)->inputs[input], 1, at, &whole);
  return whole;
}

void BatchQueue::RunBatch(const Batch& batch) {
  const std::int64_t size = PaddedSize(batch.rows);
  std::vector<Tensor> inputs;
  for (std::size_t i = 0; i < signature_->inputs().size(); ++i) {
    inputs.push_back(Concatenate(batch, i, size));
  }
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    ++stats_.batches;
    stats_.rows += static_cast<std::uint64_t>(batch.rows);
    stats_.padded_rows += static_cast<std::uint64_t>(size - batch.rows);
  }
  std::vector<Tensor> outputs = signature_->Run(inputs, nullptr, nullptr, nullptr);
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    if (outputs[i].rank() == 0 || outputs[i].dim(0) != size) {
      throw Error(ErrorCode::kFailedPrecondition,
                  signature_->description() + ", output '" +
                      signature_->outputs()[i].name + "': " + outputs[i].ToString() +
                      " has not the " + std::to_string(size) + " rows of its batch");
    }
  }
  if (batch.entries.size() == 1 && batch.rows == size) {
    batch.entries.front()->outputs = std::move(outputs);
    return;
  }
  std::int64_t at = 0;
  for (const auto& entry : batch.entries) {
    entry->outputs.reserve(outputs.size());
    for (const Tensor& output : outputs) {
      entry->outputs.push_back(
          TensorAccess::Wrap(TensorAccess::Get(output).Slice(at, at + entry->rows)));
    }
    at += entry->rows;
  }
}

}  // namespace savedmodel
