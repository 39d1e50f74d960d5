#include "savedmodel/session.h"

#include <memory>
#include <optional>

#include "testing.h"

namespace savedmodel {
namespace {

using testing::AlignedBuffer;
using testing::Floats;
using testing::Throws;
using testing::Values;

std::vector<float> Zeros(std::size_t size) { return std::vector<float>(size, 0.0F); }

// On the model that ships, whose one input is fed as "serving_default_image:0".
class SessionTest : public ::testing::Test {
 protected:
  static Model Load() {
    LoadOptions options;
    options.optimize = OptimizeLevel::kNone;
    return Model::Load(testing::DigitsPath(), options);
  }
  Model model_ = Load();
  Session session_ = model_.session();
  const std::string input_ = model_.signature("serving_default").inputs().at(0).spec.name;
  const std::string output_ =
      model_.signature("serving_default").outputs().at(0).spec.name;
  Tensor image_ = Tensor::Copy(Zeros(64).data(), {1, 8, 8, 1});
};

TEST_F(SessionTest, RunsByTensorName) {
  const auto outputs = session_.Run({{input_, image_}}, {output_});
  ASSERT_EQ(outputs.size(), 1U);
  EXPECT_EQ(outputs[0].shape(), (Shape{1, 10}));
  const auto same = model_.signature("serving_default").Run({{"image", image_}});
  EXPECT_EQ(Values<float>(outputs[0]), Values<float>(same.at("probabilities")));
}

TEST_F(SessionTest, OutputZeroMayBeLeftOut) {
  ASSERT_EQ(input_.substr(input_.size() - 2), ":0");
  const std::string node = input_.substr(0, input_.size() - 2);
  EXPECT_EQ(session_.Run({{node, image_}}, {output_})[0].shape(), (Shape{1, 10}));
  EXPECT_EQ(session_.tensor_spec(node).name, input_);
}

TEST_F(SessionTest, FetchesMayRepeatAndMayBeFed) {
  AlignedBuffer<float> buffer(64);
  const Tensor view = Tensor::View(buffer.data(), {1, 8, 8, 1});
  const auto outputs = session_.Run({{input_, view}}, {output_, input_, output_, input_});
  ASSERT_EQ(outputs.size(), 4U);
  EXPECT_EQ(outputs[0].data(), outputs[2].data());
  EXPECT_EQ(outputs[1].data(), buffer.data());
  EXPECT_EQ(outputs[3].data(), buffer.data());
  EXPECT_FALSE(outputs[0].IsExclusive());
  EXPECT_FALSE(outputs[1].IsExclusive());
}

TEST_F(SessionTest, FetchingOnlyAFedTensorRunsNothing) {
  const auto outputs = session_.Run({{input_, image_}}, {input_});
  ASSERT_EQ(outputs.size(), 1U);
  EXPECT_EQ(outputs[0].data(), image_.data());
}

TEST_F(SessionTest, UnknownNamesAreRefused) {
  const std::string path = testing::DigitsPath();
  EXPECT_TRUE(
      Throws(ErrorCode::kInvalidArgument,
             {path, "'serving_default_imago:0'", "did you mean 'serving_default_image'?"},
             [&] { session_.Run({{"serving_default_imago:0", image_}}, {output_}); }));
  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument, {path, "'nowhere'"},
                     [&] { session_.Run({{input_, image_}}, {"nowhere"}); }));
  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument, {path, "'nowhere'"},
                     [&] { session_.Run({{input_, image_}}, {}, {"nowhere"}); }));
  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument, {"1 outputs"}, [&] {
    session_.Run({{input_.substr(0, input_.size() - 1) + "9", image_}}, {output_});
  }));
  for (const char* name : {"", "^no_control", ":0", "a:b:c"}) {
    EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument, {path}, [&] {
      session_.Run({{input_, image_}}, {name});
    })) << name;
    EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument, {path}, [&] {
      session_.tensor_spec(name);
    })) << name;
  }
}

TEST_F(SessionTest, WrongFeedsAreRefused) {
  EXPECT_TRUE(Throws(
      ErrorCode::kInvalidArgument,
      {testing::DigitsPath(), input_, "expected dtype float32", "got float64"}, [&] {
        session_.Run({{input_, Tensor(DataType::kDouble, {1, 8, 8, 1})}}, {output_});
      }));
  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument, {input_, "more than once"}, [&] {
    session_.Run({{input_, image_}, {input_.substr(0, input_.size() - 2), image_}},
                 {output_});
  }));
  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument, {"nothing to run"},
                     [&] { session_.Run({{input_, image_}}, {}); }));
}

// What only the graph can tell.
TEST_F(SessionTest, TheGraphsOwnErrorsComeThrough) {
  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument, {testing::DigitsPath()},
                     [&] { session_.Run({}, {output_}); }));
  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument, {testing::DigitsPath()}, [&] {
    session_.Run({{input_, Tensor::Copy(Zeros(4).data(), {1, 2, 2, 1})}}, {output_});
  }));
}

TEST_F(SessionTest, TensorSpecsAreThoseOfTheGraph) {
  const TensorSpec spec = session_.tensor_spec(input_);
  EXPECT_EQ(spec.name, input_);
  EXPECT_EQ(spec.dtype, DataType::kFloat);
  EXPECT_EQ(spec.shape, PartialShape({-1, 8, 8, 1}));
}

TEST_F(SessionTest, ListsTheCpu) {
  const auto devices = session_.ListDevices();
  ASSERT_FALSE(devices.empty());
  EXPECT_EQ(devices[0].device_type, "CPU");
  EXPECT_NE(devices[0].name.find("/device:CPU:0"), std::string::npos) << devices[0].name;
  EXPECT_GT(devices[0].memory_limit, 0);
}

TEST_F(SessionTest, TracesWhenAskedTo) {
  RunOptions options;
  options.Set("trace_level", "FULL_TRACE");
  RunMetadata metadata;
  session_.Run({{input_, image_}}, {output_}, {}, &options, &metadata);
  const OptionMap stats = std::get<OptionMap>(metadata.Get("step_stats").value());
  ASSERT_FALSE(stats.empty());
  EXPECT_EQ(stats[0].first, "dev_stats");
  EXPECT_FALSE(std::get<OptionList>(stats[0].second.value()).empty());

  RunMetadata untraced;
  session_.Run({{input_, image_}}, {output_}, {}, nullptr, &untraced);
  EXPECT_TRUE(std::get<OptionMap>(untraced.Get("step_stats").value()).empty());
}

TEST_F(SessionTest, CallableRunsAgainAndAgain) {
  AlignedBuffer<float> buffer(64);
  const Tensor view = Tensor::View(buffer.data(), {1, 8, 8, 1});
  const Callable callable = session_.MakeCallable({input_}, {output_, input_});
  ASSERT_EQ(callable.feeds().size(), 1U);
  EXPECT_EQ(callable.feeds()[0].name, input_);
  EXPECT_EQ(callable.feeds()[0].dtype, DataType::kFloat);
  EXPECT_FALSE(callable.retains_feeds());
  const auto zeros = callable.Run({view});
  EXPECT_EQ(zeros[1].data(), buffer.data());
  buffer[27] = 1.0F;
  const auto dotted = callable.Run({view});
  EXPECT_NE(Values<float>(zeros[0]), Values<float>(dotted[0]));
  EXPECT_EQ(Values<float>(dotted[0]),
            Values<float>(session_.Run({{input_, view}}, {output_})[0]));
}

TEST_F(SessionTest, CallableChecksItsFeeds) {
  const Callable callable = session_.MakeCallable({input_}, {output_});
  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument, {"expected 1 feeds, got 0"},
                     [&] { callable.Run({}); }));
  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument, {"expected 1 feeds, got 2"},
                     [&] { callable.Run({image_, image_}); }));
  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument, {input_, "float32", "int32"},
                     [&] { callable.Run({Tensor(DataType::kInt32, {1, 8, 8, 1})}); }));
  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument, {"nowhere"},
                     [&] { session_.MakeCallable({"nowhere"}, {output_}); }));
  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument, {"nothing to run"},
                     [&] { session_.MakeCallable({input_}, {}); }));
}

TEST_F(SessionTest, CallableTracesIfMadeTo) {
  RunOptions options;
  options.Set("trace_level", "FULL_TRACE");
  const Callable callable = session_.MakeCallable({input_}, {output_}, {}, &options);
  RunMetadata metadata;
  callable.Run({image_}, &metadata);
  EXPECT_FALSE(std::get<OptionMap>(metadata.Get("step_stats").value()).empty());
}

TEST_F(SessionTest, CallableOutlivesItsHandlesAndEndsWithClose) {
  std::optional<Callable> callable = session_.MakeCallable({input_}, {output_});
  const Callable copy = *callable;
  callable.reset();
  EXPECT_EQ(copy.Run({image_})[0].shape(), (Shape{1, 10}));
  session_.Close();
  EXPECT_TRUE(Throws(ErrorCode::kFailedPrecondition, {testing::DigitsPath(), "closed"},
                     [&] { copy.Run({image_}); }));
}

TEST_F(SessionTest, CloseEndsEveryUse) {
  const Session other = session_;
  other.Close();
  const auto closed = [](auto&& run) {
    return Throws(ErrorCode::kFailedPrecondition, {"closed"}, run);
  };
  EXPECT_TRUE(closed([&] { session_.Run({{input_, image_}}, {output_}); }));
  EXPECT_TRUE(closed([&] { session_.MakeCallable({input_}, {output_}); }));
  EXPECT_TRUE(closed([&] { session_.ListDevices(); }));
  EXPECT_TRUE(closed([&] { session_.tensor_spec(input_); }));
  EXPECT_NO_THROW(session_.Close());
}

class GeneratedSessionTest : public testing::GeneratedModelTest {};

TEST_F(GeneratedSessionTest, FeedsAndFetchesAnyTensor) {
  const Model model = Load("tf1_no_placeholder_shape");
  const Session session = model.session();
  const std::string y = model.signature("free").outputs().at(0).spec.name;
  // "keep" has the default 0.5, and y is x * keep.
  EXPECT_EQ(Values<float>(session.Run({}, {"keep"})[0]), std::vector<float>{0.5F});
  EXPECT_EQ(Values<float>(session.Run({{"x", Floats({2, 4})}}, {y})[0]),
            (std::vector<float>{1, 2}));
  EXPECT_EQ(Values<float>(session.Run(
                {{"x", Floats({2, 4})}, {"keep", Tensor::Scalar(3.0F)}}, {y})[0]),
            (std::vector<float>{6, 12}));
  EXPECT_TRUE(session.tensor_spec("x").shape.unknown_rank());
  EXPECT_EQ(session.tensor_spec("keep").shape, PartialShape(Shape{}));
}

TEST_F(GeneratedSessionTest, TargetsRunWithoutAFetch) {
  const Model model = Load("tf1_counter");
  const Session session = model.session();
  const std::string add = model.signature("add").outputs().at(0).spec.name;
  const std::string read = model.signature("read").outputs().at(0).spec.name;
  EXPECT_TRUE(session.Run({{"step", Tensor::Scalar(2.0F)}}, {}, {add}).empty());
  EXPECT_EQ(Values<float>(session.Run({}, {read})[0]), std::vector<float>{12.0F});
}

// A reference variable is written in place: what was fetched before must not change with
// it.
TEST_F(GeneratedSessionTest, FetchedReferenceVariableIsASnapshot) {
  const Model model = Load("tf1_counter");
  const auto before = model.signature("reference").Run({});
  model.signature("add").Run({{"step", Tensor::Scalar(2.0F)}});
  EXPECT_EQ(Values<float>(before.at("total")), std::vector<float>{10.0F});
  EXPECT_EQ(Values<float>(model.signature("reference").Run({}).at("total")),
            std::vector<float>{12.0F});
}

TEST_F(GeneratedSessionTest, FeedOfAnAssignmentIsCopied) {
  const Model model = Load("assign_input");
  const Session session = model.session();
  const Signature write = model.signature("write");
  const std::string x = write.inputs().at(1).spec.name;
  const std::string label = write.inputs().at(0).spec.name;
  const std::string rows = write.outputs().at(0).spec.name;
  const auto stored = [&] {
    return Values<float>(model.signature("read").Run({}).at("x"));
  };

  const Callable callable = session.MakeCallable({x, label}, {rows});
  EXPECT_TRUE(callable.retains_feeds());
  AlignedBuffer<float> buffer{1, 2, 3, 4};
  const Tensor view = Tensor::View(buffer.data(), {2, 2});
  callable.Run({view, Tensor::StringScalar("a")});
  buffer[0] = 100;
  EXPECT_EQ(stored(), (std::vector<float>{1, 2, 3, 4}));

  session.Run({{x, view}, {label, Tensor::StringScalar("a")}}, {rows});
  buffer[0] = 200;
  EXPECT_EQ(stored(), (std::vector<float>{100, 2, 3, 4}));
}

TEST_F(GeneratedSessionTest, TimeoutEndsALoop) {
  const Model model = Load("while_loop");
  RunOptions options;
  options.Set("timeout_in_ms", 100);
  const std::string n = model.signature("serving_default").inputs().at(0).spec.name;
  const std::string y = model.signature("serving_default").outputs().at(0).spec.name;
  EXPECT_TRUE(Throws(ErrorCode::kDeadlineExceeded, {Path("while_loop")}, [&] {
    model.session().Run({{n, Tensor::Scalar(std::int32_t{2000000000})}}, {y}, {},
                        &options);
  }));
}

TEST_F(SessionTest, FunctionsCanBeInlined) {
  for (int i = 0; i < 2; ++i) {  // once more changes nothing
    const InlinedFunctions inlined = session_.InlineFunctions({output_});
    ASSERT_EQ(inlined.tensors.size(), 1U);
    EXPECT_FALSE(inlined.targets.empty());
    std::string logits;
    for (const std::string& node : inlined.nodes) {
      if (node.size() > 7 && node.substr(node.size() - 7) == "/MatMul") logits = node;
    }
    ASSERT_FALSE(logits.empty());
    const auto outputs = session_.Run(
        {{input_, image_}}, {inlined.tensors[0], logits, output_}, inlined.targets);
    EXPECT_EQ(outputs[1].shape(), (Shape{1, 10}));
    const std::vector<float> direct = Values<float>(outputs[2]);
    const std::vector<float> copy = Values<float>(outputs[0]);
    for (std::size_t j = 0; j < direct.size(); ++j)
      EXPECT_NEAR(copy[j], direct[j], 1e-6) << j;
  }
  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument, {"nowhere"},
                     [&] { session_.InlineFunctions({"nowhere:0"}); }));
}

TEST(SessionOfTheLoaderTest, ItsGraphIsFixed) {
  const SavedModelBundle bundle =
      LoadSavedModel({}, {}, testing::DigitsPath(), {"serve"});
  EXPECT_TRUE(Throws(ErrorCode::kFailedPrecondition, {"cannot grow"}, [&] {
    bundle.session().InlineFunctions({"StatefulPartitionedCall:0"});
  }));
}

}  // namespace
}  // namespace savedmodel
