#include <cmath>
#include <limits>

#include "savedmodel/function.h"
#include "testing.h"

namespace savedmodel {
namespace {

using testing::Floats;
using testing::ModulePath;
using testing::Throws;
using testing::Values;

Tensor Rows() {
  return Tensor::Copy(std::vector<float>{1, -2, 0.5F, 3, -1, 0.25F}.data(), {3, 2});
}

// Column vector: what `forward` gives for three rows.
Tensor Column(const std::vector<float>& values) {
  return Tensor::Copy(values.data(), {static_cast<std::int64_t>(values.size()), 1});
}

class GradientsTest : public ::testing::Test {
 protected:
  Object root() const { return model_.root(); }
  Function function(const char* name) const { return root()[name].function(); }
  Variable v() const { return root()["v"].variable(); }
  std::vector<Variable> weights() const {
    std::vector<Variable> variables;
    for (const auto& [name, layer] : root()["layers"].children()) {
      variables.push_back(layer["kernel"].variable());
      variables.push_back(layer["bias"].variable());
    }
    return variables;
  }

  // The outputs' sum, each times its weight.
  double Loss(bool training, const std::vector<float>& output_weights) const {
    const Value output = function("forward").Call({Rows(), training});
    const auto scores = Values<float>(output.at("score").tensor());
    double loss = 0;
    for (std::size_t i = 0; i < scores.size(); ++i)
      loss += static_cast<double>(output_weights[i]) * static_cast<double>(scores[i]);
    return loss;
  }

  // Central differences for each element of each of the weights.
  void ExpectFiniteDifferences(const std::vector<Tensor>& gradients, bool training,
                               const std::vector<float>& output_weights) const {
    constexpr float kStep = 1.0F / 64;
    const auto variables = weights();
    ASSERT_EQ(gradients.size(), variables.size());
    for (std::size_t i = 0; i < variables.size(); ++i) {
      const Tensor original = variables[i].value();
      ASSERT_EQ(gradients[i].shape(), original.shape());
      for (std::size_t k = 0; k < Values<float>(original).size(); ++k) {
        const auto loss_at = [&](float offset) {
          Tensor moved = original.Clone();
          moved.mutable_data<float>()[k] += offset;
          variables[i].Assign(moved);
          return Loss(training, output_weights);
        };
        const double expected = (loss_at(kStep) - loss_at(-kStep)) / (2.0 * kStep);
        EXPECT_NEAR(Values<float>(gradients[i])[k], expected, 2e-3)
            << "variable " << i << ", element " << k;
      }
      variables[i].Assign(original);
    }
  }

  Model model_ = Model::Load(ModulePath());
};

TEST_F(GradientsTest, AreThoseOfTheOutputsSum) {
  for (const bool training : {false, true}) {
    ExpectFiniteDifferences(
        Gradients(function("forward"), {Rows()}, {{"training", training}}, weights()),
        training, {1, 1, 1});
  }
}

TEST_F(GradientsTest, TakeTheOutputsGradients) {
  const std::vector<float> given{0.5F, -2, 3};
  ExpectFiniteDifferences(Gradients(function("forward"), {Rows()}, {}, weights(),
                                    Value::Dict({{"score", Column(given)}})),
                          false, given);
  const ConcreteFunction training = function("forward").concrete_functions()[1];
  ExpectFiniteDifferences(Gradients(training, {Rows()}, {}, weights(), Column(given)),
                          true, given);
}

TEST_F(GradientsTest, FollowTheVariables) {
  const auto before = Gradients(function("forward"), {Rows()}, {}, weights());
  weights()[0].Assign(
      Tensor::Copy(std::vector<float>{-1, 2, 0.5F, 0.25F}.data(), {2, 2}));
  const auto after = Gradients(function("forward"), {Rows()}, {}, weights());
  EXPECT_NE(Values<float>(before[1]), Values<float>(after[1]));
  ExpectFiniteDifferences(after, false, {1, 1, 1});
}

TEST_F(GradientsTest, OrderAndRepetitionAreTheCallers) {
  const auto variables = weights();
  const auto gradients = Gradients(function("forward"), {Rows()}, {}, variables);
  const auto others = Gradients(function("forward"), {Rows()}, {},
                                {variables[3], variables[0], variables[3]});
  ASSERT_EQ(others.size(), 3U);
  EXPECT_EQ(Values<float>(others[0]), Values<float>(gradients[3]));
  EXPECT_EQ(Values<float>(others[1]), Values<float>(gradients[0]));
  EXPECT_EQ(Values<float>(others[2]), Values<float>(gradients[3]));
  EXPECT_TRUE(Gradients(function("forward"), {Rows()}, {}, {}).empty());
}

TEST_F(GradientsTest, UnconnectedVariablesHaveZeros) {
  const auto gradients =
      Gradients(function("__call__"), {Tensor::Scalar(3.0F)}, {}, {weights()[0], v()});
  EXPECT_EQ(Values<float>(gradients[0]), std::vector<float>(4, 0.0F));
  EXPECT_EQ(gradients[0].shape(), (Shape{2, 2}));
  EXPECT_EQ(Values<float>(gradients[1]), std::vector<float>{3});
}

// The guide's: SGD drives (10 - v * 2)^2 to nothing.
TEST_F(GradientsTest, FineTuneTheGuidesModule) {
  const Function call = function("__call__");
  const Tensor two = Tensor::Scalar(2.0F);
  float last_loss = std::numeric_limits<float>::max();
  for (int step = 0; step < 10; ++step) {
    const float error = 10 - call.Call({two}).tensor().data<float>()[0];
    EXPECT_LT(error * error, last_loss);
    last_loss = error * error;
    const auto gradients = Gradients(call, {two}, {}, {v()}, Tensor::Scalar(-2 * error));
    v().Assign(Tensor::Scalar(v().value().data<float>()[0] -
                              0.05F * gradients[0].data<float>()[0]));
  }
  EXPECT_NEAR(v().value().data<float>()[0], 5, 0.05);
}

TEST_F(GradientsTest, AnOpWithoutGradientIsNamed) {
  for (int i = 0; i < 2; ++i) {
    EXPECT_TRUE(Throws(ErrorCode::kUnimplemented, {ModulePath(), "power", "While"},
                       [&] { (void)Gradients(function("power"), {4.0}, {}, {v()}); }));
  }
  EXPECT_EQ(Values<float>(
                Gradients(function("__call__"), {Tensor::Scalar(3.0F)}, {}, {v()})[0]),
            std::vector<float>{3});
}

TEST_F(GradientsTest, WhatDoesNotFitIsRefused) {
  const Function forward = function("forward");
  const auto refused = [&](std::initializer_list<std::string> parts, auto&& run) {
    return Throws(ErrorCode::kInvalidArgument, parts, run);
  };
  EXPECT_TRUE(refused({ModulePath(), "forward", "'Variable:0'", "int64"}, [&] {
    (void)Gradients(forward, {Rows()}, {}, {root()["count"].variable()});
  }));
  const Model other = Model::Load(ModulePath());
  EXPECT_TRUE(refused({ModulePath(), "another model"}, [&] {
    (void)Gradients(forward, {Rows()}, {}, {other.root()["v"].variable()});
  }));
  EXPECT_TRUE(refused({"Could not find matching"}, [&] {
    (void)Gradients(forward, {Floats({1})}, {}, {weights()[0]});
  }));
  for (const Value& gradient : {Value(Column({1, 2})), Value(Tensor::Scalar(1.0F)),
                                Value("text"), Value::Tuple({Column({1, 2, 3}), 1.0})}) {
    EXPECT_TRUE(refused({ModulePath(), "forward"}, [&] {
      (void)Gradients(forward, {Rows()}, {}, weights(), gradient);
    })) << gradient.ToString();
  }
  // TensorFlow would take this one.
  EXPECT_TRUE(
      refused({ModulePath(), "gradient of output 0", "shape ()", "shape (1,)"}, [&] {
        (void)Gradients(function("__call__"), {Tensor::Scalar(3.0F)}, {}, {v()},
                        Floats({1}));
      }));
}

}  // namespace
}  // namespace savedmodel
