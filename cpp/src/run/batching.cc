#include "savedmodel/batching.h"

#include "run/batch_queue.h"

namespace savedmodel {

namespace {

[[noreturn]] void Fail(const Signature& signature, const std::string& message) {
  throw Error(ErrorCode::kInvalidArgument, signature.description() + ": " + message);
}

void CheckOptions(const Signature& signature, const BatchingOptions& options) {
  const auto check = [&](bool right, const char* name, const char* expected) {
    if (!right) Fail(signature, std::string(name) + ": expected " + expected);
  };
  check(options.max_batch_size >= 1, "max_batch_size", "at least 1");
  check(options.batch_timeout_micros >= 0, "batch_timeout_micros", "at least 0");
  check(options.max_enqueued_batches >= 1, "max_enqueued_batches", "at least 1");
  check(options.num_batch_threads >= 0, "num_batch_threads", "at least 0");
  std::int64_t before = 0;
  for (const std::int64_t size : options.allowed_batch_sizes) {
    check(size > before, "allowed_batch_sizes", "positive sizes that increase");
    before = size;
  }
  check(before == 0 || before == options.max_batch_size, "allowed_batch_sizes",
        "max_batch_size at the end");
}

// Both must be able to have any number of rows.
void CheckSpecs(const Signature& signature, const char* kind,
                const std::vector<NamedSpec>& specs) {
  for (const NamedSpec& named : specs) {
    const PartialShape& shape = named.spec.shape;
    if (named.has_default || shape.unknown_rank()) continue;
    if (shape.dims().empty() || shape.dims()[0] != PartialShape::kUnknownDim) {
      Fail(signature, std::string("cannot be batched: ") + kind + " '" + named.name +
                          "' is " + named.spec.ToString() +
                          ", whose first dimension is no batch of any size");
    }
  }
}

}  // namespace

bool SubmittedCall::Cancel() const {
  const std::shared_ptr<BatchQueue> queue = queue_.lock();
  const std::shared_ptr<BatchEntry> entry = entry_.lock();
  return queue != nullptr && entry != nullptr && queue->Drop(entry.get());
}

BatchedSignature::BatchedSignature(const Signature& signature,
                                   const BatchingOptions& options)
    : signature_(signature) {
  CheckOptions(signature, options);
  if (signature.inputs().empty()) Fail(signature, "cannot be batched: it has no inputs");
  CheckSpecs(signature, "input", signature.inputs());
  CheckSpecs(signature, "output", signature.outputs());
  const auto queue = std::make_shared<BatchQueue>(signature.state_, options);
  queue_ = std::shared_ptr<BatchQueue>(queue.get(),
                                       [queue](BatchQueue*) { queue->Close({}); });
}

const Signature& BatchedSignature::signature() const { return signature_; }
const BatchingOptions& BatchedSignature::options() const { return queue_->options(); }
BatchStats BatchedSignature::stats() const { return queue_->stats(); }
bool BatchedSignature::Close(Timeout limit) const { return queue_->Close(limit); }

TensorMap BatchedSignature::Run(const std::vector<std::pair<std::string, Tensor>>& inputs,
                                Timeout timeout) const {
  std::vector<Tensor> results = RunPositional(signature_.OrderInputs(inputs), timeout);
  TensorMap named;
  for (std::size_t i = 0; i < results.size(); ++i) {
    named[signature_.outputs()[i].name] = std::move(results[i]);
  }
  return named;
}

std::vector<Tensor> BatchedSignature::RunPositional(std::vector<Tensor> inputs,
                                                    Timeout timeout) const {
  const auto entry = queue_->MakeEntry(std::move(inputs), timeout);
  queue_->Enqueue(entry);
  return queue_->Await(entry);
}

SubmittedCall BatchedSignature::Submit(std::vector<Tensor> inputs, Callback done,
                                       Timeout timeout) const {
  const auto entry = queue_->MakeEntry(std::move(inputs), timeout);
  entry->done = std::move(done);
  queue_->Enqueue(entry);
  return SubmittedCall(queue_->weak_from_this(), entry);
}

}  // namespace savedmodel
