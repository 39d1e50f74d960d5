#include "savedmodel/diagnose.h"

#include <filesystem>

#include "savedmodel/error.h"
#include "savedmodel/version.h"
#include "testing.h"

namespace savedmodel {
namespace {

namespace fs = std::filesystem;
using testing::DigitsPath;
using testing::Throws;

TEST(DiagnoseTest, AHealthyModelHasNoProblems) {
  const Diagnosis diagnosis = Diagnose(DigitsPath());
  EXPECT_EQ(diagnosis.path, DigitsPath());
  EXPECT_EQ(diagnosis.tags, std::vector<std::string>{"serve"});
  EXPECT_EQ(diagnosis.runtime_version, SAVEDMODEL_TENSORFLOW_VERSION_STRING);
  EXPECT_LE(diagnosis.min_consumer, diagnosis.consumer);
  ASSERT_FALSE(diagnosis.devices.empty());
  EXPECT_EQ(diagnosis.devices.front(), "CPU:0");
  EXPECT_TRUE(diagnosis.problems.empty());
  EXPECT_TRUE(diagnosis.repairs.empty());
  EXPECT_GT(diagnosis.memory.signature_weights, 0U);
  EXPECT_GE(diagnosis.memory.weights, diagnosis.memory.signature_weights);
  EXPECT_GE(diagnosis.memory.checkpoint, diagnosis.memory.weights);
  EXPECT_GT(diagnosis.memory.graph, diagnosis.memory.constants);
}

TEST(DiagnoseTest, WarnsOfTheOpsThatAreCalledDangerous) {
  DiagnoseOptions options;
  options.dangerous_ops = {{"Conv2D", "convolves"}};
  const Diagnosis diagnosis = Diagnose(DigitsPath(), options);
  ASSERT_EQ(diagnosis.problems.size(), 1U);
  const Problem& problem = diagnosis.problems.front();
  EXPECT_FALSE(problem.is_error);
  EXPECT_EQ(problem.kind, "dangerous_op");
  EXPECT_EQ(problem.subject, "Conv2D");
  EXPECT_EQ(problem.message, "convolves");
  ASSERT_FALSE(problem.nodes.empty());
  EXPECT_EQ(problem.nodes.front().use, NodeInfo::Use::kCalled);
}

TEST(DiagnoseTest, OneBrokenPartKeepsNoOtherFromBeingLookedAt) {
  const fs::path copy = fs::path(::testing::TempDir()) / "diagnose_test";
  fs::remove_all(copy);
  fs::copy(DigitsPath(), copy, fs::copy_options::recursive);
  fs::resize_file(copy / "variables" / "variables.data-00000-of-00001", 8);
  DiagnoseOptions options;
  options.dangerous_ops = {{"Conv2D", "convolves"}};
  const Diagnosis diagnosis = Diagnose(copy.string(), options);
  fs::remove_all(copy);
  ASSERT_EQ(diagnosis.problems.size(), 2U);
  EXPECT_TRUE(diagnosis.problems[0].is_error);
  EXPECT_EQ(diagnosis.problems[0].kind, "unreadable_checkpoint");
  EXPECT_EQ(diagnosis.problems[1].kind, "dangerous_op");
}

TEST(DiagnoseTest, ThrowsWhereThereIsNothingToLookAt) {
  EXPECT_TRUE(Throws(ErrorCode::kNotFound, {"/nowhere"}, [] { Diagnose("/nowhere"); }));
}

}  // namespace
}  // namespace savedmodel
