#include "savedmodel/options.h"

#include <algorithm>
#include <limits>

#include "testing.h"

namespace savedmodel {
namespace {

using testing::Throws;

const OptionValue* Find(const OptionMap& map, std::string_view name) {
  for (const auto& [key, value] : map) {
    if (key == name) return &value;
  }
  return nullptr;
}

template <typename T>
T As(const OptionValue& value) {
  return std::get<T>(value.value());
}

// A value in a map, nested.
template <typename T>
T At(const OptionMap& map, std::initializer_list<std::string_view> path) {
  const OptionMap* level = &map;
  for (auto name = path.begin(); name + 1 != path.end(); ++name) {
    const OptionValue* value = Find(*level, *name);
    if (value == nullptr) throw std::out_of_range(std::string(*name));
    level = &std::get<OptionMap>(value->value());
  }
  const OptionValue* value = Find(*level, *(path.end() - 1));
  if (value == nullptr) throw std::out_of_range(std::string(*(path.end() - 1)));
  return As<T>(*value);
}

TEST(OptionsTest, ScalarsOfEachKind) {
  SessionOptions options;
  EXPECT_TRUE(options.ToMap().empty());
  options.Set("intra_op_parallelism_threads", 3);
  options.Set("allow_soft_placement", true);
  options.Set("operation_timeout_in_ms", std::int64_t{1} << 40);
  EXPECT_EQ(As<std::int64_t>(options.Get("intra_op_parallelism_threads")), 3);
  EXPECT_TRUE(As<bool>(options.Get("allow_soft_placement")));
  EXPECT_EQ(As<std::int64_t>(options.Get("operation_timeout_in_ms")),
            std::int64_t{1} << 40);
  EXPECT_EQ(options.ToMap().size(), 3U);
}

TEST(OptionsTest, UnsetFieldsHaveTheirDefault) {
  const SessionOptions options;
  EXPECT_FALSE(As<bool>(options.Get("log_device_placement")));
  EXPECT_EQ(As<std::int64_t>(options.Get("inter_op_parallelism_threads")), 0);
  EXPECT_TRUE(As<OptionMap>(options.Get("gpu_options")).empty());
  EXPECT_TRUE(As<OptionMap>(options.Get("device_count")).empty());
  EXPECT_TRUE(As<OptionList>(options.Get("device_filters")).empty());
}

TEST(OptionsTest, DotsDescend) {
  SessionOptions options;
  options.Set("gpu_options.allow_growth", true);
  options.Set("gpu_options.per_process_gpu_memory_fraction", 0.25);
  options.Set("gpu_options.experimental.num_dev_to_dev_copy_streams", 2);
  const OptionMap map = options.ToMap();
  EXPECT_TRUE(At<bool>(map, {"gpu_options", "allow_growth"}));
  EXPECT_EQ(At<double>(map, {"gpu_options", "per_process_gpu_memory_fraction"}), 0.25);
  EXPECT_EQ(At<std::int64_t>(
                map, {"gpu_options", "experimental", "num_dev_to_dev_copy_streams"}),
            2);
}

TEST(OptionsTest, AnIntegerDoesForAFloat) {
  SessionOptions options;
  options.Set("gpu_options.per_process_gpu_memory_fraction", 1);
  EXPECT_EQ(
      At<double>(options.ToMap(), {"gpu_options", "per_process_gpu_memory_fraction"}),
      1.0);
}

TEST(OptionsTest, EnumsGoByName) {
  RunOptions options;
  options.Set("trace_level", "FULL_TRACE");
  EXPECT_EQ(As<std::string>(options.Get("trace_level")), "FULL_TRACE");
  options.Set("trace_level", 1);
  EXPECT_EQ(As<std::string>(options.Get("trace_level")), "SOFTWARE_TRACE");
  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument,
                     {"trace_level", "'NO_TRACE'", "'FULL_TRACE'", "'LOUD_TRACE'"},
                     [&] { options.Set("trace_level", "LOUD_TRACE"); }));
  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument, {"trace_level", "77"},
                     [&] { options.Set("trace_level", 77); }));
  // 3 is FULL_TRACE, but this is not 3.
  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument, {"trace_level", "4294967299"},
                     [&] { options.Set("trace_level", (std::int64_t{1} << 32) + 3); }));
  EXPECT_EQ(As<std::string>(options.Get("trace_level")), "SOFTWARE_TRACE");
  SessionOptions session;
  session.Set("graph_options.optimizer_options.global_jit_level", "ON_1");
  EXPECT_EQ(At<std::string>(session.ToMap(),
                            {"graph_options", "optimizer_options", "global_jit_level"}),
            "ON_1");
}

TEST(OptionsTest, MapFieldsAreReplacedWholeOrByKey) {
  SessionOptions options;
  options.Set("device_count", OptionMap{{"CPU", 2}, {"GPU", 0}});
  EXPECT_EQ(At<std::int64_t>(options.ToMap(), {"device_count", "CPU"}), 2);
  EXPECT_EQ(At<std::int64_t>(options.ToMap(), {"device_count", "GPU"}), 0);
  options.Set("device_count.CPU", 4);
  EXPECT_EQ(At<std::int64_t>(options.ToMap(), {"device_count", "CPU"}), 4);
  EXPECT_EQ(At<std::int64_t>(options.ToMap(), {"device_count", "GPU"}), 0);
  EXPECT_EQ(As<OptionMap>(options.Get("device_count")).size(), 2U);
  options.Set("device_count", OptionMap{{"TPU", 1}});
  EXPECT_EQ(As<OptionMap>(options.Get("device_count")).size(), 1U);
  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument, {"device_count.CPU", "a string 'two'"},
                     [&] { options.Set("device_count.CPU", "two"); }));
}

TEST(OptionsTest, RepeatedFieldsTakeLists) {
  SessionOptions options;
  options.Set("device_filters", OptionList{"/job:ps", "/job:worker"});
  EXPECT_EQ(As<OptionList>(options.Get("device_filters")).size(), 2U);
  options.Set("device_filters", OptionList{"/job:ps"});
  const auto filters = As<OptionList>(options.Get("device_filters"));
  ASSERT_EQ(filters.size(), 1U);
  EXPECT_EQ(As<std::string>(filters[0]), "/job:ps");
  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument, {"device_filters", "list", "a string"},
                     [&] { options.Set("device_filters", "/job:ps"); }));
  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument, {"device_filters[1]", "an integer 3"},
                     [&] { options.Set("device_filters", OptionList{"/job:ps", 3}); }));
  options.Set(
      "session_inter_op_thread_pool",
      OptionList{OptionMap{{"num_threads", 2}}, OptionMap{{"global_name", "shared"}}});
  const auto pools = As<OptionList>(options.Get("session_inter_op_thread_pool"));
  ASSERT_EQ(pools.size(), 2U);
  EXPECT_EQ(At<std::int64_t>(As<OptionMap>(pools[0]), {"num_threads"}), 2);
  EXPECT_EQ(At<std::string>(As<OptionMap>(pools[1]), {"global_name"}), "shared");
}

TEST(OptionsTest, MessagesTakeMapsAndReplace) {
  SessionOptions options;
  options.Set("gpu_options",
              OptionMap{{"allow_growth", true}, {"visible_device_list", "1"}});
  options.Set("gpu_options", OptionMap{{"visible_device_list", "0"}});
  const OptionMap map = options.ToMap();
  EXPECT_EQ(At<std::string>(map, {"gpu_options", "visible_device_list"}), "0");
  EXPECT_EQ(Find(At<OptionMap>(map, {"gpu_options"}), "allow_growth"), nullptr);
  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument, {"gpu_options", "a mapping", "a bool"},
                     [&] { options.Set("gpu_options", true); }));
  EXPECT_EQ(At<std::string>(options.ToMap(), {"gpu_options", "visible_device_list"}),
            "0");
}

TEST(OptionsTest, UnknownFieldsAreRefusedWithTheNearestName) {
  SessionOptions options;
  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument,
                     {"'intra_op_paralelism_threads'", "ConfigProto",
                      "did you mean 'intra_op_parallelism_threads'?"},
                     [&] { options.Set("intra_op_paralelism_threads", 1); }));
  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument,
                     {"'gpu_options.alow_growth'", "did you mean 'allow_growth'?"},
                     [&] { options.Set("gpu_options.alow_growth", true); }));
  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument,
                     {"'gpu_options.alow_growth'", "did you mean 'allow_growth'?"}, [&] {
                       options.Set("gpu_options", OptionMap{{"alow_growth", true}});
                     }));
  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument, {"unknown option", "zzz"},
                     [&] { (void)options.Get("zzz"); }));
  for (const char* path : {"", ".", "gpu_options.", ".gpu_options"}) {
    EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument, {}, [&] { options.Set(path, true); }))
        << path;
  }
  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument,
                     {"'allow_soft_placement' has no fields of its own"},
                     [&] { options.Set("allow_soft_placement.x", true); }));
}

TEST(OptionsTest, ValuesMustFit) {
  SessionOptions session;
  RunOptions run;
  const std::int64_t too_big = std::int64_t{1} << 31;
  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument,
                     {"intra_op_parallelism_threads", "int32", "2147483648"},
                     [&] { session.Set("intra_op_parallelism_threads", too_big); }));
  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument, {"-2147483649"},
                     [&] { session.Set("intra_op_parallelism_threads", -too_big - 1); }));
  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument, {"timeout_in_ms"}, [&] {
    run.Set("timeout_in_ms", std::numeric_limits<std::uint64_t>::max());
  }));
  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument, {"a float"},
                     [&] { run.Set("timeout_in_ms", 1.0); }));
  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument, {"a bool"},
                     [&] { run.Set("timeout_in_ms", true); }));
  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument, {"takes a bool, got an integer 1"},
                     [&] { session.Set("allow_soft_placement", 1); }));
  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument, {"a number", "a string 'half'"}, [&] {
    session.Set("gpu_options.per_process_gpu_memory_fraction", "half");
  }));
  session.Set("intra_op_parallelism_threads", -too_big);
  EXPECT_EQ(As<std::int64_t>(session.Get("intra_op_parallelism_threads")), -too_big);
  run.Set("timeout_in_ms", std::uint64_t{5});
  EXPECT_EQ(As<std::int64_t>(run.Get("timeout_in_ms")), 5);
}

TEST(OptionsTest, FieldNamesAreTensorFlows) {
  const auto names = RunOptions().FieldNames();
  for (const char* name : {"trace_level", "timeout_in_ms", "inter_op_thread_pool"}) {
    EXPECT_NE(std::find(names.begin(), names.end(), name), names.end()) << name;
  }
}

TEST(OptionsTest, SerializedFormRoundTrips) {
  SessionOptions options;
  options.Set("device_count.CPU", 2);
  options.Set("gpu_options.allow_growth", true);
  options.Set("device_filters", OptionList{"/job:ps"});
  SessionOptions parsed;
  parsed.Set("allow_soft_placement", true);
  parsed.Parse(options.Serialize());
  EXPECT_EQ(parsed.Serialize(), options.Serialize());
  EXPECT_EQ(parsed.ToString(), options.ToString());
  EXPECT_FALSE(As<bool>(parsed.Get("allow_soft_placement")));
  parsed.Parse("");
  EXPECT_TRUE(parsed.ToMap().empty());
}

TEST(OptionsTest, WireFormatIsTensorFlows) {
  RunOptions options;
  options.Set("timeout_in_ms", 5);
  // Field 2, varint 5 (tensorflow/core/protobuf/config.proto).
  EXPECT_EQ(options.Serialize(), std::string("\x10\x05"));
  EXPECT_EQ(options.ToString(), "timeout_in_ms: 5");
}

TEST(OptionsTest, GarbageIsRefusedAndChangesNothing) {
  SessionOptions options;
  options.Set("device_count.CPU", 2);
  const std::string before = options.Serialize();
  for (const std::string& garbage :
       {std::string("\xff\xff\xff"), std::string("\x0a\x7f"), std::string(100, '\0')}) {
    EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument, {"not a serialized ConfigProto"},
                       [&] { options.Parse(garbage); }));
  }
  EXPECT_EQ(options.Serialize(), before);
}

TEST(OptionsTest, CopiesAreIndependent) {
  SessionOptions options;
  options.Set("device_count.CPU", 2);
  SessionOptions copy = options;
  copy.Set("device_count.CPU", 3);
  EXPECT_EQ(At<std::int64_t>(options.ToMap(), {"device_count", "CPU"}), 2);
  options = copy;
  EXPECT_EQ(At<std::int64_t>(options.ToMap(), {"device_count", "CPU"}), 3);
  const SessionOptions moved = std::move(copy);
  EXPECT_EQ(At<std::int64_t>(moved.ToMap(), {"device_count", "CPU"}), 3);
  copy = options;  // NOLINT(bugprone-use-after-move): to be assigned is allowed
  EXPECT_EQ(copy.Serialize(), options.Serialize());
  SessionOptions& self = options;
  options = self;
  EXPECT_EQ(At<std::int64_t>(options.ToMap(), {"device_count", "CPU"}), 3);
}

}  // namespace
}  // namespace savedmodel
