#include "inspect/chunked_proto.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <fstream>
#include <vector>

#include "core/status.h"
#include "tensorflow/core/framework/tensor.pb.h"
#include "tensorflow/tools/proto_splitter/chunk.pb.h"
#include "tensorflow/tools/proto_splitter/merge.h"

namespace savedmodel {

namespace {

namespace chunks = tensorflow::proto_splitter;
using tensorflow::protobuf::FieldDescriptor;
using tensorflow::protobuf::Message;
using tensorflow::protobuf::Reflection;

// TensorFlow's Merger reads the records, but it merges them with no check of what the
// file says of their places, and aborts on many a contradiction. So it is asked for one
// record at a time, and the merging is done here.
class ChunkedReader {
 public:
  ChunkedReader(const std::string& prefix, const std::string& context)
      : prefix_(prefix), context_(context + ": " + prefix + ".cpb") {
    if (!metadata_.ParseFromString(ReadRecord(LastRecord())))
      Fail("its last record is no ChunkMetadata");
    used_.resize(static_cast<std::size_t>(metadata_.chunks_size()));
  }

  void Read(Message* message) { Merge(metadata_.message(), message); }

 private:
  [[noreturn]] void Fail(const std::string& what,
                         ErrorCode code = ErrorCode::kDataLoss) const {
    throw Error(code, context_ + ": " + what);
  }

  // The number of the last record: the position of the riegeli chunk that holds it plus
  // its index there. The format is riegeli's
  // (https://github.com/google/riegeli/blob/master/doc/riegeli_records_file_format.md).
  std::uint64_t LastRecord() const {
    constexpr std::uint64_t kBlock = 1 << 16;
    constexpr std::uint64_t kBlockHeader = 24;
    constexpr std::uint64_t kUsable = kBlock - kBlockHeader;
    constexpr std::uint64_t kChunkHeader = 40;
    // A record is a message or bytes of one, and no message may be larger than this.
    constexpr std::uint64_t kMaxDecoded = std::uint64_t{1} << 31;
    std::ifstream file(prefix_ + ".cpb", std::ios::binary | std::ios::ate);
    const std::streamoff end = file.tellg();
    if (!file || end < 0) Fail("cannot be read");
    const auto size = static_cast<std::uint64_t>(end);

    // Where `bytes` bytes from `position` on end, block headers in between.
    const auto after = [](std::uint64_t position, std::uint64_t bytes) {
      const std::uint64_t blocks = (bytes + (position + kUsable - 1) % kBlock) / kUsable;
      return position + bytes + blocks * kBlockHeader;
    };
    const auto chunk_boundary = [](std::uint64_t position) {
      const std::uint64_t in_block = position % kBlock;
      return in_block == 0 || in_block > kBlockHeader
                 ? position
                 : position - in_block + kBlockHeader + 1;
    };
    std::uint64_t last = 0;
    for (std::uint64_t begin = 0; begin < size;) {
      std::array<unsigned char, kChunkHeader> header{};
      std::uint64_t position = begin;
      for (unsigned char& byte : header) {
        if (position % kBlock == 0) position += kBlockHeader;
        file.seekg(static_cast<std::streamoff>(position++));
        byte = static_cast<unsigned char>(file.get());
      }
      if (!file) Fail("is truncated");
      const auto number = [&header](std::size_t at, std::size_t bytes) {
        std::uint64_t value = 0;
        while (bytes-- > 0) value = value << 8 | header[at + bytes];
        return value;
      };
      const std::uint64_t data_size = number(8, 8);
      const std::uint64_t num_records = number(25, 7);
      if (data_size > size || num_records > size || number(32, 8) > kMaxDecoded)
        Fail("is truncated or no riegeli file");
      if (num_records > 0) last = begin + num_records - 1;
      begin = std::max(after(begin, kChunkHeader + data_size),
                       chunk_boundary(begin + num_records));
      if (begin > size) Fail("is truncated");
    }
    if (last == 0) Fail("holds no records");
    return last;
  }

  // The record of that number, as bytes: read as those of a field that holds bytes.
  std::string ReadRecord(std::uint64_t number) const {
    chunks::ChunkMetadata request;
    request.add_chunks()->set_offset(number);
    chunks::ChunkedField* field = request.mutable_message()->add_chunked_fields();
    field->add_field_tag()->set_field(tensorflow::TensorProto::kTensorContentFieldNumber);
    field->mutable_message()->set_chunk_index(0);
    tensorflow::TensorProto holder;
    const absl::Status status =
        tensorflow::tools::proto_splitter::Merger::ReadPartial(prefix_, request, &holder);
    if (!status.ok()) Fail(std::string(status.message()));
    return std::move(*holder.mutable_tensor_content());
  }

  std::string ReadChunk(std::uint64_t index) {
    if (index >= used_.size()) {
      Fail("chunk " + std::to_string(index) + " of " + std::to_string(used_.size()) +
           " is asked for");
    }
    // Each holds a part of the message of its own; else a small file could stand for a
    // message of any size.
    if (used_[index]) Fail("chunk " + std::to_string(index) + " is used twice");
    used_[index] = true;
    return ReadRecord(metadata_.chunks(static_cast<int>(index)).offset());
  }

  // Shallow fields before what is in them, elements of a list in their order.
  bool Before(const chunks::ChunkedField& a, const chunks::ChunkedField& b) const {
    const int depth = std::min(a.field_tag_size(), b.field_tag_size());
    for (int i = 0; i < depth; ++i) {
      const chunks::FieldIndex& x = a.field_tag(i);
      const chunks::FieldIndex& y = b.field_tag(i);
      if (x.kind_case() != y.kind_case()) return x.kind_case() < y.kind_case();
      if (x.field() != y.field()) return x.field() < y.field();
      if (x.index() != y.index()) return x.index() < y.index();
      if (x.map_key().s() != y.map_key().s()) return x.map_key().s() < y.map_key().s();
    }
    if (a.field_tag_size() != b.field_tag_size())
      return a.field_tag_size() < b.field_tag_size();
    return a.message().chunk_index() < b.message().chunk_index();
  }

  void Merge(const chunks::ChunkedMessage& chunked, Message* message) {
    if (chunked.has_chunk_index() &&
        !message->MergeFromString(ReadChunk(chunked.chunk_index()))) {
      Fail("chunk " + std::to_string(chunked.chunk_index()) + " is no " +
           std::string(message->GetTypeName()));
    }
    std::vector<const chunks::ChunkedField*> fields;
    for (const chunks::ChunkedField& field : chunked.chunked_fields())
      fields.push_back(&field);
    std::stable_sort(fields.begin(), fields.end(),
                     [this](const auto* a, const auto* b) { return Before(*a, *b); });
    for (const chunks::ChunkedField* field : fields) MergeField(*field, message);
  }

  // Follows the field tags from `message` and merges what the field's chunks hold there.
  void MergeField(const chunks::ChunkedField& chunked, Message* message) {
    const int size = chunked.field_tag_size();
    for (int i = 0; i < size;) {
      const chunks::FieldIndex& tag = chunked.field_tag(i++);
      const FieldDescriptor* field =
          tag.has_field()
              ? message->GetDescriptor()->FindFieldByNumber(static_cast<int>(tag.field()))
              : nullptr;
      if (field == nullptr)
        Fail("'" + tag.ShortDebugString() + "' is no field of " +
             std::string(message->GetTypeName()));
      const std::string name(field->full_name());
      const Reflection* reflection = message->GetReflection();
      if (!field->is_repeated() && field->cpp_type() == FieldDescriptor::CPPTYPE_STRING &&
          i == size) {
        reflection->SetString(message, field, ReadChunk(chunked.message().chunk_index()));
        return;
      }
      if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE)
        Fail("a split at " + name + " is not supported", ErrorCode::kUnimplemented);
      if (!field->is_repeated()) {
        message = reflection->MutableMessage(message, field);
        continue;
      }
      if (i == size) Fail("which element of " + name + "?");
      const chunks::FieldIndex& which = chunked.field_tag(i++);
      message = field->is_map() ? MapValue(message, field, which)
                                : Element(message, field, which);
    }
    Merge(chunked.message(), message);
  }

  Message* Element(Message* message, const FieldDescriptor* field,
                   const chunks::FieldIndex& which) const {
    const Reflection* reflection = message->GetReflection();
    const auto size = static_cast<std::uint64_t>(reflection->FieldSize(*message, field));
    if (!which.has_index() || which.index() > size) {
      Fail("'" + which.ShortDebugString() + "' is none of the " + std::to_string(size) +
           " elements of " + std::string(field->full_name()));
    }
    if (which.index() == size) return reflection->AddMessage(message, field);
    return reflection->MutableRepeatedMessage(message, field,
                                              static_cast<int>(which.index()));
  }

  Message* MapValue(Message* message, const FieldDescriptor* field,
                    const chunks::FieldIndex& which) const {
    const FieldDescriptor* key = field->message_type()->map_key();
    const FieldDescriptor* value = field->message_type()->map_value();
    if (!which.map_key().has_s() || key->cpp_type() != FieldDescriptor::CPPTYPE_STRING ||
        value->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) {
      Fail("a split at " + std::string(field->full_name()) + " is not supported",
           ErrorCode::kUnimplemented);
    }
    const Reflection* reflection = message->GetReflection();
    Message* entry = nullptr;
    for (int i = 0; i < reflection->FieldSize(*message, field) && entry == nullptr; ++i) {
      Message* other = reflection->MutableRepeatedMessage(message, field, i);
      if (other->GetReflection()->GetString(*other, key) == which.map_key().s())
        entry = other;
    }
    if (entry == nullptr) {
      entry = reflection->AddMessage(message, field);
      entry->GetReflection()->SetString(entry, key, which.map_key().s());
    }
    return entry->GetReflection()->MutableMessage(entry, value);
  }

  const std::string prefix_;
  const std::string context_;  // for messages
  chunks::ChunkMetadata metadata_;
  std::vector<bool> used_;
};

}  // namespace

void ReadChunkedProto(const std::string& prefix, const std::string& context,
                      Message* message) {
  ChunkedReader(prefix, context).Read(message);
}

}  // namespace savedmodel
