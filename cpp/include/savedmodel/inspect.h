// What a SavedModel holds, without loading it.
#ifndef SAVEDMODEL_INSPECT_H_
#define SAVEDMODEL_INSPECT_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "savedmodel/export.h"
#include "savedmodel/saved_model.h"
#include "savedmodel/shape.h"

namespace savedmodel {

// A file of a SavedModel: its path under the directory, its size.
struct FileInfo {
  std::string name;
  std::uint64_t bytes = 0;
};

// One trace of a tf.function.
struct ConcreteFunctionInfo {
  std::string name;  // in the function library
  // The structured signature in TensorFlow's notation, say "((TensorSpec(shape=(None, 3),
  // dtype=tf.float32, name='x'),), {})".
  std::string inputs;
  std::string outputs;
};

// A tf.function of the object graph.
struct FunctionInfo {
  std::string path;  // the attributes that lead to it: "layers.0.call"
  std::vector<ConcreteFunctionInfo> concrete_functions;
};

struct VariableInfo {
  std::string path;  // of a TF1 graph, which has no object graph: the node's name
  std::string name;
  DataType dtype = DataType::kInvalid;
  PartialShape shape;
  bool trainable = false;
  std::string device;  // empty where none was asked for
};

struct AssetInfo {
  std::string name;    // the file, under assets/
  std::string tensor;  // what is fed its path while loading
};

// A lookup table, or another resource of the object graph.
struct TableInfo {
  std::string path;  // of a TF1 graph: the node's name
  std::string op;    // the op that creates it; empty where none could be told
};

struct CollectionInfo {
  std::string kind;  // "node_list", "bytes_list", "int64_list", "float_list", "any_list"
  std::uint64_t size = 0;
  std::vector<std::string> nodes;  // the values of a node_list
};

// SaverDef: the nodes that write and read the variables files.
struct SaverInfo {
  std::string filename_tensor_name;
  std::string save_tensor_name;
  std::string restore_op_name;
  bool sharded = false;
  std::int32_t max_to_keep = 0;
  std::int32_t version = 0;  // of the files' format; 2 is today's
};

struct MetaGraphInfo {
  std::vector<std::string> tags;  // sorted
  std::string tensorflow_version;
  std::string tensorflow_git_version;
  std::int32_t producer = 0;      // GraphDef.versions.producer
  std::int32_t min_consumer = 0;  // GraphDef.versions.min_consumer
  std::map<std::string, SignatureDef> signatures;
  std::vector<FunctionInfo> functions;  // sorted by path, as the next three
  std::vector<VariableInfo> variables;
  std::vector<TableInfo> tables;
  std::vector<AssetInfo> assets;
  // Op -> how many nodes of the graph and of all function bodies have it.
  std::map<std::string, std::uint64_t> ops;
  std::uint64_t num_nodes = 0;      // of the graph itself
  std::uint64_t num_functions = 0;  // in the function library
  std::uint64_t num_objects = 0;    // in the object graph; 0 of a TF1 graph
  std::string init_op;              // empty if there is none
  std::map<std::string, CollectionInfo> collections;
  std::optional<SaverInfo> saver;
};

// A tensor of the variables files.
struct CheckpointEntry {
  std::string key;
  DataType dtype = DataType::kInvalid;
  Shape shape;
  std::uint64_t bytes = 0;
  std::int32_t shard = 0;  // the data file it is in; of a sliced tensor, the first one
  // Of a tensor that was saved in parts, each part's start and length by dimension, "-"
  // for all of it: "0,64:-".
  std::vector<std::string> slices;
};

struct Inspection {
  std::string path;                    // the SavedModel directory
  std::vector<std::int64_t> versions;  // those there, sorted, if a choice was made
  std::string format;                  // "pb", "pbtxt", "cpb"
  std::vector<FileInfo> files;         // sorted by name
  std::vector<MetaGraphInfo> meta_graphs;
  std::vector<CheckpointEntry> checkpoint;  // sorted by key
  std::int32_t num_shards = 0;              // data files of the checkpoint
  std::optional<Fingerprint> fingerprint;
  std::vector<std::string> extra_assets;  // under assets.extra/, sorted
  bool has_debug_info = false;            // debug/saved_model_debug_info.pb
  bool has_keras_metadata = false;        // keras_metadata.pb, of Keras 2; not used
  bool has_warmup_requests = false;       // assets.extra/tf_serving_warmup_requests
};

// Reads a SavedModel, or of a directory of numbered versions the newest one (or
// `version`), without a session and without libtensorflow_cc; of the variables, only the
// index is read. Throws what ResolveExportDir throws, DataLoss for files that cannot be
// read, InvalidArgument for signatures that are none. Any thread.
SAVEDMODEL_EXPORT Inspection Inspect(const std::string& path,
                                     std::optional<std::int64_t> version = std::nullopt);

}  // namespace savedmodel

#endif  // SAVEDMODEL_INSPECT_H_
