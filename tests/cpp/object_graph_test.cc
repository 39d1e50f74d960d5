#include "savedmodel/object_graph.h"

#include <array>
#include <atomic>
#include <cmath>
#include <cstring>
#include <fstream>
#include <functional>
#include <iterator>
#include <optional>
#include <thread>

#include "testing.h"

namespace savedmodel {
namespace {

namespace fs = std::filesystem;

using testing::AlignedBuffer;
using testing::DigitsPath;
using testing::Floats;
using testing::ModulePath;
using testing::TemporaryFolder;
using testing::Throws;
using testing::Values;

float ScalarOf(const Tensor& tensor) { return tensor.data<float>()[0]; }

Tensor Rows() { return Tensor::Copy(std::vector<float>{1, -2, 0.5F, 3}.data(), {2, 2}); }

// What `forward` of the module gives for two rows.
std::vector<float> Forward(const Model& model, bool training) {
  const Object layers = model.root()["layers"];
  const auto weights = [&](const char* layer, const char* name) {
    return Values<float>(layers[layer][name].variable().value());
  };
  const auto kernel = weights("0", "kernel");
  const auto bias = weights("0", "bias");
  const auto last = weights("1", "kernel");
  const float last_bias = weights("1", "bias")[0];
  const auto rows = Values<float>(Rows());
  std::vector<float> scores;
  for (std::size_t row = 0; row < 2; ++row) {
    float sum = last_bias;
    for (std::size_t unit = 0; unit < 2; ++unit) {
      const float hidden = rows[row * 2] * kernel[unit] +
                           rows[row * 2 + 1] * kernel[2 + unit] + bias[unit];
      sum += last[unit] * (training ? hidden : std::tanh(hidden));
    }
    scores.push_back(std::log1p(std::exp(sum)));
  }
  return scores;
}

void ExpectNear(const std::vector<float>& values, const std::vector<float>& expected) {
  ASSERT_EQ(values.size(), expected.size());
  for (std::size_t i = 0; i < values.size(); ++i)
    EXPECT_NEAR(values[i], expected[i], 1e-5F) << i;
}

TEST(ObjectTest, HasTheStructureThatWasSaved) {
  using Kind = Object::Kind;
  const Model model = Model::Load(ModulePath());
  const Object root = model.root();
  EXPECT_EQ(root.kind(), Kind::kObject);
  EXPECT_EQ(root.path(), "");
  EXPECT_EQ(root["itself"].id(), root.id());
  EXPECT_EQ(root["v"].kind(), Kind::kVariable);
  EXPECT_EQ(root["__call__"].kind(), Kind::kFunction);
  EXPECT_EQ(root["table"].kind(), Kind::kResource);

  const Object layers = root["layers"];
  EXPECT_EQ(layers.kind(), Kind::kList);
  ASSERT_EQ(layers.children().size(), 2U);
  EXPECT_EQ(layers.children()[1].first, "1");
  EXPECT_EQ(layers["1"]["kernel"].path(), "layers.1.kernel");
  EXPECT_EQ(root["by_name"].kind(), Kind::kDict);
  EXPECT_EQ(root["by_name"]["second"].id(), layers["1"].id());
  EXPECT_EQ(root["pair"].kind(), Kind::kTuple);
  EXPECT_EQ(root["pair"]["0"].variable(), root["v"].variable());

  EXPECT_EQ(root["signatures"].kind(), Kind::kDict);
  EXPECT_EQ(root["signatures"]["lookup"].kind(), Kind::kConcreteFunction);
  const Object constant = root["lookup"]["trace_0"]["capture_1"];
  EXPECT_EQ(constant.kind(), Kind::kConstant);
  EXPECT_EQ(Values<std::int64_t>(constant.constant()), std::vector<std::int64_t>{-1});

  EXPECT_EQ(root["vocabulary"].kind(), Kind::kAsset);
  const fs::path asset = root["vocabulary"].asset_path();
  EXPECT_TRUE(asset.is_absolute());
  EXPECT_TRUE(fs::equivalent(asset, fs::path(ModulePath()) / "assets" / "words.txt"));
}

TEST(ObjectTest, UnknownChildIsNotFoundWithTheChoice) {
  const Model model = Model::Load(ModulePath());
  EXPECT_TRUE(Throws(ErrorCode::kNotFound,
                     {ModulePath(), "'layer'", "did you mean 'layers'?", "'table'"},
                     [&] { (void)model.root()["layer"]; }));
}

TEST(ObjectTest, AnotherKindIsRefused) {
  const Model model = Model::Load(ModulePath());
  const Object layers = model.root()["layers"];
  const auto refused = [](const std::string& expected, const std::function<void()>& run) {
    return Throws(ErrorCode::kInvalidArgument,
                  {ModulePath(), "'layers'", "expected " + expected, "it is a list"},
                  run);
  };
  EXPECT_TRUE(refused("a function", [&] { (void)layers.function(); }));
  EXPECT_TRUE(refused("a concrete function", [&] { (void)layers.concrete_function(); }));
  EXPECT_TRUE(refused("a variable", [&] { (void)layers.variable(); }));
  EXPECT_TRUE(refused("a constant", [&] { (void)layers.constant(); }));
  EXPECT_TRUE(refused("an asset", [&] { (void)layers.asset_path(); }));
}

TEST(ObjectTest, CloseEndsEveryHandle) {
  std::optional<Model> model = Model::Load(ModulePath());
  const Object root = model->root();
  const Object asset = root["vocabulary"];
  const Function call = root["__call__"].function();
  const Function mutate = root["mutate"].function();
  const ConcreteFunction trace = call.concrete_functions()[0];
  const Variable v = root["v"].variable();
  call.Call({Tensor::Scalar(1.0F)});
  const Tensor value = v.value();
  model->Close();
  model.reset();
  const std::function<void()> calls[] = {
      [&] { (void)root.kind(); },
      [&] { (void)root.children(); },
      [&] { (void)root.child("v"); },
      [&] { (void)asset.asset_path(); },
      [&] { call.Call({Tensor::Scalar(1.0F)}); },    // compiled before
      [&] { mutate.Call({Tensor::Scalar(1.0F)}); },  // not compiled
      [&] { trace.Call({Tensor::Scalar(1.0F)}); },
      [&] { (void)Gradients(call, {Tensor::Scalar(1.0F)}, {}, {v}); },
      [&] { (void)v.value(); },
      [&] { v.Assign(Tensor::Scalar(1.0F)); },
      [&] { (void)v.device(); },
  };
  for (const auto& run : calls) {
    EXPECT_TRUE(Throws(ErrorCode::kFailedPrecondition, {ModulePath(), "closed"}, run));
  }
  EXPECT_EQ(ScalarOf(value), 1);
  EXPECT_EQ(v.name(), "Variable:0");
}

TEST(ObjectTest, HandlesOutliveAModelThatWasNotClosed) {
  std::optional<Model> model = Model::Load(ModulePath());
  const Object root = model->root();
  const Function call = root["__call__"].function();
  model.reset();
  EXPECT_EQ(ScalarOf(call.Call({Tensor::Scalar(2.0F)}).tensor()), 2);
  EXPECT_EQ(ScalarOf(root["v"].variable().value()), 1);
}

TEST(FunctionTest, CallsAndMutates) {
  const Model model = Model::Load(ModulePath());
  const Function call = model.root()["__call__"].function();
  EXPECT_EQ(call.name(), "__call__");
  EXPECT_EQ(ScalarOf(call.Call({Tensor::Scalar(3.0F)}).tensor()), 3);
  EXPECT_TRUE(model.root()["mutate"].function().Call({2.0}).is_none());
  EXPECT_EQ(ScalarOf(call.Call({Tensor::Scalar(3.0F)}).tensor()), 6);
  EXPECT_EQ(ScalarOf(call.Call({}, {{"x", Tensor::Scalar(4.0F)}}).tensor()), 8);
}

TEST(FunctionTest, PythonValuesChooseTheGraph) {
  const Model model = Model::Load(ModulePath());
  const Function forward = model.root()["forward"].function();
  EXPECT_EQ(forward.ToString(), "forward(x, training=False)");
  const auto scores = [&](Value::Elements args, Value::Items kwargs) {
    return Values<float>(
        forward.Call(std::move(args), std::move(kwargs)).at("score").tensor());
  };
  ExpectNear(scores({Rows()}, {}), Forward(model, false));
  ExpectNear(scores({Rows(), true}, {}), Forward(model, true));
  ExpectNear(scores({Rows()}, {{"training", true}}), Forward(model, true));
  ExpectNear(scores({}, {{"training", false}, {"x", Rows()}}), Forward(model, false));
}

TEST(FunctionTest, WithoutAMatchTheChoicesAreListed) {
  const Model model = Model::Load(ModulePath());
  const Function forward = model.root()["forward"].function();
  EXPECT_TRUE(
      Throws(ErrorCode::kInvalidArgument,
             {ModulePath(), "'forward'", "Could not find matching", "2 option(s)",
              "Option 2", "TensorSpec(shape=(None, 2), dtype=tf.float32, name='x')"},
             [&] { forward.Call({Floats({1, 2, 3})}); }));
  const Function mutate = model.root()["mutate"].function();
  const std::pair<Value::Elements, Value::Items> wrong[] = {
      {{}, {}},       {{1.0, 2.0}, {}},       {{}, {{"v", 1.0}}},
      {{"text"}, {}}, {{Floats({1, 2})}, {}}, {{Value::List({1.0, Value()})}, {}},
  };
  for (const auto& [args, kwargs] : wrong) {
    EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument, {ModulePath(), "'mutate'"},
                       [&, a = args, k = kwargs] { mutate.Call(a, k); }));
  }
  EXPECT_EQ(ScalarOf(model.root()["v"].variable().value()), 1);
}

TEST(FunctionTest, ConcreteFunctionsTakeTensors) {
  const Model model = Model::Load(ModulePath());
  const auto traces = model.root()["forward"].function().concrete_functions();
  ASSERT_EQ(traces.size(), 2U);
  const ConcreteFunction& trace = traces[0];
  EXPECT_EQ(trace.structured_input_signature().ToString(),
            "((TensorSpec(shape=(None, 2), dtype=tf.float32, name='x'), False), {})");
  EXPECT_EQ(trace.structured_outputs().ToString(),
            "{'score': TensorSpec(shape=(None, 1), dtype=tf.float32, name='score')}");
  ExpectNear(Values<float>(trace.Call({Rows()}).at("score").tensor()),
             Forward(model, false));
  ExpectNear(Values<float>(trace.Call({}, {{"x", Rows()}}).at("score").tensor()),
             Forward(model, false));
  const ConcreteFunction signature =
      model.root()["signatures"]["serving_default"].concrete_function();
  ExpectNear(Values<float>(signature.Call({}, {{"x", Rows()}}).at("score").tensor()),
             Forward(model, false));
}

TEST(FunctionTest, SharesVariablesAndTablesWithTheSignatures) {
  const Model model = Model::Load(ModulePath());
  const Signature signature = model.signature("serving_default");
  model.root()["layers"]["1"]["bias"].variable().Assign(Floats({-1.25F}));
  const auto expected = Forward(model, false);
  ExpectNear(Values<float>(signature.Run({{"x", Rows()}}).at("score")), expected);
  ExpectNear(Values<float>(
                 model.root()["forward"].function().Call({Rows()}).at("score").tensor()),
             expected);

  const Tensor words = Tensor::Strings({"two", "no such", "zero"}, {3});
  const std::vector<std::int64_t> lines{2, -1, 0};
  const Function lookup = model.root()["lookup"].function();
  EXPECT_EQ(Values<std::int64_t>(lookup.Call({words}).tensor()), lines);
  const Signature same = model.signature("lookup");
  EXPECT_EQ(Values<std::int64_t>(same.Run({{"words", words}}).at(same.outputs()[0].name)),
            lines);
}

TEST(VariableTest, DescribesItself) {
  const Model model = Model::Load(ModulePath());
  const Variable kernel = model.root()["layers"]["0"]["kernel"].variable();
  EXPECT_EQ(kernel.name(), "Variable:0");
  EXPECT_EQ(kernel.dtype(), DataType::kFloat);
  EXPECT_EQ(kernel.shape(), PartialShape({2, 2}));
  EXPECT_TRUE(kernel.trainable());
  EXPECT_EQ(kernel.device(), "/job:localhost/replica:0/task:0/device:CPU:0");
  EXPECT_EQ(Values<float>(kernel.value()),
            (std::vector<float>{0.5F, -0.25F, 0.125F, 1.0F}));
  EXPECT_FALSE(model.root()["count"].variable().trainable());

  const Variable same = model.root()["by_name"]["first"]["kernel"].variable();
  EXPECT_EQ(kernel, same);
  EXPECT_EQ(kernel.hash(), same.hash());
  EXPECT_NE(kernel, model.root()["layers"]["1"]["kernel"].variable());
  EXPECT_NE(kernel, Model::Load(ModulePath()).root()["layers"]["0"]["kernel"].variable());
}

TEST(VariableTest, ModelsListTheirs) {
  const Model module = Model::Load(ModulePath());
  EXPECT_EQ(module.variables().size(), 6U);
  EXPECT_EQ(module.trainable_variables().size(), 5U);
  EXPECT_TRUE(module.regularization_losses().empty());
  const Model digits = Model::Load(DigitsPath());
  EXPECT_EQ(digits.variables().size(), 10U);
  ASSERT_EQ(digits.trainable_variables().size(), 8U);
  EXPECT_EQ(digits.trainable_variables()[7].name(), "probabilities/bias:0");
}

TEST(VariableTest, ValueStaysAsItWasRead) {
  const Model model = Model::Load(ModulePath());
  const Variable v = model.root()["v"].variable();
  const Tensor before = v.value();
  EXPECT_FALSE(before.IsExclusive());
  model.root()["mutate"].function().Call({7.0});
  EXPECT_EQ(ScalarOf(before), 1);
  EXPECT_EQ(ScalarOf(v.value()), 7);
  const Variable count = model.root()["count"].variable();
  const Tensor five = count.value();
  model.root()["increment"].function().Call({});
  EXPECT_EQ(five.data<std::int64_t>()[0], 5);
  EXPECT_EQ(count.value().data<std::int64_t>()[0], 6);
}

TEST(VariableTest, AssignCopies) {
  const Model model = Model::Load(ModulePath());
  const Variable bias = model.root()["layers"]["0"]["bias"].variable();
  AlignedBuffer<float> buffer{3, 4};
  bias.Assign(Tensor::View(buffer.data(), {2}));
  buffer[0] = 100;
  EXPECT_EQ(Values<float>(bias.value()), (std::vector<float>{3, 4}));
}

TEST(VariableTest, WhatDoesNotFitIsNotAssigned) {
  const Model model = Model::Load(ModulePath());
  const Variable bias = model.root()["layers"]["0"]["bias"].variable();
  const auto before = Values<float>(bias.value());
  const Tensor wrong[] = {Floats({1}),
                          Floats({1, 2, 3}),
                          Tensor::Scalar(1.0F),
                          Tensor(DataType::kDouble, {2}),
                          Tensor::Strings({"a", "b"}, {2}),
                          Tensor(DataType::kFloat, {0})};
  for (const Tensor& value : wrong) {
    EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument,
                       {ModulePath(), "'Variable:0'", "float32 with shape (2,)"},
                       [&] { bias.Assign(value); }));
  }
  EXPECT_EQ(Values<float>(bias.value()), before);
}

TEST(VariableTest, ChangesWhatSignaturesAnswer) {
  const Model model = Model::Load(DigitsPath());
  const Tensor black = Tensor::Copy(std::vector<float>(64, 0.0F).data(), {1, 8, 8, 1});
  const Signature infer = model.signature("serving_default");
  const auto answer = [&] {
    return Values<float>(infer.Run({{"image", black}}).at("probabilities"));
  };
  const auto before = answer();
  const auto variables = model.trainable_variables();
  variables[6].Assign(Tensor::Copy(std::vector<float>(5120, 0.0F).data(), {512, 10}));
  variables[7].Assign(Floats(std::vector<float>(10, 0.0F)));
  ExpectNear(answer(), std::vector<float>(10, 0.1F));
  EXPECT_NE(answer(), before);
  const Value served = model.root()["serve"].function().Call({black});
  ExpectNear(Values<float>(served.at("probabilities").tensor()),
             std::vector<float>(10, 0.1F));
}

// A model of which nothing was asked for yet.
Model LoadBare(const std::string& path) {
  LoadOptions options;
  options.signatures.emplace();
  return Model::Load(path, options);
}

TEST(VariableTest, IsRestoredWhenItIsNeeded) {
  const Model model = LoadBare(ModulePath());
  EXPECT_EQ(model.bundle().load_report().bytes_restored, 0U);
  EXPECT_EQ(Values<float>(model.root()["layers"]["1"]["kernel"].variable().value()),
            (std::vector<float>{1.5F, -0.75F}));
  model.root()["v"].variable().Assign(Tensor::Scalar(4.0F));  // before it was restored
  EXPECT_EQ(
      ScalarOf(model.root()["__call__"].function().Call({Tensor::Scalar(2.0F)}).tensor()),
      8);
  EXPECT_EQ(
      Values<std::int64_t>(model.root()["increment"].function().Call({}).tensor())[0], 6);
}

// Changes the kernel of the module's first layer in the file.
void BreakKernel(const std::string& model) {
  const fs::path file = fs::path(model) / "variables" / "variables.data-00000-of-00001";
  std::string bytes;
  {
    std::ifstream in(file, std::ios::binary);
    bytes.assign(std::istreambuf_iterator<char>(in), {});
  }
  const std::array<float, 4> kernel{0.5F, -0.25F, 0.125F, 1.0F};
  const std::size_t place =
      bytes.find(std::string(reinterpret_cast<const char*>(kernel.data()), 16));
  ASSERT_NE(place, std::string::npos);
  bytes[place] = static_cast<char>(bytes[place] ^ 1);
  std::ofstream(file, std::ios::binary) << bytes;
}

TEST(VariableTest, BrokenValueIsAnErrorEachTime) {
  const TemporaryFolder folder;
  const std::string path = folder.Copy(ModulePath(), "broken");
  BreakKernel(path);
  EXPECT_TRUE(Throws(ErrorCode::kDataLoss, {path, "kernel"}, [&] { Model::Load(path); }));
  const Model model = LoadBare(path);
  const Object layer = model.root()["layers"]["0"];
  const Function forward = model.root()["forward"].function();
  for (int i = 0; i < 2; ++i) {
    EXPECT_TRUE(Throws(ErrorCode::kDataLoss, {path, "kernel"},
                       [&] { (void)layer["kernel"].variable().value(); }));
    EXPECT_TRUE(
        Throws(ErrorCode::kDataLoss, {path, "kernel"}, [&] { forward.Call({Rows()}); }));
    EXPECT_TRUE(Throws(ErrorCode::kDataLoss, {path, "kernel"},
                       [&] { model.Save((folder / "saved").string()); }));
    EXPECT_FALSE(fs::exists(folder / "saved"));
    // Nothing else suffers from it.
    EXPECT_EQ(Values<float>(layer["bias"].variable().value()),
              (std::vector<float>{0.1F, -0.2F}));
  }
  layer["kernel"].variable().Assign(Rows());
  ExpectNear(Values<float>(forward.Call({Rows()}).at("score").tensor()),
             Forward(model, false));
  model.Save((folder / "saved").string());
  EXPECT_EQ(Values<float>(Model::Load((folder / "saved").string())
                              .root()["layers"]["0"]["kernel"]
                              .variable()
                              .value()),
            Values<float>(Rows()));
}

// A gradient graph that could not be made leaves nothing behind that a later one takes
// for its own.
TEST(VariableTest, GradientsRecoverFromABrokenValue) {
  const TemporaryFolder folder;
  const std::string path = folder.Copy(ModulePath(), "broken");
  BreakKernel(path);
  const Model model = LoadBare(path);
  const Function forward = model.root()["forward"].function();
  const Variable kernel = model.root()["layers"]["0"]["kernel"].variable();
  const Variable bias = model.root()["layers"]["0"]["bias"].variable();
  EXPECT_TRUE(Throws(ErrorCode::kDataLoss, {path},
                     [&] { (void)Gradients(forward, {Rows()}, {}, {kernel}); }));
  kernel.Assign(Rows());
  EXPECT_EQ(Gradients(forward, {Rows()}, {}, {bias})[0].shape(), (Shape{2}));
  EXPECT_EQ(Gradients(forward, {Rows()}, {}, {kernel})[0].shape(), (Shape{2, 2}));
}

// Everything that makes the session grow, at once.
TEST(ObjectGraphThreadsTest, CallAssignReadAndCompileAtOnce) {
  for (int round = 0; round < 3; ++round) {
    const Model model = round == 0 ? Model::Load(ModulePath()) : LoadBare(ModulePath());
    const Object root = model.root();
    const std::vector<float> expected = Forward(Model::Load(ModulePath()), false);
    std::vector<Variable> weights;
    for (const Variable& variable : model.trainable_variables()) {
      if (variable != root["v"].variable()) weights.push_back(variable);
    }
    std::atomic<int> wrong{0};
    const auto check = [&](bool right) { wrong += !right; };
    constexpr int kCalls = 40;
    const std::function<void(int)> jobs[] = {
        [&](int call) {  // v is a small whole number, whoever wrote it
          const float x = 8;
          const Tensor y = root["__call__"].function().Call({Tensor::Scalar(x)}).tensor();
          const float v = ScalarOf(y) / x;
          check(v == std::floor(v) && v >= 1 && v <= kCalls && call >= 0);
        },
        [&](int call) {
          root["v"].variable().Assign(Tensor::Scalar(static_cast<float>(call + 1)));
        },
        [&](int call) {
          root["mutate"].function().Call({static_cast<double>(call + 1)});
        },
        [&](int) {
          const Tensor value = root["v"].variable().value();
          const float v = ScalarOf(value);
          std::this_thread::yield();
          check(v >= 1 && v <= kCalls && ScalarOf(value) == v);
        },
        [&](int) { root["increment"].function().Call({}); },
        [&](int) { root["increment"].function().Call({}); },
        [&](int) {
          const Value scores = root["forward"].function().Call({Rows()});
          const auto values = Values<float>(scores.at("score").tensor());
          check(std::abs(values.at(1) - expected[1]) < 1e-5F);
        },
        [&](int call) {  // a new graph for each subset of the variables
          std::vector<Variable> subset;
          for (std::size_t i = 0; i < weights.size(); ++i) {
            if (((call + 1) >> i) % 2 == 1) subset.push_back(weights[i]);
          }
          const auto gradients =
              Gradients(root["forward"].function(), {Rows(), call % 2 == 0}, {}, subset);
          check(gradients.size() == subset.size());
        },
        [&](int) {
          const Tensor words = Tensor::Strings({"one"}, {1});
          const Value line = root["lookup"].function().Call({words});
          check(line.tensor().data<std::int64_t>()[0] == 1);
        },
    };
    std::vector<std::thread> threads;
    for (const auto& job : jobs) {
      threads.emplace_back([&, job] {
        try {
          for (int call = 0; call < kCalls; ++call) job(call);
        } catch (const std::exception& error) {
          ++wrong;
          ADD_FAILURE() << error.what();
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(wrong, 0);
    EXPECT_EQ(root["count"].variable().value().data<std::int64_t>()[0], 5 + 2 * kCalls);
  }
}

TEST(ObjectGraphThreadsTest, CloseWhileOthersCall) {
  const Model model = Model::Load(ModulePath());
  const Function call = model.root()["__call__"].function();
  const Variable v = model.root()["v"].variable();
  std::atomic<int> answers{0};
  std::atomic<int> closed{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      try {
        for (;; ++answers) {
          call.Call({Tensor::Scalar(1.0F)});
          v.Assign(Tensor::Scalar(static_cast<float>(i)));
          (void)Gradients(call, {Tensor::Scalar(1.0F)}, {}, {v});
        }
      } catch (const Error& error) {
        closed += error.code() == ErrorCode::kFailedPrecondition;
      }
    });
  }
  while (answers < 50) std::this_thread::yield();
  model.Close();
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(closed, 4);
}

}  // namespace
}  // namespace savedmodel
