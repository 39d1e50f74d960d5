// TensorFlow's StructuredValue (tensorflow/core/protobuf/struct.proto), in which a
// SavedModel holds function signatures and Python-valued arguments.
#ifndef SAVEDMODEL_SRC_INSPECT_STRUCTURED_VALUE_H_
#define SAVEDMODEL_SRC_INSPECT_STRUCTURED_VALUE_H_

#include <string>

#include "savedmodel/value.h"
#include "tensorflow/core/protobuf/struct.pb.h"

namespace savedmodel {

// Dicts are sorted by key, as TensorFlow orders them. `what` begins the message of errors
// ("model '/path', function 'f'"). Throws DataLoss for a value that cannot be: nested
// deeper than Value::kMaxDepth, without a kind, with impossible shapes or dtypes.
Value FromStructuredValue(const tensorflow::StructuredValue& proto,
                          const std::string& what);

}  // namespace savedmodel

#endif  // SAVEDMODEL_SRC_INSPECT_STRUCTURED_VALUE_H_
