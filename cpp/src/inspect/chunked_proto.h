#ifndef SAVEDMODEL_INSPECT_CHUNKED_PROTO_H_
#define SAVEDMODEL_INSPECT_CHUNKED_PROTO_H_

#include <string>

#include "tensorflow/core/platform/protobuf.h"

namespace savedmodel {

// Reads PREFIX.cpb: a message too large for one protocol buffer, in the chunks that
// TensorFlow's proto splitter (tensorflow/tools/proto_splitter) makes of it. Throws
// DataLoss, after `context`, for a file that contradicts itself; Unimplemented for a
// split at a field that is neither a message nor bytes.
void ReadChunkedProto(const std::string& prefix, const std::string& context,
                      tensorflow::protobuf::Message* message);

}  // namespace savedmodel

#endif  // SAVEDMODEL_INSPECT_CHUNKED_PROTO_H_
