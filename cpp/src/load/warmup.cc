#include "load/warmup.h"

#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <string_view>

#include "core/status.h"
#include "core/tensor_access.h"
#include "google/protobuf/unknown_field_set.h"
#include "tensorflow/cc/saved_model/constants.h"
#include "tensorflow/core/framework/tensor.pb.h"
#include "tensorflow/core/lib/core/coding.h"
#include "tensorflow/core/lib/hash/crc32c.h"

namespace savedmodel {

namespace {

namespace fs = std::filesystem;
namespace tf = tensorflow;

// The file's name, the limit, and what is replayed, are those of TensorFlow Serving
// (tensorflow_serving/servables/tensorflow/saved_model_warmup*.cc).
constexpr char kRequestsFileName[] = "tf_serving_warmup_requests";
constexpr int kMaxRecords = 1000;

// No protobuf message is larger, and no tensor of one needs to be.
constexpr std::int64_t kMaxBytes = std::numeric_limits<std::int32_t>::max();

// TensorFlow Serving's messages are not in TensorFlow's wheels. These are the numbers of
// the fields that are read, from tensorflow_serving/apis/<file>.proto.
namespace field {
// prediction_log: PredictionLog; one of these is set.
constexpr int kClassifyLog = 2;
constexpr int kRegressLog = 3;
constexpr int kMultiInferenceLog = 4;
constexpr int kSessionRunLog = 5;
constexpr int kPredictLog = 6;
constexpr int kPredictStreamedLog = 7;
// prediction_log: each of these.
constexpr int kLogRequest = 1;
// predict: PredictRequest; classification, regression: the same model_spec.
constexpr int kModelSpec = 1;
constexpr int kPredictInputs = 2;
constexpr int kPredictOutputFilter = 3;
// classification, regression, inference: ...Request.
constexpr int kInput = 2;
// inference: MultiInferenceRequest, InferenceTask.
constexpr int kTasks = 1;
constexpr int kTaskModelSpec = 1;
// model: ModelSpec.
constexpr int kSignatureName = 3;
// input: Input; one of these is set.
constexpr int kExampleList = 1;
constexpr int kExampleListWithContext = 2;
// input: ExampleList, ExampleListWithContext.
constexpr int kExamples = 1;
constexpr int kContext = 2;
// A map's entry (protobuf's encoding of maps).
constexpr int kKey = 1;
constexpr int kValue = 2;
}  // namespace field

[[noreturn]] void Corrupt(const std::string& context, const std::string& what) {
  throw Error(ErrorCode::kDataLoss, context + ": " + what);
}

// A message without its type: all of its fields are unknown ones.
class Message {
 public:
  Message(std::string_view bytes, const std::string& context) {
    if (!fields_.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
      Corrupt(context, "cannot be parsed");
  }

  std::vector<std::string_view> Repeated(int number) const {
    std::vector<std::string_view> values;
    for (int i = 0; i < fields_.field_count(); ++i) {
      if (IsBytes(i) && fields_.field(i).number() == number)
        values.push_back(fields_.field(i).length_delimited());
    }
    return values;
  }
  std::string_view String(int number) const {
    const auto values = Repeated(number);
    return values.empty() ? std::string_view() : values.back();
  }
  // Parts of one message are merged, which is what parsing them in a row does.
  std::string Submessage(int number) const {
    std::string merged;
    for (const std::string_view part : Repeated(number)) merged += part;
    return merged;
  }
  // Which field of a oneof between these numbers is set: the last. 0 for none.
  int OneOf(int first, int last) const {
    for (int i = fields_.field_count() - 1; i >= 0; --i) {
      const int number = fields_.field(i).number();
      if (IsBytes(i) && first <= number && number <= last) return number;
    }
    return 0;
  }

 private:
  bool IsBytes(int index) const {
    return fields_.field(index).type() ==
           google::protobuf::UnknownField::TYPE_LENGTH_DELIMITED;
  }
  google::protobuf::UnknownFieldSet fields_;
};

// Everything that would make TensorFlow abort, or take memory without limit, comes first.
Tensor ReadTensor(std::string_view bytes, const std::string& context) {
  tf::TensorProto proto;
  if (!proto.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
    Corrupt(context, "cannot be parsed");
  const auto dtype = static_cast<DataType>(proto.dtype());
  if (!IsValid(dtype) || dtype == DataType::kResource || dtype == DataType::kVariant) {
    throw Error(ErrorCode::kInvalidArgument, context + " has dtype " +
                                                 std::to_string(proto.dtype()) +
                                                 ", which a request cannot hold");
  }
  tf::TensorShape shape;
  ThrowIfError(tf::TensorShape::BuildTensorShape(proto.tensor_shape(), &shape), context);
  const std::int64_t size = dtype == DataType::kString
                                ? static_cast<std::int64_t>(sizeof(tf::tstring))
                                : tf::DataTypeSize(proto.dtype());
  if (shape.num_elements() > kMaxBytes / size) {
    throw Error(ErrorCode::kInvalidArgument,
                context + " has shape " + shape.DebugString() +
                    ", more than the 2 GiB that a request can hold");
  }
  tf::Tensor tensor;
  if (!tensor.FromProto(proto)) Corrupt(context, "its values do not fit its shape");
  return TensorAccess::Wrap(std::move(tensor));
}

std::string ReadSignatureName(std::string_view model_spec, const std::string& context) {
  const std::string name(Message(model_spec, context).String(field::kSignatureName));
  return name.empty() ? "serving_default" : name;
}

// The serialized tf.Examples of an Input. The features of the context come before each
// example's own: bytes in a row are one message.
Tensor ReadExamples(std::string_view bytes, const std::string& context) {
  const Message input(bytes, context);
  const int kind = input.OneOf(field::kExampleList, field::kExampleListWithContext);
  const std::string content = input.Submessage(kind);
  const Message list(content, context);
  std::string shared;
  if (kind == field::kExampleListWithContext) shared = list.Submessage(field::kContext);
  const auto examples = list.Repeated(field::kExamples);
  if (examples.empty()) {
    throw Error(ErrorCode::kInvalidArgument, context + ": its input has no example");
  }
  if (examples.size() * shared.size() > static_cast<std::size_t>(kMaxBytes)) {
    throw Error(ErrorCode::kInvalidArgument,
                context + ": its examples with their context are more than 2 GiB");
  }
  Tensor tensor(DataType::kString, {static_cast<std::int64_t>(examples.size())});
  for (std::size_t i = 0; i < examples.size(); ++i)
    tensor.set_string(static_cast<std::int64_t>(i), shared + std::string(examples[i]));
  return tensor;
}

WarmupRequest ReadPredict(const Message& request, const std::string& context) {
  WarmupRequest call{context, {}, {}, {}, {}};
  call.signature = ReadSignatureName(request.Submessage(field::kModelSpec), context);
  std::map<std::string, Tensor> inputs;  // of two entries with one key the last counts
  for (const std::string_view bytes : request.Repeated(field::kPredictInputs)) {
    const Message entry(bytes, context);
    const std::string name(entry.String(field::kKey));
    inputs[name] = ReadTensor(entry.Submessage(field::kValue),
                              context + ", the tensor of input '" + name + "'");
  }
  call.inputs.assign(inputs.begin(), inputs.end());
  for (const std::string_view name : request.Repeated(field::kPredictOutputFilter))
    call.outputs.emplace_back(name);
  return call;
}

// The calls of one PredictionLog. `context` names the record.
std::vector<WarmupRequest> ReadRecord(const std::string& record, std::string context) {
  const Message log(record, context);
  const int kind = log.OneOf(field::kClassifyLog, field::kPredictStreamedLog);
  if (kind == 0) return {};  // as TensorFlow Serving: nothing to replay
  static constexpr const char* kNames[] = {"classify",    "regress", "multi-inference",
                                           "session-run", "predict", "predict-streamed"};
  context += std::string(" (a ") + kNames[kind - field::kClassifyLog] + " log)";
  const std::string content = log.Submessage(kind);
  const std::string bytes = Message(content, context).Submessage(field::kLogRequest);
  const Message request(bytes, context);
  switch (kind) {
    case field::kPredictLog: return {ReadPredict(request, context)};
    case field::kClassifyLog:
    case field::kRegressLog:
      return {{context,
               ReadSignatureName(request.Submessage(field::kModelSpec), context),
               {},
               ReadExamples(request.Submessage(field::kInput), context),
               {}}};
    case field::kMultiInferenceLog: {
      const Tensor examples = ReadExamples(request.Submessage(field::kInput), context);
      std::vector<WarmupRequest> calls;
      for (const std::string_view task : request.Repeated(field::kTasks)) {
        const std::string spec = Message(task, context).Submessage(field::kTaskModelSpec);
        calls.push_back({context, ReadSignatureName(spec, context), {}, examples, {}});
      }
      return calls;
    }
    default:
      throw Error(ErrorCode::kUnimplemented,
                  context +
                      ": expected a predict, classify, regress or multi-inference "
                      "log");
  }
}

// The records of a TFRecord file (tensorflow/core/lib/io/record_writer.h): each its
// length (8 bytes), a checksum of it (4), the data, a checksum of them (4). TensorFlow's
// own reader believes any length that the file names.
class RecordFile {
 public:
  RecordFile(const std::string& path, const std::string& context)
      : context_(context),
        file_(path, std::ios::binary),
        left_(static_cast<std::uint64_t>(fs::file_size(path, error_))) {
    if (!file_ || error_) {
      throw Error(ErrorCode::kPermissionDenied, context_ + " cannot be read");
    }
  }

  // False at the end.
  bool Next(std::string* record) {
    if (left_ == 0) return false;
    const std::string length = ReadChecked(sizeof(std::uint64_t));
    *record = ReadChecked(tf::core::DecodeFixed64(length.data()));
    return true;
  }

 private:
  std::string ReadChecked(std::uint64_t size) {
    char checksum[sizeof(std::uint32_t)];
    if (size > static_cast<std::uint64_t>(kMaxBytes) || size + sizeof checksum > left_)
      Corrupt(context_, kNotRecords);
    std::string data(size, '\0');
    file_.read(data.data(), static_cast<std::streamsize>(size));
    file_.read(checksum, sizeof checksum);
    if (!file_ || tf::crc32c::Unmask(tf::core::DecodeFixed32(checksum)) !=
                      tf::crc32c::Value(data.data(), data.size())) {
      Corrupt(context_, kNotRecords);
    }
    left_ -= size + sizeof checksum;
    return data;
  }

  static constexpr char kNotRecords[] =
      "expected uncompressed TFRecords, but a length or checksum is wrong";
  const std::string& context_;  // of the record that comes next
  std::error_code error_;
  std::ifstream file_;
  std::uint64_t left_;  // bytes
};

}  // namespace

std::uint64_t ForEachWarmupRequest(
    const std::string& export_dir,
    const std::function<void(const WarmupRequest& request)>& replay) {
  const std::string path =
      (fs::path(export_dir) / tf::kSavedModelAssetsExtraDirectory / kRequestsFileName)
          .string();
  std::error_code error;
  if (!fs::exists(path, error)) return 0;
  const std::string file = "warmup file '" + path + "'";
  std::string context = file;
  RecordFile records(path, context);
  std::string record;
  for (int count = 1;; ++count) {
    context = file + ", record " + std::to_string(count);
    if (!records.Next(&record)) break;
    if (count > kMaxRecords) {
      throw Error(ErrorCode::kInvalidArgument, file + ": expected at most " +
                                                   std::to_string(kMaxRecords) +
                                                   " records, there are more");
    }
    for (const WarmupRequest& request : ReadRecord(record, context)) replay(request);
  }
  return fs::file_size(path, error);
}

}  // namespace savedmodel
