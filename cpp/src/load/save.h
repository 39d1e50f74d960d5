#ifndef SAVEDMODEL_LOAD_SAVE_H_
#define SAVEDMODEL_LOAD_SAVE_H_

#include <string>

#include "load/bundle_handle.h"

namespace savedmodel {

// Model::Save.
void SaveModel(const BundleHandle& handle, const std::string& path);

}  // namespace savedmodel

#endif  // SAVEDMODEL_LOAD_SAVE_H_
