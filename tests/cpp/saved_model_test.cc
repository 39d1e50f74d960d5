#include "savedmodel/saved_model.h"

#include <filesystem>
#include <fstream>

#include "testing.h"

namespace savedmodel {
namespace {

namespace fs = std::filesystem;

using testing::DigitsPath;
using testing::TemporaryFolder;
using testing::Throws;

SavedModelBundle LoadBundle(const std::string& export_dir,
                            const std::vector<std::string>& tags = {"serve"}) {
  return LoadSavedModel(SessionOptions(), RunOptions(), export_dir, tags);
}

TEST(LoadSavedModelTest, TellsWhatWasLoaded) {
  SessionOptions session_options;
  session_options.Set("intra_op_parallelism_threads", 1);
  RunOptions run_options;
  run_options.Set("timeout_in_ms", 60000);
  const SavedModelBundle bundle =
      LoadSavedModel(session_options, run_options, DigitsPath(), {"serve"});
  EXPECT_EQ(bundle.export_dir(), DigitsPath());
  EXPECT_EQ(bundle.tags(), std::vector<std::string>{"serve"});
  EXPECT_EQ(bundle.session_options().Serialize(), session_options.Serialize());
  EXPECT_EQ(bundle.run_options().Serialize(), run_options.Serialize());
  EXPECT_GT(bundle.meta_graph_def().size(), 1000U);
  EXPECT_TRUE(bundle.assets().empty());
  EXPECT_TRUE(bundle.extra_assets().empty());

  ASSERT_EQ(bundle.signature_def().count("serving_default"), 1U);
  EXPECT_EQ(bundle.signature_def().count("__saved_model_init_op"), 0U);
  const SignatureDef& signature = bundle.signature_def().at("serving_default");
  EXPECT_EQ(signature.method_name, "tensorflow/serving/predict");
  EXPECT_EQ(signature.inputs.at("image").ToString(),
            "float32 with shape (None, 8, 8, 1)");
  EXPECT_EQ(signature.outputs.at("probabilities").ToString(),
            "float32 with shape (None, 10)");
  EXPECT_TRUE(signature.defaults.empty());

  ASSERT_TRUE(bundle.fingerprint().has_value());
  EXPECT_NE(bundle.fingerprint()->saved_model_checksum, 0U);
  EXPECT_NE(bundle.fingerprint()->checkpoint_hash, 0U);
  EXPECT_FALSE(bundle.fingerprint()->uuid.empty());
}

TEST(LoadSavedModelTest, ReportsItsPhases) {
  const SavedModelBundle bundle = LoadBundle(DigitsPath());
  const std::vector<LoadPhase>& report = bundle.load_report().phases;
  ASSERT_EQ(report.size(), 5U);
  const char* const names[] = {"library", "read", "create", "restore", "init"};
  for (std::size_t i = 0; i < report.size(); ++i) {
    EXPECT_EQ(report[i].name, names[i]);
    EXPECT_GE(report[i].seconds, 0) << names[i];
  }
  EXPECT_EQ(report[1].bytes, fs::file_size(fs::path(DigitsPath()) / "saved_model.pb"));
  const fs::path variables = fs::path(DigitsPath()) / "variables";
  EXPECT_EQ(report[3].bytes,
            fs::file_size(variables / "variables.index") +
                fs::file_size(variables / "variables.data-00000-of-00001"));
}

TEST(LoadSavedModelTest, MissingFilesAreNotFound) {
  const TemporaryFolder folder;
  EXPECT_TRUE(Throws(ErrorCode::kNotFound, {"nowhere"},
                     [&] { LoadBundle((folder / "nowhere").string()); }));
  EXPECT_TRUE(Throws(ErrorCode::kNotFound, {folder.path().string()},
                     [&] { LoadBundle(folder.path().string()); }));
  const std::string no_variables = folder.Copy(DigitsPath(), "no_variables");
  fs::remove_all(fs::path(no_variables) / "variables");
  EXPECT_TRUE(Throws(ErrorCode::kNotFound, {no_variables, "variables.index"},
                     [&] { LoadBundle(no_variables); }));
}

TEST(LoadSavedModelTest, OtherTagsAreNotFound) {
  EXPECT_TRUE(Throws(ErrorCode::kNotFound, {DigitsPath(), "{'train'}", "{'serve'}"},
                     [] { LoadBundle(DigitsPath(), {"train"}); }));
  // The set must be the very same one.
  EXPECT_TRUE(Throws(ErrorCode::kNotFound, {"{'gpu', 'serve'}"},
                     [] { LoadBundle(DigitsPath(), {"serve", "gpu"}); }));
  EXPECT_TRUE(Throws(ErrorCode::kNotFound, {"{}"}, [] { LoadBundle(DigitsPath(), {}); }));
}

TEST(LoadSavedModelTest, GarbageIsDataLoss) {
  const TemporaryFolder folder;
  const std::string garbage = folder.Copy(DigitsPath(), "garbage");
  std::ofstream(fs::path(garbage) / "saved_model.pb") << std::string(4096, '\xfe');
  EXPECT_TRUE(Throws(ErrorCode::kDataLoss, {garbage}, [&] { LoadBundle(garbage); }));

  const std::string truncated = folder.Copy(DigitsPath(), "truncated");
  fs::resize_file(fs::path(truncated) / "saved_model.pb", 1000);
  EXPECT_TRUE(Throws(ErrorCode::kDataLoss, {truncated}, [&] { LoadBundle(truncated); }));

  const std::string empty = folder.Copy(DigitsPath(), "empty");
  fs::resize_file(fs::path(empty) / "saved_model.pb", 0);
  EXPECT_TRUE(
      Throws(ErrorCode::kDataLoss, {empty, "no MetaGraph"}, [&] { LoadBundle(empty); }));

  const std::string variables = folder.Copy(DigitsPath(), "variables");
  fs::resize_file(fs::path(variables) / "variables" / "variables.data-00000-of-00001",
                  100);
  EXPECT_THROW(LoadBundle(variables), Error);
}

TEST(LoadSavedModelTest, FingerprintMayBeAbsent) {
  const TemporaryFolder folder;
  const std::string path = folder.Copy(DigitsPath(), "digits");
  fs::remove(fs::path(path) / "fingerprint.pb");
  EXPECT_FALSE(LoadBundle(path).fingerprint().has_value());
}

TEST(LoadSavedModelTest, MetaGraphGoesWithCloseAndTheRestStays) {
  const SavedModelBundle bundle = LoadBundle(DigitsPath());
  bundle.session().Close();
  EXPECT_TRUE(Throws(ErrorCode::kFailedPrecondition, {DigitsPath(), "closed"},
                     [&] { (void)bundle.meta_graph_def(); }));
  EXPECT_EQ(bundle.export_dir(), DigitsPath());
  EXPECT_EQ(bundle.signature_def().count("serving_default"), 1U);
}

TEST(ContainsSavedModelTest, LooksForTheProto) {
  const TemporaryFolder folder;
  EXPECT_TRUE(ContainsSavedModel(DigitsPath()));
  EXPECT_FALSE(ContainsSavedModel(folder.path().string()));
  EXPECT_FALSE(ContainsSavedModel((folder / "nowhere").string()));
  EXPECT_FALSE(ContainsSavedModel(DigitsPath() + "/saved_model.pb"));
  EXPECT_FALSE(ContainsSavedModel(""));
  fs::create_directory(folder / "saved_model.pb");
  EXPECT_FALSE(ContainsSavedModel(folder.path().string()));
  std::ofstream(folder / "saved_model.pbtxt") << "";
  EXPECT_TRUE(ContainsSavedModel(folder.path().string()));
}

TEST(ResolveExportDirTest, TakesTheHighestNumber) {
  const TemporaryFolder folder;
  for (const char* name : {"3", "9", "10", "-11", "12a", "latest", "1e9"}) {
    fs::create_directory_symlink(DigitsPath(), folder / name);
  }
  fs::create_directory(folder / "11");  // not yet written
  const std::string path = folder.path().string();
  EXPECT_EQ(ResolveExportDir(path, std::nullopt), path + "/10");
  EXPECT_EQ(ResolveExportDir(path, 9), path + "/9");
  EXPECT_TRUE(Throws(ErrorCode::kNotFound, {"no version 11", path, "3", "9", "10"},
                     [&] { ResolveExportDir(path, 11); }));
  EXPECT_EQ(ResolveExportDir(DigitsPath(), std::nullopt), DigitsPath());
}

TEST(ResolveExportDirTest, SaysWhatIsMissing) {
  const TemporaryFolder folder;
  const std::string path = folder.path().string();
  EXPECT_TRUE(Throws(ErrorCode::kNotFound, {path, "saved_model.pb"},
                     [&] { ResolveExportDir(path, std::nullopt); }));
  EXPECT_TRUE(Throws(ErrorCode::kNotFound, {"no such SavedModel directory", "nowhere"},
                     [&] { ResolveExportDir(path + "/nowhere", std::nullopt); }));
  EXPECT_TRUE(Throws(ErrorCode::kNotFound, {"not a directory"}, [&] {
    ResolveExportDir(DigitsPath() + "/saved_model.pb", std::nullopt);
  }));
  EXPECT_TRUE(
      Throws(ErrorCode::kNotFound, {"''"}, [&] { ResolveExportDir("", std::nullopt); }));
}

class GeneratedBundleTest : public testing::GeneratedModelTest {};

TEST_F(GeneratedBundleTest, TagsChooseTheMetaGraph) {
  const std::string path = Path("tf1_two_tag_sets");
  EXPECT_EQ(LoadBundle(path, {"train"}).signature_def().count("train"), 1U);
  EXPECT_EQ(LoadBundle(path, {"gpu", "serve"}).signature_def().count("serving_default"),
            1U);
  EXPECT_TRUE(Throws(ErrorCode::kNotFound, {"{'gpu'}", "{'train'}"},
                     [&] { LoadBundle(path, {"gpu"}); }));
}

TEST_F(GeneratedBundleTest, DefaultsAreRead) {
  const SavedModelBundle bundle = LoadBundle(Path("default_inputs"));
  const TensorMap& defaults = bundle.signature_def().at("serving_default").defaults;
  ASSERT_EQ(defaults.size(), 3U);
  EXPECT_EQ(defaults.at("scale").data<float>()[0], 2.5F);
  EXPECT_EQ(defaults.at("shift").data<std::int64_t>()[0], 1);
  EXPECT_EQ(defaults.at("unit").string_at(0), std::string_view("m\0", 2));
}

TEST_F(GeneratedBundleTest, AssetsAreListed) {
  const SavedModelBundle bundle = LoadBundle(Path("vocabulary_asset"));
  ASSERT_FALSE(bundle.assets().empty());
  for (const auto& [name, path] : bundle.assets()) {
    EXPECT_TRUE(fs::path(path).is_absolute()) << path;
    EXPECT_TRUE(fs::is_regular_file(path)) << path;
    EXPECT_EQ(fs::path(path).filename(), name);
  }
  EXPECT_EQ(LoadBundle(Path("assets_extra")).extra_assets().size(), 2U);
}

TEST_F(GeneratedBundleTest, SparseInputsAreTakenApart) {
  const SavedModelBundle bundle = LoadBundle(Path("tf1_sparse_input"));
  const auto& inputs = bundle.signature_def().at("serving_default").inputs;
  ASSERT_EQ(inputs.size(), 3U);
  EXPECT_EQ(inputs.at("x_indices").ToString(), "int64 with shape (None, 2)");
  EXPECT_EQ(inputs.at("x_values").ToString(), "float32 with shape (None,)");
  EXPECT_EQ(inputs.at("x_dense_shape").ToString(), "int64 with shape (2,)");
}

}  // namespace
}  // namespace savedmodel
