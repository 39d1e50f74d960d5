#include "optimize/fuse.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "optimize/native_kernels.h"

namespace savedmodel {

namespace {

namespace tf = tensorflow;
using kernels::Activation;
using kernels::ActivationKind;

// Rewrites a graph in place, and knows who reads what meanwhile. Ops are only ever
// replaced by ops at the place of the last of them, or of one behind all they need.
class Rewriter {
 public:
  explicit Rewriter(FlatGraph* graph)
      : graph_(*graph), consumers_(ConsumersOf(*graph)), fetched_(graph->values.size()) {
    for (const int fetch : graph->fetches) fetched_[fetch] = true;
  }

  FlatGraph& graph() { return graph_; }
  int num_ops() const { return static_cast<int>(graph_.ops.size()); }
  FlatOp& op(int index) { return graph_.ops[index]; }
  const FlatOp& op(int index) const { return graph_.ops[index]; }
  const FlatValue& value(int index) const { return graph_.values[index]; }

  // TensorFlow's op; "" for one that is dead or native.
  const std::string& kind(int index) const {
    static const std::string kNone;
    const FlatOp& op = graph_.ops[index];
    return op.dead || op.native != nullptr ? kNone : op.def.op();
  }
  bool Is(int index, std::string_view op) const {
    return index >= 0 && kind(index) == op;
  }
  int output(int op) const { return graph_.ops[op].outputs[0]; }
  int input(int op, int index) const { return graph_.ops[op].inputs[index]; }
  int producer(int value) const {
    return graph_.values[value].constant ? -1 : graph_.values[value].op;
  }

  // The op that alone reads a value, once, and that is not fetched; or -1.
  int OnlyConsumer(int value) const {
    return !fetched_[value] && consumers_[value].size() == 1 ? consumers_[value][0] : -1;
  }
  const std::vector<int>& consumers(int value) const { return consumers_[value]; }
  bool IsFetched(int value) const { return fetched_[value]; }

  // A constant of floats, or null.
  const tf::Tensor* Floats(int value) const {
    const auto& constant = graph_.values[value].constant;
    return constant && constant->dtype() == tf::DT_FLOAT ? &*constant : nullptr;
  }
  bool IsFloat(int value) const { return graph_.values[value].dtype == tf::DT_FLOAT; }
  std::optional<float> Scalar(int value) const {
    const tf::Tensor* tensor = Floats(value);
    if (tensor == nullptr || tensor->NumElements() != 1) return std::nullopt;
    return tensor->flat<float>()(0);
  }
  std::vector<std::int64_t> Integers(int value) const {
    std::vector<std::int64_t> numbers;
    const auto& constant = graph_.values[value].constant;
    if (!constant) return numbers;
    for (std::int64_t i = 0; i < constant->NumElements(); ++i) {
      numbers.push_back(constant->dtype() == tf::DT_INT32
                            ? constant->flat<std::int32_t>()(i)
                            : constant->flat<std::int64_t>()(i));
    }
    return numbers;
  }
  std::int64_t LastDim(int value) const {
    const tf::PartialTensorShape& shape = graph_.values[value].shape;
    return shape.dims() < 1 ? -1 : shape.dim_size(shape.dims() - 1);
  }

  // Puts a kernel at the place of `op`, whose outputs it gives.
  void Replace(int op, NativeKernelPtr kernel, std::vector<int> inputs) {
    SetInputs(op, std::move(inputs));
    graph_.ops[op].native = std::move(kernel);
  }
  void Kill(int op) {
    SetInputs(op, {});
    graph_.ops[op].native = nullptr;
    graph_.ops[op].dead = true;
  }
  // Makes `op` give these values, which others gave.
  void SetOutputs(int op, const std::vector<int>& outputs) {
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      graph_.values[outputs[i]].op = op;
      graph_.values[outputs[i]].output = static_cast<int>(i);
    }
    graph_.ops[op].outputs = outputs;
  }
  // Frees a constant that nothing reads any more.
  void ReleaseConstant(int value) {
    if (graph_.values[value].constant && consumers_[value].empty() && !fetched_[value])
      graph_.values[value].constant = tf::Tensor();
  }
  void SetInputs(int op, std::vector<int> inputs) {
    for (const int input : graph_.ops[op].inputs) {
      std::vector<int>& readers = consumers_[input];
      readers.erase(std::find(readers.begin(), readers.end(), op));
    }
    for (const int input : inputs) consumers_[input].push_back(op);
    graph_.ops[op].inputs = std::move(inputs);
  }

 private:
  FlatGraph& graph_;
  std::vector<std::vector<int>> consumers_;
  std::vector<bool> fetched_;
};

bool BoolAttr(const FlatOp& op, const char* name) {
  const auto attr = op.def.attr().find(name);
  return attr != op.def.attr().end() && attr->second.b();
}
std::string TextAttr(const FlatOp& op, const char* name) {
  const auto attr = op.def.attr().find(name);
  return attr == op.def.attr().end() ? "" : attr->second.s();
}
float FloatAttr(const FlatOp& op, const char* name) {
  const auto attr = op.def.attr().find(name);
  return attr == op.def.attr().end() ? 0 : attr->second.f();
}
std::vector<std::int64_t> ListAttr(const FlatOp& op, const char* name) {
  const auto attr = op.def.attr().find(name);
  if (attr == op.def.attr().end()) return {};
  return {attr->second.list().i().begin(), attr->second.list().i().end()};
}

bool IsNhwc(const FlatOp& op) {
  const std::string format = TextAttr(op, "data_format");
  return format.empty() || format == "NHWC";
}

// Strides, dilations or sizes of a window over height and width, within reason.
bool IsWindow(const std::vector<std::int64_t>& sizes) {
  return sizes.size() == 4 && sizes[0] == 1 && sizes[3] == 1 && sizes[1] >= 1 &&
         sizes[2] >= 1 && std::max(sizes[1], sizes[2]) < (1 << 20);
}

// Sizes of a padding of height and width, within reason.
bool IsPadding(const std::vector<std::int64_t>& pads) {
  return pads.size() == 8 && pads[0] == 0 && pads[1] == 0 && pads[6] == 0 &&
         pads[7] == 0 && *std::min_element(pads.begin(), pads.end()) >= 0 &&
         *std::max_element(pads.begin(), pads.end()) < (1 << 20);
}

void SetPads(const std::vector<std::int64_t>& pads, kernels::Window* window) {
  window->pad_top = pads[2];
  window->pad_bottom = pads[3];
  window->pad_left = pads[4];
  window->pad_right = pads[5];
}

class Fuser {
 public:
  Fuser(FlatGraph* graph, kernels::Precision precision)
      : rewrite_(graph), precision_(precision) {}

  void Run() {
    ForEach("Mul", [this](int op) { Swish(op) || Gelu(op) || HardSwish(op); });
    ForEach("SquaredDifference", [this](int op) { LayerNorm(op); });
    ForEach("Einsum", [this](int op) { Attention(op); });
    ForEach("Split", [this](int op) { LstmCell(op); });
    ForEach("Unpack", [this](int op) { UnpackedMatMul(op); });
    for (int i = 0; i < rewrite_.num_ops(); ++i) Weighted(i);
    for (int i = 0; i < rewrite_.num_ops(); ++i) Single(i);
    for (int i = 0; i < rewrite_.num_ops(); ++i) CheckOneDnn(i);
    RemoveUnused(&rewrite_.graph());
  }

 private:
  template <typename Rewrite>
  void ForEach(std::string_view kind, const Rewrite& rewrite) {
    for (int i = 0; i < rewrite_.num_ops(); ++i) {
      if (rewrite_.Is(i, kind) && rewrite_.IsFloat(rewrite_.op(i).inputs.back()))
        rewrite(i);
    }
  }

  // ------------------------------------------------------------------- activations

  std::optional<Activation> ActivationOf(int index) {
    if (index < 0) return std::nullopt;
    const auto found = activations_.find(index);
    if (found != activations_.end() && rewrite_.op(index).native == found->second.kernel)
      return found->second.activation;
    const std::string& kind = rewrite_.kind(index);
    static const std::unordered_map<std::string, ActivationKind> kKinds = {
        {"Relu", ActivationKind::kRelu}, {"Relu6", ActivationKind::kRelu6},
        {"Elu", ActivationKind::kElu},   {"LeakyRelu", ActivationKind::kLeakyRelu},
        {"Tanh", ActivationKind::kTanh}, {"Sigmoid", ActivationKind::kSigmoid}};
    const auto known = kKinds.find(kind);
    if (known == kKinds.end() || !rewrite_.IsFloat(rewrite_.input(index, 0)))
      return std::nullopt;
    Activation activation{known->second};
    if (known->second == ActivationKind::kLeakyRelu)
      activation.alpha = FloatAttr(rewrite_.op(index), "alpha");
    return activation;
  }

  void MakeActivationOp(int op, int input, ActivationKind kind) {
    const Activation activation{kind};
    const NativeKernelPtr kernel = MakeActivation(activation);
    rewrite_.Replace(op, kernel, {input});
    activations_[op] = {activation, kernel};
  }

  // x * sigmoid(x), or x * sigmoid(1 * x), as Keras writes it
  bool Swish(int op) {
    for (const int side : {0, 1}) {
      const int sigmoid = rewrite_.producer(rewrite_.input(op, side));
      const int x = rewrite_.input(op, 1 - side);
      if (!rewrite_.Is(sigmoid, "Sigmoid") ||
          rewrite_.OnlyConsumer(rewrite_.output(sigmoid)) != op) {
        continue;
      }
      const int unit = rewrite_.producer(rewrite_.input(sigmoid, 0));
      const bool times_one = rewrite_.Is(unit, "Mul") && OtherThan(unit, 1.0) == x &&
                             rewrite_.OnlyConsumer(rewrite_.output(unit)) == sigmoid;
      if (!times_one && rewrite_.input(sigmoid, 0) != x) continue;
      rewrite_.Kill(sigmoid);
      if (times_one) rewrite_.Kill(unit);
      MakeActivationOp(op, x, ActivationKind::kSwish);
      return true;
    }
    return false;
  }

  // The other factor or summand of an op that has a constant scalar for one.
  std::optional<int> OtherThan(int op, double constant) const {
    for (const int side : {0, 1}) {
      const int value = rewrite_.input(op, side);
      const int other = rewrite_.input(op, 1 - side);
      const auto scalar = rewrite_.Scalar(value);
      // One of a higher rank would give the result its own.
      if (scalar && std::abs(*scalar - constant) <= 1e-6 * std::abs(constant) &&
          rewrite_.Floats(value)->dims() <= rewrite_.value(other).shape.dims()) {
        return other;
      }
    }
    return std::nullopt;
  }

  bool IsSum(int op) const { return rewrite_.Is(op, "AddV2") || rewrite_.Is(op, "Add"); }

  // (x / 2) * (1 + erf(x / sqrt(2)))
  bool Gelu(int op) {
    for (const int side : {0, 1}) {
      const int sum = rewrite_.producer(rewrite_.input(op, side));
      const int half = rewrite_.producer(rewrite_.input(op, 1 - side));
      if (!IsSum(sum) || !rewrite_.Is(half, "Mul")) continue;
      const auto erf_value = OtherThan(sum, 1.0);
      const auto x = OtherThan(half, 0.5);
      if (!erf_value || !x) continue;
      const int erf = rewrite_.producer(*erf_value);
      if (!rewrite_.Is(erf, "Erf")) continue;
      const int scaled = rewrite_.producer(rewrite_.input(erf, 0));
      std::optional<int> same;
      if (rewrite_.Is(scaled, "Mul")) same = OtherThan(scaled, std::sqrt(0.5));
      if (rewrite_.Is(scaled, "RealDiv") && OtherThan(scaled, std::sqrt(2.0)))
        same = rewrite_.input(scaled, 0);
      if (same != x) continue;
      if (rewrite_.OnlyConsumer(rewrite_.output(sum)) != op ||
          rewrite_.OnlyConsumer(rewrite_.output(half)) != op ||
          rewrite_.OnlyConsumer(*erf_value) != sum ||
          rewrite_.OnlyConsumer(rewrite_.output(scaled)) != erf) {
        continue;
      }
      for (const int part : {sum, half, erf, scaled}) rewrite_.Kill(part);
      MakeActivationOp(op, *x, ActivationKind::kGelu);
      return true;
    }
    return false;
  }

  // x * (relu6(x + 3) / 6)
  bool HardSwish(int op) {
    for (const int side : {0, 1}) {
      const int gate = rewrite_.producer(rewrite_.input(op, side));
      const int x = rewrite_.input(op, 1 - side);
      if (!rewrite_.Is(gate, "Mul")) continue;
      const auto clamped = OtherThan(gate, 1.0 / 6.0);
      if (!clamped) continue;
      const int relu = rewrite_.producer(*clamped);
      if (!rewrite_.Is(relu, "Relu6")) continue;
      const int sum = rewrite_.producer(rewrite_.input(relu, 0));
      if (!IsSum(sum) || OtherThan(sum, 3.0) != x) continue;
      if (rewrite_.OnlyConsumer(rewrite_.output(gate)) != op ||
          rewrite_.OnlyConsumer(*clamped) != gate ||
          rewrite_.OnlyConsumer(rewrite_.output(sum)) != relu) {
        continue;
      }
      for (const int part : {gate, relu, sum}) rewrite_.Kill(part);
      MakeActivationOp(op, x, ActivationKind::kHardSwish);
      return true;
    }
    return false;
  }

  // ------------------------------------------------------------ patterns of several ops

  // A constant with one element for each channel, the last axis; or one for all of them.
  std::optional<std::vector<float>> PerChannel(int value, std::int64_t channels,
                                               int rank) const {
    const tf::Tensor* tensor = rewrite_.Floats(value);
    if (tensor == nullptr || channels <= 0 || (rank >= 0 && tensor->dims() > rank))
      return std::nullopt;
    const std::int64_t elements = tensor->NumElements();
    const float* data = tensor->flat<float>().data();
    if (elements == 1) return std::vector<float>(channels, data[0]);
    if (elements != channels || tensor->dim_size(tensor->dims() - 1) != channels)
      return std::nullopt;
    return std::vector<float>(data, data + channels);
  }

  bool IsLastAxis(int axes, int value) const {
    const std::vector<std::int64_t> numbers = rewrite_.Integers(axes);
    const int rank = rewrite_.value(value).shape.dims();
    return numbers.size() == 1 && rank > 0 &&
           (numbers[0] == -1 || numbers[0] == rank - 1);
  }

  // What tf.nn.moments and tf.nn.batch_normalization make of layer normalisation:
  //   m = mean(x), v = mean((x - m)^2), s = rsqrt(v + epsilon) * gamma
  //   x * s + (beta - m * s)
  bool LayerNorm(int difference) {
    Rewriter& r = rewrite_;
    const int x = r.input(difference, 0);
    const int mean = r.producer(r.input(difference, 1));
    if (!r.Is(mean, "Mean") || r.input(mean, 0) != x ||
        !BoolAttr(r.op(mean), "keep_dims") || !IsLastAxis(r.input(mean, 1), x)) {
      return false;
    }
    const int variance = r.OnlyConsumer(r.output(difference));
    if (!r.Is(variance, "Mean") || !BoolAttr(r.op(variance), "keep_dims") ||
        !IsLastAxis(r.input(variance, 1), x)) {
      return false;
    }
    const int sum = r.OnlyConsumer(r.output(variance));
    if (!IsSum(sum)) return false;
    const int epsilon_side = r.input(sum, 0) == r.output(variance) ? 1 : 0;
    const auto epsilon = r.Scalar(r.input(sum, epsilon_side));
    const int rsqrt = r.OnlyConsumer(r.output(sum));
    if (!epsilon || !r.Is(rsqrt, "Rsqrt")) return false;
    const int scale = r.OnlyConsumer(r.output(rsqrt));
    if (!r.Is(scale, "Mul")) return false;
    const int rank = r.value(x).shape.dims();
    const std::int64_t channels = r.LastDim(x);
    const int gamma_side = r.input(scale, 0) == r.output(rsqrt) ? 1 : 0;
    const auto gamma = PerChannel(r.input(scale, gamma_side), channels, rank);
    if (!gamma || r.consumers(r.output(scale)).size() != 2 ||
        r.IsFetched(r.output(scale)) || r.IsFetched(r.output(mean))) {
      return false;
    }
    int scaled = -1;  // x * s
    int shift = -1;   // m * s, or -m * s
    for (const int reader : r.consumers(r.output(scale))) {
      if (!r.Is(reader, "Mul")) return false;
      const int other = r.input(reader, r.input(reader, 0) == r.output(scale) ? 1 : 0);
      (other == x ? scaled : shift) = reader;
    }
    if (scaled < 0 || shift < 0) return false;
    const int shifted = r.input(shift, r.input(shift, 0) == r.output(scale) ? 1 : 0);
    int negation = -1;
    if (shifted != r.output(mean)) {
      negation = r.producer(shifted);
      if (!r.Is(negation, "Neg") || r.input(negation, 0) != r.output(mean) ||
          r.OnlyConsumer(shifted) != shift) {
        return false;
      }
    }
    if (r.consumers(r.output(mean)).size() != 2) return false;
    const int offset = r.OnlyConsumer(r.output(shift));
    int beta_side = 0;
    if (negation >= 0) {
      if (!IsSum(offset)) return false;
      beta_side = r.input(offset, 0) == r.output(shift) ? 1 : 0;
    } else if (!r.Is(offset, "Sub") || r.input(offset, 1) != r.output(shift)) {
      return false;
    }
    const auto beta = PerChannel(r.input(offset, beta_side), channels, rank);
    const int result = r.OnlyConsumer(r.output(offset));
    if (!beta || !IsSum(result) || r.OnlyConsumer(r.output(scaled)) != result)
      return false;
    for (const int part :
         {difference, mean, variance, sum, rsqrt, scale, scaled, shift, offset}) {
      r.Kill(part);
    }
    if (negation >= 0) r.Kill(negation);
    r.Replace(result, MakeLayerNorm(*gamma, *beta, *epsilon), {x});
    return true;
  }

  // The subscripts of an einsum of two tensors of rank 4.
  struct Einsum4 {
    std::array<std::string, 3> terms;  // of both inputs, of the output
  };
  std::optional<Einsum4> ParseEinsum(int op) {
    const std::string equation = TextAttr(rewrite_.op(op), "equation");
    const std::size_t comma = equation.find(',');
    const std::size_t arrow = equation.find("->");
    if (comma == std::string::npos || arrow == std::string::npos) return std::nullopt;
    Einsum4 parsed{{equation.substr(0, comma),
                    equation.substr(comma + 1, arrow - comma - 1),
                    equation.substr(arrow + 2)}};
    for (const std::string& term : parsed.terms) {
      if (term.size() != 4) return std::nullopt;
    }
    return parsed;
  }

  // softmax(scale * query . key) . value, with heads in the last axis but one.
  bool Attention(int op) {
    Rewriter& r = rewrite_;
    const auto first = ParseEinsum(op);
    if (!first || r.op(op).inputs.size() != 2) return false;
    // scores [a, c, b, e] of query [a, b, c, d] and key [a, e, c, d]
    const std::string& scores = first->terms[2];
    const char a = scores[0];
    const char c = scores[1];
    const char b = scores[2];
    const char e = scores[3];
    const char d = first->terms[0][3];
    const std::string query_term{a, b, c, d};
    const std::string key_term{a, e, c, d};
    int query_side = 0;
    if (first->terms[0] == key_term && first->terms[1] == query_term) {
      query_side = 1;
    } else if (first->terms[0] != query_term || first->terms[1] != key_term) {
      return false;
    }
    float scale = 1;
    std::vector<int> parts{op};
    int next = r.OnlyConsumer(r.output(op));
    if (r.Is(next, "Mul")) {
      const int side = r.input(next, 0) == r.output(op) ? 1 : 0;
      const auto factor = r.Scalar(r.input(next, side));
      if (!factor) return false;
      scale = *factor;
      parts.push_back(next);
      next = r.OnlyConsumer(r.output(next));
    }
    if (!r.Is(next, "Softmax")) return false;
    parts.push_back(next);
    const int weights = r.output(next);
    const int combine = r.OnlyConsumer(weights);
    if (!r.Is(combine, "Einsum")) return false;
    const auto second = ParseEinsum(combine);
    if (!second) return false;
    const int weights_side = r.input(combine, 0) == weights ? 0 : 1;
    const std::string& combined = second->terms[2];
    const std::string& weights_term = second->terms[weights_side];
    const std::string& value_term = second->terms[1 - weights_side];
    const std::string expected_value{weights_term[0], weights_term[3], weights_term[1],
                                     combined[3]};
    const std::string expected_result{weights_term[0], weights_term[2], weights_term[1],
                                      value_term[3]};
    if (value_term != expected_value || combined != expected_result) return false;
    const int query = r.input(op, query_side);
    const int key = r.input(op, 1 - query_side);
    const int value = r.input(combine, 1 - weights_side);
    for (const int part : parts) r.Kill(part);
    r.Replace(combine, MakeAttention(scale), {query, key, value});
    return true;
  }

  // i, f, g, o = split(gates); c' = sigmoid(f) * c + sigmoid(i) * tanh(g);
  // h = sigmoid(o) * tanh(c')
  bool LstmCell(int split) {
    Rewriter& r = rewrite_;
    const FlatOp& op = r.op(split);
    if (op.outputs.size() != 4) return false;
    const int gates = op.inputs[1];
    const std::vector<std::int64_t> axis = r.Integers(op.inputs[0]);
    if (axis.size() != 1 || r.value(gates).shape.dims() != 2 ||
        (axis[0] != 1 && axis[0] != -1)) {
      return false;
    }
    std::array<int, 4> applied{};  // ops
    std::array<int, 4> used{};     // ops that read them
    for (int i = 0; i < 4; ++i) {
      applied[i] = r.OnlyConsumer(op.outputs[i]);
      if (!r.Is(applied[i], i == 2 ? "Tanh" : "Sigmoid")) return false;
      used[i] = r.OnlyConsumer(r.output(applied[i]));
      if (!r.Is(used[i], "Mul")) return false;
    }
    if (used[0] != used[2] || used[1] == used[0]) return false;
    const int sum = r.OnlyConsumer(r.output(used[0]));
    if (!IsSum(sum) || r.OnlyConsumer(r.output(used[1])) != sum) return false;
    const int state =
        r.input(used[1], r.input(used[1], 0) == r.output(applied[1]) ? 1 : 0);
    const int squashed =
        r.producer(r.input(used[3], r.input(used[3], 0) == r.output(applied[3]) ? 1 : 0));
    if (!r.Is(squashed, "Tanh") || r.input(squashed, 0) != r.output(sum) ||
        r.OnlyConsumer(r.output(squashed)) != used[3] ||
        r.value(state).shape.dims() != 2) {
      return false;
    }
    const int h = r.output(used[3]);
    const int c = r.output(sum);
    // At the sum's place: what reads c may come before what gives h.
    std::vector<int> parts(applied.begin(), applied.end());
    parts.insert(parts.end(), {split, used[0], used[1], used[3], squashed});
    for (const int part : parts) r.Kill(part);
    r.Replace(sum, MakeLstmCell(), {gates, state});
    r.SetOutputs(sum, {h, c});
    return true;
  }

  // The products of all slices of a tensor with the same matrix: one product.
  bool UnpackedMatMul(int unpack) {
    Rewriter& r = rewrite_;
    const FlatOp& op = r.op(unpack);
    const auto axis = op.def.attr().find("axis");
    if (axis == op.def.attr().end() || axis->second.i() != 0 ||
        r.value(op.inputs[0]).shape.dims() != 3) {
      return false;
    }
    int weights = -1;
    std::vector<int> products;
    for (const int output : op.outputs) {
      const int product = r.OnlyConsumer(output);
      if (!r.Is(product, "MatMul") || r.input(product, 0) != output ||
          BoolAttr(r.op(product), "transpose_a") ||
          BoolAttr(r.op(product), "transpose_b")) {
        return false;
      }
      const int matrix = r.input(product, 1);
      if (weights < 0) weights = matrix;
      if (matrix != weights) return false;
      products.push_back(product);
    }
    const tf::Tensor* matrix = weights < 0 ? nullptr : r.Floats(weights);
    // Slices of the result have to be aligned.
    if (matrix == nullptr || matrix->dims() != 2 || matrix->dim_size(1) % 16 != 0 ||
        matrix->dim_size(1) == 0) {
      return false;
    }
    std::vector<int> outputs;
    for (const int product : products) {
      outputs.push_back(r.output(product));
      r.Kill(product);
    }
    r.Replace(unpack, MakeUnpackedMatMul(*matrix), {op.inputs[0]});
    r.SetOutputs(unpack, outputs);
    return true;
  }

  // ---------------------------------------------- convolutions and products with weights

  struct Anchor {
    enum Kind { kConv2D, kDepthwise, kMatMul } kind;
    int x;
    const tf::Tensor* weights;
    bool transposed = false;
    std::int64_t channels;
    kernels::Window window;
    bool same = false;
  };

  std::optional<Anchor> AnchorOf(int index) {
    Rewriter& r = rewrite_;
    const std::string& kind = r.kind(index);
    const bool conv = kind == "Conv2D";
    const bool depthwise = kind == "DepthwiseConv2dNative";
    const bool product = kind == "MatMul" || kind == "BatchMatMulV2";
    if (!conv && !depthwise && !product) return std::nullopt;
    const FlatOp& op = r.op(index);
    Anchor anchor{};
    anchor.x = op.inputs[0];
    anchor.weights = r.Floats(op.inputs[1]);
    if (anchor.weights == nullptr || anchor.weights->NumElements() == 0)
      return std::nullopt;
    if (product) {
      anchor.kind = Anchor::kMatMul;
      anchor.transposed = BoolAttr(op, "transpose_b") || BoolAttr(op, "adj_y");
      if (BoolAttr(op, "transpose_a") || BoolAttr(op, "adj_x") ||
          anchor.weights->dims() != 2 || r.value(anchor.x).shape.dims() < 2) {
        return std::nullopt;
      }
      anchor.channels = anchor.weights->dim_size(anchor.transposed ? 0 : 1);
      return anchor;
    }
    anchor.kind = conv ? Anchor::kConv2D : Anchor::kDepthwise;
    const std::vector<std::int64_t> strides = ListAttr(op, "strides");
    const std::vector<std::int64_t> dilations = ListAttr(op, "dilations");
    const tf::Tensor& filter = *anchor.weights;
    if (!IsNhwc(op) || !IsWindow(strides) || filter.dims() != 4 ||
        !(dilations.empty() || IsWindow(dilations)) ||
        (depthwise && filter.dim_size(3) != 1) ||
        (conv && r.LastDim(anchor.x) != filter.dim_size(2))) {
      return std::nullopt;
    }
    anchor.channels = filter.dim_size(conv ? 3 : 2);
    kernels::Window& window = anchor.window;
    window.kernel_h = filter.dim_size(0);
    window.kernel_w = filter.dim_size(1);
    window.stride_h = strides[1];
    window.stride_w = strides[2];
    if (dilations.size() == 4) {
      window.dilation_h = dilations[1];
      window.dilation_w = dilations[2];
    }
    const std::string padding = TextAttr(op, "padding");
    anchor.same = padding == "SAME";
    if (padding == "EXPLICIT") {
      const std::vector<std::int64_t> pads = ListAttr(op, "explicit_paddings");
      if (!IsPadding(pads)) return std::nullopt;
      SetPads(pads, &window);
    }
    if (padding == "VALID") TakePad(index, &anchor);
    if (padding != "VALID" && padding != "SAME" && padding != "EXPLICIT")
      return std::nullopt;
    return anchor;
  }

  // The sizes of a padding with zeros around images, which only `reader` reads.
  std::optional<std::vector<std::int64_t>> PadBefore(int value, int reader) const {
    const Rewriter& r = rewrite_;
    const int pad = r.producer(value);
    if (!(r.Is(pad, "Pad") ||
          (r.Is(pad, "PadV2") && r.Scalar(r.input(pad, 2)) == 0.0f)) ||
        r.OnlyConsumer(value) != reader) {
      return std::nullopt;
    }
    std::vector<std::int64_t> pads = r.Integers(r.input(pad, 1));
    if (!IsPadding(pads)) return std::nullopt;
    return pads;
  }

  // Takes a padding before the convolution into it.
  void TakePad(int index, Anchor* anchor) {
    const auto pads = PadBefore(anchor->x, index);
    if (!pads) return;
    SetPads(*pads, &anchor->window);
    anchor->x = rewrite_.input(rewrite_.producer(anchor->x), 0);
  }

  // What a chain of ops behind weights does to each channel: x * scale + bias.
  struct Affine {
    std::vector<double> scale;
    std::vector<double> bias;
    bool scaled = false;
    bool biased = false;
  };

  // Takes an op with constants, one for each channel, into the affine function. `value`:
  // the op's input that is not constant. `may_scale` is false behind a residual sum.
  bool TakeArithmetic(int op, int value, std::int64_t channels, bool may_scale,
                      Affine* affine) {
    Rewriter& r = rewrite_;
    const std::string& kind = r.kind(op);
    const int rank = r.value(value).shape.dims();
    if (kind == "FusedBatchNorm" || kind == "FusedBatchNormV2" ||
        kind == "FusedBatchNormV3") {
      return may_scale && TakeBatchNorm(op, value, channels, affine);
    }
    if (r.op(op).inputs.size() != 2) return false;
    const int side = r.input(op, 0) == value ? 0 : 1;
    const auto operand = PerChannel(r.input(op, 1 - side), channels, rank);
    if (!operand) return false;
    const bool sum = kind == "Add" || kind == "AddV2" || (kind == "BiasAdd" && side == 0);
    if (kind == "BiasAdd" && !IsBias(op, channels)) return false;
    if (sum || (kind == "Sub" && side == 0)) {
      for (std::int64_t i = 0; i < channels; ++i)
        affine->bias[i] += sum ? (*operand)[i] : -static_cast<double>((*operand)[i]);
      affine->biased = true;
      return true;
    }
    if (!may_scale || (kind != "Mul" && !(kind == "RealDiv" && side == 0))) return false;
    for (std::int64_t i = 0; i < channels; ++i) {
      const double factor = kind == "Mul" ? (*operand)[i] : 1.0 / (*operand)[i];
      affine->scale[i] *= factor;
      affine->bias[i] *= factor;
    }
    affine->scaled = true;
    return true;
  }

  // True for a BiasAdd whose bias has an element for each channel, as it must.
  bool IsBias(int op, std::int64_t channels) {
    const tf::Tensor* bias = rewrite_.Floats(rewrite_.input(op, 1));
    return bias != nullptr && bias->dims() == 1 && bias->NumElements() == channels &&
           IsNhwc(rewrite_.op(op));
  }

  bool TakeBatchNorm(int op, int value, std::int64_t channels, Affine* affine) {
    Rewriter& r = rewrite_;
    const FlatOp& norm = r.op(op);
    const auto training = norm.def.attr().find("is_training");
    if (norm.inputs[0] != value || !IsNhwc(norm) || training == norm.def.attr().end() ||
        training->second.b()) {
      return false;
    }
    for (std::size_t i = 1; i < norm.outputs.size(); ++i) {
      if (r.IsFetched(norm.outputs[i]) || !r.consumers(norm.outputs[i]).empty())
        return false;
    }
    std::array<std::vector<float>, 4> parameters;  // gamma, beta, mean, variance
    for (int i = 0; i < 4; ++i) {
      const tf::Tensor* tensor = r.Floats(norm.inputs[i + 1]);
      if (tensor == nullptr || tensor->NumElements() != channels) return false;
      parameters[i].assign(tensor->flat<float>().data(),
                           tensor->flat<float>().data() + channels);
    }
    const double epsilon = FloatAttr(norm, "epsilon");
    for (std::int64_t i = 0; i < channels; ++i) {
      const double factor = parameters[0][i] / std::sqrt(parameters[3][i] + epsilon);
      affine->scale[i] *= factor;
      affine->bias[i] = (affine->bias[i] - parameters[2][i]) * factor + parameters[1][i];
    }
    affine->scaled = true;
    affine->biased = true;
    return true;
  }

  // True if a reshape gives the same rows in a tensor whose last axis has another size:
  // all other axes are the same, one of them at most unknown.
  bool KeepsRows(int before, int after) const {
    const tf::PartialTensorShape& a = rewrite_.value(before).shape;
    const tf::PartialTensorShape& b = rewrite_.value(after).shape;
    if (a.dims() < 1 || a.dims() != b.dims()) return false;
    int unknown = 0;
    for (int i = 0; i + 1 < a.dims(); ++i) {
      if (a.dim_size(i) != b.dim_size(i)) return false;
      if (a.dim_size(i) < 0) ++unknown;
    }
    return unknown <= 1;
  }

  // A reshape that only splits the last axis, as attention does by heads, and a constant
  // that is added behind it, one element for each of its elements: added before it.
  // Gives the reshape's output, or -1.
  int TakeBiasBehindSplit(int reshape, std::int64_t channels, Affine* affine) {
    Rewriter& r = rewrite_;
    if (!r.Is(reshape, "Reshape")) return -1;
    const tf::PartialTensorShape& from = r.value(r.input(reshape, 0)).shape;
    const tf::PartialTensorShape& to = r.value(r.output(reshape)).shape;
    if (from.dims() < 1 || to.dims() <= from.dims()) return -1;
    int unknown = 0;
    for (int i = 0; i + 1 < from.dims(); ++i) {
      if (from.dim_size(i) != to.dim_size(i)) return -1;
      if (from.dim_size(i) < 0) ++unknown;
    }
    std::int64_t split = 1;
    for (int i = from.dims() - 1; i < to.dims(); ++i) split *= to.dim_size(i);
    if (unknown > 1 || split != channels) return -1;
    const int sum = r.OnlyConsumer(r.output(reshape));
    if (!IsSum(sum)) return -1;
    const int side = r.input(sum, 0) == r.output(reshape) ? 1 : 0;
    const tf::Tensor* bias = r.Floats(r.input(sum, side));
    const int heads = to.dims() - from.dims() + 1;
    if (bias == nullptr || bias->NumElements() != channels || bias->dims() < heads ||
        bias->dims() > to.dims()) {
      return -1;
    }
    for (int i = 0; i < heads; ++i) {
      if (bias->dim_size(bias->dims() - 1 - i) != to.dim_size(to.dims() - 1 - i))
        return -1;
    }
    for (std::int64_t i = 0; i < channels; ++i) affine->bias[i] += bias->flat<float>()(i);
    affine->biased = true;
    return sum;
  }

  bool SameShape(int a, int b) const {
    const tf::PartialTensorShape& first = rewrite_.value(a).shape;
    const tf::PartialTensorShape& second = rewrite_.value(b).shape;
    if (first.dims() < 1 || first.dims() != second.dims()) return false;
    for (int i = 0; i < first.dims(); ++i) {
      if (first.dim_size(i) != second.dim_size(i)) return false;
    }
    return true;
  }

  void Weighted(int index) {
    Rewriter& r = rewrite_;
    std::optional<Anchor> anchor = AnchorOf(index);
    if (!anchor) return;
    const std::int64_t channels = anchor->channels;
    Affine affine{std::vector<double>(channels, 1.0), std::vector<double>(channels, 0.0)};
    NativeEpilogue epilogue;
    std::vector<int> eaten;
    int place = index;
    int value = r.output(index);
    int residual = -1;
    // What Keras makes of a dense layer on more than two axes.
    if (anchor->kind == Anchor::kMatMul) {
      const int flat = r.producer(anchor->x);
      const int back = r.OnlyConsumer(value);
      if (r.Is(flat, "Reshape") && r.Is(back, "Reshape") &&
          r.LastDim(r.input(flat, 0)) == anchor->weights->dim_size(anchor->transposed) &&
          r.LastDim(r.output(back)) == channels &&
          KeepsRows(r.input(flat, 0), r.output(back))) {
        anchor->x = r.input(flat, 0);
        eaten.push_back(place);
        place = back;
        value = r.output(back);
      }
    }
    int split_sum = -1;
    while (true) {
      const int next = r.OnlyConsumer(value);
      if (next < 0) break;
      if (TakeArithmetic(next, value, channels, residual < 0, &affine)) {
        // taken
      } else if (const auto activation = ActivationOf(next)) {
        epilogue.activation = *activation;
      } else if (IsSum(next) && residual < 0 && anchor->kind != Anchor::kDepthwise) {
        const int other = r.input(next, r.input(next, 0) == value ? 1 : 0);
        if (other == value || r.Floats(other) != nullptr || !SameShape(value, other))
          break;
        residual = other;
      } else {
        if (anchor->kind == Anchor::kMatMul && residual < 0)
          split_sum = TakeBiasBehindSplit(next, channels, &affine);
        break;
      }
      eaten.push_back(place);
      place = next;
      value = r.output(next);
      if (epilogue.activation.kind != ActivationKind::kNone) break;
    }
    if (split_sum >= 0) {
      // The sum passes on what the reshape gives.
      const int reshape = r.OnlyConsumer(value);
      const std::vector<int> outputs = {r.output(split_sum)};
      const std::vector<int> inputs = r.op(reshape).inputs;
      r.op(split_sum).def = r.op(reshape).def;
      r.Kill(reshape);
      r.SetInputs(split_sum, inputs);
    }
    std::vector<float> scale(affine.scale.begin(), affine.scale.end());
    const float* factors = affine.scaled ? scale.data() : nullptr;
    if (affine.biased) epilogue.bias.assign(affine.bias.begin(), affine.bias.end());
    epilogue.residual = residual >= 0;
    const ActivationKind epilogue_kind = epilogue.activation.kind;
    NativeKernelPtr kernel;
    switch (anchor->kind) {
      case Anchor::kConv2D:
        kernel = MakeConv2D(*anchor->weights, anchor->window, anchor->same, factors,
                            precision_, std::move(epilogue));
        break;
      case Anchor::kDepthwise:
        kernel = MakeDepthwiseConv2D(*anchor->weights, anchor->window, anchor->same,
                                     factors, std::move(epilogue));
        break;
      case Anchor::kMatMul:
        kernel = MakeMatMul(*anchor->weights, anchor->transposed, factors, precision_,
                            std::move(epilogue));
        break;
    }
    const int weights = r.input(index, 1);
    if (epilogue_kind == ActivationKind::kRelu || epilogue_kind == ActivationKind::kRelu6)
      nonnegative_.insert(place);
    std::vector<int> inputs{anchor->x};
    if (residual >= 0) inputs.push_back(residual);
    for (const int op : eaten) r.Kill(op);
    r.op(place).def.set_name(r.op(index).def.name());
    r.Replace(place, std::move(kernel), std::move(inputs));
    r.ReleaseConstant(weights);
  }

  // ------------------------------------------------------------------- ops by themselves

  void Single(int index) {
    Rewriter& r = rewrite_;
    const std::string& kind = r.kind(index);
    const FlatOp& op = r.op(index);
    if (kind.empty() || op.inputs.empty() || !r.IsFloat(op.inputs[0])) return;
    const int x = op.inputs[0];
    const int rank = r.value(x).shape.dims();
    if (const auto activation = ActivationOf(index)) {
      r.Replace(index, MakeActivation(*activation), {x});
    } else if (kind == "Softmax" && rank >= 1) {
      r.Replace(index, MakeSoftmax(), {x});
    } else if (kind == "Mean" && rank == 4) {
      std::vector<std::int64_t> axes = r.Integers(op.inputs[1]);
      std::sort(axes.begin(), axes.end());
      if (axes == std::vector<std::int64_t>{1, 2})
        r.Replace(index, MakeGlobalMean(BoolAttr(op, "keep_dims")), {x});
    } else if (kind == "MaxPool" || kind == "AvgPool") {
      Pool(index);
    } else if (kind == "Reshape") {
      Reshape(index);
    } else if (kind == "Squeeze") {
      const std::vector<std::int64_t> axes = ListAttr(op, "squeeze_dims");
      if (!axes.empty()) r.Replace(index, MakeSqueeze(axes), {x});
    } else if (kind == "Mul" || kind == "Add" || kind == "AddV2" || kind == "Sub" ||
               kind == "BiasAdd" || kind == "RealDiv") {
      Arithmetic(index);
    }
  }

  // To a constant shape; or to one whose first size is that of the input itself, as Keras
  // writes it: Pack(Shape(x)[0], 7, 7, 512).
  void Reshape(int index) {
    Rewriter& r = rewrite_;
    const int x = r.input(index, 0);
    const int shape = r.input(index, 1);
    const auto& constant = r.value(shape).constant;
    if (constant) {
      if (constant->dims() == 1)
        r.Replace(index, MakeReshape(r.Integers(shape), /*keep_first=*/false), {x});
      return;
    }
    const int pack = r.producer(shape);
    if (!r.Is(pack, "Pack") || r.op(pack).def.attr().at("axis").i() != 0 ||
        !IsFirstSizeOf(x, r.input(pack, 0))) {
      return;
    }
    std::vector<std::int64_t> dims{0};
    for (std::size_t i = 1; i < r.op(pack).inputs.size(); ++i) {
      const std::vector<std::int64_t> size = r.Integers(r.input(pack, i));
      if (size.size() != 1 || r.value(r.input(pack, i)).shape.dims() != 0) return;
      dims.push_back(size.front());
    }
    r.Replace(index, MakeReshape(std::move(dims), /*keep_first=*/true), {x});
  }

  // Shape(x)[0]
  bool IsFirstSizeOf(int x, int value) const {
    const Rewriter& r = rewrite_;
    const int slice = r.producer(value);
    if (!r.Is(slice, "StridedSlice") || !r.Is(r.producer(r.input(slice, 0)), "Shape"))
      return false;
    const auto is = [&](int input, std::int64_t number) {
      return r.Integers(r.input(slice, input)) == std::vector<std::int64_t>{number};
    };
    const auto& attr = r.op(slice).def.attr();
    return r.input(r.producer(r.input(slice, 0)), 0) == x && is(1, 0) && is(2, 1) &&
           is(3, 1) && attr.at("shrink_axis_mask").i() == 1;
  }

  void Pool(int index) {
    Rewriter& r = rewrite_;
    const FlatOp& op = r.op(index);
    const std::vector<std::int64_t> sizes = ListAttr(op, "ksize");
    const std::vector<std::int64_t> strides = ListAttr(op, "strides");
    const std::string padding = TextAttr(op, "padding");
    if (!IsNhwc(op) || !IsWindow(sizes) || !IsWindow(strides) ||
        (padding != "SAME" && padding != "VALID")) {
      return;
    }
    kernels::Window window;
    window.kernel_h = sizes[1];
    window.kernel_w = sizes[2];
    window.stride_h = strides[1];
    window.stride_w = strides[2];
    const bool max = r.kind(index) == "MaxPool";
    int x = op.inputs[0];
    // Where nothing is negative, zeros around an image are as good as none.
    if (max && padding == "VALID") {
      const auto pads = PadBefore(x, index);
      const int pad = r.producer(x);
      if (pads && nonnegative_.count(r.producer(r.input(pad, 0))) != 0 &&
          std::max((*pads)[2], (*pads)[3]) < window.kernel_h &&
          std::max((*pads)[4], (*pads)[5]) < window.kernel_w) {
        SetPads(*pads, &window);
        x = r.input(pad, 0);
      }
    }
    r.Replace(index, MakePool2D(max, window, padding == "SAME"), {x});
  }

  void Arithmetic(int index) {
    Rewriter& r = rewrite_;
    const std::string kind = r.kind(index);
    const int a = r.input(index, 0);
    const int b = r.input(index, 1);
    if (kind == "BiasAdd" && !IsBias(index, r.LastDim(a))) return;
    const auto op = kind == "Mul" || kind == "RealDiv" ? kernels::BinaryOp::kMul
                    : kind == "Sub"                    ? kernels::BinaryOp::kSub
                                                       : kernels::BinaryOp::kAdd;
    // An activation behind it.
    int place = index;
    Activation activation;
    const int next = r.OnlyConsumer(r.output(index));
    if (const auto found = ActivationOf(next)) {
      activation = *found;
      place = next;
    }
    NativeKernelPtr kernel;
    std::vector<int> inputs;
    const bool constant_a = r.Floats(a) != nullptr;
    const bool constant_b = r.Floats(b) != nullptr;
    if (!constant_a && !constant_b && kind != "RealDiv") {
      if (SameShape(a, b)) {
        kernel = MakeBinary(op, activation);
        inputs = {a, b};
      } else if (kind == "Mul" && activation.kind == ActivationKind::kNone) {
        for (const bool swapped : {false, true}) {
          const int image = swapped ? b : a;
          const int scale = swapped ? a : b;
          const tf::PartialTensorShape& wide = r.value(image).shape;
          const tf::PartialTensorShape& narrow = r.value(scale).shape;
          if (wide.dims() == 4 && narrow.dims() == 4 && narrow.dim_size(1) == 1 &&
              narrow.dim_size(2) == 1 && wide.dim_size(3) > 0 &&
              wide.dim_size(3) == narrow.dim_size(3) && wide.dim_size(1) != 1) {
            kernel = MakeScaleChannels();
            inputs = {image, scale};
          }
        }
      }
    } else if (constant_a != constant_b && !(kind == "RealDiv" && constant_a)) {
      const int x = constant_a ? b : a;
      const int rank = r.value(x).shape.dims();
      const tf::Tensor& constant = *r.Floats(constant_a ? a : b);
      std::optional<std::vector<float>> operand;
      if (rank >= 1 && constant.NumElements() == 1 && constant.dims() <= rank) {
        operand = {constant.flat<float>()(0)};
      } else {
        operand = PerChannel(constant_a ? a : b, r.LastDim(x), rank);
      }
      if (!operand) return;
      if (kind == "RealDiv") {
        for (float& element : *operand) element = 1.0f / element;
      }
      kernel = MakeBinaryConstant(op, std::move(*operand), constant_a, activation);
      inputs = {x};
    }
    if (kernel == nullptr) return;
    if (place != index) r.Kill(index);
    r.Replace(place, std::move(kernel), std::move(inputs));
  }

  // What oneDNN, which is at the session's hand alone, computes faster, or, with half
  // precision, otherwise.
  void CheckOneDnn(int index) {
    static const std::unordered_set<std::string> kConvolutions = {
        "Conv2D", "Conv3D", "DepthwiseConv2dNative", "Conv2DBackpropInput",
        "Conv3DBackpropInputV2"};
    static const std::unordered_set<std::string> kProducts = {
        "MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3", "Einsum"};
    const FlatOp& op = rewrite_.op(index);
    const std::string& kind = rewrite_.kind(index);
    const bool product = kProducts.count(kind) != 0;
    if (!product && kConvolutions.count(kind) == 0) return;
    const tf::DataType dtype = rewrite_.value(op.inputs[0]).dtype;
    if (product && dtype != tf::DT_BFLOAT16 && dtype != tf::DT_HALF) return;
    throw NotFlat("op " + kind + " ('" + op.def.name() + "') is left to oneDNN");
  }

  Rewriter rewrite_;
  const kernels::Precision precision_;
  // Ops that were made an activation by itself; others may have taken their place since.
  struct MadeActivation {
    Activation activation;
    NativeKernelPtr kernel;
  };
  std::unordered_map<int, MadeActivation> activations_;
  std::unordered_set<int> nonnegative_;  // native ops
};

}  // namespace

void Fuse(FlatGraph* graph, kernels::Precision precision) {
  Fuser(graph, precision).Run();
}

}  // namespace savedmodel
