#ifndef SAVEDMODEL_OPTIMIZE_SAVE_OPTIMIZED_H_
#define SAVEDMODEL_OPTIMIZE_SAVE_OPTIMIZED_H_

#include <map>
#include <string>

#include "load/bundle_handle.h"
#include "savedmodel/model.h"
#include "savedmodel/saved_model.h"

namespace savedmodel {

// Model::SaveOptimized, of these signatures.
OptimizeReport SaveOptimized(const BundleHandle& handle,
                             const std::map<std::string, SignatureDef>& signatures,
                             const std::string& path);

}  // namespace savedmodel

#endif  // SAVEDMODEL_OPTIMIZE_SAVE_OPTIMIZED_H_
