#ifndef SAVEDMODEL_CORE_PROTO_MESSAGE_H_
#define SAVEDMODEL_CORE_PROTO_MESSAGE_H_

#include <memory>

#include "google/protobuf/message.h"
#include "savedmodel/options.h"
#include "tensorflow/core/protobuf/config.pb.h"

namespace savedmodel {

struct ProtoMessage::Impl {
  std::unique_ptr<google::protobuf::Message> message;
};

// The protocol buffers inside the public classes.
struct ProtoAccess {
  static const tensorflow::ConfigProto& Get(const SessionOptions& options) {
    return static_cast<const tensorflow::ConfigProto&>(*Base(options).message);
  }
  static const tensorflow::RunOptions& Get(const RunOptions& options) {
    return static_cast<const tensorflow::RunOptions&>(*Base(options).message);
  }
  static tensorflow::RunMetadata* Mutable(RunMetadata* metadata) {
    if (metadata == nullptr) return nullptr;
    return static_cast<tensorflow::RunMetadata*>(Base(*metadata).message.get());
  }

 private:
  static const ProtoMessage::Impl& Base(const ProtoMessage& message) {
    return *message.impl_;
  }
};

}  // namespace savedmodel

#endif  // SAVEDMODEL_CORE_PROTO_MESSAGE_H_
