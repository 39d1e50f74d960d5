#include "inspect/structured_text.h"

#include <array>
#include <charconv>
#include <map>

#include "savedmodel/dtype.h"

namespace savedmodel {

namespace {

namespace tf = tensorflow;

// As Python's repr() of a str.
std::string Quoted(const std::string& text) {
  const char quote =
      text.find('\'') != std::string::npos && text.find('"') == std::string::npos ? '"'
                                                                                  : '\'';
  constexpr char kHex[] = "0123456789abcdef";
  std::string quoted(1, quote);
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == quote || c == '\\') {
      quoted += {'\\', c};
    } else if (c == '\n') {
      quoted += "\\n";
    } else if (c == '\t') {
      quoted += "\\t";
    } else if (c == '\r') {
      quoted += "\\r";
    } else if (byte < 0x20 || byte == 0x7f) {
      quoted += {'\\', 'x', kHex[byte >> 4], kHex[byte & 15]};
    } else {
      quoted += c;
    }
  }
  return quoted + quote;
}

std::string Number(double value) {
  std::array<char, 32> digits{};
  const auto [end, error] =
      std::to_chars(digits.data(), digits.data() + digits.size(), value);
  std::string text(digits.data(), end);
  if (text.find_first_not_of("-0123456789") == std::string::npos) text += ".0";
  return text;
}

std::string DtypeText(int dtype) {
  const bool reference = dtype > 100;
  return std::string("tf.") +
         DataTypeName(static_cast<DataType>(reference ? dtype - 100 : dtype)) +
         (reference ? "_ref" : "");
}

// "(None, 3)", as a spec shows its shape, or "[None, 3]", as a TensorShape itself.
std::string Dims(const tf::TensorShapeProto& shape, bool as_tuple) {
  if (shape.unknown_rank()) return as_tuple ? "<unknown>" : "None";
  std::string text;
  for (const auto& dim : shape.dim()) {
    text += (text.empty() ? "" : ", ") +
            (dim.size() < 0 ? "None" : std::to_string(dim.size()));
  }
  if (!as_tuple) return "[" + text + "]";
  return "(" + text + (shape.dim_size() == 1 ? ",)" : ")");
}

template <typename Spec>
std::string SpecText(const Spec& spec) {
  return "TensorSpec(shape=" + Dims(spec.shape(), true) +
         ", dtype=" + DtypeText(spec.dtype()) +
         ", name=" + (spec.name().empty() ? "None" : Quoted(spec.name())) + ")";
}

}  // namespace

// The parser's limit on nested messages bounds the recursion.
std::string StructuredText(const tf::StructuredValue& value) {
  const auto elements = [](const auto& values) {
    std::string text;
    for (const tf::StructuredValue& element : values)
      text += (text.empty() ? "" : ", ") + StructuredText(element);
    return text;
  };
  switch (value.kind_case()) {
    case tf::StructuredValue::kFloat64Value: return Number(value.float64_value());
    case tf::StructuredValue::kInt64Value: return std::to_string(value.int64_value());
    case tf::StructuredValue::kStringValue: return Quoted(value.string_value());
    case tf::StructuredValue::kBoolValue: return value.bool_value() ? "True" : "False";
    case tf::StructuredValue::kTensorShapeValue:
      return "TensorShape(" + Dims(value.tensor_shape_value(), false) + ")";
    case tf::StructuredValue::kTensorDtypeValue:
      return DtypeText(value.tensor_dtype_value());
    case tf::StructuredValue::kTensorSpecValue:
      return SpecText(value.tensor_spec_value());
    case tf::StructuredValue::kBoundedTensorSpecValue:
      return "Bounded" + SpecText(value.bounded_tensor_spec_value());
    case tf::StructuredValue::kTypeSpecValue: {
      const tf::TypeSpecProto& spec = value.type_spec_value();
      // Its state is the tuple of its constructor's arguments.
      const std::string state = spec.type_state().has_tuple_value()
                                    ? elements(spec.type_state().tuple_value().values())
                                    : StructuredText(spec.type_state());
      return spec.type_spec_class_name() + "(" + state + ")";
    }
    case tf::StructuredValue::kListValue:
      return "[" + elements(value.list_value().values()) + "]";
    case tf::StructuredValue::kTupleValue: {
      const auto& values = value.tuple_value().values();
      return "(" + elements(values) + (values.size() == 1 ? ",)" : ")");
    }
    case tf::StructuredValue::kDictValue: {
      const auto& fields = value.dict_value().fields();
      std::map<std::string, const tf::StructuredValue*> sorted;
      for (const auto& [key, field] : fields) sorted[key] = &field;
      std::string text;
      for (const auto& [key, field] : sorted) {
        text += (text.empty() ? "" : ", ") + Quoted(key) + ": " + StructuredText(*field);
      }
      return "{" + text + "}";
    }
    case tf::StructuredValue::kNamedTupleValue: {
      std::string text;
      for (const tf::PairValue& pair : value.named_tuple_value().values()) {
        text +=
            (text.empty() ? "" : ", ") + pair.key() + "=" + StructuredText(pair.value());
      }
      return value.named_tuple_value().name() + "(" + text + ")";
    }
    case tf::StructuredValue::kTensorValue: return "<tensor>";
    case tf::StructuredValue::kNumpyValue: return "<array>";
    case tf::StructuredValue::kNoneValue:
    case tf::StructuredValue::KIND_NOT_SET: break;
  }
  return "None";
}

}  // namespace savedmodel
