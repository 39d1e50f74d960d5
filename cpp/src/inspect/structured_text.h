#ifndef SAVEDMODEL_INSPECT_STRUCTURED_TEXT_H_
#define SAVEDMODEL_INSPECT_STRUCTURED_TEXT_H_

#include <string>

#include "tensorflow/core/protobuf/struct.pb.h"

namespace savedmodel {

// A StructuredValue as TensorFlow's Python prints it: "((TensorSpec(shape=(None, 3),
// dtype=tf.float32, name='x'),), {'training': False})".
std::string StructuredText(const tensorflow::StructuredValue& value);

}  // namespace savedmodel

#endif  // SAVEDMODEL_INSPECT_STRUCTURED_TEXT_H_
