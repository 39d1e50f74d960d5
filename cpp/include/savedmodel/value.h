#ifndef SAVEDMODEL_VALUE_H_
#define SAVEDMODEL_VALUE_H_

#include <complex>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "savedmodel/export.h"
#include "savedmodel/shape.h"
#include "savedmodel/tensor.h"

namespace savedmodel {

// The type of an argument or result that is made of several tensors, as a signature holds
// it: tf.SparseTensorSpec, tf.RaggedTensorSpec, ...
struct TypeSpec {
  // The class's own name: "SparseTensorSpec".
  std::string class_name;
  // In TensorFlow's notation: "RaggedTensorSpec(TensorShape([None, None]), tf.int32, 1,
  // tf.int64)".
  std::string text;
  // Of the whole, where the class has them.
  DataType dtype = DataType::kInvalid;
  PartialShape shape;
  // What each tensor must be, in the order in which a function takes them: `indices`,
  // `values`, `dense_shape` of a sparse tensor; `flat_values` and then the row splits,
  // outermost first, of a ragged one. For classes that this library cannot take apart:
  // that many specs of dtype kInvalid and unknown rank.
  std::vector<TensorSpec> components;
};

// What a tf.function takes and returns: a nest of Python values and tensors. Of a
// function's signature, the same with specs in place of tensors.
//
// A sparse tensor is the named tuple SparseTensorValue(indices, values, dense_shape), a
// ragged one RaggedTensorValue(values, row_splits), whose values are a RaggedTensorValue
// again where there are more ragged dimensions: the classes of tf.compat.v1.
//
// Cheap to move; copies share the memory of tensors. Distinct objects may be used from
// distinct threads.
class SAVEDMODEL_EXPORT Value {
 public:
  enum class Kind : int {
    kNone,
    kBool,
    kInt,
    kFloat,
    kComplex,
    kString,  // text, in UTF-8
    kBytes,
    kTensor,
    kTensorSpec,  // signatures only
    kTypeSpec,    // signatures only
    kList,
    kTuple,
    kNamedTuple,
    kDict,    // keys are text
    kOpaque,  // something else that a SavedModel can hold (a dtype, a shape), as its text
  };
  using Elements = std::vector<Value>;
  // Key (or field name) and value, in order.
  using Items = std::vector<std::pair<std::string, Value>>;

  // Nests may be no deeper than this; what reads or makes one throws InvalidArgument.
  static constexpr int kMaxDepth = 100;

  Value() = default;                                                // None
  Value(bool value) : data_(value) {}                               // NOLINT
  Value(int value) : data_(std::int64_t{value}) {}                  // NOLINT
  Value(std::int64_t value) : data_(value) {}                       // NOLINT
  Value(double value) : data_(value) {}                             // NOLINT
  Value(std::complex<double> value) : data_(value) {}               // NOLINT
  Value(const char* value) : data_(std::string(value)) {}           // NOLINT
  Value(std::string value) : data_(std::move(value)) {}             // NOLINT
  Value(Tensor value) : data_(std::move(value)) {}                  // NOLINT
  Value(savedmodel::TensorSpec value) : data_(std::move(value)) {}  // NOLINT
  Value(savedmodel::TypeSpec value) : data_(std::move(value)) {}    // NOLINT
  static Value Bytes(std::string bytes);
  static Value List(Elements elements);
  static Value Tuple(Elements elements);
  static Value NamedTuple(std::string type_name, Items fields);
  // Throws InvalidArgument for a repeated key.
  static Value Dict(Items items);
  static Value Opaque(std::string text);
  // The named tuples for sparse and ragged tensors. `row_splits`: outermost first; none
  // gives the values themselves.
  static Value Sparse(Tensor indices, Tensor values, Tensor dense_shape);
  static Value Ragged(Tensor flat_values, std::vector<Tensor> row_splits);

  Kind kind() const;
  bool is_none() const { return kind() == Kind::kNone; }

  // Each throws InvalidArgument, with both kinds named, if the value is of another kind.
  bool bool_value() const;
  std::int64_t int_value() const;
  double float_value() const;
  std::complex<double> complex_value() const;
  const std::string& string_value() const;  // kString, kBytes; the text of kOpaque
  const Tensor& tensor() const;
  const savedmodel::TensorSpec& tensor_spec() const;
  const savedmodel::TypeSpec& type_spec() const;
  const Elements& elements() const;      // kList, kTuple
  const Items& items() const;            // kDict, kNamedTuple
  const std::string& type_name() const;  // kNamedTuple
  // The value under a key or field name of a kDict or kNamedTuple. Throws NotFound.
  const Value& at(std::string_view key) const;

  // As TensorFlow and Python write it: "{'x': TensorSpec(shape=(None, 3),
  // dtype=tf.float32, name='x'), 'training': True}".
  std::string ToString() const;

  // As Python's ==: numbers by value whatever their kind, dicts in any order, a named
  // tuple like the tuple of its fields. Tensors are equal if they are the same memory
  // under the same dtype and shape; a value is never equal to a NaN.
  friend SAVEDMODEL_EXPORT bool operator==(const Value& a, const Value& b);
  friend bool operator!=(const Value& a, const Value& b) { return !(a == b); }

 private:
  struct BytesData {
    std::string bytes;
  };
  struct ListData {
    Elements elements;
  };
  struct TupleData {
    Elements elements;
  };
  struct NamedTupleData {
    std::string type_name;
    Items fields;
  };
  struct DictData {
    Items items;
  };
  struct OpaqueData {
    std::string text;
  };
  // In the order of Kind.
  using Data = std::variant<std::monostate, bool, std::int64_t, double,
                            std::complex<double>, std::string, BytesData, Tensor,
                            savedmodel::TensorSpec, savedmodel::TypeSpec, ListData,
                            TupleData, NamedTupleData, DictData, OpaqueData>;

  template <typename T>
  const T& Get(const char* expected) const;
  template <typename T>
  static Value Make(T data);

  Data data_;
};

}  // namespace savedmodel

#endif  // SAVEDMODEL_VALUE_H_
