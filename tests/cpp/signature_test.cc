#include "savedmodel/signature.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <new>
#include <optional>
#include <thread>

#include "testing.h"

// ThreadSanitizer has to see which library frees what.
#ifndef SAVEDMODEL_TSAN
namespace {
// How often this thread has asked operator new for memory, in all libraries.
thread_local int allocations = 0;
}  // namespace

// The others call these. GCC takes what it inlines of them for mistakes.
[[gnu::noinline]] void* operator new(std::size_t size) {
  ++allocations;
  if (void* memory = std::malloc(size)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}
#endif

namespace savedmodel {
namespace {

using testing::AlignedBuffer;
using testing::DigitsPath;
using testing::Floats;
using testing::Throws;
using testing::Values;

// On the model that ships.
class DigitsTest : public ::testing::Test {
 protected:
  // An image with one bright pixel.
  static void Light(AlignedBuffer<float>* image, std::size_t pixel) {
    for (std::size_t i = 0; i < 64; ++i) (*image)[i] = i == pixel ? 1.0F : 0.0F;
  }
  static Tensor View(AlignedBuffer<float>* image,
                     std::shared_ptr<const void> owner = nullptr) {
    return Tensor::View(image->data(), {1, 8, 8, 1}, std::move(owner));
  }
  static Tensor Black() {
    Tensor image(DataType::kFloat, {1, 8, 8, 1});
    std::memset(image.mutable_data(), 0, image.num_bytes());
    return image;
  }

  Model model_ = Model::Load(DigitsPath());
  Signature infer_ = model_.signature("serving_default");
};

TEST_F(DigitsTest, DescribesItself) {
  EXPECT_EQ(infer_.name(), "serving_default");
  EXPECT_EQ(infer_.method_name(), "tensorflow/serving/predict");
  EXPECT_EQ(infer_.description(),
            "model '" + DigitsPath() + "', signature 'serving_default'");
  ASSERT_EQ(infer_.inputs().size(), 1U);
  EXPECT_EQ(infer_.inputs()[0].name, "image");
  EXPECT_FALSE(infer_.inputs()[0].has_default);
  EXPECT_EQ(infer_.inputs()[0].spec.ToString(), "float32 with shape (None, 8, 8, 1)");
  ASSERT_EQ(infer_.outputs().size(), 1U);
  EXPECT_EQ(infer_.outputs()[0].name, "probabilities");
  EXPECT_FALSE(infer_.retains_inputs());
}

TEST_F(DigitsTest, RowsOfABatchAreAnsweredApart) {
  AlignedBuffer<float> batch(3 * 64);
  batch[10] = 1.0F;
  batch[64 + 35] = 0.5F;
  const Tensor all = infer_.Run({{"image", Tensor::View(batch.data(), {3, 8, 8, 1})}})
                         .at("probabilities");
  ASSERT_EQ(all.shape(), (Shape{3, 10}));
  for (std::int64_t row = 0; row < 3; ++row) {
    const Tensor one =
        infer_.Run({{"image", Tensor::View(batch.data() + row * 64, {1, 8, 8, 1})}})
            .at("probabilities");
    float sum = 0;
    for (int digit = 0; digit < 10; ++digit) {
      const float probability = all.data<float>()[row * 10 + digit];
      EXPECT_NEAR(probability, one.data<float>()[digit], 1e-5F);
      EXPECT_GE(probability, 0.0F);
      sum += probability;
    }
    EXPECT_NEAR(sum, 1.0F, 1e-5F);
  }
}

TEST_F(DigitsTest, ViewIsReadAndNotWritten) {
  AlignedBuffer<float> image(64);
  Light(&image, 20);
  const std::vector<float> before = image.values();
  const auto outputs = infer_.Run({{"image", View(&image)}});
  EXPECT_EQ(image.values(), before);
  EXPECT_NE(outputs.at("probabilities").data(), image.data());
}

TEST_F(DigitsTest, ViewCountsNoCopy) {
  AlignedBuffer<float> image(64);
  const CopyStats before = GetCopyStats();
  infer_.Run({{"image", View(&image)}});
  const CopyStats after = GetCopyStats();
  EXPECT_EQ(before.count, after.count);
  EXPECT_EQ(before.bytes, after.bytes);
}

TEST_F(DigitsTest, OwnerOfAViewGoesWithTheView) {
  int released = 0;
  AlignedBuffer<float> image(64);
  {
    const Tensor view = View(
        &image, std::shared_ptr<void>(image.data(), [&released](void*) { ++released; }));
    infer_.Run({{"image", view}});
    EXPECT_EQ(released, 0);
  }
  EXPECT_EQ(released, 1);
}

TEST_F(DigitsTest, ComputedOutputIsExclusive) {
  Tensor output = infer_.Run({{"image", Black()}}).at("probabilities");
  ASSERT_TRUE(output.IsExclusive());
  output.mutable_data<float>()[0] = -1.0F;
  EXPECT_GE(infer_.Run({{"image", Black()}}).at("probabilities").data<float>()[0], 0.0F);
}

TEST_F(DigitsTest, BoundCallReadsItsMemoryAnew) {
  AlignedBuffer<float> image(64);
  Light(&image, 5);
  const BoundCall bound = infer_.Bind({{"image", View(&image)}});
  const auto first = Values<float>(bound.Run().at(0));
  EXPECT_EQ(first,
            Values<float>(infer_.Run({{"image", View(&image)}}).at("probabilities")));
  Light(&image, 50);
  const auto second = Values<float>(bound.Run().at(0));
  EXPECT_NE(first, second);
  EXPECT_EQ(second,
            Values<float>(infer_.Run({{"image", View(&image)}}).at("probabilities")));
}

TEST_F(DigitsTest, BoundCallKeepsItsOwner) {
  int released = 0;
  AlignedBuffer<float> image(64);
  std::optional<BoundCall> bound = infer_.BindPositional({View(
      &image, std::shared_ptr<void>(image.data(), [&released](void*) { ++released; }))});
  bound->Run();
  EXPECT_EQ(released, 0);
  bound.reset();
  EXPECT_EQ(released, 1);
}

TEST_F(DigitsTest, BoundCallChecksOnce) {
  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument, {"expected float32", "got int32"}, [&] {
    infer_.Bind({{"image", Tensor(DataType::kInt32, {1, 8, 8, 1})}});
  }));
  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument, {"missing input 'image'"},
                     [&] { infer_.Bind({}); }));
}

TEST_F(DigitsTest, WrongInputsAreNamed) {
  const std::string where = "model '" + DigitsPath() + "', signature 'serving_default'";
  const std::string expected = "expected float32 with shape (None, 8, 8, 1)";
  EXPECT_TRUE(
      Throws(ErrorCode::kInvalidArgument,
             {where, "input 'image'", expected, "got float64 with shape (1, 8, 8, 1)"},
             [&] { infer_.Run({{"image", Tensor(DataType::kDouble, {1, 8, 8, 1})}}); }));
  EXPECT_TRUE(
      Throws(ErrorCode::kInvalidArgument,
             {where, "input 'image'", expected, "got float32 with shape (1, 8, 9, 1)"},
             [&] { infer_.Run({{"image", Tensor(DataType::kFloat, {1, 8, 9, 1})}}); }));
  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument,
                     {where, "input 'image'", expected, "got float32 with shape (8, 8)"},
                     [&] { infer_.Run({{"image", Tensor(DataType::kFloat, {8, 8})}}); }));
  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument,
                     {where, "missing input 'image'", "float32"},
                     [&] { infer_.Run({}); }));
  EXPECT_TRUE(
      Throws(ErrorCode::kInvalidArgument,
             {where, "no input 'imago'", "did you mean 'image'?", "Inputs: 'image'"},
             [&] { infer_.Run({{"imago", Black()}}); }));
  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument, {where, "'image' is given twice"},
                     [&] { infer_.Run({{"image", Black()}, {"image", Black()}}); }));
  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument, {where, "expected 1 inputs, got 2"},
                     [&] { infer_.RunPositional({Black(), Black()}); }));
}

TEST_F(DigitsTest, WrongOutputsAreNamed) {
  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument,
                     {infer_.description(), "no output 'probability'",
                      "did you mean 'probabilities'?", "Outputs: 'probabilities'"},
                     [&] { infer_.Run({{"image", Black()}}, {"probability"}); }));
}

TEST_F(DigitsTest, RunAfterCloseIsAnError) {
  const BoundCall bound = infer_.Bind({{"image", Black()}});
  bound.Run();
  model_.Close();
  const auto closed = [](auto&& run) {
    return Throws(ErrorCode::kFailedPrecondition, {DigitsPath(), "closed"}, run);
  };
  EXPECT_TRUE(closed([&] { infer_.Run({{"image", Black()}}); }));
  EXPECT_TRUE(closed([&] { infer_.RunPositional({Black()}); }));
  EXPECT_TRUE(closed([&] { bound.Run(); }));
  EXPECT_EQ(infer_.name(), "serving_default");
}

TEST_F(DigitsTest, TracesWhenAskedTo) {
  RunOptions options;
  options.Set("trace_level", "FULL_TRACE");
  RunMetadata metadata;
  const auto outputs =
      infer_.Run({{"image", Black()}}, {"probabilities"}, &options, &metadata);
  EXPECT_EQ(outputs.at("probabilities").shape(), (Shape{1, 10}));
  EXPECT_FALSE(std::get<OptionMap>(metadata.Get("step_stats").value()).empty());
}

class SignatureTest : public testing::GeneratedModelTest {};

TEST_F(SignatureTest, PassedThroughOutputIsTheCallersMemory) {
  const Model model = Load("passthrough_output");
  AlignedBuffer<float> buffer{1, 2, 3};
  int released = 0;
  std::optional<Tensor> view =
      Tensor::View(buffer.data(), {3},
                   std::shared_ptr<void>(buffer.data(), [&](void*) { ++released; }));
  auto outputs = model.signature("serving_default")
                     .Run({{"x", *view},
                           {"s", Tensor::StringScalar(std::string_view("a\0b", 3))},
                           {"unused", Tensor::Scalar(std::int32_t{0})}});
  view.reset();
  EXPECT_EQ(outputs.at("x").data(), buffer.data());
  EXPECT_EQ(outputs.at("also_x").data(), buffer.data());
  EXPECT_NE(outputs.at("y").data(), buffer.data());
  EXPECT_EQ(Values<float>(outputs.at("y")), (std::vector<float>{2, 3, 4}));
  EXPECT_EQ(outputs.at("s").string_at(0), std::string_view("a\0b", 3));
  EXPECT_EQ(buffer.values(), (std::vector<float>{1, 2, 3}));

  // Also as the last holder, an output must not give out the caller's memory to be
  // written.
  outputs.erase("also_x");
  EXPECT_FALSE(outputs.at("x").IsExclusive());
  EXPECT_TRUE(Throws(ErrorCode::kFailedPrecondition, {},
                     [&] { outputs.at("x").mutable_data<float>(); }));
  EXPECT_EQ(released, 0);
  outputs.clear();
  EXPECT_EQ(released, 1);
}

class EngineCallTest : public testing::GeneratedModelTest {
 protected:
  // The only input of the signature, a matrix.
  static std::vector<Tensor> Rows(const Signature& signature, std::int64_t rows,
                                  float value) {
    Tensor input(DataType::kFloat, {rows, signature.inputs()[0].spec.shape.dims()[1]});
    for (std::int64_t i = 0; i < input.num_elements(); ++i)
      input.mutable_data<float>()[i] = value + 0.01F * static_cast<float>(i);
    return {input};
  }
};

#ifndef SAVEDMODEL_TSAN
TEST_F(EngineCallTest, AllocatesNothingButTheResult) {
  const Model model = Load("changing_weights");
  const Signature predict = model.signature("predict");
  ASSERT_EQ(predict.runner().name, "engine");
  const std::vector<Tensor> inputs = Rows(predict, 1, 0.5F);
  const BoundCall bound = predict.BindPositional(inputs);
  bound.Run();

  // The vector, and the tensor's memory with the count of its holders.
  allocations = 0;
  const std::vector<Tensor> first = bound.Run();
  EXPECT_EQ(allocations, 2);
  allocations = 0;
  const std::vector<Tensor> second = predict.RunPositional(inputs);
  EXPECT_EQ(allocations, 2);
  EXPECT_EQ(Values<float>(first[0]), Values<float>(second[0]));
  EXPECT_TRUE(first[0].IsExclusive());
  EXPECT_NE(first[0].data(), second[0].data());
}
#endif

// What one run leaves in its frame must not show in the next, and no two share one.
TEST_F(EngineCallTest, RunsOfDifferentSizesDoNotMeet) {
  const Model model = Load("keras_mlp");
  const Signature signature = model.signature("serving_default");
  std::vector<std::vector<Tensor>> inputs;
  std::vector<std::vector<float>> expected;
  for (int i = 0; i < 8; ++i) {
    inputs.push_back(Rows(signature, 1 + i % 4, 0.1F * static_cast<float>(i)));
    expected.push_back(Values<float>(signature.RunPositional(inputs.back())[0]));
  }
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (std::size_t thread = 0; thread < 20; ++thread) {  // more than frames are kept
    threads.emplace_back([&, thread] {
      for (std::size_t turn = 0; turn < 200; ++turn) {
        const std::size_t at = (3 * thread + turn) % inputs.size();
        std::vector<Tensor> outputs;
        if (turn % 2 == 0 || !signature.RunPositionalIfShort(inputs[at], &outputs))
          outputs = signature.RunPositional(inputs[at]);
        if (Values<float>(outputs[0]) != expected[at]) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong.load(), 0);
}

TEST_F(EngineCallTest, OnlyWhatWasShortIsRunIfShort) {
#ifdef SAVEDMODEL_TSAN
  GTEST_SKIP() << "nothing is short under ThreadSanitizer";
#endif
  Model model = Load("changing_weights");
  const Signature predict = model.signature("predict");
  const std::vector<Tensor> inputs = Rows(predict, 1, 0.5F);
  std::vector<Tensor> outputs;
  EXPECT_FALSE(predict.RunPositionalIfShort(inputs, &outputs));  // never run
  const BoundCall bound = predict.BindPositional(inputs);
  // Another process may hold up one run or the other, and a machine be slower than
  // kShortRun of cpp/src/run/engines.cc.
  using Clock = std::chrono::steady_clock;
  Clock::duration shortest = Clock::duration::max();
  const auto becomes_short = [&] {
    for (int i = 0; i < 10'000; ++i) {
      if (bound.RunIfShort(&outputs)) return true;
      const Clock::time_point start = Clock::now();
      bound.Run();
      shortest = std::min(shortest, Clock::now() - start);
    }
    return false;
  };
  if (!becomes_short()) {
    ASSERT_GE(shortest, std::chrono::microseconds(5));
    GTEST_SKIP() << "no run is short on this machine";
  }
  ASSERT_EQ(outputs.size(), 1U);
  EXPECT_EQ(Values<float>(outputs[0]), Values<float>(bound.Run()[0]));

  // More rows than any short run has had.
  outputs.clear();
  EXPECT_FALSE(predict.RunPositionalIfShort(Rows(predict, 500, 0.5F), &outputs));
  EXPECT_TRUE(outputs.empty());
  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument, {"expected float32"}, [&] {
    predict.RunPositionalIfShort({Tensor::Scalar(1.0F)}, &outputs);
  }));

  // A variable has changed: from now on runs read it, and it may be locked.
  model.signature("shift").RunPositional({Tensor::Scalar(1.0F)});
  EXPECT_FALSE(bound.RunIfShort(&outputs));
  EXPECT_FALSE(becomes_short());

  model.Close();
  EXPECT_TRUE(Throws(ErrorCode::kFailedPrecondition, {"is closed"},
                     [&] { bound.RunIfShort(&outputs); }));
}

TEST_F(EngineCallTest, WhatSizesDoNotTellIsNotRunIfShort) {
  const Model model = Load("dynamic_shapes");
  const Signature signature = model.signature("serving_default");
  ASSERT_EQ(signature.runner().name, "engine");
  const std::int32_t values[] = {1, 0, 2};
  const std::vector<Tensor> inputs = {Tensor::Copy(values, {3})};
  std::vector<Tensor> outputs;
  for (int i = 0; i < 100; ++i) {
    signature.RunPositional(inputs);
    ASSERT_FALSE(signature.RunPositionalIfShort(inputs, &outputs));
  }
}

TEST_F(SignatureTest, KernelsDoNotReuseAViewForTheirResult) {
  const Model model = Load("same_tensor_twice");
  AlignedBuffer<float> buffer{1, 2, 3};
  Tensor view = Tensor::View(buffer.data(), {3});
  std::vector<Tensor> inputs;
  inputs.push_back(std::move(view));
  const auto outputs = model.signature("serving_default").RunPositional(inputs);
  EXPECT_EQ(buffer.values(), (std::vector<float>{1, 2, 3}));
  for (const Tensor& output : outputs) {
    EXPECT_EQ(Values<float>(output), (std::vector<float>{2, 4, 6}));
    EXPECT_FALSE(output.IsExclusive());  // all three share one buffer
  }
}

TEST_F(SignatureTest, ConstantOutputIsNotExclusive) {
  const Model model = Load("no_inputs");
  const auto outputs = model.signature("constant").Run({});
  EXPECT_EQ(outputs.at("pi").data<float>()[0], 3.14159F);
  EXPECT_FALSE(outputs.at("pi").IsExclusive());
  EXPECT_EQ(outputs.at("names").string_at(3), std::string_view("d\0", 2));
  const auto squares =
      Values<std::int32_t>(model.signature("computed").Run({}).at("squares"));
  EXPECT_EQ(squares, (std::vector<std::int32_t>{0, 1, 4, 9, 16, 25, 36, 49, 64, 81}));
}

TEST_F(SignatureTest, AssignedInputIsNotKept) {
  const Model model = Load("assign_input");
  const Signature write = model.signature("write");
  const Signature read = model.signature("read");
  EXPECT_TRUE(write.retains_inputs());
  EXPECT_FALSE(read.retains_inputs());
  AlignedBuffer<float> buffer{1, 2, 3, 4};
  int released = 0;
  const CopyStats before = GetCopyStats();
  write.Run({{"x", Tensor::View(
                       buffer.data(), {2, 2},
                       std::shared_ptr<void>(buffer.data(), [&](void*) { ++released; }))},
             {"label", Tensor::StringScalar("first")}});
  const CopyStats after = GetCopyStats();
  EXPECT_EQ(released, 1);
  constexpr auto kRetained = static_cast<std::size_t>(CopyReason::kRetained);
  EXPECT_EQ(after.count[kRetained] - before.count[kRetained], 1U);
  EXPECT_EQ(after.bytes[kRetained] - before.bytes[kRetained], 16U);
  buffer[0] = 100;
  const auto stored = read.Run({});
  EXPECT_EQ(Values<float>(stored.at("x")), (std::vector<float>{1, 2, 3, 4}));
  EXPECT_EQ(stored.at("label").string_at(0), "first");

  // The same with options of the call, which takes another way.
  const RunOptions options;
  write.Run({{"x", Tensor::View(buffer.data(), {2, 2})},
             {"label", Tensor::StringScalar("second")}},
            {"rows"}, &options);
  buffer[1] = 200;
  EXPECT_EQ(Values<float>(read.Run({}).at("x")), (std::vector<float>{100, 2, 3, 4}));
}

TEST_F(SignatureTest, VariableOutputIsASnapshotAndNotExclusive) {
  const Model model = Load("assign_input");
  const Signature write = model.signature("write");
  const auto label = Tensor::StringScalar("");
  write.Run(
      {{"x", Tensor::Copy(std::vector<float>{1, 2}.data(), {1, 2})}, {"label", label}});
  const Tensor before = model.signature("read").Run({}).at("x");
  EXPECT_FALSE(before.IsExclusive());
  write.Run(
      {{"x", Tensor::Copy(std::vector<float>{3, 4}.data(), {1, 2})}, {"label", label}});
  EXPECT_EQ(Values<float>(before), (std::vector<float>{1, 2}));
}

TEST_F(SignatureTest, LaterUpdatesDoNotReachEarlierOutputs) {
  const Model model = Load("variable_value");
  const Signature add = model.signature("add");
  const auto first = add.Run({{"x", Tensor::Scalar(1.0F)}});
  const auto second = add.Run({{"x", Tensor::Scalar(10.0F)}});
  EXPECT_EQ(Values<float>(first.at("before")), (std::vector<float>{1, 2, 3}));
  EXPECT_EQ(Values<float>(first.at("after")), (std::vector<float>{2, 3, 4}));
  EXPECT_EQ(Values<float>(second.at("after")), (std::vector<float>{12, 13, 14}));
}

TEST_F(SignatureTest, SignaturesShareTheirVariables) {
  const Model model = Load("counter");
  const Signature add = model.signature("add");
  const auto count = [&] {
    return model.signature("read").Run({}).at("count").data<std::int64_t>()[0];
  };
  EXPECT_EQ(count(), 5);
  add.Run({{"by", Tensor::Scalar(std::int64_t{3})}});
  EXPECT_EQ(count(), 8);
  EXPECT_EQ(Load("counter").signature("read").Run({}).at("count").data<std::int64_t>()[0],
            5)
      << "another instance shares them too";
}

TEST_F(SignatureTest, KeepsItsModelUntilThatIsClosed) {
  const Signature read = Load("counter").signature("read");
  EXPECT_EQ(read.Run({}).at("count").data<std::int64_t>()[0], 5);
}

TEST_F(SignatureTest, SpecsAreSortedByName) {
  const Model model = Load("many_inputs_outputs");
  const auto names = [](const std::vector<NamedSpec>& specs) {
    std::vector<std::string> all;
    for (const NamedSpec& spec : specs) all.push_back(spec.name);
    return all;
  };
  const Signature mix = model.signature("serving_default");
  EXPECT_EQ(names(mix.inputs()),
            (std::vector<std::string>{"alpha", "flag", "mid", "zeta"}));
  EXPECT_EQ(names(mix.outputs()),
            (std::vector<std::string>{"a_count", "flag", "message", "z_sum"}));
}

TEST_F(SignatureTest, NamedPositionalAndPartialRunsAgree) {
  const Model model = Load("many_inputs_outputs");
  const Signature mix = model.signature("serving_default");
  const Tensor zeta = Floats({0.5F, 1.5F});
  const Tensor alpha = Tensor::Copy(std::vector<std::int64_t>{10, 20}.data(), {2});
  const Tensor mid = Tensor::StringScalar(std::string_view("m\0", 2));
  const Tensor flag = Tensor::Scalar(true);
  const auto check = [](const Tensor& a_count, const Tensor& flipped,
                        const Tensor& message, const Tensor& z_sum) {
    EXPECT_EQ(Values<std::int64_t>(a_count), std::vector<std::int64_t>{2});
    EXPECT_FALSE(flipped.data<bool>()[0]);
    EXPECT_EQ(message.string_at(0), std::string_view("m\0:true", 7));
    EXPECT_EQ(Values<float>(z_sum), (std::vector<float>{10.5F, 21.5F}));
  };
  const std::vector<std::pair<std::string, Tensor>> inputs = {
      {"zeta", zeta}, {"mid", mid}, {"flag", flag}, {"alpha", alpha}};
  const auto named = mix.Run(inputs);
  check(named.at("a_count"), named.at("flag"), named.at("message"), named.at("z_sum"));
  const auto ordered = mix.RunPositional({alpha, flag, mid, zeta});
  check(ordered.at(0), ordered.at(1), ordered.at(2), ordered.at(3));

  const auto some = mix.Run(inputs, {"z_sum", "message"});
  EXPECT_EQ(some.size(), 2U);
  check(named.at("a_count"), named.at("flag"), some.at("message"), some.at("z_sum"));
  const std::vector<int> positions = {3, 0, 3};
  const auto picked = mix.RunPositional({alpha, flag, mid, zeta}, &positions);
  ASSERT_EQ(picked.size(), 3U);
  check(picked[1], named.at("flag"), named.at("message"), picked[0]);
  EXPECT_EQ(picked[0].data(), picked[2].data());
}

TEST_F(SignatureTest, DefaultsStandInForInputsLeftOut) {
  const Model model = Load("default_inputs");
  const Signature scaled = model.signature("serving_default");
  const auto outputs = scaled.Run({{"x", Floats({1, 2})}});
  EXPECT_EQ(Values<float>(outputs.at("y")), (std::vector<float>{3.5F, 6.0F}));
  EXPECT_EQ(outputs.at("unit").string_at(0), std::string_view("m\0", 2));
  EXPECT_EQ(
      Values<float>(
          scaled.Run({{"x", Floats({1, 2})}, {"scale", Tensor::Scalar(10.0F)}}).at("y")),
      (std::vector<float>{11, 21}));
  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument, {"missing input 'x'"},
                     [&] { scaled.Run({}); }));
  int index = 0;
  for (const NamedSpec& input : scaled.inputs()) {
    EXPECT_EQ(input.has_default, input.name != "x");
    if (input.has_default) {
      EXPECT_EQ(scaled.default_input(index).dtype(), input.spec.dtype);
    }
    ++index;
  }
}

TEST_F(SignatureTest, NamesMayBeAnyString) {
  const Model model = Load("tf1_odd_names");
  const auto outputs = model.signature("any key:0")
                           .Run({{"x/y", Tensor::Scalar(2.0F)},
                                 {"class", Tensor::Scalar(5.0F)},
                                 {"self", Tensor::Scalar(7.0F)},
                                 {"", Tensor::Scalar(11.0F)}});
  const std::map<std::string, float> expected = {
      {"part:2", 7}, {"x/y", 2}, {"self", 35}, {"", 2}, {"ß", 7}};
  ASSERT_EQ(outputs.size(), expected.size());
  for (const auto& [name, value] : expected) {
    EXPECT_EQ(Values<float>(outputs.at(name)), std::vector<float>{value}) << name;
  }
}

TEST_F(SignatureTest, ShapesAreCheckedAsDeclared) {
  const Model model = Load("shapes");
  const auto run = [&](const char* signature, const Shape& shape) {
    Tensor x(DataType::kFloat, shape);
    std::memset(x.mutable_data(), 0, x.num_bytes());
    return model.signature(signature).Run({{"x", x}}).at("y").shape();
  };
  EXPECT_EQ(run("unknown_rank", {}), Shape{});
  EXPECT_EQ(run("unknown_rank", {2, 1, 3}), (Shape{2, 1, 3}));
  EXPECT_EQ(run("partial", {0, 3}), (Shape{0, 3}));
  EXPECT_EQ(run("zero_size", {0, 4}), (Shape{0, 4}));
  for (const auto& [signature, shape] : std::vector<std::pair<const char*, Shape>>{
           {"scalar", {1}}, {"fixed", {3, 2}}, {"partial", {3}}, {"zero_size", {1, 4}}}) {
    EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument,
                       {signature, "input 'x'", ToString(shape)},
                       [&] { run(signature, shape); }));
  }
}

TEST_F(SignatureTest, ManyDifferentSubsetsOfOutputs) {
  const Model model = Load("many_inputs_outputs");
  const Signature mix = model.signature("serving_default");
  const std::vector<Tensor> inputs = {
      Tensor::Copy(std::vector<std::int64_t>{1}.data(), {1}), Tensor::Scalar(false),
      Tensor::StringScalar("m"), Floats({1})};
  // 64 of them, more than are kept ready, and the first once more.
  for (int number = 0; number <= 64; ++number) {
    const std::vector<int> positions = {number % 4, number / 4 % 4, number / 16 % 4};
    const auto outputs = mix.RunPositional(inputs, &positions);
    ASSERT_EQ(outputs.size(), 3U);
    for (std::size_t i = 0; i < 3; ++i) {
      EXPECT_EQ(outputs[i].dtype(),
                mix.outputs()[static_cast<std::size_t>(positions[i])].spec.dtype);
    }
  }
}

TEST_F(SignatureTest, PositionsOutOfRangeAreRefused) {
  const Model model = Load("counter");
  const Signature read = model.signature("read");
  for (const int position : {-1, 1, 1000}) {
    const std::vector<int> positions = {position};
    EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument, {read.description()},
                       [&] { read.RunPositional({}, &positions); }));
    EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument, {read.description()},
                       [&] { (void)read.default_input(position); }));
  }
}

TEST_F(SignatureTest, CallOptionsSetADeadline) {
  const Model model = Load("while_loop");
  RunOptions options;
  options.Set("timeout_in_ms", 100);
  const Signature loop = model.signature("serving_default");
  EXPECT_TRUE(Throws(ErrorCode::kDeadlineExceeded, {loop.description()}, [&] {
    loop.Run({{"n", Tensor::Scalar(std::int32_t{2000000000})}}, {"y"}, &options);
  }));
  EXPECT_EQ(
      loop.Run({{"n", Tensor::Scalar(std::int32_t{10})}}).at("y").data<std::int64_t>()[0],
      55);
}

}  // namespace
}  // namespace savedmodel
