// What would go wrong with a SavedModel here, told before anything is allocated.
#ifndef SAVEDMODEL_DIAGNOSE_H_
#define SAVEDMODEL_DIAGNOSE_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "savedmodel/export.h"
#include "savedmodel/inspect.h"

namespace savedmodel {

// One thing that is wrong.
struct Problem {
  // Loading the model or calling a signature fails here (a function of the object graph,
  // if there is no signature). Otherwise a warning: what it was about may never be
  // needed, or is for a person to judge.
  bool is_error = false;
  // "unreadable_checkpoint", "missing_key", "mismatched_variable", "unrestored_variable",
  // "unread_key", "broken_signature", "broken_graph", "unregistered_op",
  // "missing_function", "no_kernel", "absent_device", "missing_asset", "broken_asset",
  // "version", "dangerous_op".
  std::string kind;
  std::string subject;          // the variable, key, op, function, device or file
  std::string message;          // one line, without the subject
  std::vector<NodeInfo> nodes;  // where it stands in the graph, where that is known
};

// Bytes.
struct MemorySizes {
  std::uint64_t signature_weights = 0;  // variables and tables that the signatures need
  std::uint64_t weights = 0;            // and the functions: what loading restores
  std::uint64_t checkpoint = 0;         // of all tensors in it
  std::uint64_t graph = 0;              // GraphDef with its functions and constants
  std::uint64_t constants = 0;          // tensors in the graph and in its functions
};

struct Diagnosis {
  std::string path;                  // the SavedModel directory
  std::vector<std::string> tags;     // in the order of the file
  std::string tensorflow_version;    // that it was saved with
  std::int32_t producer = 0;         // GraphDef.versions.producer
  std::int32_t min_consumer = 0;     // GraphDef.versions.min_consumer
  std::string runtime_version;       // of the TensorFlow here
  std::int32_t consumer = 0;         // the GraphDef version that it reads
  std::vector<std::string> devices;  // that there are here: "CPU:0"
  std::vector<Problem> problems;     // errors first
  // Variables that the restore op forgets and a load fills all the same, as
  // LoadReport::repairs lists them.
  std::vector<std::string> repairs;
  MemorySizes memory;
};

struct DiagnoseOptions {
  // As LoadOptions has them.
  std::optional<std::vector<std::string>> tags;
  std::optional<std::int64_t> version;
  // Op -> why to warn of it. Nodes that need it, say the saver's own, are not passed
  // over: NodeInfo tells them.
  std::map<std::string, std::string> dangerous_ops;
};

// Reads a SavedModel and looks its ops up in TensorFlow's library, which it loads. No
// session is made, and of the variables only the index is read and the object graph; what
// is wrong with one part keeps none of the others from being looked at. Throws what
// ResolveExportDir throws, NotFound for tags that are not there, DataLoss for a
// saved_model file that cannot be read. Any thread.
SAVEDMODEL_EXPORT Diagnosis Diagnose(const std::string& path,
                                     const DiagnoseOptions& options = {});

}  // namespace savedmodel

#endif  // SAVEDMODEL_DIAGNOSE_H_
