#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <thread>

#include "savedmodel/model.h"
#include "testing.h"

namespace savedmodel {
namespace {

namespace fs = std::filesystem;

using testing::DigitsPath;
using testing::Floats;
using testing::ModulePath;
using testing::TemporaryFolder;
using testing::Throws;
using testing::Values;

// Every file below a folder, by relative path.
std::map<std::string, std::string> Contents(const fs::path& folder) {
  std::map<std::string, std::string> contents;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    std::string& bytes = contents[fs::relative(entry.path(), folder).string()];
    if (!entry.is_regular_file()) continue;
    std::ifstream in(entry.path(), std::ios::binary);
    bytes.assign(std::istreambuf_iterator<char>(in), {});
  }
  return contents;
}

std::vector<std::string> Names(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder))
    names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

float V(const Model& model) {
  return model.root()["v"].variable().value().data<float>()[0];
}

void SetV(const Model& model, float value) {
  model.root()["v"].variable().Assign(Tensor::Scalar(value));
}

Model LoadBare(const std::string& path) {
  LoadOptions options;
  options.signatures.emplace();
  return Model::Load(path, options);
}

TEST(SaveTest, KeepsWhatWasChangedAndTheRest) {
  const TemporaryFolder folder;
  const std::string source = folder.Copy(ModulePath(), "source");
  fs::create_directory(fs::path(source) / "assets.extra");
  std::ofstream(fs::path(source) / "assets.extra" / "readme.txt") << "extra";
  const std::string path = (folder / "new" / "saved").string();
  const Tensor rows = Floats({1, 2});
  {
    const Model model = Model::Load(source);
    model.root()["mutate"].function().Call({2.5});
    model.root()["increment"].function().Call({});
    model.root()["layers"]["1"]["bias"].variable().Assign(Floats({-4}));
    model.Save(path);
    EXPECT_EQ(V(model), 2.5F);
  }
  const Model saved = Model::Load(path);
  EXPECT_EQ(V(saved), 2.5F);
  EXPECT_EQ(saved.root()["count"].variable().value().data<std::int64_t>()[0], 6);
  EXPECT_EQ(saved.root()["layers"]["1"]["bias"].variable().value().data<float>()[0], -4);
  EXPECT_EQ(Values<float>(saved.root()["layers"]["0"]["bias"].variable().value()),
            (std::vector<float>{0.1F, -0.2F}));
  EXPECT_EQ(saved.root()["__call__"]
                .function()
                .Call({Tensor::Scalar(2.0F)})
                .tensor()
                .data<float>()[0],
            5);
  EXPECT_EQ(saved.root()["lookup"]
                .function()
                .Call({Tensor::Strings({"two"}, {1})})
                .tensor()
                .data<std::int64_t>()[0],
            2);
  EXPECT_EQ(saved.bundle().extra_assets().size(), 1U);

  auto before = Contents(source);
  auto after = Contents(path);
  for (const char* variables :
       {"variables/variables.index", "variables/variables.data-00000-of-00001"}) {
    EXPECT_EQ(before.erase(variables), 1U);
    EXPECT_EQ(after.erase(variables), 1U);
  }
  EXPECT_EQ(before, after);
  EXPECT_EQ(Names(folder / "new"), std::vector<std::string>{"saved"});
  EXPECT_EQ(fs::status(path).permissions(), fs::status(source).permissions());
}

TEST(SaveTest, UnchangedModelIsSavedAsItWas) {
  const TemporaryFolder folder;
  const std::string path = (folder / "saved").string();
  LoadBare(ModulePath()).Save(path);
  const Model original = Model::Load(ModulePath());
  const Model saved = Model::Load(path);
  const auto expected = original.variables();
  const auto variables = saved.variables();
  ASSERT_EQ(variables.size(), expected.size());
  for (std::size_t i = 0; i < variables.size(); ++i) {
    const Tensor value = variables[i].value();
    const Tensor original_value = expected[i].value();
    ASSERT_EQ(value.num_bytes(), original_value.num_bytes());
    EXPECT_EQ(std::memcmp(value.data(), original_value.data(), value.num_bytes()), 0);
  }
}

TEST(SaveTest, WeightsThatLieTwiceInTheCheckpointAreSavedTwice) {
  const TemporaryFolder folder;
  const std::string path = (folder / "saved").string();
  const Model model = Model::Load(DigitsPath());
  model.trainable_variables()[7].Assign(Floats({100, 0, 0, 0, 0, 0, 0, 0, 0, 0}));
  model.Save(path);
  const Model saved = Model::Load(path);
  const Tensor black = Tensor::Copy(std::vector<float>(64, 0.0F).data(), {1, 8, 8, 1});
  EXPECT_EQ(saved.signature("serve")
                .Run({{"image", black}})
                .at("probabilities")
                .data<float>()[0],
            1);
  EXPECT_EQ(Values<float>(saved.trainable_variables()[7].value())[0], 100);
}

TEST(SaveTest, ModelGoesOnAfterItWasSavedOverItself) {
  const TemporaryFolder folder;
  const std::string path = folder.Copy(ModulePath(), "model");
  const Model model = LoadBare(path);  // the rest is read from the new files
  SetV(model, 3);
  model.Save(path);
  EXPECT_EQ(V(model), 3);
  EXPECT_EQ(Values<float>(model.root()["layers"]["1"]["kernel"].variable().value()),
            (std::vector<float>{1.5F, -0.75F}));
  SetV(model, 4);
  model.Save(path + "/");
  EXPECT_EQ(V(Model::Load(path)), 4);
  EXPECT_EQ(Names(folder.path()), std::vector<std::string>{"model"});
}

TEST(SaveTest, OlderModelIsReplacedWhole) {
  const TemporaryFolder folder;
  const std::string path = folder.Copy(DigitsPath(), "model");
  const fs::path stale = fs::path(path) / "variables" / "stale.txt";
  std::ofstream(stale) << "of the older model";
  Model::Load(ModulePath()).Save(path);
  EXPECT_FALSE(fs::exists(stale));
  EXPECT_EQ(V(Model::Load(path)), 1);
  // What is of no SavedModel would be lost.
  std::ofstream(fs::path(path) / "notes.txt") << "the only copy";
  EXPECT_TRUE(Throws(ErrorCode::kAlreadyExists, {path, "notes.txt"},
                     [&] { Model::Load(ModulePath()).Save(path); }));
  EXPECT_TRUE(fs::exists(fs::path(path) / "notes.txt"));
  fs::create_directory(folder / "empty");
  Model::Load(ModulePath()).Save((folder / "empty").string());
  EXPECT_EQ(V(Model::Load((folder / "empty").string())), 1);
}

TEST(SaveTest, LinkStaysALink) {
  const TemporaryFolder folder;
  const std::string path = folder.Copy(DigitsPath(), "model");
  fs::create_directory_symlink(path, folder / "link");
  Model::Load(ModulePath()).Save((folder / "link").string());
  EXPECT_TRUE(fs::is_symlink(folder / "link"));
  EXPECT_EQ(V(Model::Load(path)), 1);
}

TEST(SaveTest, WhatIsNoSavedModelIsNotReplaced) {
  const TemporaryFolder folder;
  fs::create_directory(folder / "folder");
  std::ofstream(folder / "folder" / "thesis.txt") << "the only copy";
  std::ofstream(folder / "file") << "another";
  const auto before = Contents(folder.path());
  const Model model = Model::Load(ModulePath());
  for (const char* name : {"folder", "file"}) {
    const std::string path = (folder / name).string();
    EXPECT_TRUE(Throws(ErrorCode::kAlreadyExists, {ModulePath(), path},
                       [&] { model.Save(path); }));
  }
  const std::string below_file = (folder / "file" / "model").string();
  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument, {ModulePath(), below_file},
                     [&] { model.Save(below_file); }));
  EXPECT_TRUE(
      Throws(ErrorCode::kInvalidArgument, {ModulePath(), "''"}, [&] { model.Save(""); }));
  EXPECT_EQ(Contents(folder.path()), before);
}

TEST(SaveTest, ClosedModelIsNotSaved) {
  const TemporaryFolder folder;
  const Model model = Model::Load(ModulePath());
  model.Close();
  EXPECT_TRUE(Throws(ErrorCode::kFailedPrecondition, {ModulePath(), "closed"},
                     [&] { model.Save((folder / "saved").string()); }));
  EXPECT_TRUE(Names(folder.path()).empty());
}

// No file may grow beyond `bytes`, as on a full disk.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;
  ~FileSizeLimit() {
    setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  rlimit before_{};
  void (*handler_)(int);
};

TEST(SaveTest, FullDiskLeavesWhatWasThere) {
  const TemporaryFolder folder;
  const std::string existing = folder.Copy(ModulePath(), "existing");
  const Model model = Model::Load(DigitsPath());
  const auto before = Contents(folder.path());
  // In the midst of the graph, and of the variables.
  for (const rlim_t bytes : {0, 10'000, 100'000}) {
    for (const std::string& path : {existing, (folder / "new").string()}) {
      const auto fails = [&] {
        const FileSizeLimit limit(bytes);
        model.Save(path);
      };
      try {
        fails();
        ADD_FAILURE() << "saved with files of at most " << bytes << " bytes";
      } catch (const Error& error) {
        EXPECT_NE(std::string(error.what()).find(path), std::string::npos)
            << error.what();
      }
      EXPECT_EQ(Contents(folder.path()), before);
    }
  }
  model.Save(existing);
  EXPECT_EQ(Model::Load(existing).variables().size(), 10U);
}

TEST(SaveTest, ThreadsSaveToOnePlace) {
  const TemporaryFolder folder;
  const std::string path = folder.Copy(ModulePath(), "model");
  const Model model = Model::Load(ModulePath());
  std::atomic<int> failures{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      try {
        for (int save = 0; save < 5; ++save) {
          SetV(model, static_cast<float>(i));
          model.Save(path);
        }
      } catch (const std::exception& error) {
        ++failures;
        ADD_FAILURE() << error.what();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(failures, 0);
  EXPECT_EQ(Names(folder.path()), std::vector<std::string>{"model"});
  const float v = V(Model::Load(path));
  EXPECT_TRUE(v >= 0 && v < 4) << v;
}

TEST(SaveOptimizedTest, FreezesWhatSignaturesOnlyRead) {
  const TemporaryFolder folder;
  const std::string path = (folder.path() / "frozen").string();
  const Model model = Model::Load(DigitsPath());
  const OptimizeReport report = model.SaveOptimized(path);
  EXPECT_EQ(report.variables_frozen, 8U);
  EXPECT_GT(report.bytes_frozen, 75'000U);
  EXPECT_TRUE(report.variables_kept.empty());
  EXPECT_EQ(Names(path), std::vector<std::string>{"saved_model.pb"});

  const Tensor image = Tensor::Copy(std::vector<float>(64, 0.5F).data(), {1, 8, 8, 1});
  const Model frozen = Model::Load(path);
  EXPECT_EQ(frozen.signature_names(), model.signature_names());
  const auto run = [&image](const Model& one) {
    return Values<float>(
        one.signature("serving_default").Run({{"image", image}}).at("probabilities"));
  };
  const std::vector<float> expected = run(model);
  const std::vector<float> actual = run(frozen);
  for (std::size_t i = 0; i < expected.size(); ++i)
    EXPECT_NEAR(actual[i], expected[i], 1e-6) << i;
}

TEST(SaveOptimizedTest, RefusesWhatItCannotWrite) {
  const TemporaryFolder folder;
  const Model model = Model::Load(DigitsPath());
  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument, {"cannot replace the one"},
                     [&] { model.SaveOptimized(DigitsPath()); }));
  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument, {"no signatures to optimize"}, [&] {
    LoadBare(DigitsPath()).SaveOptimized((folder.path() / "frozen").string());
  }));
  EXPECT_TRUE(Names(folder.path()).empty());
}

}  // namespace
}  // namespace savedmodel
