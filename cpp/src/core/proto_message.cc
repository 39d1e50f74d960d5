#include "core/proto_message.h"

#include <algorithm>
#include <limits>
#include <type_traits>

#include "core/nearest.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"
#include "google/protobuf/reflection.h"
#include "google/protobuf/text_format.h"
#include "savedmodel/error.h"

namespace savedmodel {

namespace {

namespace pb = google::protobuf;
using Field = pb::FieldDescriptor;

[[noreturn]] void Fail(const std::string& message) {
  throw Error(ErrorCode::kInvalidArgument, message);
}

const char* KindOf(const OptionValue& value) {
  static constexpr const char* kKinds[] = {
      "a bool", "an integer", "an integer", "a float", "a string", "a list", "a mapping"};
  return kKinds[value.value().index()];
}

std::string ExpectedKind(const Field& field) {
  switch (field.cpp_type()) {
    case Field::CPPTYPE_BOOL: return "a bool";
    case Field::CPPTYPE_FLOAT:
    case Field::CPPTYPE_DOUBLE: return "a number";
    case Field::CPPTYPE_STRING:
      return field.type() == Field::TYPE_BYTES ? "bytes" : "a string";
    case Field::CPPTYPE_MESSAGE:
      return "a mapping of the fields of " + std::string(field.message_type()->name());
    case Field::CPPTYPE_ENUM: {
      std::vector<std::string> names;
      for (int i = 0; i < field.enum_type()->value_count(); ++i) {
        names.emplace_back(field.enum_type()->value(i)->name());
      }
      return "one of " + QuotedList(names);
    }
    default: return "an integer of type " + std::string(field.cpp_type_name());
  }
}

[[noreturn]] void FailKind(const Field& field, const std::string& path,
                           const OptionValue& value) {
  std::string came = KindOf(value);
  if (const auto* text = std::get_if<std::string>(&value.value()))
    came += " '" + *text + "'";
  if (const auto* number = std::get_if<std::int64_t>(&value.value())) {
    came += " " + std::to_string(*number);
  }
  Fail("option '" + path + "' takes " + ExpectedKind(field) + ", got " + came);
}

template <typename T>
T Integer(const Field& field, const std::string& path, const OptionValue& value) {
  if (const auto* number = std::get_if<std::int64_t>(&value.value())) {
    if constexpr (std::is_unsigned_v<T>) {
      if (*number >= 0 &&
          static_cast<std::uint64_t>(*number) <= std::numeric_limits<T>::max()) {
        return static_cast<T>(*number);
      }
    } else if (*number >= std::numeric_limits<T>::min() &&
               *number <= std::numeric_limits<T>::max()) {
      return static_cast<T>(*number);
    }
  } else if (const auto* big = std::get_if<std::uint64_t>(&value.value())) {
    if (*big <= static_cast<std::uint64_t>(std::numeric_limits<T>::max())) {
      return static_cast<T>(*big);
    }
  }
  FailKind(field, path, value);
}

double Number(const Field& field, const std::string& path, const OptionValue& value) {
  if (const auto* number = std::get_if<double>(&value.value())) return *number;
  if (const auto* number = std::get_if<std::int64_t>(&value.value())) {
    return static_cast<double>(*number);
  }
  if (const auto* number = std::get_if<std::uint64_t>(&value.value())) {
    return static_cast<double>(*number);
  }
  FailKind(field, path, value);
}

bool Bool(const Field& field, const std::string& path, const OptionValue& value) {
  if (const auto* flag = std::get_if<bool>(&value.value())) return *flag;
  FailKind(field, path, value);
}

const std::string& String(const Field& field, const std::string& path,
                          const OptionValue& value) {
  if (const auto* text = std::get_if<std::string>(&value.value())) return *text;
  FailKind(field, path, value);
}

int Enum(const Field& field, const std::string& path, const OptionValue& value) {
  if (const auto* name = std::get_if<std::string>(&value.value())) {
    if (const auto* entry = field.enum_type()->FindValueByName(*name))
      return entry->number();
  } else if (const auto* number = std::get_if<std::int64_t>(&value.value())) {
    if (*number >= std::numeric_limits<int>::min() &&
        *number <= std::numeric_limits<int>::max() &&
        field.enum_type()->FindValueByNumber(static_cast<int>(*number)) != nullptr) {
      return static_cast<int>(*number);
    }
  }
  FailKind(field, path, value);
}

const OptionMap& Map(const Field& field, const std::string& path,
                     const OptionValue& value) {
  if (const auto* map = std::get_if<OptionMap>(&value.value())) return *map;
  FailKind(field, path, value);
}

std::vector<std::string> Names(const pb::Descriptor& descriptor) {
  std::vector<std::string> names;
  for (int i = 0; i < descriptor.field_count(); ++i) {
    names.emplace_back(descriptor.field(i)->name());
  }
  return names;
}

const Field& FindField(const pb::Descriptor& descriptor, std::string_view name,
                       const std::string& prefix) {
  const Field* field = descriptor.FindFieldByName(std::string(name));
  if (field == nullptr) {
    Fail("unknown option '" + prefix + std::string(name) + "' of " +
         std::string(descriptor.name()) + DidYouMean(name, Names(descriptor)));
  }
  return *field;
}

void SetFields(pb::Message* message, const OptionMap& fields, const std::string& prefix);

// The value of a singular field, or one more of a repeated field.
void Put(pb::Message* message, const Field& field, const std::string& path,
         const OptionValue& value) {
  const pb::Reflection* reflection = message->GetReflection();
  const bool add = field.is_repeated();
#define SAVEDMODEL_PUT(Type, converted)                \
  if (add) {                                           \
    reflection->Add##Type(message, &field, converted); \
  } else {                                             \
    reflection->Set##Type(message, &field, converted); \
  }                                                    \
  break
  switch (field.cpp_type()) {
    case Field::CPPTYPE_INT32:
      SAVEDMODEL_PUT(Int32, Integer<std::int32_t>(field, path, value));
    case Field::CPPTYPE_INT64:
      SAVEDMODEL_PUT(Int64, Integer<std::int64_t>(field, path, value));
    case Field::CPPTYPE_UINT32:
      SAVEDMODEL_PUT(UInt32, Integer<std::uint32_t>(field, path, value));
    case Field::CPPTYPE_UINT64:
      SAVEDMODEL_PUT(UInt64, Integer<std::uint64_t>(field, path, value));
    case Field::CPPTYPE_FLOAT:
      SAVEDMODEL_PUT(Float, static_cast<float>(Number(field, path, value)));
    case Field::CPPTYPE_DOUBLE: SAVEDMODEL_PUT(Double, Number(field, path, value));
    case Field::CPPTYPE_BOOL: SAVEDMODEL_PUT(Bool, Bool(field, path, value));
    case Field::CPPTYPE_STRING: SAVEDMODEL_PUT(String, String(field, path, value));
    case Field::CPPTYPE_ENUM: SAVEDMODEL_PUT(EnumValue, Enum(field, path, value));
    case Field::CPPTYPE_MESSAGE: {
      // Naming a message is enough to set it, also with no field of its own.
      pb::Message* child = add ? reflection->AddMessage(message, &field)
                               : reflection->MutableMessage(message, &field);
      SetFields(child, Map(field, path, value), path + ".");
      break;
    }
  }
#undef SAVEDMODEL_PUT
}

// A key of a map field comes as text, whatever its type.
OptionValue MapKey(const Field& key_field, const std::string& path,
                   const std::string& key) {
  if (key_field.cpp_type() == Field::CPPTYPE_STRING) return key;
  if (key_field.cpp_type() == Field::CPPTYPE_BOOL) return key == "true" || key == "True";
  try {
    return std::int64_t{std::stoll(key)};
  } catch (const std::exception&) {
    Fail("option '" + path + "' has integer keys, got '" + key + "'");
  }
}

void SetField(pb::Message* message, const Field& field, const std::string& path,
              const OptionValue& value) {
  const pb::Reflection* reflection = message->GetReflection();
  if (field.is_map()) {
    const OptionMap& entries = Map(field, path, value);
    reflection->ClearField(message, &field);
    const pb::Descriptor& entry_type = *field.message_type();
    for (const auto& [key, entry_value] : entries) {
      pb::Message* entry = reflection->AddMessage(message, &field);
      Put(entry, *entry_type.map_key(), path, MapKey(*entry_type.map_key(), path, key));
      Put(entry, *entry_type.map_value(), path + "." + key, entry_value);
    }
  } else if (field.is_repeated()) {
    const auto* list = std::get_if<OptionList>(&value.value());
    if (list == nullptr) {
      Fail("option '" + path + "' is repeated and takes a list, each item " +
           ExpectedKind(field) + ", got " + KindOf(value));
    }
    reflection->ClearField(message, &field);
    for (std::size_t i = 0; i < list->size(); ++i) {
      Put(message, field, path + "[" + std::to_string(i) + "]", (*list)[i]);
    }
  } else {
    if (field.cpp_type() == Field::CPPTYPE_MESSAGE) {
      Map(field, path, value);  // before the old value goes
      reflection->ClearField(message, &field);
    }
    Put(message, field, path, value);
  }
}

void SetFields(pb::Message* message, const OptionMap& fields, const std::string& prefix) {
  for (const auto& [name, value] : fields) {
    SetField(message, FindField(*message->GetDescriptor(), name, prefix), prefix + name,
             value);
  }
}

OptionMap ToOptionMap(const pb::Message& message);

OptionValue Take(const pb::Message& message, const Field& field, int index) {
  const pb::Reflection* reflection = message.GetReflection();
#define SAVEDMODEL_TAKE(Type)                         \
  (index < 0 ? reflection->Get##Type(message, &field) \
             : reflection->GetRepeated##Type(message, &field, index))
  switch (field.cpp_type()) {
    case Field::CPPTYPE_INT32: return std::int64_t{SAVEDMODEL_TAKE(Int32)};
    case Field::CPPTYPE_INT64: return std::int64_t{SAVEDMODEL_TAKE(Int64)};
    case Field::CPPTYPE_UINT32: return std::int64_t{SAVEDMODEL_TAKE(UInt32)};
    case Field::CPPTYPE_UINT64: return std::uint64_t{SAVEDMODEL_TAKE(UInt64)};
    case Field::CPPTYPE_FLOAT: return double{SAVEDMODEL_TAKE(Float)};
    case Field::CPPTYPE_DOUBLE: return SAVEDMODEL_TAKE(Double);
    case Field::CPPTYPE_BOOL: return SAVEDMODEL_TAKE(Bool);
    case Field::CPPTYPE_STRING: return SAVEDMODEL_TAKE(String);
    case Field::CPPTYPE_ENUM: {
      const int number = SAVEDMODEL_TAKE(EnumValue);
      const auto* entry = field.enum_type()->FindValueByNumber(number);
      if (entry == nullptr) return std::int64_t{number};
      return std::string(entry->name());
    }
    case Field::CPPTYPE_MESSAGE: return ToOptionMap(SAVEDMODEL_TAKE(Message));
  }
#undef SAVEDMODEL_TAKE
  return false;
}

std::string KeyText(const OptionValue& key) {
  if (const auto* text = std::get_if<std::string>(&key.value())) return *text;
  if (const auto* flag = std::get_if<bool>(&key.value())) return *flag ? "true" : "false";
  if (const auto* number = std::get_if<std::int64_t>(&key.value()))
    return std::to_string(*number);
  return std::to_string(std::get<std::uint64_t>(key.value()));
}

OptionValue FieldValue(const pb::Message& message, const Field& field) {
  const pb::Reflection* reflection = message.GetReflection();
  if (!field.is_repeated()) return Take(message, field, -1);
  const int size = reflection->FieldSize(message, &field);
  if (field.is_map()) {
    OptionMap entries;
    for (int i = 0; i < size; ++i) {
      const pb::Message& entry = reflection->GetRepeatedMessage(message, &field, i);
      const pb::Descriptor& entry_type = *entry.GetDescriptor();
      entries.emplace_back(KeyText(Take(entry, *entry_type.map_key(), -1)),
                           Take(entry, *entry_type.map_value(), -1));
    }
    return entries;
  }
  OptionList items;
  for (int i = 0; i < size; ++i) items.push_back(Take(message, field, i));
  return items;
}

OptionMap ToOptionMap(const pb::Message& message) {
  std::vector<const Field*> fields;
  message.GetReflection()->ListFields(message, &fields);
  OptionMap map;
  for (const Field* field : fields) {
    map.emplace_back(std::string(field->name()), FieldValue(message, *field));
  }
  return map;
}

// A field, or one deeper behind dots.
void SetPath(pb::Message* message, std::string_view path, const OptionValue& value) {
  std::string prefix;
  for (;;) {
    const std::size_t dot = path.find('.');
    const std::string_view name = path.substr(0, dot);
    const Field& field = FindField(*message->GetDescriptor(), name, prefix);
    if (dot == std::string_view::npos) {
      SetField(message, field, prefix + std::string(name), value);
      return;
    }
    prefix += std::string(name);
    path.remove_prefix(dot + 1);
    if (field.is_map()) {
      // One entry: the others stay.
      OptionMap entries = std::get<OptionMap>(FieldValue(*message, field).value());
      const std::string key(path);
      entries.erase(std::remove_if(entries.begin(), entries.end(),
                                   [&](const auto& entry) { return entry.first == key; }),
                    entries.end());
      entries.emplace_back(key, value);
      SetField(message, field, prefix, entries);
      return;
    }
    if (field.cpp_type() != Field::CPPTYPE_MESSAGE || field.is_repeated()) {
      Fail("option '" + prefix + "' has no fields of its own");
    }
    message = message->GetReflection()->MutableMessage(message, &field);
    prefix += ".";
  }
}

}  // namespace

ProtoMessage::ProtoMessage(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ProtoMessage::~ProtoMessage() = default;
ProtoMessage::ProtoMessage(ProtoMessage&& other) noexcept = default;
ProtoMessage& ProtoMessage::operator=(ProtoMessage&& other) noexcept = default;

ProtoMessage::ProtoMessage(const ProtoMessage& other) : impl_(std::make_unique<Impl>()) {
  impl_->message.reset(other.impl_->message->New());
  impl_->message->CopyFrom(*other.impl_->message);
}

ProtoMessage& ProtoMessage::operator=(const ProtoMessage& other) {
  // Not into the old message: a moved-from object has none.
  return *this = ProtoMessage(other);
}

void ProtoMessage::Set(std::string_view path, const OptionValue& value) {
  // On a copy, so that a value that is refused leaves nothing half-set.
  std::unique_ptr<pb::Message> changed(impl_->message->New());
  changed->CopyFrom(*impl_->message);
  SetPath(changed.get(), path, value);
  impl_->message = std::move(changed);
}

OptionMap ProtoMessage::ToMap() const { return ToOptionMap(*impl_->message); }

OptionValue ProtoMessage::Get(std::string_view field) const {
  return FieldValue(*impl_->message,
                    FindField(*impl_->message->GetDescriptor(), field, ""));
}

std::vector<std::string> ProtoMessage::FieldNames() const {
  return Names(*impl_->message->GetDescriptor());
}

std::string ProtoMessage::Serialize() const {
  std::string bytes;
  {
    pb::io::StringOutputStream stream(&bytes);
    pb::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);  // maps in the order of their keys
    impl_->message->SerializeToCodedStream(&coded);
  }
  return bytes;
}

void ProtoMessage::Parse(std::string_view serialized) {
  std::unique_ptr<pb::Message> parsed(impl_->message->New());
  if (!parsed->ParseFromString(std::string(serialized))) {
    Fail("not a serialized " + std::string(parsed->GetDescriptor()->name()));
  }
  impl_->message = std::move(parsed);
}

std::string ProtoMessage::ToString() const {
  // Not ShortDebugString(), which marks its text so that it cannot be parsed.
  pb::TextFormat::Printer printer;
  printer.SetSingleLineMode(true);
  std::string text;
  printer.PrintToString(*impl_->message, &text);
  if (!text.empty() && text.back() == ' ') text.pop_back();
  return text;
}

SessionOptions::SessionOptions()
    : ProtoMessage(
          std::make_unique<Impl>(Impl{std::make_unique<tensorflow::ConfigProto>()})) {}
RunOptions::RunOptions()
    : ProtoMessage(
          std::make_unique<Impl>(Impl{std::make_unique<tensorflow::RunOptions>()})) {}
RunMetadata::RunMetadata()
    : ProtoMessage(
          std::make_unique<Impl>(Impl{std::make_unique<tensorflow::RunMetadata>()})) {}

}  // namespace savedmodel
