#include "savedmodel/inspect.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "testing.h"

namespace savedmodel {
namespace {

using testing::DigitsPath;
using testing::Throws;

TEST(InspectTest, ListsWhatAModelHolds) {
  const Inspection inspection = Inspect(DigitsPath());
  EXPECT_EQ(inspection.path, DigitsPath());
  EXPECT_TRUE(inspection.versions.empty());
  EXPECT_EQ(inspection.format, "pb");
  EXPECT_EQ(inspection.files.size(), 4U);
  EXPECT_EQ(inspection.num_shards, 1);
  ASSERT_TRUE(inspection.fingerprint.has_value());
  EXPECT_FALSE(inspection.has_debug_info);
  EXPECT_FALSE(inspection.has_keras_metadata);
  EXPECT_FALSE(inspection.has_warmup_requests);

  ASSERT_EQ(inspection.meta_graphs.size(), 1U);
  const MetaGraphInfo& meta_graph = inspection.meta_graphs.front();
  EXPECT_EQ(meta_graph.tags, std::vector<std::string>{"serve"});
  EXPECT_EQ(meta_graph.tensorflow_version, "2.21.0");
  EXPECT_EQ(meta_graph.signatures.at("serving_default").inputs.at("image").ToString(),
            "float32 with shape (None, 8, 8, 1)");
  EXPECT_GT(meta_graph.ops.at("Conv2D"), 0U);
  EXPECT_GT(meta_graph.num_nodes, 0U);
  ASSERT_FALSE(meta_graph.variables.empty());
  for (const VariableInfo& variable : meta_graph.variables) {
    EXPECT_FALSE(variable.path.empty());
    EXPECT_TRUE(IsValid(variable.dtype));
  }
  EXPECT_FALSE(meta_graph.functions.empty());
}

TEST(InspectTest, TheCheckpointHasTheVariables) {
  const Inspection inspection = Inspect(DigitsPath());
  std::uint64_t bytes = 0;
  for (const CheckpointEntry& entry : inspection.checkpoint) bytes += entry.bytes;
  const auto data = std::find_if(
      inspection.files.begin(), inspection.files.end(), [](const FileInfo& file) {
        return file.name == "variables/variables.data-00000-of-00001";
      });
  ASSERT_NE(data, inspection.files.end());
  EXPECT_EQ(bytes, data->bytes);
}

TEST(InspectTest, SignaturesStandAsInTheFile) {
  const MetaGraphInfo meta_graph = Inspect(DigitsPath()).meta_graphs.at(0);
  EXPECT_EQ(meta_graph.signatures.count("__saved_model_init_op"), 0U);
  const SignatureDefInfo& init = meta_graph.signature_defs.at("__saved_model_init_op");
  EXPECT_EQ(init.outputs.at("__saved_model_init_op").dtype, "DT_INVALID");
  EXPECT_TRUE(init.outputs.at("__saved_model_init_op").shape.unknown_rank());
  const SignatureDefInfo& serving = meta_graph.signature_defs.at("serving_default");
  EXPECT_EQ(serving.method_name, "tensorflow/serving/predict");
  const TensorInfo& image = serving.inputs.at("image");
  EXPECT_EQ(image.name, "serving_default_image:0");
  EXPECT_EQ(image.dtype, "DT_FLOAT");
  EXPECT_EQ(image.shape.ToString(), "(None, 8, 8, 1)");
}

TEST(InspectTest, CalledOpsAreSomeOfAllOps) {
  const MetaGraphInfo meta_graph = Inspect(DigitsPath()).meta_graphs.at(0);
  ASSERT_FALSE(meta_graph.called_ops.empty());
  EXPECT_TRUE(std::is_sorted(meta_graph.called_ops.begin(), meta_graph.called_ops.end()));
  for (const std::string& op : meta_graph.called_ops)
    EXPECT_EQ(meta_graph.ops.count(op), 1U) << op;
}

TEST(InspectTest, NodesAreListedByOpWithTheirUse) {
  EXPECT_TRUE(Inspect(DigitsPath()).meta_graphs.at(0).nodes.empty());
  InspectOptions options;
  options.list_nodes = {"Conv2D", "RestoreV2", "Placeholder", "NoSuchOp"};
  const Inspection inspection = Inspect(DigitsPath(), options);
  std::map<std::string, NodeInfo> by_op;
  for (const NodeInfo& node : inspection.meta_graphs.at(0).nodes) by_op[node.op] = node;
  ASSERT_EQ(by_op.size(), 3U);
  // Of the placeholders the last: the path of the variables files.
  EXPECT_EQ(by_op["Placeholder"].name, "saver_filename");
  EXPECT_EQ(by_op["Placeholder"].function, "");
  EXPECT_EQ(by_op["Placeholder"].use, NodeInfo::Use::kRestore);
  EXPECT_NE(by_op["RestoreV2"].function, "");
  EXPECT_EQ(by_op["RestoreV2"].use, NodeInfo::Use::kRestore);
  EXPECT_EQ(by_op["RestoreV2"].fed,
            (std::map<int, NodeInfo::Fed>{{0, NodeInfo::Fed::kVariables}}));
  // The names of the tensors.
  EXPECT_EQ(by_op["RestoreV2"].constants.count(0), 0U);
  EXPECT_EQ(by_op["RestoreV2"].constants.count(1), 1U);
  EXPECT_EQ(by_op["Conv2D"].use, NodeInfo::Use::kCalled);
}

TEST(InspectTest, TakesFileUrls) {
  EXPECT_EQ(Inspect("file://" + DigitsPath()).path, DigitsPath());
  EXPECT_TRUE(ContainsSavedModel("file://" + DigitsPath()));
  EXPECT_EQ(ResolveExportDir("file://host" + DigitsPath(), std::nullopt), DigitsPath());
  EXPECT_TRUE(Throws(ErrorCode::kNotFound, {"file:///%74mp/absent"},
                     [] { Inspect("file:///%74mp/absent"); }));
}

TEST(InspectTest, AMissingModelIsAnError) {
  EXPECT_TRUE(Throws(ErrorCode::kNotFound, {"/nowhere"}, [] { Inspect("/nowhere"); }));
  EXPECT_TRUE(Throws(ErrorCode::kNotFound, {"no version 3"},
                     [] { Inspect(DigitsPath(), {3, {}}); }));
}

class GeneratedInspectTest : public testing::GeneratedModelTest {};

TEST_F(GeneratedInspectTest, FunctionsAreInTensorFlowsNotation) {
  const Inspection inspection = Inspect(Path("unused_variables"));
  std::vector<std::string> paths;
  for (const VariableInfo& variable : inspection.meta_graphs.at(0).variables)
    paths.push_back(variable.path);
  EXPECT_EQ(paths, (std::vector<std::string>{"layers.0.weight", "layers.1.weight",
                                             "optimizer_slot"}));
}

TEST_F(GeneratedInspectTest, ConcreteFunctionsHaveArguments) {
  const Inspection inspection = Inspect(Path("object_graph"));
  const auto& functions = inspection.meta_graphs.at(0).functions;
  const auto apply =
      std::find_if(functions.begin(), functions.end(),
                   [](const FunctionInfo& each) { return each.path == "apply"; });
  ASSERT_NE(apply, functions.end());
  EXPECT_EQ(apply->root_names, std::vector<std::string>{"apply"});
  ASSERT_EQ(apply->concrete_functions.size(), 2U);
  // Their order is that of the names that TensorFlow numbers them by.
  std::set<bool> doubled;
  for (const ConcreteFunctionInfo& function : apply->concrete_functions) {
    ASSERT_EQ(function.arguments.elements().size(), 2U);
    const Value::Elements& positional = function.arguments.elements()[0].elements();
    ASSERT_EQ(positional.size(), 2U);
    EXPECT_EQ(positional[0].tensor_spec().name, "x");
    doubled.insert(positional[1].bool_value());
    EXPECT_TRUE(function.arguments.elements()[1].items().empty());
  }
  EXPECT_EQ(doubled, (std::set<bool>{false, true}));
}

TEST_F(GeneratedInspectTest, ShardsAndSlicesAreListed) {
  EXPECT_GT(Inspect(Path("sharded_variables")).num_shards, 1);
  const Inspection partitioned = Inspect(Path("tf1_partitioned_variables"));
  EXPECT_TRUE(
      std::any_of(partitioned.checkpoint.begin(), partitioned.checkpoint.end(),
                  [](const CheckpointEntry& entry) { return entry.slices.size() > 1; }));
}

}  // namespace
}  // namespace savedmodel
