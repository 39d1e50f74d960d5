#ifndef SAVEDMODEL_SAVED_MODEL_H_
#define SAVEDMODEL_SAVED_MODEL_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "savedmodel/export.h"
#include "savedmodel/options.h"
#include "savedmodel/session.h"
#include "savedmodel/shape.h"
#include "savedmodel/tensor.h"

namespace savedmodel {

// A signature as the SavedModel holds it. An input or output that is a sparse tensor is
// listed by its components, as TensorFlow's loader names them: x_indices, x_values,
// x_dense_shape; another composite one as x_component_0 and so on.
struct SignatureDef {
  std::string method_name;  // "tensorflow/serving/predict"
  std::map<std::string, TensorSpec> inputs;
  std::map<std::string, TensorSpec> outputs;
  TensorMap defaults;  // of inputs that may be left out
};

// The fields of fingerprint.pb (tensorflow/core/protobuf/fingerprint.proto).
struct Fingerprint {
  std::uint64_t saved_model_checksum = 0;
  std::uint64_t graph_def_program_hash = 0;
  std::uint64_t signature_def_hash = 0;
  std::uint64_t saved_object_graph_hash = 0;
  std::uint64_t checkpoint_hash = 0;
  std::int32_t version_producer = 0;
  std::string uuid;
};

// One phase of loading.
struct LoadPhase {
  // "library" (libtensorflow_cc, with a process's first model that needs it), "read"
  // (saved_model.pb), "optimize" (unless LoadOptions::optimize is kNone), "create" (the
  // session), "restore" (the variables), "init" (the tables), "warmup" (if
  // LoadOptions::warmup).
  std::string name;
  double seconds = 0;
  std::uint64_t bytes = 0;  // read from disk; 0 where a phase reads nothing of its own
};

// What loading did.
struct LoadReport {
  std::vector<LoadPhase> phases;
  // The variables that the restore op leaves without a value although a signature or
  // function reads them, and that were restored all the same (of models that Keras 3
  // saves with tf.saved_model.save): "name (key in the checkpoint)".
  std::vector<std::string> repairs;
  // Bytes of the variables that were restored, and of those in the checkpoint that were
  // left there because nothing that was asked for needs them.
  std::uint64_t bytes_restored = 0;
  std::uint64_t bytes_saved = 0;
};

// What tensorflow::LoadSavedModel gives: a MetaGraph in a session, variables restored,
// tables initialised. A handle: copies share it. Thread-safe.
class SAVEDMODEL_EXPORT SavedModelBundle {
 public:
  const std::string& export_dir() const;
  const std::vector<std::string>& tags() const;

  // The MetaGraphDef, serialized. Throws FailedPrecondition after Close().
  std::string meta_graph_def() const;
  // Without the loader's own "__saved_model_init_op".
  const std::map<std::string, SignatureDef>& signature_def() const;
  Session session() const;

  // Absent if the SavedModel has no fingerprint.pb.
  const std::optional<Fingerprint>& fingerprint() const;
  // Asset name -> absolute path.
  const std::map<std::string, std::string>& assets() const;
  // The files of assets.extra/.
  const std::vector<std::string>& extra_assets() const;
  const LoadReport& load_report() const;
  const SessionOptions& session_options() const;
  const RunOptions& run_options() const;

 private:
  friend struct BundleAccess;
  struct State;
  explicit SavedModelBundle(std::shared_ptr<const State> state)
      : state_(std::move(state)) {}
  std::shared_ptr<const State> state_;
};

// Loads the MetaGraph with exactly these tags from a SavedModel directory, as
// tensorflow::LoadSavedModel does: `run_options` are used while loading and are the
// default of every call. Where TensorFlow's loader leaves variables without a value
// because the variables files are missing, this one throws NotFound. Throws NotFound for
// a missing directory or tag set, DataLoss for a saved_model.pb that cannot be parsed,
// InvalidArgument for a graph that cannot be built; nothing is left loaded then.
SAVEDMODEL_EXPORT SavedModelBundle LoadSavedModel(const SessionOptions& session_options,
                                                  const RunOptions& run_options,
                                                  const std::string& export_dir,
                                                  const std::vector<std::string>& tags);

// True if the directory holds a saved_model.pb, .pbtxt or .cpb. Loads nothing. Here,
// below and in Model::Load and Inspect a path may be a file:// URL: what follows scheme
// and host, as TensorFlow reads it, with nothing decoded.
SAVEDMODEL_EXPORT bool ContainsSavedModel(const std::string& export_dir);

// The SavedModel directory that `path` stands for: itself, or, of a directory of numbered
// versions, the one with the highest number (or with number `version`). Throws NotFound.
SAVEDMODEL_EXPORT std::string ResolveExportDir(const std::string& path,
                                               std::optional<std::int64_t> version);

}  // namespace savedmodel

#endif  // SAVEDMODEL_SAVED_MODEL_H_
