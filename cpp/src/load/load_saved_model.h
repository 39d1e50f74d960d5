#ifndef SAVEDMODEL_LOAD_LOAD_SAVED_MODEL_H_
#define SAVEDMODEL_LOAD_LOAD_SAVED_MODEL_H_

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "savedmodel/model.h"
#include "savedmodel/saved_model.h"

namespace savedmodel {

class BundleHandle;

// What the library itself does with a bundle.
struct BundleAccess {
  // For a Model: only what the chosen signatures and the functions need is restored, and
  // only what the signatures need is in the session to begin with.
  static SavedModelBundle LoadModel(const std::string& export_dir,
                                    const LoadOptions& options);
  static const std::shared_ptr<BundleHandle>& Handle(const SavedModelBundle& bundle);
  // Adds a phase to the load report. Only while the bundle's model is still being loaded.
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

}  // namespace savedmodel

#endif  // SAVEDMODEL_LOAD_LOAD_SAVED_MODEL_H_
