#ifndef SAVEDMODEL_CORE_OPS_H_
#define SAVEDMODEL_CORE_OPS_H_

#include <string>
#include <vector>

#include "tensorflow/core/framework/op.h"

namespace savedmodel {

// What TensorFlow knows of an op; null if there is none of that name.
//
// libtensorflow_cc registers the ops, and to load it takes longer than all else that a
// small net needs. So the ops that such nets are made of are known here, too, as it
// defines them, and it is loaded only for others. Any thread.
const tensorflow::OpRegistrationData* FindOp(const std::string& name);

// The ops that are known here, for tests.
std::vector<std::string> KnownOps();

}  // namespace savedmodel

#endif  // SAVEDMODEL_CORE_OPS_H_
