// What a SavedModel holds, without loading it.
#ifndef SAVEDMODEL_INSPECT_H_
#define SAVEDMODEL_INSPECT_H_

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "savedmodel/export.h"
#include "savedmodel/saved_model.h"
#include "savedmodel/shape.h"
#include "savedmodel/value.h"

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
  // The same inputs: a tuple of the positional arguments (a tuple) and the keyword
  // arguments (a dict), with specs for tensors. None where none were saved.
  Value arguments;
};

// A tf.function of the object graph.
struct FunctionInfo {
  std::string path;  // the attributes that lead to it: "layers.0.call"
  // In the order in which TensorFlow's Python loads them.
  std::vector<ConcreteFunctionInfo> concrete_functions;
  std::vector<std::string> root_names;  // the attributes of the root that it is, sorted
};

// A TensorInfo of a SignatureDef as it was saved.
struct TensorInfo {
  std::string name;   // of the tensor in the graph; empty for a composite one
  std::string dtype;  // TensorFlow's enumerator: "DT_FLOAT"
  PartialShape shape;
};

// A SignatureDef as it was saved: composite tensors are whole, and the init op, which the
// loader keeps as a signature, is one.
struct SignatureDefInfo {
  std::string method_name;
  std::map<std::string, TensorInfo> inputs;
  std::map<std::string, TensorInfo> outputs;
};

// A node of the graph or of a function.
struct NodeInfo {
  std::string name;
  std::string op;
  std::string function;  // the function it is in; empty for the graph itself
  // What can run it. A function that only a dead one calls is dead.
  enum class Use : int {
    kCalled,   // signatures, functions of the object graph, the init op
    kRestore,  // nothing but the saver, where it reads the variables files
    kSave,     // nothing but the saver, where it writes them
    kDead,     // nothing
  };
  Use use = Use::kDead;
  // Its inputs whose strings are constants, by number: of a vector the first string, of a
  // long one the first 1024 bytes. Identities and calls between the two are followed, as
  // far as 100 nodes; of several callers one may be enough. What the loader feeds is
  // none.
  std::map<int, std::string> constants;
  // What the loader feeds, where it runs this node.
  enum class Fed : int {
    kAsset,      // the path of an asset
    kVariables,  // that of the variables files, or what savers make of it to write parts
  };
  // Its inputs that are this and can be nothing else, by number.
  std::map<int, Fed> fed;
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
  std::vector<std::string> tags;  // in the order of the file
  std::string tensorflow_version;
  std::string tensorflow_git_version;
  std::int32_t producer = 0;      // GraphDef.versions.producer
  std::int32_t min_consumer = 0;  // GraphDef.versions.min_consumer
  std::map<std::string, SignatureDef> signatures;
  std::map<std::string, SignatureDefInfo> signature_defs;
  std::vector<FunctionInfo> functions;  // sorted by path, as the next three
  std::vector<VariableInfo> variables;
  std::vector<TableInfo> tables;
  std::vector<AssetInfo> assets;
  // Op -> how many nodes of the graph and of all function bodies have it.
  std::map<std::string, std::uint64_t> ops;
  // Those of the graph and of the functions that it calls by a node of their own name or
  // by a PartitionedCall, as TensorFlow's ops_used_by_graph_def finds them; sorted.
  // Bodies of control flow, and functions that only the object graph has, are not among
  // them.
  std::vector<std::string> called_ops;
  // Those that InspectOptions::list_nodes asks for: of the graph, then of the functions,
  // in the file's order.
  std::vector<NodeInfo> nodes;
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

struct InspectOptions {
  // A number under a directory of versions. Absent: the highest.
  std::optional<std::int64_t> version;
  // Lists the nodes with these ops in MetaGraphInfo::nodes.
  std::set<std::string> list_nodes;
};

// Reads a SavedModel without a session and without libtensorflow_cc; of the variables,
// only the index is read. Throws what ResolveExportDir throws, DataLoss for files that
// cannot be read, InvalidArgument for signatures that are none. Any thread.
SAVEDMODEL_EXPORT Inspection Inspect(const std::string& path,
                                     const InspectOptions& options = {});

}  // namespace savedmodel

#endif  // SAVEDMODEL_INSPECT_H_
