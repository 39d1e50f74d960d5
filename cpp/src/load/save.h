#ifndef SAVEDMODEL_LOAD_SAVE_H_
#define SAVEDMODEL_LOAD_SAVE_H_

#include <filesystem>
#include <functional>
#include <string>

#include "load/bundle_handle.h"

namespace savedmodel {

// Model::Save.
void SaveModel(const BundleHandle& handle, const std::string& path);

// Writes a SavedModel that is made of a loaded one: `fill` writes it into an empty
// directory, which then takes the place of `path` in one step. `over_itself`: `path` is
// where the model was loaded from. Throws AlreadyExists if something that is no
// SavedModel is there, and what writing reports.
using FillDirectory =
    std::function<void(const std::filesystem::path& directory, bool over_itself)>;
void SaveDirectory(const BundleHandle& handle, const std::string& path,
                   const FillDirectory& fill);

// Copies a file or directory of a SavedModel, by its name, into another one, if it is
// there.
void CopyPart(const std::string& name, const std::filesystem::path& from,
              const std::filesystem::path& to);

}  // namespace savedmodel

#endif  // SAVEDMODEL_LOAD_SAVE_H_
