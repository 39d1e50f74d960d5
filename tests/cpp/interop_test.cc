#include <atomic>
#include <filesystem>
#include <initializer_list>
#include <memory>
#include <set>
#include <string_view>
#include <thread>

#include "absl/status/status.h"
#include "google/protobuf/unknown_field_set.h"
#include "savedmodel/tensorflow_interop.h"
#include "tensorflow/core/framework/tensor.pb.h"
#include "tensorflow/core/framework/types.h"
#include "tensorflow/core/lib/io/record_writer.h"
#include "tensorflow/core/platform/env.h"
#include "tensorflow/core/public/session.h"
#include "testing.h"

namespace savedmodel {
namespace {

namespace tf = tensorflow;

using testing::AlignedBuffer;
using testing::DigitsPath;
using testing::Throws;
using testing::Values;

TEST(InteropTest, DtypeTableIsTensorFlows) {
  std::set<int> table;
#define SAVEDMODEL_CHECK(enumerator, number, name, size, numpy)                        \
  EXPECT_EQ(tf::DataTypeSize(static_cast<tf::DataType>(number)), int{size}) << (name); \
  EXPECT_TRUE(tf::DataType_IsValid(number)) << (name);                                 \
  table.insert(number);
  SAVEDMODEL_DTYPE_TABLE(SAVEDMODEL_CHECK)
#undef SAVEDMODEL_CHECK
  // Nothing is left out but DT_INVALID and the references.
  for (int number = 1; number < tf::DataType_ARRAYSIZE; ++number) {
    if (!tf::DataType_IsValid(number) || tf::IsRefType(static_cast<tf::DataType>(number)))
      continue;
    EXPECT_EQ(table.count(number), 1U)
        << tf::DataType_Name(static_cast<tf::DataType>(number));
  }
}

TEST(InteropTest, CppTypesAreTensorFlows) {
#define SAVEDMODEL_CHECK(Type)                  \
  EXPECT_EQ(static_cast<int>(DataTypeOf<Type>), \
            static_cast<int>(tf::DataTypeToEnum<Type>::value))
  SAVEDMODEL_CHECK(float);
  SAVEDMODEL_CHECK(double);
  SAVEDMODEL_CHECK(std::int8_t);
  SAVEDMODEL_CHECK(std::int16_t);
  SAVEDMODEL_CHECK(std::int32_t);
  SAVEDMODEL_CHECK(std::int64_t);
  SAVEDMODEL_CHECK(std::uint8_t);
  SAVEDMODEL_CHECK(std::uint16_t);
  SAVEDMODEL_CHECK(std::uint32_t);
  SAVEDMODEL_CHECK(std::uint64_t);
  SAVEDMODEL_CHECK(bool);
  SAVEDMODEL_CHECK(std::complex<float>);
  SAVEDMODEL_CHECK(std::complex<double>);
#undef SAVEDMODEL_CHECK
}

TEST(InteropTest, ErrorCodesAreTensorFlows) {
  for (int code = 1; code <= 16; ++code) {
    EXPECT_EQ(ErrorCodeName(static_cast<ErrorCode>(code)),
              absl::StatusCodeToString(static_cast<absl::StatusCode>(code)));
  }
}

TEST(InteropTest, AlignmentIsTensorFlows) {
  EXPECT_EQ(kTensorAlignment, std::size_t{EIGEN_MAX_ALIGN_BYTES});
  EXPECT_GE(static_cast<std::size_t>(tf::Allocator::kAllocatorAlignment),
            kTensorAlignment);
}

TEST(InteropTest, TensorsShareTheirMemory) {
  const Tensor ours = testing::Floats({1, 2, 3});
  const tf::Tensor theirs = ToTensorFlow(ours);
  EXPECT_EQ(theirs.data(), ours.data());
  EXPECT_EQ(theirs.dtype(), tf::DT_FLOAT);
  EXPECT_EQ(theirs.shape().DebugString(), "[3]");
  EXPECT_FALSE(ours.IsExclusive());
  const Tensor back = FromTensorFlow(theirs);
  EXPECT_EQ(back.data(), ours.data());
  EXPECT_EQ(back.shape(), Shape{3});
}

TEST(InteropTest, ViewStaysTheCallersAndReadOnly) {
  AlignedBuffer<float> buffer{1, 2, 3};
  int released = 0;
  {
    tf::Tensor theirs = ToTensorFlow(
        Tensor::View(buffer.data(), {3},
                     std::shared_ptr<void>(buffer.data(), [&](void*) { ++released; })));
    EXPECT_EQ(theirs.data(), buffer.data());
    EXPECT_EQ(theirs.flat<float>()(1), 2.0F);
    EXPECT_FALSE(FromTensorFlow(theirs).IsExclusive());
    // Also a part of it, as the last holder.
    const Tensor part = FromTensorFlow(theirs.Slice(0, 2));
    theirs = tf::Tensor();
    EXPECT_EQ(part.data(), buffer.data());
    EXPECT_FALSE(part.IsExclusive());
    EXPECT_EQ(released, 0);
  }
  EXPECT_EQ(released, 1);
}

TEST(InteropTest, SliceOfATensorIsNotExclusive) {
  tf::Tensor theirs(tf::DT_FLOAT, {4, 16});
  const Tensor slice = FromTensorFlow(theirs.Slice(1, 3));
  EXPECT_FALSE(slice.IsExclusive());
  EXPECT_EQ(slice.shape(), (Shape{2, 16}));
  theirs = tf::Tensor();
  EXPECT_TRUE(slice.Clone().IsExclusive());
}

TEST(InteropTest, EveryDtypeGoesBothWays) {
#define SAVEDMODEL_CHECK(enumerator, number, name, size, numpy)                    \
  if (DataType::enumerator != DataType::kResource &&                               \
      DataType::enumerator != DataType::kVariant) {                                \
    const Tensor tensor(DataType::enumerator, {2, 3});                             \
    EXPECT_EQ(static_cast<int>(ToTensorFlow(tensor).dtype()), number) << (name);   \
    EXPECT_EQ(FromTensorFlow(ToTensorFlow(tensor)).dtype(), DataType::enumerator); \
  }
  SAVEDMODEL_DTYPE_TABLE(SAVEDMODEL_CHECK)
#undef SAVEDMODEL_CHECK
}

TEST(InteropTest, StringsKeepEveryByte) {
  const Tensor ours = Tensor::Strings({std::string_view("a\0b", 3), ""}, {2});
  EXPECT_EQ(std::string(ToTensorFlow(ours).flat<tf::tstring>()(0)),
            std::string("a\0b", 3));
  tf::Tensor theirs(tf::DT_STRING, {1});
  theirs.flat<tf::tstring>()(0) = tf::tstring("\0c", 2);
  EXPECT_EQ(FromTensorFlow(theirs).string_at(0), std::string_view("\0c", 2));
}

TEST(InteropTest, BundleRunsAndOutlivesClose) {
  LoadOptions options;
  options.optimize = OptimizeLevel::kNone;
  const Model model = Model::Load(DigitsPath(), options);
  const Signature infer = model.signature("serving_default");
  const Tensor image = Tensor::Copy(std::vector<float>(64, 0.5F).data(), {1, 8, 8, 1});
  const auto expected = Values<float>(infer.Run({{"image", image}}).at("probabilities"));

  const std::shared_ptr<tf::SavedModelBundle> bundle =
      GetTensorFlowBundle(model.bundle());
  EXPECT_EQ(bundle->meta_graph_def.SerializeAsString().size(),
            model.bundle().meta_graph_def().size());
  model.Close();
  std::vector<tf::Tensor> outputs;
  const absl::Status status =
      bundle->session->Run({{infer.inputs()[0].spec.name, ToTensorFlow(image)}},
                           {infer.outputs()[0].spec.name}, {}, &outputs);
  ASSERT_TRUE(status.ok()) << status.ToString();
  EXPECT_EQ(Values<float>(FromTensorFlow(outputs.at(0))), expected);
  EXPECT_TRUE(Throws(ErrorCode::kFailedPrecondition, {DigitsPath(), "closed"},
                     [&] { GetTensorFlowBundle(model.bundle()); }));
}

// A model's session holds what was asked for.
TEST(InteropTest, SessionGrowsWithTheModel) {
  LoadOptions options;
  options.signatures = std::vector<std::string>{"lookup"};
  const Model model = Model::Load(testing::ModulePath(), options);
  const SignatureDef forward =
      Model::Load(testing::ModulePath()).bundle().signature_def().at("serving_default");
  const std::shared_ptr<tf::SavedModelBundle> bundle =
      GetTensorFlowBundle(model.bundle());
  tf::Tensor row(tf::DT_FLOAT, {1, 2});
  row.flat<float>().setConstant(0.5F);
  const auto run = [&](std::vector<tf::Tensor>* outputs) {
    return bundle->session->Run({{forward.inputs.at("x").name, row}},
                                {forward.outputs.at("score").name}, {}, outputs);
  };
  std::vector<tf::Tensor> outputs;
  EXPECT_FALSE(run(&outputs).ok());
  const Tensor expected = model.session()
                              .Run({{forward.inputs.at("x").name, FromTensorFlow(row)}},
                                   {forward.outputs.at("score").name})
                              .at(0);
  ASSERT_TRUE(run(&outputs).ok());
  EXPECT_EQ(Values<float>(FromTensorFlow(outputs.at(0))), Values<float>(expected));

  // Every node of the graph, one by one from several threads, beside runs of what is
  // there.
  std::vector<std::string> nodes;
  for (const tf::NodeDef& node : bundle->meta_graph_def.graph_def().node())
    nodes.push_back(node.name());
  std::atomic<int> failures{0};
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < 3; ++i) {
    threads.emplace_back([&, i] {
      for (std::size_t k = 0; k < nodes.size(); ++k) {
        try {
          model.session().MakeCallable({}, {}, {nodes[(k * (i + 1)) % nodes.size()]});
        } catch (const Error& error) {
          ++failures;
          ADD_FAILURE() << error.what();
        }
        std::vector<tf::Tensor> again;
        failures += !run(&again).ok();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(failures, 0);
}

// A message of length-delimited fields.
std::string Message(
    std::initializer_list<std::pair<int, std::string_view>> numbered_fields) {
  google::protobuf::UnknownFieldSet fields;
  for (const auto& [number, value] : numbered_fields)
    fields.AddLengthDelimited(number, value);
  std::string bytes;
  fields.SerializeToString(&bytes);
  return bytes;
}

// tests/python/test_warmup.py tests the rest.
TEST(InteropTest, LoadReplaysWarmupRequests) {
  namespace fs = std::filesystem;
  const fs::path folder = fs::path(::testing::TempDir()) / "savedmodel_warmup";
  fs::remove_all(folder);
  fs::copy(DigitsPath(), folder, fs::copy_options::recursive);
  fs::create_directory(folder / "assets.extra");
  const std::string path = folder / "assets.extra" / "tf_serving_warmup_requests";
  const auto write = [&](const Shape& shape) {
    tf::TensorProto image;
    ToTensorFlow(Tensor(DataType::kFloat, shape)).AsProtoTensorContent(&image);
    const std::string inputs = Message({{1, "image"}, {2, image.SerializeAsString()}});
    const std::string log =
        Message({{6, Message({{1, Message({{2, inputs}, {3, "probabilities"}})}})}});
    std::unique_ptr<tf::WritableFile> file;
    ASSERT_TRUE(tf::Env::Default()->NewWritableFile(path, &file).ok());
    tf::io::RecordWriter writer(file.get());
    ASSERT_TRUE(writer.WriteRecord(log).ok() && writer.Close().ok());
    ASSERT_TRUE(file->Close().ok());
  };
  LoadOptions options;
  options.warmup = true;
  write({1, 8, 8, 1});
  const Model model = Model::Load(folder, options);
  const LoadPhase& phase = model.bundle().load_report().phases.back();
  EXPECT_EQ(phase.name, "warmup");
  EXPECT_EQ(phase.bytes, fs::file_size(path));
  write({1, 7, 7, 1});
  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument,
                     {path, "record 1 (a predict log)", "signature 'serving_default'",
                      "input 'image'", "(1, 7, 7, 1)"},
                     [&] { Model::Load(folder, options); }));
  fs::remove_all(folder);
}

class GeneratedInteropTest : public testing::GeneratedModelTest {};

// Kernels give out parts of their input in the same way.
TEST_F(GeneratedInteropTest, PartOfAViewIsNotKeptByAnAssignment) {
  const Model model = Load("assign_input");
  AlignedBuffer<float> buffer{1, 2, 3, 4};
  const tf::Tensor whole = ToTensorFlow(Tensor::View(buffer.data(), {2, 2}));
  model.signature("write").Run(
      {{"x", FromTensorFlow(whole.Slice(0, 1))}, {"label", Tensor::StringScalar("")}});
  buffer[0] = 100;
  EXPECT_EQ(Values<float>(model.signature("read").Run({}).at("x")),
            (std::vector<float>{1, 2}));
}

}  // namespace
}  // namespace savedmodel
