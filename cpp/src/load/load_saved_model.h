#ifndef SAVEDMODEL_LOAD_LOAD_SAVED_MODEL_H_
#define SAVEDMODEL_LOAD_LOAD_SAVED_MODEL_H_

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "inspect/graph_index.h"
#include "savedmodel/model.h"
#include "savedmodel/saved_model.h"
#include "tensorflow/core/protobuf/meta_graph.pb.h"

namespace savedmodel {

class BundleHandle;

// What the library itself does with a bundle.
struct BundleAccess {
  // For a Model: its session holds nothing yet, and is made when it is first needed if
  // calls are to be `optimized`.
  static SavedModelBundle LoadModel(const std::string& export_dir,
                                    const LoadOptions& options, bool optimized);
  // Restores what the chosen signatures and the functions need, and brings the signatures
  // into the session. `optimized`: what was frozen is left where it is, and so are the
  // signatures.
  static void CompleteModel(const SavedModelBundle& bundle, const LoadOptions& options,
                            bool optimized);
  static const std::shared_ptr<BundleHandle>& Handle(const SavedModelBundle& bundle);
  // Adds a phase to the load report, or to the one of its name there. Only while the
  // bundle's model is still being loaded.
  static void Report(const SavedModelBundle& bundle, LoadPhase phase);

 private:
  friend SavedModelBundle LoadSavedModel(const SessionOptions&, const RunOptions&,
                                         const std::string&,
                                         const std::vector<std::string>&);
  struct Loading;
  static SavedModelBundle Load(const SessionOptions& session_options,
                               const RunOptions& run_options,
                               const std::string& export_dir,
                               const std::vector<std::string>& tags);
};

// What a load checks first.
//
// True if there are variables to be restored. Throws NotFound if their files are missing:
// TensorFlow's loader takes that for a model without variables, and each call would fail.
bool CheckVariablesFile(const std::string& export_dir,
                        const tensorflow::MetaGraphDef& meta_graph);
// Throws InvalidArgument for a signature whose tensors are not in the graph.
void CheckTensors(const std::string& context,
                  const std::map<std::string, SignatureDef>& signatures,
                  const GraphIndex& graph);

// The tensors of a signature's inputs and outputs.
std::vector<std::string> TensorsOf(const SignatureDef& signature);

}  // namespace savedmodel

#endif  // SAVEDMODEL_LOAD_LOAD_SAVED_MODEL_H_
