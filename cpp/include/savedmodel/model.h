#ifndef SAVEDMODEL_MODEL_H_
#define SAVEDMODEL_MODEL_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "savedmodel/export.h"
#include "savedmodel/object_graph.h"
#include "savedmodel/options.h"
#include "savedmodel/saved_model.h"
#include "savedmodel/session.h"
#include "savedmodel/signature.h"
#include "savedmodel/variable.h"

namespace savedmodel {

// How far a model may depart from the session that LoadSavedModel gives.
enum class OptimizeLevel {
  kNone,     // Not at all: the same answers, bit for bit.
  kDefault,  // Answers that differ by rounding, at most 1e-5 of an output's scale.
  kMax,      // And convolutions and matrix products in bfloat16, with float32 sums, where
             // the processor has instructions for that (AVX512-BF16), which doubles their
             // speed. Rounds to 8 bits: answers differ by some 1e-2 of an output's scale.
};

struct LoadOptions {
  // Exactly the tags of one MetaGraph. Absent: {"serve"} if the SavedModel has it, else
  // its only MetaGraph, else an error that lists the choices.
  std::optional<std::vector<std::string>> tags;
  SessionOptions session_options;
  // Used while loading, and the default of every call.
  RunOptions run_options;
  // A number under a directory of versions. Absent: the highest.
  std::optional<std::int64_t> version;
  // Restricts the model to these signatures: nothing else is restored or compiled until a
  // function, a variable or a tensor of the graph is asked for. Absent: all of them, and
  // the variables of all functions.
  std::optional<std::vector<std::string>> signatures;
  // Replays the calls of assets.extra/tf_serving_warmup_requests, if the SavedModel has
  // that file, as TensorFlow Serving does: at most 1000 records of predict, classify,
  // regress and multi-inference logs. One that fails makes Load throw.
  bool warmup = false;
  // With the environment variable SAVEDMODEL_ENGINE=session the session answers all
  // calls, whatever this says.
  OptimizeLevel optimize = OptimizeLevel::kDefault;
  // Runs each signature on random inputs, optimized and not; Load throws
  // FailedPrecondition where the answers differ by more than the level allows.
  bool verify = false;
};

// What Model::SaveOptimized made of a model's variables.
struct OptimizeReport {
  std::uint64_t variables_frozen = 0;
  std::uint64_t bytes_frozen = 0;
  // Name of the node of each variable or table that stays one -> why.
  std::map<std::string, std::string> variables_kept;
};

// A loaded SavedModel. A handle: copies share it. Thread-safe: any number of threads may
// call its signatures at once.
class SAVEDMODEL_EXPORT Model {
 public:
  // `path`: a SavedModel directory, or a directory of numbered versions. Throws what
  // LoadSavedModel and ResolveExportDir throw, and with LoadOptions::warmup DataLoss for
  // a file that is broken, Unimplemented for other logs, and what a replayed call throws.
  static Model Load(const std::string& path, const LoadOptions& options = {});

  // Throws InvalidArgument, with the names there are, for an unknown one.
  Signature signature(const std::string& name) const;
  // Sorted.
  std::vector<std::string> signature_names() const;

  // The object that was saved, with its functions, variables and other objects below it.
  // Without an object graph (TF1) one without children.
  Object root() const;
  // What the root keeps as `variables`, `trainable_variables` (Keras), else all variables
  // of the object graph; of a TF1 graph its collections, partitions one by one.
  std::vector<Variable> variables() const;
  std::vector<Variable> trainable_variables() const;
  // What the root keeps under that name: each gives a scalar.
  std::vector<Function> regularization_losses() const;

  // Writes the SavedModel with the variables and tables as they are now; all else is
  // kept: graph, signatures, assets, fingerprint. It appears under `path` whole or not at
  // all: a SavedModel or an empty directory there is replaced in one step. Throws
  // AlreadyExists if something else is there, and what writing reports. No call may
  // change variables meanwhile, or some may be saved as before it and some as after.
  void Save(const std::string& path) const;

  // Writes a SavedModel that answers its signatures alike, loads faster, and holds
  // nothing else: no object graph, and constants, with the values of now, in place of the
  // variables that no signature can change. TensorFlow loads it, too. It appears under
  // `path` as with Save; InvalidArgument if that is where this model was loaded from.
  OptimizeReport SaveOptimized(const std::string& path) const;

  const SavedModelBundle& bundle() const;
  Session session() const;

  // Frees the model's memory once calls under way have returned. Later calls throw
  // FailedPrecondition. Outputs stay valid. May be repeated.
  void Close() const;

 private:
  struct State;
  explicit Model(std::shared_ptr<const State> state) : state_(std::move(state)) {}
  std::shared_ptr<const State> state_;
};

}  // namespace savedmodel

#endif  // SAVEDMODEL_MODEL_H_
