#include "inspect/structured_value.h"

#include <algorithm>
#include <limits>
#include <map>
#include <utility>

#include "core/tensor_access.h"
#include "inspect/meta_graph.h"
#include "savedmodel/error.h"

namespace savedmodel {

namespace {

namespace tf = tensorflow;

// A default argument as a tensor; what is larger can only be an attack.
constexpr std::int64_t kMaxTensorBytes = std::int64_t{1} << 30;
// Tensors that one composite value can be made of.
constexpr int kMaxComponents = 1 << 10;

std::string ShapeText(const PartialShape& shape) {
  if (shape.unknown_rank()) return "TensorShape(None)";
  std::string text;
  for (const std::int64_t dim : shape.dims()) {
    text += (text.empty() ? "" : ", ") +
            (dim == PartialShape::kUnknownDim ? "None" : std::to_string(dim));
  }
  return "TensorShape([" + text + "])";
}

class Reader {
 public:
  explicit Reader(const std::string& context) : context_(context) {}

  // `depth`: how many values this one lies in.
  Value Read(const tf::StructuredValue& proto, int depth = 0) const {
    if (depth >= Value::kMaxDepth) {
      Fail("values nested deeper than " + std::to_string(Value::kMaxDepth));
    }
    switch (proto.kind_case()) {
      case tf::StructuredValue::kNoneValue: return Value();
      case tf::StructuredValue::kFloat64Value: return proto.float64_value();
      case tf::StructuredValue::kInt64Value: return std::int64_t{proto.int64_value()};
      case tf::StructuredValue::kStringValue: return std::string(proto.string_value());
      case tf::StructuredValue::kBoolValue: return proto.bool_value();
      case tf::StructuredValue::kTensorShapeValue:
        return Value::Opaque(ShapeText(ReadShape(proto.tensor_shape_value())));
      case tf::StructuredValue::kTensorDtypeValue:
        return Value::Opaque(std::string("tf.") +
                             DataTypeName(ReadDtype(proto.tensor_dtype_value())));
      case tf::StructuredValue::kTensorSpecValue:
        return ReadSpec(proto.tensor_spec_value());
      case tf::StructuredValue::kBoundedTensorSpecValue:
        return ReadSpec(proto.bounded_tensor_spec_value());
      case tf::StructuredValue::kTypeSpecValue:
        return ReadTypeSpec(proto.type_spec_value(), depth);
      case tf::StructuredValue::kListValue:
        return Value::List(ReadElements(proto.list_value().values(), depth));
      case tf::StructuredValue::kTupleValue:
        return Value::Tuple(ReadElements(proto.tuple_value().values(), depth));
      case tf::StructuredValue::kDictValue: {
        std::map<std::string, const tf::StructuredValue*> sorted;
        for (const auto& [key, value] : proto.dict_value().fields()) sorted[key] = &value;
        Value::Items items;
        for (const auto& [key, value] : sorted)
          items.emplace_back(key, Read(*value, depth + 1));
        return Value::Dict(std::move(items));
      }
      case tf::StructuredValue::kNamedTupleValue: {
        Value::Items fields;
        for (const tf::PairValue& pair : proto.named_tuple_value().values()) {
          fields.emplace_back(pair.key(), Read(pair.value(), depth + 1));
        }
        return Value::NamedTuple(proto.named_tuple_value().name(), std::move(fields));
      }
      case tf::StructuredValue::kTensorValue: return ReadTensor(proto.tensor_value());
      case tf::StructuredValue::kNumpyValue: return ReadTensor(proto.numpy_value());
      case tf::StructuredValue::KIND_NOT_SET: break;
    }
    Fail("a value without a kind");
  }

 private:
  [[noreturn]] void Fail(const std::string& what) const {
    throw Error(ErrorCode::kInvalidArgument, context_ + ": the SavedModel holds " + what);
  }

  template <typename Protos>
  Value::Elements ReadElements(const Protos& protos, int depth) const {
    Value::Elements elements;
    elements.reserve(static_cast<std::size_t>(protos.size()));
    for (const tf::StructuredValue& proto : protos)
      elements.push_back(Read(proto, depth + 1));
    return elements;
  }

  PartialShape ReadShape(const tf::TensorShapeProto& proto) const {
    return ToPartialShape(proto, context_);
  }

  DataType ReadDtype(int number) const {
    const auto dtype = static_cast<DataType>(number);
    if (!IsValid(dtype)) Fail("the unknown dtype number " + std::to_string(number));
    return dtype;
  }

  template <typename Proto>  // TensorSpecProto, BoundedTensorSpecProto
  TensorSpec ReadSpec(const Proto& proto) const {
    return {proto.name(), ReadDtype(proto.dtype()), ReadShape(proto.shape())};
  }

  Value ReadTensor(const tf::TensorProto& proto) const {
    const DataType dtype = ReadDtype(proto.dtype());
    if (dtype == DataType::kResource || dtype == DataType::kVariant) {
      Fail(std::string("a constant of dtype ") + DataTypeName(dtype));
    }
    tf::TensorShape shape;
    const auto element = static_cast<std::int64_t>(
        dtype == DataType::kString ? sizeof(tf::tstring) : DataTypeSize(dtype));
    if (!tf::TensorShape::BuildTensorShape(proto.tensor_shape(), &shape).ok() ||
        shape.num_elements() > kMaxTensorBytes / element) {
      Fail("a constant of an impossible shape");
    }
    tf::Tensor tensor;
    if (!tensor.FromProto(proto)) Fail("a constant that cannot be read");
    return TensorAccess::Wrap(std::move(tensor));
  }

  // The number decides, where it is one of ours.
  static std::string ClassName(const tf::TypeSpecProto& proto) {
    switch (proto.type_spec_class()) {
      case tf::TypeSpecProto::SPARSE_TENSOR_SPEC: return "SparseTensorSpec";
      case tf::TypeSpecProto::RAGGED_TENSOR_SPEC: return "RaggedTensorSpec";
      case tf::TypeSpecProto::VARIABLE_SPEC: return "VariableSpec";
      case tf::TypeSpecProto::INDEXED_SLICES_SPEC: return "IndexedSlicesSpec";
      default: return proto.type_spec_class_name();
    }
  }

  Value ReadTypeSpec(const tf::TypeSpecProto& proto, int depth) const {
    TypeSpec spec;
    spec.class_name = ClassName(proto);
    const Value state = Read(proto.type_state(), depth + 1);
    const std::string state_text = state.ToString();
    spec.text =
        spec.class_name +
        (state.kind() == Value::Kind::kTuple ? state_text : "(" + state_text + ")");
    if (proto.type_spec_class() == tf::TypeSpecProto::VARIABLE_SPEC &&
        state.kind() == Value::Kind::kTuple) {
      spec.text = VariableSpecText(spec, proto, state);
    }
    if (ReadKnownTypeSpec(proto, &spec)) return spec;
    if (proto.num_flat_components() < 0 || proto.num_flat_components() > kMaxComponents) {
      Fail("a " + spec.class_name + " of " + std::to_string(proto.num_flat_components()) +
           " tensors");
    }
    spec.components.resize(static_cast<std::size_t>(proto.num_flat_components()));
    return spec;
  }

  // The one class that does not write itself as its state.
  std::string VariableSpecText(const TypeSpec& spec, const tf::TypeSpecProto& proto,
                               const Value& state) const {
    const auto& fields = proto.type_state().tuple_value().values();
    if (fields.empty() || !fields[0].has_tensor_shape_value() ||
        state.elements().size() < 2) {
      return spec.text;
    }
    constexpr const char* kNames[] = {"shape", "dtype", "trainable", "alias_id"};
    std::string text;
    for (std::size_t i = 0; i < state.elements().size() && i < 4; ++i) {
      text += (i == 0 ? "" : ", ") + std::string(kNames[i]) + "=" +
              (i == 0 ? ReadShape(fields[0].tensor_shape_value()).ToString()
                      : state.elements()[i].ToString());
    }
    return spec.class_name + "(" + text + ")";
  }

  // Fills in the rest of a spec whose class we know. The states and the components are
  // those of the classes' _serialize and _component_specs.
  bool ReadKnownTypeSpec(const tf::TypeSpecProto& proto, TypeSpec* spec) const {
    const auto& state = proto.type_state().tuple_value().values();
    if (state.size() < 2 || !state[0].has_tensor_shape_value() ||
        state[1].kind_case() != tf::StructuredValue::kTensorDtypeValue) {
      return false;
    }
    const PartialShape shape = ReadShape(state[0].tensor_shape_value());
    const DataType dtype = ReadDtype(state[1].tensor_dtype_value());
    const auto unknown = PartialShape::kUnknownDim;
    switch (proto.type_spec_class()) {
      case tf::TypeSpecProto::SPARSE_TENSOR_SPEC: {
        const std::int64_t rank = shape.unknown_rank()
                                      ? unknown
                                      : static_cast<std::int64_t>(shape.dims().size());
        spec->components = {
            {"", DataType::kInt64, PartialShape({unknown, rank})},
            {"", dtype, PartialShape({unknown})},
            {"", DataType::kInt64, PartialShape({rank})},
        };
        break;
      }
      case tf::TypeSpecProto::RAGGED_TENSOR_SPEC: {
        if (state.size() != 4 ||
            state[2].kind_case() != tf::StructuredValue::kInt64Value ||
            state[3].kind_case() != tf::StructuredValue::kTensorDtypeValue) {
          return false;
        }
        const std::int64_t ragged_rank = state[2].int64_value();
        const DataType splits = ReadDtype(state[3].tensor_dtype_value());
        if (ragged_rank < 0 || ragged_rank >= Value::kMaxDepth ||
            (splits != DataType::kInt32 && splits != DataType::kInt64) ||
            (!shape.unknown_rank() &&
             ragged_rank > static_cast<std::int64_t>(shape.dims().size()))) {
          Fail("the impossible " + spec->text);
        }
        PartialShape flat = shape;
        std::int64_t rows = unknown;
        if (ragged_rank > 0 && !shape.unknown_rank()) {
          rows = shape.dims()[0];
          Shape dims{unknown};
          dims.insert(
              dims.end(),
              shape.dims().begin() +
                  std::min<std::ptrdiff_t>(
                      ragged_rank + 1, static_cast<std::ptrdiff_t>(shape.dims().size())),
              shape.dims().end());
          flat = PartialShape(std::move(dims));
        }
        spec->components.push_back({"", dtype, flat});
        for (std::int64_t i = 0; i < ragged_rank; ++i) {
          const bool known = i == 0 && rows != unknown &&
                             rows != std::numeric_limits<std::int64_t>::max();
          spec->components.push_back(
              {"", splits, PartialShape({known ? rows + 1 : unknown})});
        }
        break;
      }
      case tf::TypeSpecProto::VARIABLE_SPEC:
        // A function takes a variable as its handle.
        spec->components = {{"", DataType::kResource, PartialShape(Shape{})}};
        break;
      default: return false;
    }
    spec->dtype = dtype;
    spec->shape = shape;
    return true;
  }

  const std::string& context_;
};

}  // namespace

Value FromStructuredValue(const tf::StructuredValue& proto, const std::string& context) {
  return Reader(context).Read(proto);
}

}  // namespace savedmodel
