#ifndef SAVEDMODEL_SHAPE_H_
#define SAVEDMODEL_SHAPE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "savedmodel/dtype.h"
#include "savedmodel/export.h"

namespace savedmodel {

// The sizes of a tensor's dimensions; empty for a scalar.
using Shape = std::vector<std::int64_t>;

// "(2, 3)", as Python writes it.
SAVEDMODEL_EXPORT std::string ToString(const Shape& shape);

// A shape of which sizes, or even the rank, may be unknown.
class SAVEDMODEL_EXPORT PartialShape {
 public:
  static constexpr std::int64_t kUnknownDim = -1;

  // Unknown rank.
  PartialShape() = default;
  // Known rank; an unknown size is kUnknownDim.
  explicit PartialShape(Shape dims) : dims_(std::move(dims)) {}

  bool unknown_rank() const { return !dims_.has_value(); }
  // Requires !unknown_rank().
  const Shape& dims() const { return *dims_; }

  // True if a tensor of this shape may be given where `this` is asked for.
  bool IsCompatibleWith(const std::int64_t* dims, std::size_t rank) const;
  bool IsCompatibleWith(const Shape& shape) const {
    return IsCompatibleWith(shape.data(), shape.size());
  }

  // "(None, 3)"; "<unknown>" for an unknown rank, as TensorFlow writes it.
  std::string ToString() const;

  friend bool operator==(const PartialShape& a, const PartialShape& b) {
    return a.dims_ == b.dims_;
  }
  friend bool operator!=(const PartialShape& a, const PartialShape& b) {
    return !(a == b);
  }

 private:
  std::optional<Shape> dims_;
};

// What a signature says of one of its inputs or outputs.
struct SAVEDMODEL_EXPORT TensorSpec {
  // The tensor's name in the graph, such as "serving_default_x:0".
  std::string name;
  DataType dtype = DataType::kInvalid;
  PartialShape shape;

  // "float32 with shape (None, 3)"
  std::string ToString() const;
};

}  // namespace savedmodel

#endif  // SAVEDMODEL_SHAPE_H_
