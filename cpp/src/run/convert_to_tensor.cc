#include "run/convert_to_tensor.h"

#include <algorithm>
#include <complex>
#include <limits>
#include <type_traits>

#include "tensorflow/core/framework/numeric_types.h"

namespace savedmodel {

namespace {

namespace tf = tensorflow;
using Kind = Value::Kind;

// Shapes have no more dimensions (TensorShape::MaxDimensions).
constexpr std::size_t kMaxRank = 254;

template <typename T>
struct IsComplexType : std::false_type {};
template <typename T>
struct IsComplexType<std::complex<T>> : std::true_type {};

// float16, bfloat16, float8: what C++ has no type for.
template <typename T>
constexpr bool kIsSmallFloat = !std::is_arithmetic_v<T> && !IsComplexType<T>::value;

template <typename T>
auto Widened(T number) {
  if constexpr (kIsSmallFloat<T>) {
    return static_cast<float>(number);
  } else {
    return number;
  }
}

template <typename To, typename From>
bool IsInRange(From number) {
  if constexpr (std::is_same_v<From, bool>) {
    return true;
  } else if constexpr (std::is_signed_v<From>) {
    if (number < 0) {
      return std::is_signed_v<To> &&
             static_cast<std::int64_t>(number) >=
                 static_cast<std::int64_t>(std::numeric_limits<To>::min());
    }
  }
  return static_cast<std::uint64_t>(number) <=
         static_cast<std::uint64_t>(std::numeric_limits<To>::max());
}

// Writes the number as a `To`; false if that is not allowed.
template <typename To, typename From>
bool Cast(From from, To* to) {
  [[maybe_unused]] const auto number = Widened(from);
  using Number = std::remove_const_t<decltype(number)>;
  if constexpr (IsComplexType<Number>::value) {
    if constexpr (IsComplexType<To>::value) {
      *to = To(static_cast<typename To::value_type>(number.real()),
               static_cast<typename To::value_type>(number.imag()));
      return true;
    } else {
      return false;
    }
  } else if constexpr (IsComplexType<To>::value) {
    *to = To(static_cast<typename To::value_type>(number));
    return true;
  } else if constexpr (std::is_same_v<To, bool>) {
    if constexpr (std::is_same_v<Number, bool>) *to = number;
    return std::is_same_v<Number, bool>;
  } else if constexpr (std::is_integral_v<To>) {
    if constexpr (std::is_integral_v<Number>) {
      if (!IsInRange<To>(number)) return false;
      *to = static_cast<To>(number);
      return true;
    } else {
      return false;
    }
  } else if constexpr (kIsSmallFloat<To>) {
    *to = static_cast<To>(static_cast<float>(number));
    return true;
  } else {
    *to = static_cast<To>(number);
    return true;
  }
}

// Calls visit(T()) with the C++ type of a dtype of numbers; false for other dtypes.
template <typename Visit>
bool VisitNumber(DataType dtype, const Visit& visit) {
  switch (dtype) {
    case DataType::kBool: return visit(bool());
    case DataType::kInt8: return visit(std::int8_t());
    case DataType::kInt16: return visit(std::int16_t());
    case DataType::kInt32: return visit(std::int32_t());
    case DataType::kInt64: return visit(std::int64_t());
    case DataType::kUInt8: return visit(std::uint8_t());
    case DataType::kUInt16: return visit(std::uint16_t());
    case DataType::kUInt32: return visit(std::uint32_t());
    case DataType::kUInt64: return visit(std::uint64_t());
    case DataType::kHalf: return visit(Eigen::half());
    case DataType::kBFloat16: return visit(tf::bfloat16());
    case DataType::kFloat8E5M2: return visit(tf::float8_e5m2());
    case DataType::kFloat8E4M3FN: return visit(tf::float8_e4m3fn());
    case DataType::kFloat8E4M3FNUZ: return visit(tf::float8_e4m3fnuz());
    case DataType::kFloat8E4M3B11FNUZ: return visit(tf::float8_e4m3b11fnuz());
    case DataType::kFloat8E5M2FNUZ: return visit(tf::float8_e5m2fnuz());
    case DataType::kFloat: return visit(float());
    case DataType::kDouble: return visit(double());
    case DataType::kComplex64: return visit(std::complex<float>());
    case DataType::kComplex128: return visit(std::complex<double>());
    default: return false;
  }
}

bool IsSequence(const Value& value) {
  return value.kind() == Kind::kList || value.kind() == Kind::kTuple;
}

// The dimensions of a nest, if it is regular: Fill finds out.
Shape Dims(const Value& nest) {
  Shape dims;
  const Value* value = &nest;
  while (IsSequence(*value)) {
    dims.push_back(static_cast<std::int64_t>(value->elements().size()));
    if (value->elements().empty()) return dims;
    value = &value->elements()[0];
  }
  if (value->kind() == Kind::kTensor) {
    const Shape inner = value->tensor().shape();
    dims.insert(dims.end(), inner.begin(), inner.end());
  }
  return dims;
}

// True if the nest has the dimensions from `axis` on, all the way down.
bool IsRegular(const Value& value, const Shape& dims, std::size_t axis) {
  if (value.kind() == Kind::kTensor) {
    const Shape shape = value.tensor().shape();
    return std::equal(shape.begin(), shape.end(),
                      dims.begin() + static_cast<std::ptrdiff_t>(axis), dims.end());
  }
  if (axis == dims.size()) return !IsSequence(value);
  if (!IsSequence(value)) return false;
  const Value::Elements& elements = value.elements();
  return static_cast<std::int64_t>(elements.size()) == dims[axis] &&
         std::all_of(elements.begin(), elements.end(), [&](const Value& element) {
           return IsRegular(element, dims, axis + 1);
         });
}

bool FillFromTensor(const Tensor& source, Tensor* tensor, std::int64_t start) {
  const std::int64_t count = source.num_elements();
  if (tensor->dtype() == DataType::kString) {
    if (source.dtype() != DataType::kString) return false;
    for (std::int64_t i = 0; i < count; ++i) {
      tensor->set_string(start + i, source.string_at(i));
    }
    return true;
  }
  return VisitNumber(tensor->dtype(), [&](auto to) {
    using To = decltype(to);
    return VisitNumber(source.dtype(), [&](auto from) {
      if (count == 0) return true;
      To* target = static_cast<To*>(tensor->mutable_data()) + start;
      const auto* elements = static_cast<const decltype(from)*>(source.data());
      for (std::int64_t i = 0; i < count; ++i) {
        if (!Cast(elements[i], target + i)) return false;
      }
      return true;
    });
  });
}

bool FillFromScalar(const Value& value, Tensor* tensor, std::int64_t position) {
  if (tensor->dtype() == DataType::kString) {
    if (value.kind() != Kind::kString && value.kind() != Kind::kBytes) return false;
    tensor->set_string(position, value.string_value());
    return true;
  }
  return VisitNumber(tensor->dtype(), [&](auto to) {
    auto* target = static_cast<decltype(to)*>(tensor->mutable_data()) + position;
    switch (value.kind()) {
      case Kind::kBool: return Cast(value.bool_value(), target);
      case Kind::kInt: return Cast(value.int_value(), target);
      case Kind::kFloat: return Cast(value.float_value(), target);
      case Kind::kComplex: return Cast(value.complex_value(), target);
      default: return false;
    }
  });
}

// Writes the elements of a regular nest from *position on, which it moves; false if one
// cannot be of the tensor's dtype.
bool Fill(const Value& value, Tensor* tensor, std::int64_t* position) {
  if (value.kind() == Kind::kTensor) {
    const std::int64_t start = *position;
    *position += value.tensor().num_elements();
    return FillFromTensor(value.tensor(), tensor, start);
  }
  if (!IsSequence(value)) return FillFromScalar(value, tensor, (*position)++);
  return std::all_of(
      value.elements().begin(), value.elements().end(),
      [&](const Value& element) { return Fill(element, tensor, position); });
}

}  // namespace

std::optional<Tensor> ConvertToTensor(const Value& value, DataType dtype) {
  if (value.kind() == Kind::kTensor && value.tensor().dtype() == dtype) {
    return value.tensor();
  }
  if (dtype != DataType::kString && !VisitNumber(dtype, [](auto) { return true; })) {
    return std::nullopt;
  }
  const Shape dims = Dims(value);
  if (dims.size() > kMaxRank || !IsRegular(value, dims, 0)) return std::nullopt;
  Tensor tensor(dtype, dims);
  std::int64_t position = 0;
  if (!Fill(value, &tensor, &position)) return std::nullopt;
  return tensor;
}

}  // namespace savedmodel
