#ifndef SAVEDMODEL_INSPECT_CHECKPOINT_H_
#define SAVEDMODEL_INSPECT_CHECKPOINT_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/protobuf/tensor_bundle.pb.h"
#include "tensorflow/core/protobuf/trackable_object_graph.pb.h"

namespace savedmodel {

// "variables/variables" under the SavedModel directory.
std::string VariablesPrefix(const std::string& export_dir);

// A tensor of a checkpoint, or a slice of one.
struct CheckpointTensor {
  std::string key;
  // Of a partitioned variable, as RestoreV2 takes it: the whole tensor's shape, then the
  // slice ("10 4 0,5:-"). Empty: all of it.
  std::string shape_and_slice;

  bool operator<(const CheckpointTensor& other) const {
    return key != other.key ? key < other.key : shape_and_slice < other.shape_and_slice;
  }
};

// The variables files of a SavedModel: TensorFlow's tensor bundle
// (tensorflow/core/util/tensor_bundle). Its index is read and checked once; the data is
// read when it is asked for, from files that are opened anew. Thread-safe.
class Checkpoint {
 public:
  // Absent if there is no index file. Throws DataLoss for one that cannot be read, whose
  // entries contradict themselves, or whose data files are missing or too short.
  static std::optional<Checkpoint> Open(const std::string& export_dir);

  bool Contains(const std::string& key) const { return entries_.count(key) != 0; }
  // Key -> what the index says of the tensor. The entries of single slices, whose keys
  // are encoded, are left out.
  const std::map<std::string, tensorflow::BundleEntryProto>& entries() const {
    return entries_;
  }
  // Bytes that reading it takes; 0 for a key that is not there.
  std::uint64_t BytesOf(const CheckpointTensor& tensor) const;
  // Of all tensors, the object graph aside.
  std::uint64_t total_bytes() const { return total_bytes_; }

  // Throws DataLoss for strings whose lengths would make TensorFlow crash. Read checks
  // this by itself; running a restore op does not.
  void CheckData() const;

  // In the order of `tensors`; large ones in parallel. Throws NotFound for a key that is
  // not there, DataLoss where the data is not what the index says (its checksum, say),
  // FailedPrecondition if the files were replaced since they were opened.
  std::vector<tensorflow::Tensor> Read(
      const std::vector<CheckpointTensor>& tensors) const;

  // The object graph that the checkpoint was saved with; empty without one (TF1). Throws
  // DataLoss.
  tensorflow::TrackableObjectGraph ReadObjectGraph() const;

 private:
  // A file, and what changes when another takes its place.
  struct File {
    std::string path;
    std::string stamp;
  };

  explicit Checkpoint(const std::string& export_dir);
  static std::string StampOf(const std::string& path);
  void CheckUnchanged() const;
  void CheckData(const std::string& key, const tensorflow::BundleEntryProto& entry) const;

  std::string prefix_;
  std::string context_;  // for messages
  std::map<std::string, tensorflow::BundleEntryProto> entries_;
  std::uint64_t total_bytes_ = 0;
  int num_shards_ = 0;
  std::vector<File> files_;
};

}  // namespace savedmodel

#endif  // SAVEDMODEL_INSPECT_CHECKPOINT_H_
