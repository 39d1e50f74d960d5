#include "optimize/fold.h"

#include <cmath>
#include <string>
#include <unordered_map>

namespace savedmodel {

namespace {

namespace tf = tensorflow;

using Unary = float (*)(float);
using Binary = float (*)(float, float);

Unary UnaryOf(const std::string& op) {
  static const std::unordered_map<std::string, Unary> kOps = {
      {"Sqrt", [](float x) { return std::sqrt(x); }},
      {"Rsqrt", [](float x) { return 1.0f / std::sqrt(x); }}};
  const auto found = kOps.find(op);
  return found == kOps.end() ? nullptr : found->second;
}

Binary BinaryOf(const std::string& op) {
  static const std::unordered_map<std::string, Binary> kOps = {
      {"AddV2", [](float x, float y) { return x + y; }},
      {"Sub", [](float x, float y) { return x - y; }},
      {"Mul", [](float x, float y) { return x * y; }},
      {"RealDiv", [](float x, float y) { return x / y; }},
      {"Maximum", [](float x, float y) { return x < y ? y : x; }}};
  const auto found = kOps.find(op);
  return found == kOps.end() ? nullptr : found->second;
}

}  // namespace

std::optional<tf::Tensor> FoldSimply(const tf::NodeDef& def,
                                     const std::vector<tf::Tensor>& inputs,
                                     const tf::PartialTensorShape& shape) {
  tf::TensorShape known;
  if (!shape.AsTensorShape(&known)) return std::nullopt;
  const tf::Tensor& x = inputs.at(0);
  const std::string& op = def.op();
  if (op == "Reshape" || op == "Squeeze") {
    tf::Tensor result;
    if (!result.CopyFrom(x, known)) return std::nullopt;
    return result;
  }
  if (x.dtype() != tf::DT_FLOAT) return std::nullopt;
  tf::Tensor result(tf::DT_FLOAT, known);
  const std::int64_t size = result.NumElements();
  float* out = result.flat<float>().data();
  const float* a = x.flat<float>().data();
  if (const Unary unary = UnaryOf(op); unary != nullptr && x.NumElements() == size) {
    for (std::int64_t i = 0; i < size; ++i) out[i] = unary(a[i]);
    return result;
  }
  const Binary binary = BinaryOf(op);
  if (binary == nullptr || inputs.size() != 2) return std::nullopt;
  // Of one element, or of all elements of the result in the same order.
  const tf::Tensor& y = inputs[1];
  const bool one_a = x.NumElements() == 1;
  const bool one_b = y.NumElements() == 1;
  if ((!one_a && x.NumElements() != size) || (!one_b && y.NumElements() != size))
    return std::nullopt;
  const float* b = y.flat<float>().data();
  for (std::int64_t i = 0; i < size; ++i) {
    out[i] = binary(a[one_a ? 0 : i], b[one_b ? 0 : i]);
    if (std::isnan(out[i])) return std::nullopt;  // whose it is, TensorFlow knows
  }
  return result;
}

}  // namespace savedmodel
