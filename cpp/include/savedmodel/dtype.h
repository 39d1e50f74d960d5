#ifndef SAVEDMODEL_DTYPE_H_
#define SAVEDMODEL_DTYPE_H_

#include <complex>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "savedmodel/export.h"

// The one table of element types, for C++ and Python alike:
//   X(enumerator, TensorFlow's number, TensorFlow's name, bytes per element, NumPy
//   provider)
// The number is that of tensorflow/core/framework/types.proto. The provider says which
// NumPy dtype carries the type in Python: NUMPY and ML_DTYPES under TensorFlow's own
// name, QUANTIZED as the integer of the same width (what TensorFlow's own .numpy()
// gives), STRING as an object array of bytes, OPAQUE not at all. int4 and its kin take a
// byte each.
#define SAVEDMODEL_DTYPE_TABLE(X)                               \
  X(kFloat, 1, "float32", 4, NUMPY)                             \
  X(kDouble, 2, "float64", 8, NUMPY)                            \
  X(kInt32, 3, "int32", 4, NUMPY)                               \
  X(kUInt8, 4, "uint8", 1, NUMPY)                               \
  X(kInt16, 5, "int16", 2, NUMPY)                               \
  X(kInt8, 6, "int8", 1, NUMPY)                                 \
  X(kString, 7, "string", 0, STRING)                            \
  X(kComplex64, 8, "complex64", 8, NUMPY)                       \
  X(kInt64, 9, "int64", 8, NUMPY)                               \
  X(kBool, 10, "bool", 1, NUMPY)                                \
  X(kQInt8, 11, "qint8", 1, QUANTIZED)                          \
  X(kQUInt8, 12, "quint8", 1, QUANTIZED)                        \
  X(kQInt32, 13, "qint32", 4, QUANTIZED)                        \
  X(kBFloat16, 14, "bfloat16", 2, ML_DTYPES)                    \
  X(kQInt16, 15, "qint16", 2, QUANTIZED)                        \
  X(kQUInt16, 16, "quint16", 2, QUANTIZED)                      \
  X(kUInt16, 17, "uint16", 2, NUMPY)                            \
  X(kComplex128, 18, "complex128", 16, NUMPY)                   \
  X(kHalf, 19, "float16", 2, NUMPY)                             \
  X(kResource, 20, "resource", 0, OPAQUE)                       \
  X(kVariant, 21, "variant", 0, OPAQUE)                         \
  X(kUInt32, 22, "uint32", 4, NUMPY)                            \
  X(kUInt64, 23, "uint64", 8, NUMPY)                            \
  X(kFloat8E5M2, 24, "float8_e5m2", 1, ML_DTYPES)               \
  X(kFloat8E4M3FN, 25, "float8_e4m3fn", 1, ML_DTYPES)           \
  X(kFloat8E4M3FNUZ, 26, "float8_e4m3fnuz", 1, ML_DTYPES)       \
  X(kFloat8E4M3B11FNUZ, 27, "float8_e4m3b11fnuz", 1, ML_DTYPES) \
  X(kFloat8E5M2FNUZ, 28, "float8_e5m2fnuz", 1, ML_DTYPES)       \
  X(kInt4, 29, "int4", 1, ML_DTYPES)                            \
  X(kUInt4, 30, "uint4", 1, ML_DTYPES)                          \
  X(kInt2, 31, "int2", 1, ML_DTYPES)                            \
  X(kUInt2, 32, "uint2", 1, ML_DTYPES)                          \
  X(kFloat4E2M1FN, 33, "float4_e2m1fn", 1, ML_DTYPES)

namespace savedmodel {

// The element type of a tensor, with TensorFlow's numbers.
enum class DataType : int {
  kInvalid = 0,
#define SAVEDMODEL_ENUMERATOR(enumerator, number, name, size, numpy) enumerator = number,
  SAVEDMODEL_DTYPE_TABLE(SAVEDMODEL_ENUMERATOR)
#undef SAVEDMODEL_ENUMERATOR
};

// TensorFlow's name of the type ("float32"); "invalid" for a value outside the table.
SAVEDMODEL_EXPORT const char* DataTypeName(DataType dtype);

// Bytes of one element; 0 for the types whose elements are objects (string, resource,
// variant) and for values outside the table.
SAVEDMODEL_EXPORT std::size_t DataTypeSize(DataType dtype);

// True for the values of the table.
SAVEDMODEL_EXPORT bool IsValid(DataType dtype);

// The type with that name, or kInvalid.
SAVEDMODEL_EXPORT DataType DataTypeFromName(std::string_view name);

// The DataType of a C++ type. Types that C++ lacks (float16, bfloat16, ...) are used
// through untyped pointers.
template <typename T>
constexpr DataType DataTypeOf = DataType::kInvalid;
template <>
inline constexpr DataType DataTypeOf<float> = DataType::kFloat;
template <>
inline constexpr DataType DataTypeOf<double> = DataType::kDouble;
template <>
inline constexpr DataType DataTypeOf<std::int8_t> = DataType::kInt8;
template <>
inline constexpr DataType DataTypeOf<std::int16_t> = DataType::kInt16;
template <>
inline constexpr DataType DataTypeOf<std::int32_t> = DataType::kInt32;
template <>
inline constexpr DataType DataTypeOf<std::int64_t> = DataType::kInt64;
template <>
inline constexpr DataType DataTypeOf<std::uint8_t> = DataType::kUInt8;
template <>
inline constexpr DataType DataTypeOf<std::uint16_t> = DataType::kUInt16;
template <>
inline constexpr DataType DataTypeOf<std::uint32_t> = DataType::kUInt32;
template <>
inline constexpr DataType DataTypeOf<std::uint64_t> = DataType::kUInt64;
template <>
inline constexpr DataType DataTypeOf<bool> = DataType::kBool;
template <>
inline constexpr DataType DataTypeOf<std::complex<float>> = DataType::kComplex64;
template <>
inline constexpr DataType DataTypeOf<std::complex<double>> = DataType::kComplex128;

}  // namespace savedmodel

#endif  // SAVEDMODEL_DTYPE_H_
