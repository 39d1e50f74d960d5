#include "savedmodel/shape.h"

namespace savedmodel {

namespace {

std::string Join(const Shape& dims) {
  std::string text = "(";
  for (std::size_t i = 0; i < dims.size(); ++i) {
    if (i != 0) text += ", ";
    text += dims[i] == PartialShape::kUnknownDim ? "None" : std::to_string(dims[i]);
  }
  return text + (dims.size() == 1 ? ",)" : ")");
}

}  // namespace

std::string ToString(const Shape& shape) { return Join(shape); }

bool PartialShape::IsCompatibleWith(const std::int64_t* dims, std::size_t rank) const {
  if (!dims_) return true;
  if (dims_->size() != rank) return false;
  for (std::size_t i = 0; i < rank; ++i) {
    if ((*dims_)[i] != kUnknownDim && (*dims_)[i] != dims[i]) return false;
  }
  return true;
}

std::string PartialShape::ToString() const { return dims_ ? Join(*dims_) : "<unknown>"; }

std::string TensorSpec::ToString() const {
  return std::string(DataTypeName(dtype)) + " with shape " + shape.ToString();
}

}  // namespace savedmodel
