#include "run/verify.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <random>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "savedmodel/error.h"

namespace savedmodel {

namespace {

// What may be done to an answer: a part of its scale, or kLayers times what a change of
// the inputs, by one place and by a part of each, does to it.
struct Tolerance {
  double of_scale;
  double of_inputs;
};
constexpr Tolerance kFloat32 = {1e-5, 0};
constexpr Tolerance kBfloat16 = {1e-2, 1.0 / 512};
// Rounding happens in each layer, a change of the inputs only before the first.
constexpr double kLayers = 16;
// For sizes that are not known: rows, and what windows over images fit in (where they do
// not, oneDNN's convolutions answer with whatever is in memory).
constexpr std::int64_t kBatch = 2;
constexpr std::int64_t kUnknownSize = 32;

using Feeds = std::vector<std::pair<std::string, Tensor>>;

template <typename T>
void Fill(Tensor* tensor, std::mt19937* random) {
  T* data = tensor->mutable_data<T>();
  if constexpr (std::is_floating_point_v<T>) {
    std::uniform_real_distribution<T> numbers(-1, 1);
    std::generate_n(data, tensor->num_elements(), [&] { return numbers(*random); });
  } else {
    std::uniform_int_distribution<int> numbers(0, 1);
    std::generate_n(data, tensor->num_elements(),
                    [&] { return static_cast<T>(numbers(*random)); });
  }
}

// Nothing for a dtype that is not drawn.
std::optional<Tensor> Draw(const TensorSpec& spec, std::mt19937* random) {
  Shape shape;
  if (!spec.shape.unknown_rank()) {
    for (const std::int64_t size : spec.shape.dims())
      shape.push_back(size >= 0 ? size : shape.empty() ? kBatch : kUnknownSize);
  }
  Tensor tensor(spec.dtype, shape);
  switch (spec.dtype) {
    case DataType::kFloat: Fill<float>(&tensor, random); break;
    case DataType::kDouble: Fill<double>(&tensor, random); break;
    case DataType::kInt32: Fill<std::int32_t>(&tensor, random); break;
    case DataType::kInt64: Fill<std::int64_t>(&tensor, random); break;
    case DataType::kBool: Fill<bool>(&tensor, random); break;
    case DataType::kString: break;  // empty strings
    default: return std::nullopt;
  }
  return tensor;
}

Feeds Perturbed(const Feeds& feeds, const Tolerance& tolerance) {
  Feeds changed;
  for (const auto& [name, tensor] : feeds) {
    Tensor copy = tensor.Clone();
    const auto nudge = [&](auto* data) {
      using T = std::remove_pointer_t<decltype(data)>;
      for (std::int64_t i = 0; i < copy.num_elements(); ++i) {
        const T sign = i % 2 == 0 ? 1 : -1;
        const T part = static_cast<T>(tolerance.of_inputs) * std::abs(data[i]);
        data[i] =
            std::nextafter(data[i] + sign * part, sign * std::numeric_limits<T>::max());
      }
    };
    if (copy.dtype() == DataType::kFloat) nudge(copy.mutable_data<float>());
    if (copy.dtype() == DataType::kDouble) nudge(copy.mutable_data<double>());
    changed.emplace_back(name, std::move(copy));
  }
  return changed;
}

template <typename T>
double Difference(const Tensor& a, const Tensor& b) {
  double most = 0;
  for (std::int64_t i = 0; i < a.num_elements(); ++i) {
    const double x = a.data<T>()[i];
    const double y = b.data<T>()[i];
    if (x == y || (std::isnan(x) && std::isnan(y))) continue;
    const double difference = std::abs(x - y);
    most = std::isnan(difference) ? std::numeric_limits<double>::infinity()
                                  : std::max(most, difference);
  }
  return most;
}

template <typename T>
double Scale(const Tensor& tensor) {
  double most = 0;
  for (std::int64_t i = 0; i < tensor.num_elements(); ++i) {
    const double x = std::abs(static_cast<double>(tensor.data<T>()[i]));
    if (std::isfinite(x)) most = std::max(most, x);
  }
  return most;
}

// By how much the optimized answer is off, in words; empty if it is not.
template <typename T>
std::string Compare(const Tensor& expected, const Tensor& got, const Tensor& perturbed,
                    const Tolerance& tolerance) {
  const double difference = Difference<T>(expected, got);
  double allowed = tolerance.of_scale * Scale<T>(expected);
  if (perturbed.shape() == expected.shape())
    allowed = std::max(allowed, kLayers * Difference<T>(expected, perturbed));
  if (difference <= allowed) return {};
  std::ostringstream text;
  text << "differs by " << difference << ", expected at most " << allowed;
  return text.str();
}

std::string CompareAny(const Tensor& expected, const Tensor& got, const Tensor& perturbed,
                       const Tolerance& tolerance) {
  if (expected.shape() != got.shape()) {
    return "has shape " + ToString(got.shape()) + ", expected " +
           ToString(expected.shape());
  }
  if (expected.dtype() == DataType::kFloat)
    return Compare<float>(expected, got, perturbed, tolerance);
  if (expected.dtype() == DataType::kDouble)
    return Compare<double>(expected, got, perturbed, tolerance);
  if (expected.dtype() == DataType::kString || expected.num_elements() == 0) return {};
  const bool same = std::memcmp(expected.data(), got.data(), expected.num_bytes()) == 0;
  // What rounding decides (an argmax) is no difference.
  const bool settled =
      perturbed.num_bytes() == expected.num_bytes() &&
      std::memcmp(expected.data(), perturbed.data(), expected.num_bytes()) == 0;
  return same || !settled ? std::string() : "holds other values";
}

void VerifySignature(const Session& session, const Signature& signature,
                     const Tolerance& tolerance) {
  std::mt19937 random(0);  // NOLINT(cert-msc51-cpp): the same each time
  Feeds feeds;
  std::vector<Tensor> inputs;
  for (const NamedSpec& input : signature.inputs()) {
    std::optional<Tensor> tensor = Draw(input.spec, &random);
    if (!tensor) return;
    feeds.emplace_back(input.spec.name, *tensor);
    inputs.push_back(std::move(*tensor));
  }
  std::vector<std::string> fetches;
  for (const NamedSpec& output : signature.outputs()) fetches.push_back(output.spec.name);
  std::vector<Tensor> expected;
  std::vector<Tensor> perturbed;
  try {
    expected = session.Run(feeds, fetches);
    perturbed = session.Run(Perturbed(feeds, tolerance), fetches);
  } catch (const Error&) {
    return;
  }
  const std::vector<Tensor> got = signature.RunPositional(inputs);
  for (std::size_t i = 0; i < got.size(); ++i) {
    const std::string off = CompareAny(expected[i], got[i], perturbed[i], tolerance);
    if (off.empty()) continue;
    throw Error(ErrorCode::kFailedPrecondition,
                signature.description() + ", output '" + signature.outputs()[i].name +
                    "': optimized, it " + off + " on random inputs");
  }
}

}  // namespace

void Verify(const Model& model, OptimizeLevel level) {
  const Tolerance& tolerance = level == OptimizeLevel::kMax ? kBfloat16 : kFloat32;
  for (const std::string& name : model.signature_names()) {
    const Signature signature = model.signature(name);
    if (signature.runner().name == "engine")
      VerifySignature(model.session(), signature, tolerance);
  }
}

}  // namespace savedmodel
