#include "core/ops.h"

#include <gtest/gtest.h>

#include <initializer_list>
#include <optional>
#include <utility>

#include "core/runtime.h"
#include "tensorflow/core/framework/node_def_builder.h"
#include "tensorflow/core/framework/op_def_util.h"
#include "tensorflow/core/framework/shape_inference.h"
#include "tensorflow/core/public/version.h"

namespace savedmodel {
namespace {

namespace tf = tensorflow;
namespace si = tf::shape_inference;

const tf::OpRegistrationData& Registered(const std::string& op) {
  EnsureRuntime();
  return *tf::OpRegistry::Global()->LookUp(op);
}

TEST(Ops, KnownOnesNeedNoRuntime) {
  const bool before = RuntimeIsLoaded();
  EXPECT_NE(FindOp("Conv2D"), nullptr);
  EXPECT_EQ(RuntimeIsLoaded(), before);
  EXPECT_EQ(FindOp("NoSuchOp"), nullptr);
  EXPECT_TRUE(RuntimeIsLoaded());
  EXPECT_EQ(FindOp("Einsum"), &Registered("Einsum"));
}

TEST(Ops, KnownOnesAreAsTensorFlowDefinesThem) {
  EXPECT_GT(KnownOps().size(), 30u);
  for (const std::string& name : KnownOps()) {
    const auto plain = [](tf::OpDef op) {
      tf::RemoveDescriptionsFromOpDef(&op);
      // Names of arguments and types that no other op refers to.
      for (auto& output : *op.mutable_output_arg()) output.clear_experimental_full_type();
      return op;
    };
    const tf::OpDef ours = plain(FindOp(name)->op_def);
    const tf::OpDef theirs = plain(Registered(name).op_def);
    EXPECT_EQ(ours.DebugString(), theirs.DebugString());
  }
}

// What is known of an input when shapes are inferred.
struct Known {
  tf::PartialTensorShape shape;
  std::optional<tf::Tensor> value{};
};

tf::Tensor Integers(std::initializer_list<int> numbers, tf::TensorShape shape) {
  tf::Tensor tensor(tf::DT_INT32, shape);
  std::copy(numbers.begin(), numbers.end(), tensor.flat<int>().data());
  return tensor;
}

Known Value(std::initializer_list<int> numbers) {
  const auto size = static_cast<std::int64_t>(numbers.size());
  return {tf::PartialTensorShape({size}), Integers(numbers, {size})};
}

std::string Infer(const tf::OpRegistrationData& op, const tf::NodeDef& node,
                  const std::vector<Known>& inputs) {
  si::InferenceContext context(TF_GRAPH_DEF_VERSION, tf::AttrSlice(node), op.op_def,
                               std::vector<si::ShapeHandle>(inputs.size()), {}, {}, {});
  std::vector<const tf::Tensor*> values;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    si::ShapeHandle shape;
    EXPECT_TRUE(context.MakeShapeFromPartialTensorShape(inputs[i].shape, &shape).ok());
    context.SetInput(static_cast<int>(i), shape);
    values.push_back(inputs[i].value ? &*inputs[i].value : nullptr);
  }
  context.set_input_tensors(values);
  if (!context.Run(op.shape_inference_fn).ok()) return "error";
  return context.DebugString(context.output(0));
}

// The shape by our function, which has to be TensorFlow's.
void ExpectSame(const std::string& op, std::vector<Known> inputs,
                const std::vector<std::pair<std::string, tf::AttrValue>>& attributes,
                const std::string& expected) {
  tf::NodeDef node;
  node.set_name(op);
  node.set_op(op);
  (*node.mutable_attr())["T"].set_type(tf::DT_FLOAT);
  (*node.mutable_attr())["N"].set_i(static_cast<std::int64_t>(inputs.size()));
  (*node.mutable_attr())["Index"].set_type(tf::DT_INT32);
  for (const auto& [name, value] : attributes) (*node.mutable_attr())[name] = value;
  const tf::OpRegistrationData& ours = *FindOp(op);
  tf::AddDefaultsToNodeDef(ours.op_def, &node);
  EXPECT_EQ(Infer(ours, node, inputs), expected) << op;
  EXPECT_EQ(Infer(Registered(op), node, inputs), expected) << op;
}

tf::AttrValue Number(std::int64_t number) {
  tf::AttrValue value;
  value.set_i(number);
  return value;
}

tf::AttrValue List(std::initializer_list<std::int64_t> numbers) {
  tf::AttrValue value;
  value.mutable_list();
  for (const std::int64_t number : numbers) value.mutable_list()->add_i(number);
  return value;
}

TEST(Ops, ShapesAreThoseThatTensorFlowInfers) {
  const Known any{tf::PartialTensorShape()};
  const Known image{tf::PartialTensorShape({-1, 4, 6, 3})};
  const Known whole{tf::PartialTensorShape({2, 3, 4})};

  ExpectSame("Shape", {image}, {}, "[4]");
  ExpectSame("Shape", {any}, {}, "[?]");

  ExpectSame("Reshape", {whole, Value({6, 4})}, {}, "[6,4]");
  ExpectSame("Reshape", {whole, Value({-1, 4})}, {}, "[6,4]");
  ExpectSame("Reshape", {whole, Value({-1, 5})}, {}, "error");
  ExpectSame("Reshape", {whole, Value({5, 5})}, {}, "error");
  ExpectSame("Reshape", {image, Value({-1, 72})}, {}, "[?,72]");
  ExpectSame("Reshape", {image, Value({-1, 36})}, {}, "[?,36]");
  ExpectSame("Reshape", {image, Value({2, 72})}, {}, "[2,72]");
  ExpectSame("Reshape", {any, Value({-1, 72})}, {}, "[?,72]");
  ExpectSame("Reshape", {whole, {tf::PartialTensorShape({2})}}, {}, "[?,?]");
  ExpectSame("Reshape", {{tf::PartialTensorShape({0, 3})}, Value({-1, 0})}, {}, "[?,0]");

  const Known ones{tf::PartialTensorShape({-1, 1, 1, 7})};
  ExpectSame("Squeeze", {ones}, {{"squeeze_dims", List({1, 2})}}, "[?,7]");
  ExpectSame("Squeeze", {ones}, {{"squeeze_dims", List({-2})}}, "[?,1,7]");
  ExpectSame("Squeeze", {ones}, {{"squeeze_dims", List({0})}}, "[1,1,7]");
  ExpectSame("Squeeze", {ones}, {{"squeeze_dims", List({3})}}, "error");
  ExpectSame("Squeeze", {ones}, {{"squeeze_dims", List({4})}}, "error");
  ExpectSame("Squeeze", {ones}, {}, "?");
  ExpectSame("Squeeze", {{tf::PartialTensorShape({1, 3, 1})}}, {}, "[3]");
  ExpectSame("Squeeze", {any}, {{"squeeze_dims", List({1})}}, "?");

  const Known pads{tf::PartialTensorShape({4, 2}),
                   Integers({0, 0, 1, 2, 3, 4, 0, 0}, {4, 2})};
  ExpectSame("Pad", {image, pads}, {}, "[?,7,13,3]");
  ExpectSame("Pad", {any, pads}, {}, "[?,?,?,?]");
  ExpectSame("Pad", {whole, pads}, {}, "error");
  ExpectSame("Pad", {image, {tf::PartialTensorShape({4, 2})}}, {}, "[?,?,?,?]");

  const Known scalar{tf::PartialTensorShape(std::vector<std::int64_t>{})};
  ExpectSame("Pack", {scalar, scalar, scalar}, {}, "[3]");
  ExpectSame("Pack", {whole, whole}, {{"axis", Number(1)}}, "[2,2,3,4]");
  ExpectSame("Pack", {whole, scalar}, {}, "error");

  const Known four{tf::PartialTensorShape({4})};
  ExpectSame("StridedSlice", {four, Value({0}), Value({1}), Value({1})},
             {{"shrink_axis_mask", Number(1)}}, "[]");
  ExpectSame("StridedSlice", {four, Value({1}), Value({3}), Value({1})}, {}, "[2]");
  ExpectSame("StridedSlice", {four, Value({1}), Value({0}), Value({1})},
             {{"end_mask", Number(1)}}, "[3]");
  ExpectSame("StridedSlice", {image, Value({0, 1}), Value({1, 3}), Value({1, 1})}, {},
             "[?,2,6,3]");
  ExpectSame("StridedSlice", {four, Value({0}), Value({1}), Value({0})}, {}, "error");
  ExpectSame("StridedSlice", {any, Value({0}), Value({1}), Value({1})}, {}, "?");

  ExpectSame("Softmax", {image}, {}, "[?,4,6,3]");
  ExpectSame("Softmax", {scalar}, {}, "error");
  ExpectSame("AddV2", {image, {tf::PartialTensorShape({3})}}, {}, "[?,4,6,3]");
}

}  // namespace
}  // namespace savedmodel
