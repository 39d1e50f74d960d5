#include "savedmodel/inspect.h"

#include <algorithm>

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

TEST(InspectTest, TakesFileUrls) {
  EXPECT_EQ(Inspect("file://" + DigitsPath()).path, DigitsPath());
  EXPECT_TRUE(ContainsSavedModel("file://" + DigitsPath()));
  EXPECT_EQ(ResolveExportDir("file://host" + DigitsPath(), std::nullopt), DigitsPath());
  EXPECT_TRUE(Throws(ErrorCode::kNotFound, {"file:///%74mp/absent"},
                     [] { Inspect("file:///%74mp/absent"); }));
}

TEST(InspectTest, AMissingModelIsAnError) {
  EXPECT_TRUE(Throws(ErrorCode::kNotFound, {"/nowhere"}, [] { Inspect("/nowhere"); }));
  EXPECT_TRUE(
      Throws(ErrorCode::kNotFound, {"no version 3"}, [] { Inspect(DigitsPath(), 3); }));
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

TEST_F(GeneratedInspectTest, ShardsAndSlicesAreListed) {
  EXPECT_GT(Inspect(Path("sharded_variables")).num_shards, 1);
  const Inspection partitioned = Inspect(Path("tf1_partitioned_variables"));
  EXPECT_TRUE(
      std::any_of(partitioned.checkpoint.begin(), partitioned.checkpoint.end(),
                  [](const CheckpointEntry& entry) { return entry.slices.size() > 1; }));
}

}  // namespace
}  // namespace savedmodel
