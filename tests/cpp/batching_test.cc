#include "savedmodel/batching.h"

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>

#include "testing.h"

namespace savedmodel {
namespace {

using std::chrono::milliseconds;
using testing::DigitsPath;
using testing::Floats;
using testing::Throws;
using testing::Values;

constexpr std::int64_t kLong = 60'000'000;  // only a full batch runs

Tensor Image(float brightness, std::int64_t rows = 1) {
  Tensor image(DataType::kFloat, {rows, 8, 8, 1});
  auto* pixels = image.mutable_data<float>();
  for (std::int64_t i = 0; i < image.num_elements(); ++i) {
    pixels[i] = brightness * static_cast<float>(i % 7);
  }
  return image;
}

Tensor Matrix(std::int64_t rows, std::int64_t columns, float value) {
  const std::vector<float> values(static_cast<std::size_t>(rows * columns), value);
  return Tensor::Copy(values.data(), {rows, columns});
}

// Collects what callbacks are given.
class Results {
 public:
  BatchedSignature::Callback Add() {
    const std::lock_guard<std::mutex> lock(mutex_);
    results_.emplace_back();
    return [this, at = results_.size() - 1](std::vector<Tensor> outputs,
                                            std::exception_ptr error) {
      const std::lock_guard<std::mutex> done(mutex_);
      results_[at] = Result{std::move(outputs), error};
      ++ended_;
      changed_.notify_all();
    };
  }
  void Await(std::size_t number) {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [&] { return ended_ >= number; });
  }
  std::size_t ended() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return ended_;
  }
  // Throws what the call threw.
  const std::vector<Tensor>& operator[](std::size_t at) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (results_[at]->error != nullptr) std::rethrow_exception(results_[at]->error);
    return results_[at]->outputs;
  }

 private:
  struct Result {
    std::vector<Tensor> outputs;
    std::exception_ptr error;
  };
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::optional<Result>> results_;
  std::size_t ended_ = 0;
};

TEST(CancellationTest, StopsACallThatHasNotBegun) {
  const Model model = Model::Load(DigitsPath());
  const Signature infer = model.signature("serving_default");
  const CancellationManager cancellation;
  const CancellationManager copy = cancellation;
  const BoundCall bound = infer.Bind({{"image", Image(1)}});
  EXPECT_EQ(infer.RunPositional({Image(1)}, nullptr, nullptr, nullptr, &cancellation)
                .front()
                .shape(),
            (Shape{1, 10}));
  copy.StartCancel();
  EXPECT_TRUE(cancellation.IsCancelled());
  EXPECT_TRUE(Throws(ErrorCode::kCancelled, {"signature 'serving_default'"}, [&] {
    infer.RunPositional({Image(1)}, nullptr, nullptr, nullptr, &cancellation);
  }));
  EXPECT_TRUE(Throws(ErrorCode::kCancelled, {}, [&] { bound.Run(&cancellation); }));
  EXPECT_EQ(bound.Run().size(), 1U);
}

TEST(BatchedSignatureTest, ManyThreadsGetTheirOwnRows) {
  const Model model = Model::Load(DigitsPath());
  const Signature infer = model.signature("serving_default");
  std::vector<std::vector<float>> expected;
  for (int i = 0; i < 8; ++i) {
    expected.push_back(Values<float>(
        infer.RunPositional({Image(static_cast<float>(i) / 8, 1 + i % 3)}).front()));
  }
  BatchingOptions options;
  options.max_batch_size = 16;
  options.batch_timeout_micros = 200;
  options.allowed_batch_sizes = {4, 16};
  const BatchedSignature batched(infer, options);
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&, i] {
      for (int turn = 0; turn < 100; ++turn) {
        const auto outputs =
            batched.Run({{"image", Image(static_cast<float>(i) / 8, 1 + i % 3)}});
        const auto values = Values<float>(outputs.at("probabilities"));
        if (values.size() != expected[i].size()) {
          ++wrong;
          continue;
        }
        for (std::size_t at = 0; at < values.size(); ++at) {
          if (std::abs(values[at] - expected[i][at]) > 1e-5F) ++wrong;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  const BatchStats stats = batched.stats();
  EXPECT_EQ(stats.rows, 100U * (3 * 1 + 3 * 2 + 2 * 3));
  EXPECT_LT(stats.batches, 800U);
  EXPECT_EQ((stats.rows + stats.padded_rows) % 4, 0U);
}

TEST(BatchedSignatureTest, TheLastHandleFinishesTheQueue) {
  const Model model = Model::Load(DigitsPath());
  Results results;
  {
    BatchingOptions options;
    options.batch_timeout_micros = kLong;
    const BatchedSignature batched(model.signature("serve"), options);
    const BatchedSignature copy = batched;
    copy.Submit({Image(1)}, results.Add());
    batched.Submit({Image(0.5F)}, results.Add());
  }
  EXPECT_EQ(results.ended(), 2U);
  EXPECT_EQ(results[0].front().shape(), (Shape{1, 10}));
}

TEST(BatchedSignatureTest, RefusesOptions) {
  const Signature infer = Model::Load(DigitsPath()).signature("serve");
  const auto refuses = [&](const std::string& name, const BatchingOptions& options) {
    return Throws(ErrorCode::kInvalidArgument, {"signature 'serve'", name},
                  [&] { BatchedSignature(infer, options); });
  };
  EXPECT_TRUE(refuses("max_batch_size", {0, 0, {}}));
  EXPECT_TRUE(refuses("batch_timeout_micros", {8, -1, {}}));
  EXPECT_TRUE(refuses("allowed_batch_sizes", {8, 0, {4, 2, 8}}));
  EXPECT_TRUE(refuses("allowed_batch_sizes", {8, 0, {4}}));
  EXPECT_TRUE(refuses("max_enqueued_batches", {8, 0, {}, 0}));
  EXPECT_TRUE(refuses("num_batch_threads", {8, 0, {}, 10, -1}));
}

class BatchingTest : public testing::GeneratedModelTest {
 protected:
  // A signature of the model `batching`.
  BatchedSignature Batched(const std::string& signature, const BatchingOptions& options) {
    model_.emplace(Load("batching"));
    return BatchedSignature(model_->signature(signature), options);
  }
  void Open(int batches) {
    model_->signature("open").Run({{"tokens", Tensor::Scalar<std::int32_t>(batches)}});
  }
  // Keeps the one thread busy until Open().
  static void Occupy(const BatchedSignature& gated, Results* results) {
    gated.Submit({Floats({0})}, results->Add());
    while (gated.stats().batches == 0) std::this_thread::sleep_for(milliseconds(1));
  }

  std::optional<Model> model_;
};

TEST_F(BatchingTest, ResultsAreRowsOfOneOutput) {
  const BatchedSignature batched = Batched("any", {6, kLong, {}, 10, 1});
  Results results;
  for (const std::int64_t rows : {1, 2, 3}) {
    batched.Submit({Matrix(rows, 5, static_cast<float>(rows))}, results.Add());
  }
  results.Await(3);
  const float* begin = results[0][0].data<float>();
  EXPECT_EQ(results[1][0].data<float>(), begin + 5);
  EXPECT_EQ(results[2][0].data<float>(), begin + 15);
  EXPECT_EQ(Values<float>(results[2][0]), std::vector<float>(15, 6.0F));
  EXPECT_FALSE(results[0][0].IsExclusive());
  EXPECT_EQ(Values<std::int32_t>(results[1][1]), (std::vector<std::int32_t>{6, 6}));
  // Such a row may begin anywhere, where kernels would abort.
  const auto fed = batched.signature().RunPositional({results[1][0]});
  EXPECT_EQ(Values<float>(fed[0]), std::vector<float>(10, 8.0F));
  batched.Close();
}

TEST_F(BatchingTest, ACallAloneOwnsItsOutputs) {
  const BatchedSignature batched = Batched("any", {6, 0, {}});
  const auto outputs = batched.RunPositional({Matrix(2, 3, 1)});
  EXPECT_TRUE(outputs[0].IsExclusive());
  const BatchStats stats = batched.stats();
  EXPECT_EQ(stats.batches, 1U);
  EXPECT_EQ(stats.rows, 2U);
  EXPECT_EQ(stats.padded_rows, 0U);
}

TEST_F(BatchingTest, ErrorsOfInputsComeBeforeTheQueue) {
  const BatchedSignature batched = Batched("features", {2, kLong, {}});
  const Tensor ids = Tensor::Copy(std::vector<std::int64_t>{1, 2}.data(), {2});
  const auto refuses = [&](const std::string& part,
                           const std::vector<std::pair<std::string, Tensor>>& inputs) {
    return Throws(ErrorCode::kInvalidArgument, {"signature 'features'", part},
                  [&] { batched.Run(inputs); });
  };
  EXPECT_TRUE(refuses("unequal numbers of rows", {{"x", Matrix(1, 3, 0)}, {"ids", ids}}));
  EXPECT_TRUE(refuses("missing input 'ids'", {{"x", Matrix(1, 3, 0)}}));
  EXPECT_TRUE(refuses("expected float32", {{"x", Matrix(2, 4, 0)}, {"ids", ids}}));
  EXPECT_EQ(batched.stats().batches, 0U);
}

TEST_F(BatchingTest, EachCallerGetsTheErrorOfItsBatch) {
  const BatchedSignature batched = Batched("root", {2, kLong, {}});
  std::vector<std::thread> threads;
  std::atomic<int> refused{0};
  for (const float value : {4.0F, -4.0F}) {
    threads.emplace_back([&, value] {
      if (Throws(ErrorCode::kInvalidArgument, {"negative number"},
                 [&] { batched.RunPositional({Floats({value})}); })) {
        ++refused;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(refused, 2);
}

TEST_F(BatchingTest, CancelledAndExpiredCallsLeaveTheQueue) {
  const BatchedSignature batched = Batched("gated", {10, 0, {}, 10, 1});
  Results results;
  Occupy(batched, &results);
  const SubmittedCall dropped = batched.Submit({Floats({1})}, results.Add());
  batched.Submit({Floats({2})}, results.Add());
  batched.Submit({Floats({3})}, results.Add(), milliseconds(0));
  EXPECT_TRUE(dropped.Cancel());
  EXPECT_FALSE(dropped.Cancel());
  EXPECT_TRUE(Throws(ErrorCode::kDeadlineExceeded, {"signature 'gated'"},
                     [&] { batched.RunPositional({Floats({4})}, milliseconds(5)); }));
  Open(2);
  results.Await(3);
  EXPECT_EQ(Values<float>(results[2][0]), std::vector<float>{4});
  EXPECT_TRUE(Throws(ErrorCode::kDeadlineExceeded, {}, [&] { results[3]; }));
  EXPECT_TRUE(batched.Close());
  EXPECT_EQ(results.ended(), 3U);
  EXPECT_EQ(batched.stats().rows, 2U);
}

TEST_F(BatchingTest, AFullQueueRefuses) {
  const BatchedSignature batched = Batched("gated", {1, 0, {}, 2, 1});
  Results results;
  Occupy(batched, &results);
  batched.Submit({Floats({1})}, results.Add());
  batched.Submit({Floats({2})}, results.Add());
  EXPECT_TRUE(Throws(ErrorCode::kUnavailable, {"max_enqueued_batches"},
                     [&] { batched.RunPositional({Floats({3})}); }));
  Open(3);
  results.Await(3);
  EXPECT_EQ(Values<float>(results[2][0]), std::vector<float>{4});
}

TEST_F(BatchingTest, BatchesRunAtOnceOnSeveralThreads) {
  const BatchedSignature batched = Batched("gated", {1, 0, {}, 10, 3});
  Results results;
  for (int i = 0; i < 4; ++i) batched.Submit({Floats({1})}, results.Add());
  while (batched.stats().batches < 3) std::this_thread::sleep_for(milliseconds(1));
  std::this_thread::sleep_for(milliseconds(20));
  EXPECT_EQ(batched.stats().batches, 3U);
  Open(4);
  results.Await(4);
}

// A queue may become empty by this, too, before a thread has looked at it.
TEST_F(BatchingTest, CloseBesideCallsThatLeaveTheQueue) {
  const Model model = Load("batching");
  for (int i = 0; i < 500; ++i) {
    const BatchedSignature batched(model.signature("any"), {8, kLong, {}, 10, 1});
    Results results;
    const SubmittedCall call = batched.Submit({Matrix(1, 2, 1)}, results.Add());
    std::thread canceller([&] { call.Cancel(); });
    const bool closed = batched.Close(std::chrono::minutes(1));
    canceller.join();
    ASSERT_TRUE(closed) << "round " << i;
  }
}

TEST_F(BatchingTest, CloseWaitsOrGivesUp) {
  const BatchedSignature batched = Batched("gated", {1, 0, {}, 10, 1});
  Results results;
  Occupy(batched, &results);
  batched.Submit({Floats({1})}, results.Add());
  EXPECT_FALSE(batched.Close(milliseconds(5)));
  EXPECT_TRUE(Throws(ErrorCode::kFailedPrecondition, {"was closed"},
                     [&] { batched.RunPositional({Floats({1})}); }));
  Open(2);
  EXPECT_TRUE(batched.Close());
  EXPECT_TRUE(batched.Close());
  results.Await(2);
}

}  // namespace
}  // namespace savedmodel
