#ifndef SAVEDMODEL_LOAD_LOAD_SAVED_MODEL_H_
#define SAVEDMODEL_LOAD_LOAD_SAVED_MODEL_H_

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "savedmodel/saved_model.h"

namespace savedmodel {

class BundleHandle;

// What the library itself does with a bundle.
struct BundleAccess {
  // LoadSavedModel, with the choice of LoadOptions::tags when no tags are given.
  static SavedModelBundle Load(const SessionOptions& session_options,
                               const RunOptions& run_options,
                               const std::string& export_dir,
                               const std::optional<std::vector<std::string>>& tags);
  static const std::shared_ptr<BundleHandle>& Handle(const SavedModelBundle& bundle);
  // Adds a phase to the load report. Only while the bundle's model is still being loaded.
  static void Report(const SavedModelBundle& bundle, LoadPhase phase);
};

}  // namespace savedmodel

#endif  // SAVEDMODEL_LOAD_LOAD_SAVED_MODEL_H_
