#ifndef SAVEDMODEL_OPTIONS_H_
#define SAVEDMODEL_OPTIONS_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "savedmodel/export.h"

namespace savedmodel {

class OptionValue;
using OptionList = std::vector<OptionValue>;
// Field name (or map key) -> value, in order.
using OptionMap = std::vector<std::pair<std::string, OptionValue>>;

// A value for, or of, a field of a protocol buffer message. Enums go by name, messages
// and map fields as OptionMap, repeated fields as OptionList, bytes as std::string.
class OptionValue {
 public:
  OptionValue(bool value) : value_(value) {}                      // NOLINT
  OptionValue(int value) : value_(std::int64_t{value}) {}         // NOLINT
  OptionValue(std::int64_t value) : value_(value) {}              // NOLINT
  OptionValue(std::uint64_t value) : value_(value) {}             // NOLINT
  OptionValue(double value) : value_(value) {}                    // NOLINT
  OptionValue(const char* value) : value_(std::string(value)) {}  // NOLINT
  OptionValue(std::string value) : value_(std::move(value)) {}    // NOLINT
  OptionValue(OptionList value) : value_(std::move(value)) {}     // NOLINT
  OptionValue(OptionMap value) : value_(std::move(value)) {}      // NOLINT

  const std::variant<bool, std::int64_t, std::uint64_t, double, std::string, OptionList,
                     OptionMap>&
  value() const {
    return value_;
  }

 private:
  std::variant<bool, std::int64_t, std::uint64_t, double, std::string, OptionList,
               OptionMap>
      value_;
};

// One of TensorFlow's protocol buffer messages, its fields reached by name. Not
// thread-safe; what it is given to keeps a copy.
class SAVEDMODEL_EXPORT ProtoMessage {
 public:
  virtual ~ProtoMessage();

  // Sets a field, replacing what it held. A dot descends into a message or map:
  // "gpu_options.allow_growth", "device_count.CPU". Throws InvalidArgument for an unknown
  // field (and suggests the nearest name) or a value of the wrong type or range.
  void Set(std::string_view path, const OptionValue& value);

  // The fields that are set, nested.
  OptionMap ToMap() const;
  // The value of a field, its default when not set. Throws InvalidArgument for an unknown
  // one.
  OptionValue Get(std::string_view field) const;
  std::vector<std::string> FieldNames() const;

  // The wire format, the same for equal messages. Parse throws InvalidArgument for bytes
  // that are not such a message.
  std::string Serialize() const;
  void Parse(std::string_view serialized);

  // Text format, on one line.
  std::string ToString() const;

 protected:
  struct Impl;
  explicit ProtoMessage(std::unique_ptr<Impl> impl);
  ProtoMessage(const ProtoMessage& other);
  ProtoMessage(ProtoMessage&& other) noexcept;
  ProtoMessage& operator=(const ProtoMessage& other);
  ProtoMessage& operator=(ProtoMessage&& other) noexcept;

 private:
  friend struct ProtoAccess;
  std::unique_ptr<Impl> impl_;
};

// The fields of TensorFlow's ConfigProto (tensorflow/core/protobuf/config.proto).
class SAVEDMODEL_EXPORT SessionOptions : public ProtoMessage {
 public:
  SessionOptions();
};

// The fields of TensorFlow's RunOptions (same file).
class SAVEDMODEL_EXPORT RunOptions : public ProtoMessage {
 public:
  RunOptions();
};

// What a traced run reports: the fields of TensorFlow's RunMetadata (same file).
class SAVEDMODEL_EXPORT RunMetadata : public ProtoMessage {
 public:
  RunMetadata();
};

}  // namespace savedmodel

#endif  // SAVEDMODEL_OPTIONS_H_
