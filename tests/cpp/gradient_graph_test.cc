#include "run/gradient_graph.h"

#include <cmath>
#include <memory>

#include "core/runtime.h"
#include "tensorflow/core/framework/function.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/public/session.h"
#include "tensorflow/core/public/version.h"
#include "testing.h"

namespace savedmodel {
namespace {

namespace tf = tensorflow;

using testing::Throws;
using FDH = tf::FunctionDefHelper;
using BodyNode = FDH::Node;

// Functions of float vectors `x` and a variable "w" in a session of their own.
class GradientGraphTest : public ::testing::Test {
 protected:
  void SetUp() override {
    EnsureRuntime();
    tf::SessionOptions options;
    options.config.mutable_experimental()->set_disable_optimize_for_static_graph(true);
    session_.reset(tf::NewSession(options));
    versions_.set_producer(TF_GRAPH_DEF_VERSION);
    variable_.set_name("w");
    variable_.set_op("VarHandleOp");
    (*variable_.mutable_attr())["dtype"].set_type(tf::DT_FLOAT);
    (*variable_.mutable_attr())["shape"].mutable_shape()->add_dim()->set_size(2);
    (*variable_.mutable_attr())["shared_name"].set_s("w");
    tf::GraphDef graph;
    *graph.mutable_versions() = versions_;
    *graph.add_node() = variable_;
    tf::NodeDef* value = graph.add_node();
    value->set_name("value");
    value->set_op("Placeholder");
    (*value->mutable_attr())["dtype"].set_type(tf::DT_FLOAT);
    tf::NodeDef* assign = graph.add_node();
    assign->set_name("assign");
    assign->set_op("AssignVariableOp");
    (*assign->mutable_attr())["dtype"].set_type(tf::DT_FLOAT);
    assign->add_input("w");
    assign->add_input("value");
    ASSERT_TRUE(session_->Extend(graph).ok());
  }

  // A function (x, w) -> y.
  void Define(const std::string& name, const std::vector<BodyNode>& body,
              const std::string& result,
              const std::vector<std::pair<std::string, std::string>>& controls = {}) {
    *library_.add_function() =
        FDH::Create(name, {"x: float", "w: resource"}, {"y: float"}, {}, body,
                    {{"y", result}}, controls);
  }
  static BodyNode Op(
      const std::string& name, const std::string& op,
      const std::vector<std::string>& inputs,
      const std::vector<std::pair<std::string, FDH::AttrValueWrapper>>& attributes,
      const std::vector<std::string>& after = {}) {
    BodyNode node;
    node.ret = {name};
    node.op = op;
    node.arg = inputs;
    node.attr = attributes;
    node.dep = after;
    return node;
  }
  static BodyNode Read(const std::string& name,
                       const std::vector<std::string>& after = {}) {
    return Op(name, "ReadVariableOp", {"w"}, {{"dtype", tf::DT_FLOAT}}, after);
  }
  static BodyNode Assign(const std::string& name, const std::string& value) {
    return Op(name, "AssignVariableOp", {"w", value}, {{"dtype", tf::DT_FLOAT}});
  }
  static BodyNode Arithmetic(const std::string& name, const std::string& op,
                             const std::vector<std::string>& inputs) {
    return Op(name, op, inputs, {{"T", tf::DT_FLOAT}});
  }
  static BodyNode CallOf(const std::string& name, const std::string& function,
                         const std::string& x,
                         const std::vector<std::string>& after = {}) {
    return Op(name, "StatefulPartitionedCall", {x, "w"},
              {{"Tin", tf::DataTypeSlice{tf::DT_FLOAT, tf::DT_RESOURCE}},
               {"Tout", tf::DataTypeSlice{tf::DT_FLOAT}},
               {"f", FDH::FunctionRef(function)}},
              after);
  }

  GradientGraph Build(const std::string& function) {
    return BuildGradientGraph({library_,
                               objects_,
                               versions_,
                               function,
                               {"w:0"},
                               {variable_},
                               {"w"},
                               "g",
                               "model 'm'"});
  }

  // The output, the gradient for an output gradient of ones, and the variable after the
  // call, for x = (1, 2) and w = (3, 4).
  struct Answer {
    std::vector<float> output;
    std::vector<float> gradient;
    std::vector<float> variable;
  };
  Answer Run(const std::string& function) {
    const GradientGraph built = Build(function);
    const absl::Status extended = session_->Extend(built.graph);
    EXPECT_TRUE(extended.ok()) << extended.ToString();
    EXPECT_EQ(built.feeds.size(), 1U);
    EXPECT_EQ(built.outputs.size(), 1U);
    EXPECT_EQ(built.gradients.size(), 1U);
    const auto vector = [](float a, float b) {
      tf::Tensor tensor(tf::DT_FLOAT, {2});
      tensor.flat<float>()(0) = a;
      tensor.flat<float>()(1) = b;
      return tensor;
    };
    const auto values = [](const tf::Tensor& tensor) {
      const auto flat = tensor.flat<float>();
      return std::vector<float>(flat.data(), flat.data() + flat.size());
    };
    EXPECT_TRUE(session_->Run({{"value", vector(3, 4)}}, {}, {"assign"}, nullptr).ok());
    std::vector<tf::Tensor> fetched;
    const absl::Status ran = session_->Run(
        {{built.feeds[0], vector(1, 2)}, {built.output_gradient_feeds[0], vector(1, 1)}},
        {built.outputs[0], built.gradients[0]}, {}, &fetched);
    EXPECT_TRUE(ran.ok()) << ran.ToString();
    if (!ran.ok()) return {};
    Answer answer{values(fetched[0]), values(fetched[1]), {}};
    tf::GraphDef graph;
    *graph.mutable_versions() = versions_;
    tf::NodeDef* read = graph.add_node();
    read->set_name("read");
    read->set_op("ReadVariableOp");
    (*read->mutable_attr())["dtype"].set_type(tf::DT_FLOAT);
    read->add_input("w");
    EXPECT_TRUE(session_->Extend(graph).ok());
    EXPECT_TRUE(session_->Run({}, {"read:0"}, {}, &fetched).ok());
    answer.variable = values(fetched[0]);
    return answer;
  }

  tf::FunctionDefLibrary library_;
  tf::SavedObjectGraph objects_;
  tf::VersionDef versions_;
  tf::NodeDef variable_;
  std::unique_ptr<tf::Session> session_;
};

using Floats = std::vector<float>;

TEST_F(GradientGraphTest, ThroughNestedCalls) {
  Define("inner", {Read("r"), Arithmetic("m", "Mul", {"x", "r:value:0"})}, "m:z:0");
  Define("outer",
         {CallOf("a", "inner", "x"), CallOf("b", "inner", "a:output:0"),
          Arithmetic("sum", "AddV2", {"a:output:0", "b:output:0"})},
         "sum:z:0");
  const Answer answer = Run("outer");  // x w + x w w
  EXPECT_EQ(answer.output, (Floats{12, 40}));
  EXPECT_EQ(answer.gradient, (Floats{7, 18}));
  EXPECT_EQ(answer.variable, (Floats{3, 4}));
}

TEST_F(GradientGraphTest, SideEffectsKeepTheirOrder) {
  Define(
      "change",
      {Read("r"), Arithmetic("m", "Mul", {"r:value:0", "x"}), Assign("assign", "m:z:0")},
      "m:z:0", {{"assign", "assign"}});
  Define("outer",
         {CallOf("a", "change", "x"), Read("r", {"a"}),
          Arithmetic("m", "Mul", {"a:output:0", "r:value:0"}),
          CallOf("last", "change", "x", {"r"})},
         "m:z:0", {{"last", "last"}});
  // w becomes x w, is read, and becomes x x w; the assignment itself has no gradient, so
  // what a read gives is as good as a constant for the other: x w * (x w) -> x * (x w) +
  // (x w).
  const Answer answer = Run("outer");
  EXPECT_EQ(answer.output, (Floats{9, 64}));
  EXPECT_EQ(answer.gradient, (Floats{3 + 3, 2 * 8 + 8}));
  EXPECT_EQ(answer.variable, (Floats{3, 16}));
}

TEST_F(GradientGraphTest, NoWayToTheVariable) {
  Define("f", {Arithmetic("y", "Neg", {"x"})}, "y:y:0");
  Define("stopped",
         {Read("r"), Arithmetic("s", "StopGradient", {"r:value:0"}),
          Arithmetic("y", "Mul", {"x", "s:output:0"})},
         "y:z:0");
  for (const char* function : {"f", "stopped"}) {
    const GradientGraph built = Build(function);
    EXPECT_EQ(built.gradients, std::vector<std::string>{""});
    EXPECT_EQ(built.outputs, std::vector<std::string>{"g/output_0:0"});
  }
  EXPECT_EQ(Build("f").output_gradient_feeds, std::vector<std::string>{""});
}

TEST_F(GradientGraphTest, OpsWithoutAGradientAreNamed) {
  Define("f",
         {Read("r"), Arithmetic("e", "Digamma", {"r:value:0"}),
          Arithmetic("m", "Mul", {"x", "e:y:0"})},
         "m:z:0");
  Define("outer", {CallOf("a", "f", "x")}, "a:output:0");
  EXPECT_TRUE(Throws(ErrorCode::kUnimplemented,
                     {"model 'm'", "'g/call/a/e'", "op Digamma in function 'f'"},
                     [&] { Build("outer"); }));
  // The symbolic gradients themselves crash on this one.
  Define("loop", {Read("r"), Arithmetic("e", "Exit", {"r:value:0"})}, "e:output:0");
  EXPECT_TRUE(Throws(ErrorCode::kUnimplemented, {"op Exit in function 'loop'"},
                     [&] { Build("loop"); }));
}

// Each has the value of the op itself and the gradient of another.
TEST_F(GradientGraphTest, OpsWithAStandIn) {
  Define("rounded",
         {Read("r"), Arithmetic("m", "Mul", {"x", "r:value:0"}),
          Arithmetic("c", "Rint", {"m:z:0"}), Arithmetic("y", "Mul", {"m:z:0", "c:y:0"})},
         "y:z:0");
  const Answer rounded = Run("rounded");
  EXPECT_EQ(rounded.output, (Floats{9, 64}));
  EXPECT_EQ(rounded.gradient, (Floats{3, 16}));
}

TEST_F(GradientGraphTest, ErfcKeepsItsPrecision) {
  Define("f", {Read("r"), Arithmetic("y", "Erfc", {"r:value:0"})}, "y:y:0");
  const Answer answer = Run("f");
  for (const std::size_t i : {0U, 1U}) {
    const float w = i == 0 ? 3 : 4;
    // 1 - erf(4) is zero in float32.
    EXPECT_FLOAT_EQ(answer.output[i], std::erfc(w));
    EXPECT_FLOAT_EQ(answer.gradient[i], -std::exp(-w * w) * 2 / std::sqrt(3.14159265F));
  }
}

// y = 2 w x with the gradient 10 dy x, as tf.custom_gradient saves it.
TEST_F(GradientGraphTest, CustomGradient) {
  Define("f",
         {Read("r"), Arithmetic("m", "Mul", {"x", "r:value:0"}),
          Arithmetic("two", "AddV2", {"m:z:0", "m:z:0"}),
          Op("n", "IdentityN", {"two:z:0", "r:value:0"},
             {{"T", tf::DataTypeSlice{tf::DT_FLOAT, tf::DT_FLOAT}},
              {"_gradient_op_type", "CustomGradient-1"}})},
         "n:output:0");
  EXPECT_TRUE(Throws(ErrorCode::kUnimplemented, {"'CustomGradient-1'", "'g/call/n'"},
                     [&] { Build("f"); }));

  *library_.add_function() = FDH::Create(
      "df", {"dy: float", "unused: float", "x: float"}, {"dr: float"}, {},
      {Op("ten", "Const", {}, {{"dtype", tf::DT_FLOAT}, {"value", tf::Tensor(10.0F)}}),
       Arithmetic("m", "Mul", {"dy", "x"}),
       Arithmetic("dr", "Mul", {"m:z:0", "ten:output:0"})},
      {{"dr", "dr:z:0"}});
  auto* registered = library_.add_registered_gradients();
  registered->set_gradient_func("df");
  registered->set_registered_op_type("CustomGradient-1");
  EXPECT_TRUE(Throws(ErrorCode::kUnimplemented, {"function 'df'", "for each input"},
                     [&] { Build("f"); }));

  tf::SavedConcreteFunction& saved = (*objects_.mutable_concrete_functions())["df"];
  auto* outputs = saved.mutable_output_signature()->mutable_list_value();
  outputs->add_values()->mutable_none_value();
  outputs->add_values()->mutable_tensor_spec_value();
  saved.add_bound_inputs(0);
  EXPECT_TRUE(Throws(ErrorCode::kUnimplemented, {"function 'df'", "not in the graph"},
                     [&] { Build("f"); }));

  auto* captured = objects_.add_nodes()->mutable_captured_tensor();
  captured->set_name("x:0");
  captured->set_concrete_function("f");
  const Answer answer = Run("f");
  EXPECT_EQ(answer.output, (Floats{6, 16}));
  EXPECT_EQ(answer.gradient, (Floats{10, 20}));
}

TEST_F(GradientGraphTest, HostileFunctions) {
  Define("missing", {CallOf("a", "absent", "x")}, "a:output:0");
  EXPECT_TRUE(Throws(ErrorCode::kNotFound, {"'absent'"}, [&] { Build("missing"); }));
  EXPECT_TRUE(Throws(ErrorCode::kNotFound, {"'absent'"}, [&] { Build("absent"); }));
  Define("itself", {CallOf("a", "itself", "x")}, "a:output:0");
  EXPECT_TRUE(Throws(ErrorCode::kResourceExhausted, {"'itself'", "too many"},
                     [&] { Build("itself"); }));
  Define("f", {Read("r"), Arithmetic("m", "Mul", {"x", "r:value:0"})}, "m:z:0");
  Define("cycle", {CallOf("a", "f", "b:output:0"), CallOf("b", "through", "b:output:0")},
         "b:output:0");
  Define("through", {}, "x");
  EXPECT_TRUE(
      Throws(ErrorCode::kInvalidArgument, {"its own input"}, [&] { Build("cycle"); }));
  *library_.add_function() =
      FDH::Create("no_input", {}, {"y: float"}, {}, {Arithmetic("y", "Neg", {"y:y:0"})},
                  {{"y", "y:y:0"}});
  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument, {"'no_input'", "captures"},
                     [&] { Build("no_input"); }));
  // Each calls the one before twice.
  std::string before = "f";
  for (int i = 0; i < 64; ++i) {
    const std::string name = "twice" + std::to_string(i);
    Define(name, {CallOf("a", before, "x"), CallOf("b", before, "a:output:0")},
           "b:output:0");
    before = name;
  }
  EXPECT_TRUE(
      Throws(ErrorCode::kResourceExhausted, {"too many"}, [&] { Build("twice63"); }));
}

}  // namespace
}  // namespace savedmodel
