#ifndef SAVEDMODEL_LOAD_LOAD_SAVED_MODEL_H_
#define SAVEDMODEL_LOAD_LOAD_SAVED_MODEL_H_

#include <optional>
#include <string>
#include <vector>

#include "savedmodel/saved_model.h"

namespace savedmodel {

// LoadSavedModel, with the choice of LoadOptions::tags when no tags are given.
SavedModelBundle LoadMetaGraph(const SessionOptions& session_options,
                               const RunOptions& run_options,
                               const std::string& export_dir,
                               const std::optional<std::vector<std::string>>& tags);

}  // namespace savedmodel

#endif  // SAVEDMODEL_LOAD_LOAD_SAVED_MODEL_H_
