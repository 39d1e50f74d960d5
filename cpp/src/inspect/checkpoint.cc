#include "inspect/checkpoint.h"

#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>
#include <mutex>
#include <thread>

#include "core/status.h"
#include "tensorflow/cc/saved_model/constants.h"
#include "tensorflow/core/framework/tensor_slice.h"
#include "tensorflow/core/util/saved_tensor_slice_util.h"
#include "tensorflow/core/util/tensor_bundle/naming.h"
#include "tensorflow/core/util/tensor_bundle/tensor_bundle.h"

namespace savedmodel {

namespace {

namespace fs = std::filesystem;
namespace tf = tensorflow;

// Where TensorFlow's Python keeps the object graph (trackable/base.py).
constexpr char kObjectGraphKey[] = "_CHECKPOINTABLE_OBJECT_GRAPH";

// A checkpoint that is read by one thread at a time takes as long as its checksums do.
// Below this much, starting threads costs more.
constexpr std::uint64_t kParallelBytes = 4 << 20;
constexpr unsigned kMaxReaders = 8;

[[noreturn]] void Broken(const std::string& where, const std::string& what) {
  throw Error(ErrorCode::kDataLoss, where + ": " + what);
}

// A shape that BuildTensorShape accepts, and its bytes. Throws DataLoss.
std::uint64_t CheckEntry(const tf::BundleEntryProto& entry, const std::string& where) {
  tf::TensorShape shape;
  ThrowIfUnreadable(tf::TensorShape::BuildTensorShape(entry.shape(), &shape), where);
  if (!tf::DataType_IsValid(entry.dtype()) || entry.dtype() == tf::DT_INVALID ||
      tf::IsRefType(entry.dtype())) {
    Broken(where, "dtype " + std::to_string(entry.dtype()) + " is none of TensorFlow's");
  }
  if (entry.size() < 0 || entry.offset() < 0 ||
      entry.offset() > std::numeric_limits<std::int64_t>::max() - entry.size()) {
    Broken(where, "a size or offset that cannot be");
  }
  // Each string has a length of at least a byte.
  if (entry.dtype() == tf::DT_STRING && entry.slices_size() == 0 &&
      shape.num_elements() > entry.size()) {
    Broken(where, std::to_string(shape.num_elements()) + " strings in " +
                      std::to_string(entry.size()) + " bytes");
  }
  const int element = tf::DataTypeSize(entry.dtype());
  if (element != 0 && entry.slices_size() == 0 &&
      static_cast<std::uint64_t>(entry.size()) !=
          static_cast<std::uint64_t>(shape.num_elements()) *
              static_cast<std::uint64_t>(element)) {
    Broken(where, "expected " + std::to_string(shape.num_elements()) + " elements of " +
                      std::to_string(element) + " bytes, got " +
                      std::to_string(entry.size()) + " bytes");
  }
  return static_cast<std::uint64_t>(entry.size());
}

// A partitioned tensor and the records of its slices, which TensorFlow takes for granted.
void CheckSlices(const std::string& key, const tf::BundleEntryProto& entry,
                 const std::map<std::string, tf::BundleEntryProto>& records,
                 const std::string& where) {
  const tf::TensorShape shape(entry.shape());
  for (const tf::TensorSliceProto& proto : entry.slices()) {
    if (proto.extent_size() != shape.dims())
      Broken(where, "a slice of another rank than the tensor's");
    tf::TensorShape sliced;
    for (int i = 0; i < shape.dims(); ++i) {
      const tf::TensorSliceProto::Extent& extent = proto.extent(i);
      const std::int64_t size = shape.dim_size(i);
      const bool whole = !extent.has_length();
      if (extent.start() < 0 || extent.start() > size || (whole && extent.start() != 0) ||
          (!whole && (extent.length() < 0 || extent.length() > size - extent.start()))) {
        Broken(where, "a slice that leaves the tensor");
      }
      ThrowIfUnreadable(sliced.AddDimWithStatus(whole ? size : extent.length()), where);
    }
    tf::TensorSlice slice;
    ThrowIfUnreadable(tf::TensorSlice::BuildTensorSlice(proto, &slice), where);
    const auto record = records.find(tf::checkpoint::EncodeTensorNameSlice(key, slice));
    if (record == records.end() || record->second.dtype() != entry.dtype() ||
        record->second.slices_size() != 0 ||
        tf::TensorShape(record->second.shape()) != sliced) {
      Broken(where, "a slice without a record of its own");
    }
  }
}

// The lengths of the strings, which come first in the data: TensorFlow allocates what
// they say.
void CheckStrings(const std::string& file, const tf::BundleEntryProto& entry,
                  const std::string& where) {
  std::ifstream in(file, std::ios::binary);
  in.seekg(entry.offset());
  auto left = static_cast<std::uint64_t>(entry.size());
  std::uint64_t total = 0;
  const std::int64_t count = tf::TensorShape(entry.shape()).num_elements();
  for (std::int64_t i = 0; i < count; ++i) {
    std::uint64_t length = 0;
    int byte = 0;
    int shift = 0;
    do {
      byte = left == 0 || shift > 63 ? EOF : in.get();
      if (byte == EOF) Broken(where, "lengths of strings that cannot be read");
      length |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
      shift += 7;
      --left;
    } while ((byte & 0x80) != 0);
    if (length > left || total > left - length)
      Broken(where, "strings that are longer than the data");
    total += length;
  }
}

tf::Tensor Allocate(tf::DataType dtype, const tf::TensorShape& shape,
                    const std::string& where) {
  tf::Tensor tensor(dtype, shape);
  if (!tensor.IsInitialized()) {
    throw Error(ErrorCode::kResourceExhausted,
                where + ": no memory for " + shape.DebugString());
  }
  return tensor;
}

void ReadOne(tf::BundleReader* reader, const tf::BundleEntryProto& entry,
             const CheckpointTensor& wanted, tf::Tensor* tensor,
             const std::string& where) {
  tf::TensorShape shape(entry.shape());
  if (wanted.shape_and_slice.empty()) {
    *tensor = Allocate(entry.dtype(), shape, where);
    ThrowIfUnreadable(reader->Lookup(wanted.key, tensor), where);
    return;
  }
  tf::TensorShape whole;
  tf::TensorSlice slice;
  tf::TensorShape sliced;
  ThrowIfError(
      tf::checkpoint::ParseShapeAndSlice(wanted.shape_and_slice, &whole, &slice, &sliced),
      where);
  if (whole != shape) {
    throw Error(ErrorCode::kInvalidArgument,
                where + ": expected a slice of shape " + whole.DebugString() +
                    ", the checkpoint holds " + shape.DebugString());
  }
  *tensor = Allocate(entry.dtype(), sliced, where);
  ThrowIfUnreadable(reader->LookupSlice(wanted.key, slice, tensor), where);
}

}  // namespace

std::string VariablesPrefix(const std::string& export_dir) {
  return (fs::path(export_dir) / tf::kSavedModelVariablesDirectory /
          tf::kSavedModelVariablesFilename)
      .string();
}

std::optional<Checkpoint> Checkpoint::Open(const std::string& export_dir) {
  std::error_code ignored;
  if (!fs::exists(VariablesPrefix(export_dir) + ".index", ignored)) return std::nullopt;
  return Checkpoint(export_dir);
}

Checkpoint::Checkpoint(const std::string& export_dir)
    : prefix_(VariablesPrefix(export_dir)),
      context_("model '" + export_dir + "', its variables") {
  tf::BundleReader reader(tf::Env::Default(), prefix_);
  ThrowIfUnreadable(reader.status(), context_);
  int shards = 0;
  std::map<int, std::uint64_t> ends;                    // of the data in each file
  std::map<std::string, tf::BundleEntryProto> records;  // of slices
  for (reader.Seek(""); reader.Valid(); reader.Next()) {
    const std::string key(reader.key());
    const std::string value(reader.value());
    const std::string where = context_ + ", '" + key + "'";
    if (key.empty()) {
      tf::BundleHeaderProto header;
      if (!header.ParseFromString(value)) {
        throw Error(ErrorCode::kDataLoss, context_ + ": the index has no valid header");
      }
      shards = header.num_shards();
      continue;
    }
    tf::BundleEntryProto entry;
    if (!entry.ParseFromString(value)) {
      throw Error(ErrorCode::kDataLoss, where + ": an entry that cannot be parsed");
    }
    const std::uint64_t bytes = CheckEntry(entry, where);
    if (key != kObjectGraphKey) total_bytes_ += bytes;
    std::uint64_t& end = ends[entry.shard_id()];
    end = std::max(end, static_cast<std::uint64_t>(entry.offset()) + bytes);
    // Encoded slice keys begin with a NUL byte (tensor_slice_util's ordered code).
    (key.front() == '\0' ? records : entries_).emplace(key, std::move(entry));
  }
  for (const auto& [key, entry] : entries_)
    CheckSlices(key, entry, records, context_ + ", '" + key + "'");
  files_.push_back({prefix_ + ".index", {}});
  for (const auto& [shard, end] : ends) {
    if (end == 0) continue;
    if (shard < 0 || shard >= shards) {
      throw Error(ErrorCode::kDataLoss, context_ + ": an entry is in data file " +
                                            std::to_string(shard) + " of " +
                                            std::to_string(shards));
    }
    const std::string file = tf::DataFilename(prefix_, shard, shards);
    std::error_code error;
    const std::uintmax_t size = fs::file_size(file, error);
    if (error) {
      throw Error(ErrorCode::kNotFound,
                  context_ + ": cannot read '" + file + "': " + error.message());
    }
    if (size < end) {
      throw Error(ErrorCode::kDataLoss, context_ + ": '" + file + "' holds " +
                                            std::to_string(size) + " bytes, expected " +
                                            std::to_string(end));
    }
    files_.push_back({file, {}});
  }
  num_shards_ = shards;
  for (File& file : files_) file.stamp = StampOf(file.path);
}

std::string Checkpoint::StampOf(const std::string& path) {
  struct stat status;
  if (stat(path.c_str(), &status) != 0) return {};
  return std::to_string(status.st_dev) + " " + std::to_string(status.st_ino) + " " +
         std::to_string(status.st_size) + " " + std::to_string(status.st_mtim.tv_sec) +
         "." + std::to_string(status.st_mtim.tv_nsec);
}

void Checkpoint::CheckUnchanged() const {
  for (const File& file : files_) {
    const std::string stamp = StampOf(file.path);
    if (stamp == file.stamp) continue;
    throw Error(stamp.empty() ? ErrorCode::kNotFound : ErrorCode::kFailedPrecondition,
                context_ + ": '" + file.path + "' was " +
                    (stamp.empty() ? "removed" : "replaced") +
                    " since the model was loaded");
  }
}

void Checkpoint::CheckData() const {
  for (const auto& [key, entry] : entries_) {
    if (entry.dtype() == tf::DT_STRING) CheckData(key, entry);
  }
}

void Checkpoint::CheckData(const std::string& key,
                           const tf::BundleEntryProto& entry) const {
  const std::string where = context_ + ", '" + key + "'";
  if (entry.dtype() == tf::DT_STRING && entry.slices_size() == 0) {
    CheckStrings(tf::DataFilename(prefix_, entry.shard_id(), num_shards_), entry, where);
  } else if (entry.dtype() == tf::DT_STRING || entry.dtype() == tf::DT_VARIANT ||
             entry.dtype() == tf::DT_RESOURCE) {
    throw Error(ErrorCode::kUnimplemented,
                where + ": tensors of " + tf::DataTypeString(entry.dtype()) +
                    (entry.slices_size() != 0 ? " in slices" : "") + " are not read");
  }
}

std::uint64_t Checkpoint::BytesOf(const CheckpointTensor& tensor) const {
  const auto found = entries_.find(tensor.key);
  if (found == entries_.end()) return 0;
  const tf::BundleEntryProto& entry = found->second;
  tf::TensorShape whole;
  tf::TensorSlice slice;
  tf::TensorShape sliced;
  const auto element = static_cast<std::uint64_t>(tf::DataTypeSize(entry.dtype()));
  if (!tensor.shape_and_slice.empty() &&
      tf::checkpoint::ParseShapeAndSlice(tensor.shape_and_slice, &whole, &slice, &sliced)
          .ok()) {
    return static_cast<std::uint64_t>(sliced.num_elements()) * element;
  }
  if (entry.slices_size() == 0) return static_cast<std::uint64_t>(entry.size());
  return static_cast<std::uint64_t>(tf::TensorShape(entry.shape()).num_elements()) *
         element;
}

std::vector<tf::Tensor> Checkpoint::Read(
    const std::vector<CheckpointTensor>& tensors) const {
  if (tensors.empty()) return {};
  CheckUnchanged();
  std::uint64_t bytes = 0;
  std::vector<std::pair<std::pair<int, std::int64_t>, std::size_t>> order;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const auto found = entries_.find(tensors[i].key);
    if (found == entries_.end()) {
      throw Error(ErrorCode::kNotFound,
                  context_ + ": no '" + tensors[i].key + "' in the checkpoint");
    }
    CheckData(found->first, found->second);
    bytes += BytesOf(tensors[i]);
    order.push_back({{found->second.shard_id(), found->second.offset()}, i});
  }
  std::sort(order.begin(), order.end());

  std::vector<tf::Tensor> read(tensors.size());
  std::atomic<std::size_t> next{0};
  std::mutex mutex;
  std::exception_ptr failure;
  // A reader for each thread: BundleReader is not thread-safe.
  const auto work = [&] {
    try {
      tf::BundleReader reader(tf::Env::Default(), prefix_);
      ThrowIfUnreadable(reader.status(), context_);
      for (std::size_t i = next++; i < order.size(); i = next++) {
        const CheckpointTensor& wanted = tensors[order[i].second];
        ReadOne(&reader, entries_.at(wanted.key), wanted, &read[order[i].second],
                context_ + ", '" + wanted.key + "'");
      }
    } catch (...) {
      next = order.size();
      const std::lock_guard<std::mutex> lock(mutex);
      if (failure == nullptr) failure = std::current_exception();
    }
  };
  std::vector<std::thread> threads;
  if (bytes >= kParallelBytes) {
    const unsigned count = std::min(std::thread::hardware_concurrency(), kMaxReaders);
    for (unsigned i = 1; i < count; ++i) threads.emplace_back(work);
  }
  work();
  for (std::thread& thread : threads) thread.join();
  if (failure != nullptr) std::rethrow_exception(failure);
  return read;
}

tf::TrackableObjectGraph Checkpoint::ReadObjectGraph() const {
  tf::TrackableObjectGraph graph;
  const auto found = entries_.find(kObjectGraphKey);
  if (found == entries_.end()) return graph;
  const std::string where = context_ + ", '" + kObjectGraphKey + "'";
  if (found->second.dtype() != tf::DT_STRING ||
      tf::TensorShape(found->second.shape()).num_elements() != 1) {
    throw Error(ErrorCode::kDataLoss, where + ": expected one string");
  }
  const std::vector<tf::Tensor> tensor = Read({{kObjectGraphKey, ""}});
  const tf::tstring& text = tensor.front().flat<tf::tstring>()(0);
  if (!graph.ParseFromArray(text.data(), static_cast<int>(text.size()))) {
    throw Error(ErrorCode::kDataLoss, where + ": cannot be parsed");
  }
  return graph;
}

}  // namespace savedmodel
