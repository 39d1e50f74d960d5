#include "savedmodel/value.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <set>

#include "savedmodel/error.h"

namespace savedmodel {

namespace {

const char* KindName(Value::Kind kind) {
  switch (kind) {
    case Value::Kind::kNone: return "None";
    case Value::Kind::kBool: return "bool";
    case Value::Kind::kInt: return "int";
    case Value::Kind::kFloat: return "float";
    case Value::Kind::kComplex: return "complex";
    case Value::Kind::kString: return "str";
    case Value::Kind::kBytes: return "bytes";
    case Value::Kind::kTensor: return "tensor";
    case Value::Kind::kTensorSpec: return "TensorSpec";
    case Value::Kind::kTypeSpec: return "TypeSpec";
    case Value::Kind::kList: return "list";
    case Value::Kind::kTuple: return "tuple";
    case Value::Kind::kNamedTuple: return "namedtuple";
    case Value::Kind::kDict: return "dict";
    case Value::Kind::kOpaque: return "opaque value";
  }
  return "unknown";
}

// As Python's repr: the shortest digits that read back the same.
std::string FloatText(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char buffer[32];
  const auto end =
      std::to_chars(buffer, buffer + sizeof(buffer), value, std::chars_format::scientific)
          .ptr;
  const std::string_view text(buffer, static_cast<std::size_t>(end - buffer));
  const std::size_t mark = text.find('e');
  const int exponent = std::stoi(std::string(text.substr(mark + 1)));
  // Python writes an exponent from 1e16 on, and below 1e-4.
  if (exponent < -4 || exponent >= 16) return std::string(text);
  const auto fixed =
      std::to_chars(buffer, buffer + sizeof(buffer), value, std::chars_format::fixed).ptr;
  std::string plain(buffer, fixed);
  return plain.find('.') == std::string::npos ? plain + ".0" : plain;
}

std::string ComplexText(std::complex<double> value) {
  const auto part = [](double number) {
    std::string text = FloatText(number);
    if (text.size() > 2 && text.compare(text.size() - 2, 2, ".0") == 0) {
      text.resize(text.size() - 2);
    }
    return text;
  };
  if (value.real() == 0 && !std::signbit(value.real())) return part(value.imag()) + "j";
  std::string imaginary = part(value.imag());
  if (imaginary[0] != '-') imaginary = "+" + imaginary;
  return "(" + part(value.real()) + imaginary + "j)";
}

std::string Quoted(std::string_view text, bool is_bytes) {
  const bool has_single = text.find('\'') != std::string_view::npos;
  const bool has_double = text.find('"') != std::string_view::npos;
  const char quote = has_single && !has_double ? '"' : '\'';
  std::string quoted(is_bytes ? "b" : "");
  quoted += quote;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == quote || c == '\\') {
      quoted += '\\';
      quoted += c;
    } else if (c == '\n') {
      quoted += "\\n";
    } else if (c == '\r') {
      quoted += "\\r";
    } else if (c == '\t') {
      quoted += "\\t";
    } else if (byte < 0x20 || byte == 0x7f || (is_bytes && byte >= 0x80)) {
      constexpr char kHex[] = "0123456789abcdef";
      quoted += "\\x";
      quoted += kHex[byte >> 4];
      quoted += kHex[byte & 15];
    } else {
      quoted += c;
    }
  }
  return quoted + quote;
}

std::string SpecText(const TensorSpec& spec) {
  return "TensorSpec(shape=" + spec.shape.ToString() + ", dtype=tf." +
         DataTypeName(spec.dtype) +
         ", name=" + (spec.name.empty() ? "None" : Quoted(spec.name, false)) + ")";
}

std::string Joined(const Value::Elements& elements) {
  std::string text;
  for (const Value& element : elements) {
    text += (text.empty() ? "" : ", ") + element.ToString();
  }
  return text;
}

bool SameMemory(const Tensor& a, const Tensor& b) {
  if (a.dtype() != b.dtype() || a.shape() != b.shape()) return false;
  if (a.num_elements() == 0) return true;
  if (a.dtype() == DataType::kString) {
    return a.string_at(0).data() == b.string_at(0).data();
  }
  return DataTypeSize(a.dtype()) != 0 && a.data() == b.data();
}

// The fields of a named tuple, or the elements of a tuple.
std::vector<const Value*> TupleElements(const Value& value) {
  std::vector<const Value*> elements;
  if (value.kind() == Value::Kind::kNamedTuple) {
    for (const auto& field : value.items()) elements.push_back(&field.second);
  } else {
    for (const Value& element : value.elements()) elements.push_back(&element);
  }
  return elements;
}

bool IsTuple(const Value& value) {
  return value.kind() == Value::Kind::kTuple || value.kind() == Value::Kind::kNamedTuple;
}

bool IsNumber(const Value& value) {
  return value.kind() >= Value::Kind::kBool && value.kind() <= Value::Kind::kComplex;
}

// A bool or int.
std::optional<std::int64_t> Integer(const Value& value) {
  if (value.kind() == Value::Kind::kBool) return value.bool_value();
  if (value.kind() == Value::Kind::kInt) return value.int_value();
  return std::nullopt;
}

std::complex<double> Complex(const Value& value) {
  if (const auto integer = Integer(value)) return static_cast<double>(*integer);
  if (value.kind() == Value::Kind::kFloat) return value.float_value();
  return value.complex_value();
}

bool NumbersEqual(const Value& a, const Value& b) {
  const auto left = Integer(a);
  const auto right = Integer(b);
  if (left && right) return *left == *right;
  if (Complex(a) != Complex(b)) return false;
  // An integer beyond 2^53 equals a float only if it is exactly that float.
  const auto exact = [](std::int64_t integer, std::complex<double> number) {
    return number.real() < 9223372036854775808.0 &&
           static_cast<std::int64_t>(number.real()) == integer;
  };
  if (left) return exact(*left, Complex(b));
  if (right) return exact(*right, Complex(a));
  return true;
}

bool DictsEqual(const Value::Items& a, const Value& b) {
  if (a.size() != b.items().size()) return false;
  return std::all_of(a.begin(), a.end(), [&](const auto& item) {
    const auto found =
        std::find_if(b.items().begin(), b.items().end(),
                     [&](const auto& other) { return other.first == item.first; });
    return found != b.items().end() && found->second == item.second;
  });
}

}  // namespace

template <typename T>
Value Value::Make(T data) {
  Value value;
  value.data_ = std::move(data);
  return value;
}

Value Value::Bytes(std::string bytes) { return Make(BytesData{std::move(bytes)}); }

Value Value::List(Elements elements) { return Make(ListData{std::move(elements)}); }

Value Value::Tuple(Elements elements) { return Make(TupleData{std::move(elements)}); }

Value Value::NamedTuple(std::string type_name, Items fields) {
  return Make(NamedTupleData{std::move(type_name), std::move(fields)});
}

Value Value::Dict(Items items) {
  std::set<std::string_view> keys;
  for (const auto& item : items) {
    if (!keys.insert(item.first).second) {
      throw Error(ErrorCode::kInvalidArgument,
                  "a dict has the key " + Quoted(item.first, false) + " twice");
    }
  }
  return Make(DictData{std::move(items)});
}

Value Value::Opaque(std::string text) { return Make(OpaqueData{std::move(text)}); }

Value Value::Sparse(Tensor indices, Tensor values, Tensor dense_shape) {
  Items fields;
  fields.emplace_back("indices", std::move(indices));
  fields.emplace_back("values", std::move(values));
  fields.emplace_back("dense_shape", std::move(dense_shape));
  return NamedTuple("SparseTensorValue", std::move(fields));
}

Value Value::Ragged(Tensor flat_values, std::vector<Tensor> row_splits) {
  Value value(std::move(flat_values));
  for (auto splits = row_splits.rbegin(); splits != row_splits.rend(); ++splits) {
    Items fields;
    fields.emplace_back("values", std::move(value));
    fields.emplace_back("row_splits", std::move(*splits));
    value = NamedTuple("RaggedTensorValue", std::move(fields));
  }
  return value;
}

Value::Kind Value::kind() const { return static_cast<Kind>(data_.index()); }

template <typename T>
const T& Value::Get(const char* expected) const {
  if (const T* data = std::get_if<T>(&data_)) return *data;
  throw Error(ErrorCode::kInvalidArgument, std::string("expected a value of kind ") +
                                               expected + ", got " + KindName(kind()) +
                                               ": " + ToString());
}

bool Value::bool_value() const { return Get<bool>("bool"); }

std::int64_t Value::int_value() const { return Get<std::int64_t>("int"); }

double Value::float_value() const { return Get<double>("float"); }

std::complex<double> Value::complex_value() const {
  return Get<std::complex<double>>("complex");
}

const std::string& Value::string_value() const {
  if (const auto* bytes = std::get_if<BytesData>(&data_)) return bytes->bytes;
  if (const auto* opaque = std::get_if<OpaqueData>(&data_)) return opaque->text;
  return Get<std::string>("str");
}

const Tensor& Value::tensor() const { return Get<Tensor>("tensor"); }

const TensorSpec& Value::tensor_spec() const {
  return Get<savedmodel::TensorSpec>("TensorSpec");
}

const TypeSpec& Value::type_spec() const { return Get<savedmodel::TypeSpec>("TypeSpec"); }

const Value::Elements& Value::elements() const {
  if (const auto* tuple = std::get_if<TupleData>(&data_)) return tuple->elements;
  return Get<ListData>("list or tuple").elements;
}

const Value::Items& Value::items() const {
  if (const auto* tuple = std::get_if<NamedTupleData>(&data_)) return tuple->fields;
  return Get<DictData>("dict or namedtuple").items;
}

const std::string& Value::type_name() const {
  return Get<NamedTupleData>("namedtuple").type_name;
}

const Value& Value::at(std::string_view key) const {
  for (const auto& item : items()) {
    if (item.first == key) return item.second;
  }
  throw Error(ErrorCode::kNotFound, "no " + Quoted(key, false) + " in " + ToString());
}

std::string Value::ToString() const {
  switch (kind()) {
    case Kind::kNone: return "None";
    case Kind::kBool: return bool_value() ? "True" : "False";
    case Kind::kInt: return std::to_string(int_value());
    case Kind::kFloat: return FloatText(float_value());
    case Kind::kComplex: return ComplexText(complex_value());
    case Kind::kString: return Quoted(string_value(), false);
    case Kind::kBytes: return Quoted(string_value(), true);
    case Kind::kTensor:
      return "<tf.Tensor shape=" + savedmodel::ToString(tensor().shape()) +
             " dtype=" + DataTypeName(tensor().dtype()) + ">";
    case Kind::kTensorSpec: return SpecText(tensor_spec());
    case Kind::kTypeSpec: return type_spec().text;
    case Kind::kList: return "[" + Joined(elements()) + "]";
    case Kind::kTuple:
      return "(" + Joined(elements()) + (elements().size() == 1 ? ",)" : ")");
    case Kind::kNamedTuple: {
      std::string text;
      for (const auto& [name, field] : items()) {
        text += (text.empty() ? "" : ", ") + name + "=" + field.ToString();
      }
      return type_name() + "(" + text + ")";
    }
    case Kind::kDict: {
      std::string text;
      for (const auto& [key, item] : items()) {
        text += (text.empty() ? "" : ", ") + Quoted(key, false) + ": " + item.ToString();
      }
      return "{" + text + "}";
    }
    case Kind::kOpaque: return string_value();
  }
  return "";
}

bool operator==(const Value& a, const Value& b) {
  using Kind = Value::Kind;
  if (IsNumber(a) && IsNumber(b)) return NumbersEqual(a, b);
  if (IsTuple(a) && IsTuple(b)) {
    const auto left = TupleElements(a);
    const auto right = TupleElements(b);
    return std::equal(left.begin(), left.end(), right.begin(), right.end(),
                      [](const Value* x, const Value* y) { return *x == *y; });
  }
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case Kind::kString:
    case Kind::kBytes:
    case Kind::kOpaque: return a.string_value() == b.string_value();
    case Kind::kTensor: return SameMemory(a.tensor(), b.tensor());
    case Kind::kTensorSpec:
      return a.tensor_spec().name == b.tensor_spec().name &&
             a.tensor_spec().dtype == b.tensor_spec().dtype &&
             a.tensor_spec().shape == b.tensor_spec().shape;
    case Kind::kTypeSpec: return a.type_spec().text == b.type_spec().text;
    case Kind::kList: return a.elements() == b.elements();
    case Kind::kDict: return DictsEqual(a.items(), b);
    default: return true;  // None
  }
}

}  // namespace savedmodel
