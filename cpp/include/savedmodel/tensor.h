#ifndef SAVEDMODEL_TENSOR_H_
#define SAVEDMODEL_TENSOR_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "savedmodel/dtype.h"
#include "savedmodel/error.h"
#include "savedmodel/export.h"
#include "savedmodel/shape.h"

namespace savedmodel {

// TensorFlow's kernels read with aligned vector instructions and abort the process on
// memory that is aligned to less than this many bytes (EIGEN_MAX_ALIGN_BYTES of the
// wheel).
inline constexpr std::size_t kTensorAlignment = 64;

// A dense, row-major array in host memory: TensorFlow's own tensor under another name.
//
// Copying a Tensor shares its memory; Clone() copies it. The memory is either
// TensorFlow's (reference-counted) or, in a View, the caller's. Distinct Tensor objects
// may be used from distinct threads even when they share memory that nobody writes.
class SAVEDMODEL_EXPORT Tensor {
 public:
  // An empty float32 vector.
  Tensor() noexcept;
  // Memory of its own, with kTensorAlignment. Numbers are not initialised; strings are
  // empty. Throws InvalidArgument for a dtype without a value representation (resource,
  // variant) and for a shape that is negative or too large, ResourceExhausted when memory
  // is short.
  Tensor(DataType dtype, const Shape& shape);
  Tensor(const Tensor& other);
  Tensor(Tensor&& other) noexcept;
  Tensor& operator=(const Tensor& other);
  Tensor& operator=(Tensor&& other) noexcept;
  ~Tensor();

  // Reads the caller's memory in place: never written, and kept until the last tensor
  // that shares it is gone, which is when `owner` is released (on any thread). Without an
  // owner the caller keeps the memory valid and unchanged for the whole of each call it
  // is fed to, and for as long as an output that passes it through is held. A graph that
  // would keep its input beyond the call (an assignment to a variable, a queue) is fed a
  // copy. Throws InvalidArgument if `data` is not aligned to kTensorAlignment or for
  // dtypes whose elements are objects (string, resource, variant).
  static Tensor View(DataType dtype, const Shape& shape, const void* data,
                     std::shared_ptr<const void> owner = nullptr);
  template <typename T>
  static Tensor View(const T* data, const Shape& shape,
                     std::shared_ptr<const void> owner = nullptr) {
    static_assert(DataTypeOf<T> != DataType::kInvalid, "use the untyped View");
    return View(DataTypeOf<T>, shape, data, std::move(owner));
  }

  // A tensor of its own with a copy of `data` (any alignment).
  template <typename T>
  static Tensor Copy(const T* data, const Shape& shape) {
    Tensor tensor(DataTypeOf<T>, shape);
    if (tensor.num_bytes() != 0) {
      std::memcpy(tensor.mutable_data(), data, tensor.num_bytes());
    }
    return tensor;
  }
  template <typename T>
  static Tensor Scalar(const T& value) {
    return Copy(&value, {});
  }

  // A string tensor; values in row-major order. Throws InvalidArgument if their number is
  // not that of the shape's elements.
  static Tensor Strings(const std::vector<std::string_view>& values, const Shape& shape);
  static Tensor StringScalar(std::string_view value) { return Strings({value}, {}); }

  DataType dtype() const;
  int rank() const;
  // Throws OutOfRange for an axis that is not in 0..rank()-1.
  std::int64_t dim(int axis) const;
  Shape shape() const;
  std::int64_t num_elements() const;
  // Bytes of the elements; of the string handles for strings.
  std::size_t num_bytes() const;

  // The elements, for every dtype whose elements are values.
  const void* data() const;
  // The same, checked: throws InvalidArgument if T is not the tensor's type.
  template <typename T>
  const T* data() const {
    CheckType(DataTypeOf<T>);
    return static_cast<const T*>(data());
  }
  // To write: throws FailedPrecondition unless IsExclusive().
  void* mutable_data();
  template <typename T>
  T* mutable_data() {
    CheckType(DataTypeOf<T>);
    return static_cast<T*>(mutable_data());
  }

  // True if this is the only holder of memory that TensorFlow allocated. False for views,
  // and for outputs that share memory with a constant, a variable or an input.
  bool IsExclusive() const;

  // Element `index` of a string tensor, valid while the tensor is. Throws InvalidArgument
  // for another dtype, OutOfRange beyond the end.
  std::string_view string_at(std::int64_t index) const;
  void set_string(std::int64_t index, std::string_view value);

  // A copy with exclusive memory.
  Tensor Clone() const;

  // "float32 with shape (2, 3)"
  std::string ToString() const;

 private:
  friend struct TensorAccess;
  void CheckType(DataType asked) const;

  // A tensorflow::Tensor, kept inline: one allocation less for every tensor of every
  // call.
  alignas(8) unsigned char storage_[32];
};

// Inputs or outputs by name.
using TensorMap = std::map<std::string, Tensor, std::less<>>;

}  // namespace savedmodel

#endif  // SAVEDMODEL_TENSOR_H_
