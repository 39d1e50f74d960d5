// TensorFlow's StructuredValue (tensorflow/core/protobuf/struct.proto), in which a
// SavedModel holds function signatures and Python-valued arguments.
#ifndef SAVEDMODEL_INSPECT_STRUCTURED_VALUE_H_
#define SAVEDMODEL_INSPECT_STRUCTURED_VALUE_H_

#include <string>

#include "savedmodel/value.h"
#include "tensorflow/core/protobuf/struct.pb.h"

namespace savedmodel {

// Dicts are sorted by key, as TensorFlow orders them. `context` begins the message of
// errors ("model '/path', function 'f'"). Throws InvalidArgument for a value that cannot
// be: nested deeper than Value::kMaxDepth, without a kind, with impossible shapes, dtypes
// or tensors.
Value FromStructuredValue(const tensorflow::StructuredValue& proto,
                          const std::string& context);

}  // namespace savedmodel

#endif  // SAVEDMODEL_INSPECT_STRUCTURED_VALUE_H_
