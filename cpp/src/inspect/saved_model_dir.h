#ifndef SAVEDMODEL_INSPECT_SAVED_MODEL_DIR_H_
#define SAVEDMODEL_INSPECT_SAVED_MODEL_DIR_H_

#include <cstdint>
#include <map>
#include <string>

namespace savedmodel {

// The path that a file:// URL stands for to TensorFlow: without the scheme and the host,
// and with nothing decoded. Any other path as it is.
std::string LocalPath(const std::string& path);

// "pb", "pbtxt" or "cpb": the form in which the directory holds its saved_model file, in
// the order in which they are looked for. Empty if it holds none.
std::string SavedModelFormat(const std::string& export_dir);

// Number -> directory of each version under `path` that holds a SavedModel. Throws
// PermissionDenied or Unknown if `path` cannot be read.
std::map<std::int64_t, std::string> ListVersions(const std::string& path);

}  // namespace savedmodel

#endif  // SAVEDMODEL_INSPECT_SAVED_MODEL_DIR_H_
