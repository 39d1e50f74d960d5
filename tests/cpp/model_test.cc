#include "savedmodel/model.h"

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <optional>
#include <thread>

#include "testing.h"

namespace savedmodel {
namespace {

using testing::AlignedBuffer;
using testing::DigitsPath;
using testing::Throws;
using testing::Values;

Tensor Black() { return Tensor::Copy(std::vector<float>(64, 0.0F).data(), {1, 8, 8, 1}); }

// What `run` returns in a forked child, which a hang ends.
int InChild(const std::function<int()>& run) {
  const pid_t child = fork();
  if (child == 0) {
    alarm(300);
    int result = 99;
    try {
      result = run();
    } catch (...) {
    }
    _exit(result);
  }
  int status = 0;
  if (waitpid(child, &status, 0) != child) return -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

bool RuntimeIsLoaded() {
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    if (line.find("libtensorflow_cc") != std::string::npos) return true;
  }
  return false;
}

// First, because it needs a process that has not loaded a model.
TEST(ForkTest, ChildLoadsModelsIfItsParentHadNone) {
  if (RuntimeIsLoaded()) GTEST_SKIP() << "a test before this one has loaded a model";
  EXPECT_EQ(InChild([] {
              const Model model = Model::Load(DigitsPath());
              const auto outputs =
                  model.signature("serving_default").Run({{"image", Black()}});
              return outputs.at("probabilities").dim(1) == 10 ? 0 : 1;
            }),
            0);
}

TEST(ForkTest, ChildOfALoadedModelGetsAnError) {
  std::optional<Model> model = Model::Load(DigitsPath());
  std::optional<Signature> infer = model->signature("serving_default");
  const auto before = Values<float>(infer->Run({{"image", Black()}}).at("probabilities"));
  const auto fails = [](auto&& run) {
    return Throws(ErrorCode::kFailedPrecondition, {"forked"}, run) ? 0 : 1;
  };
  EXPECT_EQ(InChild([&] { return fails([&] { infer->Run({{"image", Black()}}); }); }), 0);
  EXPECT_EQ(InChild([&] { return fails([&] { model->session().ListDevices(); }); }), 0);
  EXPECT_EQ(
      InChild([&] { return fails([&] { (void)model->bundle().meta_graph_def(); }); }), 0);
  EXPECT_EQ(InChild([&] { return fails([] { Model::Load(DigitsPath()); }); }), 0);
  EXPECT_EQ(InChild([&] {
              model->Close();
              infer.reset();
              model.reset();
              return 0;
            }),
            0)
      << "letting go of a model in a child fails or hangs";
  EXPECT_EQ(before, Values<float>(infer->Run({{"image", Black()}}).at("probabilities")))
      << "the children disturbed their parent";
}

TEST(ModelTest, LoadsTheModelThatShips) {
  const Model model = Model::Load(DigitsPath());
  EXPECT_EQ(model.signature_names(),
            (std::vector<std::string>{"serve", "serving_default"}));
  EXPECT_EQ(model.bundle().export_dir(), DigitsPath());
  EXPECT_EQ(model.bundle().tags(), std::vector<std::string>{"serve"});
  const Model copy = model;
  EXPECT_EQ(Values<float>(
                copy.signature("serve").Run({{"image", Black()}}).at("probabilities")),
            Values<float>(model.signature("serving_default")
                              .Run({{"image", Black()}})
                              .at("probabilities")));
}

TEST(ModelTest, OptionsReachTheSession) {
  LoadOptions options;
  options.session_options.Set("device_count.CPU", 2);
  const Model model = Model::Load(DigitsPath(), options);
  EXPECT_EQ(model.session().ListDevices().size(), 2U);
  options.tags = std::vector<std::string>{"train"};
  EXPECT_TRUE(Throws(ErrorCode::kNotFound, {"{'train'}", "{'serve'}"},
                     [&] { Model::Load(DigitsPath(), options); }));
}

TEST(ModelTest, ReportsWhatLoadingDid) {
  const LoadReport report = Model::Load(DigitsPath()).bundle().load_report();
  std::vector<std::string> names;
  for (const LoadPhase& phase : report.phases) names.push_back(phase.name);
  EXPECT_EQ(names, (std::vector<std::string>{"library", "read", "optimize", "create",
                                             "restore", "init"}));
  EXPECT_EQ(
      report.phases[1].bytes,
      std::filesystem::file_size(std::filesystem::path(DigitsPath()) / "saved_model.pb"));
  EXPECT_EQ(report.phases[4].bytes, report.bytes_restored);
  EXPECT_TRUE(report.repairs.empty());
  // Keras' export stores each weight twice.
  constexpr std::uint64_t kWeights = 19'178 * sizeof(float);
  EXPECT_EQ(report.bytes_restored, kWeights);
  EXPECT_GE(report.bytes_saved, kWeights);
}

TEST(ModelTest, NoMoreThanTheChosenSignaturesIsLoaded) {
  const Model all = Model::Load(testing::ModulePath());
  LoadOptions options;
  options.signatures = std::vector<std::string>{"lookup"};
  const Model model = Model::Load(testing::ModulePath(), options);
  EXPECT_EQ(model.signature_names(), std::vector<std::string>{"lookup"});
  const LoadReport& report = model.bundle().load_report();
  EXPECT_EQ(report.bytes_restored, 0U);
  EXPECT_EQ(report.bytes_saved, all.bundle().load_report().bytes_restored +
                                    all.bundle().load_report().bytes_saved);
  const Signature lookup = model.signature("lookup");
  const TensorMap lines = lookup.Run({{"words", Tensor::Strings({"one"}, {1})}});
  EXPECT_EQ(lines.begin()->second.data<std::int64_t>()[0], 1);

  // What is asked for later is loaded then.
  const Signature forward = all.signature("serving_default");
  const Tensor row = Tensor::Copy(std::vector<float>{1, 2}.data(), {1, 2});
  const std::vector<Tensor> scores = model.session().Run(
      {{forward.inputs()[0].spec.name, row}}, {forward.outputs()[0].spec.name});
  EXPECT_EQ(Values<float>(scores.at(0)),
            Values<float>(forward.Run({{"x", row}}).at("score")));

  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument, {"'serving_default'"},
                     [&] { (void)model.signature("serving_default"); }));
  options.signatures = std::vector<std::string>{"lookup", "look_up"};
  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument,
                     {testing::ModulePath(), "'look_up'", "did you mean 'lookup'?"},
                     [&] { Model::Load(testing::ModulePath(), options); }));
}

TEST(ModelTest, RunOptionsAreTheDefaultOfEachCall) {
  LoadOptions options;
  options.run_options.Set("trace_level", "FULL_TRACE");
  const Model model = Model::Load(DigitsPath(), options);
  RunMetadata metadata;
  model.signature("serving_default")
      .RunPositional({Black()}, nullptr, nullptr, &metadata);
  EXPECT_FALSE(std::get<OptionMap>(metadata.Get("step_stats").value()).empty());
}

TEST(ModelTest, UnknownSignatureIsRefusedWithTheChoice) {
  const Model model = Model::Load(DigitsPath());
  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument,
                     {DigitsPath(), "'serving_defualt'",
                      "did you mean 'serving_default'?", "'serve', 'serving_default'"},
                     [&] { (void)model.signature("serving_defualt"); }));
}

TEST(ModelTest, MissingModelIsNotFound) {
  EXPECT_TRUE(Throws(ErrorCode::kNotFound, {"/nowhere/at/all"},
                     [] { Model::Load("/nowhere/at/all"); }));
  LoadOptions options;
  options.version = 7;
  EXPECT_TRUE(Throws(ErrorCode::kNotFound, {"no version 7"},
                     [&] { Model::Load(DigitsPath(), options); }));
}

TEST(ModelTest, PathMayHoldNumberedVersions) {
  const testing::TemporaryFolder folder;
  for (const char* name : {"2", "10"}) {
    std::filesystem::create_directory_symlink(DigitsPath(), folder / name);
  }
  const std::string path = folder.path().string();
  EXPECT_EQ(Model::Load(path).bundle().export_dir(), (folder / "10").string());
  LoadOptions options;
  options.version = 2;
  EXPECT_EQ(Model::Load(path, options).bundle().export_dir(), (folder / "2").string());
}

TEST(ModelTest, OutputsOutliveTheModel) {
  std::optional<Model> model = Model::Load(DigitsPath());
  const TensorMap outputs = model->signature("serving_default").Run({{"image", Black()}});
  const auto before = Values<float>(outputs.at("probabilities"));
  model->Close();
  model.reset();
  EXPECT_EQ(Values<float>(outputs.at("probabilities")), before);
  EXPECT_EQ(Values<float>(outputs.at("probabilities").Clone()), before);
}

TEST(ModelTest, CloseEndsEveryHandle) {
  const Model model = Model::Load(DigitsPath());
  const Model copy = model;
  const Signature infer = model.signature("serving_default");
  infer.Run({{"image", Black()}});
  copy.Close();
  copy.Close();
  EXPECT_TRUE(Throws(ErrorCode::kFailedPrecondition, {DigitsPath(), "closed"},
                     [&] { infer.Run({{"image", Black()}}); }));
  EXPECT_EQ(model.signature_names().size(), 2U);
  EXPECT_EQ(model.signature("serve").inputs().size(), 1U);
  EXPECT_TRUE(Throws(ErrorCode::kFailedPrecondition, {"closed"},
                     [&] { model.signature("serve").Run({{"image", Black()}}); }));
}

TEST(ModelTest, SignatureDoesNotKeepAModelThatIsGone) {
  std::optional<Model> model = Model::Load(DigitsPath());
  const Signature infer = model->signature("serving_default");
  model->Close();
  model.reset();
  EXPECT_TRUE(Throws(ErrorCode::kFailedPrecondition, {"closed"},
                     [&] { infer.Run({{"image", Black()}}); }));
}

TEST(ModelTest, TwoModelsAreIndependent) {
  const Model one = Model::Load(DigitsPath());
  const Model other = Model::Load(DigitsPath());
  one.Close();
  EXPECT_NO_THROW(other.signature("serving_default").Run({{"image", Black()}}));
}

TEST(ModelTest, ThreadsRunWhileOthersClose) {
  constexpr int kThreads = 8;
  for (int round = 0; round < 3; ++round) {
    const Model model = Model::Load(DigitsPath());
    const Signature infer = model.signature("serving_default");
    std::vector<std::vector<float>> expected;
    std::vector<std::unique_ptr<AlignedBuffer<float>>> images;
    for (std::size_t i = 0; i < kThreads; ++i) {
      images.push_back(std::make_unique<AlignedBuffer<float>>(64));
      (*images[i])[i * 7] = 1.0F;
      const Tensor view = Tensor::View(images[i]->data(), {1, 8, 8, 1});
      expected.push_back(Values<float>(infer.Run({{"image", view}}).at("probabilities")));
    }
    std::atomic<int> answers{0};
    std::atomic<int> wrong{0};
    std::atomic<int> closed{0};
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < kThreads; ++i) {
      threads.emplace_back([&, i] {
        const Tensor view = Tensor::View(images[i]->data(), {1, 8, 8, 1});
        const BoundCall bound = infer.BindPositional({view});
        try {
          for (int call = 0;; ++call) {
            // Three ways in: by name, bound, and through the session.
            Tensor output;
            if (call % 3 == 0) {
              output = infer.Run({{"image", view}}).at("probabilities");
            } else if (call % 3 == 1) {
              output = bound.Run().at(0);
            } else {
              output = model.session()
                           .Run({{infer.inputs()[0].spec.name, view}},
                                {infer.outputs()[0].spec.name})
                           .at(0);
            }
            // The session rounds in another order than the engine.
            const std::vector<float> got = Values<float>(output);
            for (std::size_t k = 0; k < got.size(); ++k) {
              if (std::abs(got[k] - expected[i][k]) > 1e-5F) ++wrong;
            }
            ++answers;
          }
        } catch (const Error& error) {
          if (error.code() == ErrorCode::kFailedPrecondition) ++closed;
        }
      });
    }
    while (answers < 10 * kThreads)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    std::thread closer([&] { model.Close(); });
    model.Close();
    closer.join();
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(wrong, 0);
    EXPECT_EQ(closed, kThreads);
  }
}

TEST(ModelTest, ThreadsLoadAtOnce) {
  std::vector<std::thread> threads;
  std::atomic<int> right{0};
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&right] {
      const Model model = Model::Load(DigitsPath());
      right += model.signature("serving_default")
                   .Run({{"image", Black()}})
                   .at("probabilities")
                   .dim(1) == 10;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(right, 4);
}

class GeneratedModelsTest : public testing::GeneratedModelTest {};

TEST_F(GeneratedModelsTest, TagsAreChosenWhenThereIsNoChoice) {
  EXPECT_EQ(Load("tf1_two_tag_sets").bundle().tags(), std::vector<std::string>{"serve"});
  EXPECT_EQ(Load("tf1_train_tag_only").bundle().tags().size(), 2U);
  LoadOptions options;
  options.tags = std::vector<std::string>{"gpu", "serve"};
  const Model model = Model::Load(Path("tf1_two_tag_sets"), options);
  const auto outputs =
      model.signature("serving_default").Run({{"x", testing::Floats({1, 2})}});
  EXPECT_EQ(Values<float>(outputs.at("y")), (std::vector<float>{103, 106}));
}

TEST_F(GeneratedModelsTest, ThreadsCountTogether) {
  const Model model = Load("counter");
  const Signature add = model.signature("add");
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&add] {
      for (int call = 0; call < 100; ++call)
        add.Run({{"by", Tensor::Scalar(std::int64_t{1})}});
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(model.signature("read").Run({}).at("count").data<std::int64_t>()[0], 405);
}

// Each subset of outputs gets a callable of its own at its first call, here made by
// several threads at once, and of more than are kept.
TEST_F(GeneratedModelsTest, ThreadsAskForDifferentOutputs) {
  const Model model = Load("many_inputs_outputs");
  const Signature mix = model.signature("serving_default");
  const std::vector<Tensor> inputs = {
      Tensor::Copy(std::vector<std::int64_t>{1}.data(), {1}), Tensor::Scalar(false),
      Tensor::StringScalar("m"), testing::Floats({1})};
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      for (int number = 0; number < 64; ++number) {
        const int code = (number + i) % 64;
        const std::vector<int> positions = {code % 4, code / 4 % 4, code / 16 % 4};
        const auto outputs = mix.RunPositional(inputs, &positions);
        for (std::size_t k = 0; k < 3; ++k) {
          const NamedSpec& expected =
              mix.outputs()[static_cast<std::size_t>(positions[k])];
          if (outputs.at(k).dtype() != expected.spec.dtype) ++wrong;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace savedmodel
