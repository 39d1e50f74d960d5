// Elementwise operations and reductions. Included by kernels_*.cc after
// activation_impl.h.
#pragma once

#include <cstdint>

#include "kernels/kernel_table.h"

namespace savedmodel::kernels::isa {
namespace {

SAVEDMODEL_INLINE float SumOf(const Vec (&sums)[4]) {
  return Sum(Add(Add(sums[0], sums[1]), Add(sums[2], sums[3])));
}

void SumPixels(const float* in, int64_t pixels, int64_t channels, float* sums) {
  // Several cache lines of a pixel at a time: pixels are far apart.
  constexpr int kVecs = 8;
  int64_t c = 0;
  for (; c + kVecs * kLanes <= channels; c += kVecs * kLanes) {
    Vec sum[kVecs] = {};
    for (int64_t p = 0; p < pixels; ++p) {
#pragma GCC unroll 8
      for (int v = 0; v < kVecs; ++v) {
        sum[v] = Add(sum[v], Load(in + p * channels + c + v * kLanes));
      }
    }
#pragma GCC unroll 8
    for (int v = 0; v < kVecs; ++v) Store(sums + c + v * kLanes, sum[v]);
  }
  ForVectors(channels - c, [&](int64_t i, int64_t lanes) SAVEDMODEL_LAMBDA {
    const float* at = in + c + i;
    // Four sums, because an addition takes longer than a load.
    Vec sum[4] = {};
    int64_t p = 0;
    for (; p + 4 <= pixels; p += 4) {
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) {
        sum[j] = Add(sum[j], LoadFirst(at + (p + j) * channels, lanes));
      }
    }
    for (; p < pixels; ++p) sum[0] = Add(sum[0], LoadFirst(at + p * channels, lanes));
    StoreFirst(sums + c + i, Add(Add(sum[0], sum[1]), Add(sum[2], sum[3])), lanes);
  });
}

void ScalePixels(const float* in, const float* scale, int64_t pixels, int64_t channels,
                 float* out) {
  for (int64_t p = 0; p < pixels; ++p, in += channels, out += channels) {
    ForVectors(channels, [&](int64_t c, int64_t lanes) SAVEDMODEL_LAMBDA {
      StoreFirst(out + c, Mul(LoadFirst(in + c, lanes), LoadFirst(scale + c, lanes)),
                 lanes);
    });
  }
}

template <typename Op>
void BinaryRow(const float* a, const float* b, int64_t count, Activation activation,
               float* out, const Op& op) {
  const Clamp clamp = ClampOf(activation);
  const Vec low = Set(clamp.low), high = Set(clamp.high);
  // An activation that is no clamp is a second pass, over what the first-level cache
  // holds.
  constexpr int64_t kBlock = 1024;
  for (int64_t at = 0; at < count; at += kBlock) {
    const int64_t size = count - at < kBlock ? count - at : kBlock;
    ForVectors(size, [&](int64_t i, int64_t lanes) SAVEDMODEL_LAMBDA {
      const Vec x = op(LoadFirst(a + at + i, lanes), LoadFirst(b + at + i, lanes));
      StoreFirst(out + at + i, ApplyClamp(low, high, x), lanes);
    });
    if (!IsClamp(activation)) Activate(out + at, size, activation, out + at);
  }
}

void Binary(BinaryOp op, const float* a, const float* b, int64_t rows, int64_t columns,
            bool broadcast, bool reverse, Activation activation, float* out) {
  if (!broadcast) {
    columns *= rows;
    rows = rows > 0 ? 1 : 0;
  }
  for (int64_t row = 0; row < rows; ++row) {
    const float* left = a + row * columns;
    const float* right = b;
    if (reverse) {
      left = b;
      right = a + row * columns;
    }
    float* to = out + row * columns;
    switch (op) {
      case BinaryOp::kAdd:
        BinaryRow(left, right, columns, activation, to,
                  [](Vec x, Vec y) SAVEDMODEL_LAMBDA { return Add(x, y); });
        break;
      case BinaryOp::kSub:
        BinaryRow(left, right, columns, activation, to,
                  [](Vec x, Vec y) SAVEDMODEL_LAMBDA { return Sub(x, y); });
        break;
      case BinaryOp::kMul:
        BinaryRow(left, right, columns, activation, to,
                  [](Vec x, Vec y) SAVEDMODEL_LAMBDA { return Mul(x, y); });
        break;
    }
  }
}

void LayerNorm(const float* in, const float* residual, int64_t rows, int64_t columns,
               const float* gamma, const float* beta, float epsilon, float* out) {
  const float inverse = 1.0f / float(columns);
  for (int64_t row = 0; row < rows; ++row, in += columns, out += columns) {
    Vec sums[4] = {};
    ForVectorsInTurn(columns, [&](int64_t i, int64_t lanes, int turn) SAVEDMODEL_LAMBDA {
      Vec x = LoadFirst(in + i, lanes);
      if (residual) {
        x = Add(x, LoadFirst(residual + i, lanes));
        StoreFirst(out + i, x, lanes);
      }
      sums[turn] = Add(sums[turn], x);
    });
    const float* from = residual ? out : in;
    if (residual) residual += columns;
    const Vec mean = Set(SumOf(sums) * inverse);
    // The deviations are squared, not the numbers, so that a large mean cancels no
    // digits.
    Vec squares[4] = {};
    ForVectorsInTurn(columns, [&](int64_t i, int64_t lanes, int turn) SAVEDMODEL_LAMBDA {
      const Vec deviation = Sub(LoadFirst(from + i, lanes), mean);
      squares[turn] = AddFirst(squares[turn], Mul(deviation, deviation), lanes);
    });
    const Vec scale = Set(1.0f / __builtin_sqrtf(SumOf(squares) * inverse + epsilon));
    ForVectors(columns, [&](int64_t i, int64_t lanes) SAVEDMODEL_LAMBDA {
      Vec x = Mul(Sub(LoadFirst(from + i, lanes), mean), scale);
      if (gamma) x = Mul(x, LoadFirst(gamma + i, lanes));
      if (beta) x = Add(x, LoadFirst(beta + i, lanes));
      StoreFirst(out + i, x, lanes);
    });
  }
}

void Softmax(const float* in, const float* mask, int64_t columns, Range rows,
             int64_t rows_per_mask, float* out) {
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    const float* x = in + row * columns;
    float* y = out + row * columns;
    const float* m = mask ? mask + row / rows_per_mask * columns : nullptr;
    const Vec least = Set(-__builtin_inff());
    Vec greatest[4] = {least, least, least, least};
    ForVectorsInTurn(columns, [&](int64_t i, int64_t lanes, int turn) SAVEDMODEL_LAMBDA {
      Vec value = LoadFirst(x + i, lanes);
      if (m) value = Add(value, LoadFirst(m + i, lanes));
      StoreFirst(y + i, value, lanes);
      greatest[turn] = MaxFirst(greatest[turn], value, lanes);
    });
    const Vec top =
        Set(Largest(Max(Max(greatest[0], greatest[1]), Max(greatest[2], greatest[3]))));
    Vec sums[4] = {};
    ForVectorsInTurn(columns, [&](int64_t i, int64_t lanes, int turn) SAVEDMODEL_LAMBDA {
      const Vec e = ExpOfNonPositive(Sub(LoadFirst(y + i, lanes), top));
      StoreFirst(y + i, e, lanes);
      sums[turn] = AddFirst(sums[turn], e, lanes);
    });
    const Vec inverse = Set(1.0f / SumOf(sums));
    ForVectors(columns, [&](int64_t i, int64_t lanes) SAVEDMODEL_LAMBDA {
      StoreFirst(y + i, Mul(LoadFirst(y + i, lanes), inverse), lanes);
    });
  }
}

void LstmCell(const float* gates, const float* previous_c, int64_t batch, int64_t units,
              float* h, float* c) {
  for (int64_t b = 0; b < batch; ++b) {
    const float* g = gates + b * 4 * units;
    ForVectors(units, [&](int64_t i, int64_t lanes) SAVEDMODEL_LAMBDA {
      const int64_t at = b * units + i;
      const Vec input = Sigmoid(LoadFirst(g + i, lanes));
      const Vec forget = Sigmoid(LoadFirst(g + units + i, lanes));
      const Vec candidate = Tanh(LoadFirst(g + 2 * units + i, lanes));
      const Vec output = Sigmoid(LoadFirst(g + 3 * units + i, lanes));
      const Vec state =
          Fma(input, candidate, Mul(forget, LoadFirst(previous_c + at, lanes)));
      StoreFirst(c + at, state, lanes);
      StoreFirst(h + at, Mul(output, Tanh(state)), lanes);
    });
  }
}

}  // namespace
}  // namespace savedmodel::kernels::isa
