// Activations of vectors and of arrays. Included by kernels_*.cc after a simd_*.h.
//
// Errors are a few units in the last place. Polynomials are minimax fits on the stated
// interval.
#pragma once

#include <cstdint>

#include "kernels/kernels.h"

namespace savedmodel::kernels::isa {
namespace {

// e^x = 2^n (1 + q) for x <= 0, q = e^r - 1, |r| <= ln(2) / 2. Zero where it would be
// denormal.
struct ExpParts {
  Vec pow2;
  Vec q;
};

SAVEDMODEL_INLINE ExpParts SplitExp(Vec x) {
  x = Max(Set(-88.0f), x);  // gives n = -127 and thus zero
  // Added to a number of this size, x / ln(2) is rounded to a whole number, in the low
  // bits.
  const Vec magic = Set(12582912.0f + kExponentBias);
  const Vec shifted = Fma(x, Set(1.44269504f), magic);
  const Vec n = Sub(shifted, magic);
  Vec r =
      Fma(n, Set(-0.693145752f), x);  // ln(2) in two parts: n times the first is exact
  r = Fma(n, Set(-1.42860677e-6f), r);
  Vec p = Fma(Set(0.0013933688f), r, Set(0.008363205f));
  p = Fma(p, r, Set(0.041666463f));
  p = Fma(p, r, Set(0.16666576f));
  p = Fma(p, r, Set(0.5f));
  return {LowBitsToExponent(shifted), Fma(Mul(r, r), p, r)};
}

SAVEDMODEL_INLINE Vec ExpOfNonPositive(Vec x) {
  const ExpParts e = SplitExp(x);
  return Fma(e.pow2, e.q, e.pow2);
}

// e^x - 1, exact to the last places also near zero.
SAVEDMODEL_INLINE Vec Expm1OfNonPositive(Vec x) {
  const ExpParts e = SplitExp(x);
  return Fma(e.pow2, e.q, Sub(e.pow2, Set(1.0f)));
}

// 1 / (1 + e^-x), e^-x = 2^n e^-r. In few steps: nets apply it to millions of numbers.
SAVEDMODEL_INLINE Vec Sigmoid(Vec x) {
  // 2^(n - 1) is a float, and twice it overflows to infinity where the result is zero.
  const Vec clamped = Min(Set(86.0f), Max(Set(-89.0f), x));
  const Vec magic = Set(12582912.0f + kExponentBias - 1);
  const Vec shifted = Fma(clamped, Set(-1.44269504f), magic);
  const Vec n = Sub(shifted, magic);
  const Vec r = Fma(n, Set(0.693147182f), clamped);
  const Vec one = Set(1.0f);
  Vec p = Fma(Set(-0.00829027127f), r, Set(0.0418981612f));
  p = Fma(p, r, Set(-0.166676387f));
  p = Fma(p, r, Set(0.499991477f));
  p = Fma(p, r, Set(-0.999999702f));
  p = Fma(p, r, one);
  const Vec half_of_exp = Mul(LowBitsToExponent(shifted), p);
  return Reciprocal(Fma(Set(2.0f), half_of_exp, one));
}

SAVEDMODEL_INLINE Vec Tanh(Vec x) {
  const Vec minus_two_abs = Mul(Set(-2.0f), Abs(x));
  const Vec e = Expm1OfNonPositive(minus_two_abs);
  return CopySign(Div(e, Add(Set(2.0f), e)), x);
}

// x P(x^2) / Q(x^2) up to where erf rounds to one. Of NaN it is one.
SAVEDMODEL_INLINE Vec Erf(Vec x) {
  const Vec one_from = Set(3.95f);
  const Vec a = Abs(x);
  const Vec t = Mul(a, a);
  Vec p = Fma(Set(2.02590309e-06f), t, Set(0.000284687732f));
  p = Fma(p, t, Set(0.00380817242f));
  p = Fma(p, t, Set(0.0528754815f));
  p = Fma(p, t, Set(0.191550598f));
  p = Fma(p, t, Set(1.12837911f));
  Vec q = Fma(Set(3.78317491e-05f), t, Set(0.00117072789f));
  q = Fma(q, t, Set(0.0150551125f));
  q = Fma(q, t, Set(0.11455974f));
  q = Fma(q, t, Set(0.503089964f));
  q = Fma(q, t, Set(1.0f));
  const Vec one = Set(1.0f);
  return CopySign(Select(Less(a, one_from), Min(one, Div(Mul(a, p), q)), one), x);
}

// Activations that are a clamp are applied in registers by every kernel; the others by a
// pass over a block of results that lies in the first-level cache.
struct Clamp {
  float low, high;
};

inline bool IsClamp(Activation activation) {
  return activation.kind == ActivationKind::kNone ||
         activation.kind == ActivationKind::kRelu ||
         activation.kind == ActivationKind::kRelu6;
}

inline Clamp ClampOf(Activation activation) {
  const float infinity = __builtin_inff();
  switch (activation.kind) {
    case ActivationKind::kRelu: return {0.0f, infinity};
    case ActivationKind::kRelu6: return {0.0f, 6.0f};
    default: return {-infinity, infinity};
  }
}

// NaN stays, because x is the second operand.
SAVEDMODEL_INLINE Vec ApplyClamp(Vec low, Vec high, Vec x) {
  return Min(high, Max(low, x));
}

// Calls use(f) with the activation as a function of a vector.
template <typename Use>
SAVEDMODEL_INLINE void WithActivation(Activation activation, const Use& use) {
  const Clamp clamp = ClampOf(activation);
  switch (activation.kind) {
    case ActivationKind::kNone:
    case ActivationKind::kRelu:
    case ActivationKind::kRelu6: {
      const Vec low = Set(clamp.low), high = Set(clamp.high);
      return use([=](Vec x) SAVEDMODEL_LAMBDA { return ApplyClamp(low, high, x); });
    }
    case ActivationKind::kElu:
      return use([](Vec x) SAVEDMODEL_LAMBDA {
        return Select(Less(x, Zero()), Expm1OfNonPositive(Min(Zero(), x)), x);
      });
    case ActivationKind::kLeakyRelu: {
      const Vec alpha = Set(activation.alpha);
      return use([=](Vec x) SAVEDMODEL_LAMBDA {
        return Select(Less(x, Zero()), Mul(alpha, x), x);
      });
    }
    case ActivationKind::kSigmoid:
      return use([](Vec x) SAVEDMODEL_LAMBDA { return Sigmoid(x); });
    case ActivationKind::kTanh:
      return use([](Vec x) SAVEDMODEL_LAMBDA { return Tanh(x); });
    case ActivationKind::kSwish:
      return use([](Vec x) SAVEDMODEL_LAMBDA { return Mul(x, Sigmoid(x)); });
    case ActivationKind::kHardSwish:
      return use([](Vec x) SAVEDMODEL_LAMBDA {
        const Vec gate = ApplyClamp(Zero(), Set(6.0f), Add(x, Set(3.0f)));
        return Mul(x, Mul(gate, Set(1.0f / 6.0f)));
      });
    case ActivationKind::kGelu:
      return use([](Vec x) SAVEDMODEL_LAMBDA {
        const Vec half = Mul(Set(0.5f), x);
        return Fma(half, Erf(Mul(x, Set(0.707106781f))), half);
      });
    case ActivationKind::kGeluTanh:
      // (1 + tanh(u)) / 2 is sigmoid(2 u).
      return use([](Vec x) SAVEDMODEL_LAMBDA {
        const Vec u =
            Fma(Mul(Set(0.0713548163f), Mul(x, x)), x, Mul(Set(1.59576912f), x));
        return Mul(x, Sigmoid(u));
      });
  }
}

// body(i, lanes) for each vector of [0, count): lanes is the constant kLanes but for the
// last.
template <typename Body>
SAVEDMODEL_INLINE void ForVectors(int64_t count, const Body& body) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) body(i, kLanes);
  if (i < count) body(i, count - i);
}

// The same with a number from 0 to 3 in turn: sums of their own, because an addition to
// the same one would wait for the last.
template <typename Body>
SAVEDMODEL_INLINE void ForVectorsInTurn(int64_t count, const Body& body) {
  int64_t i = 0;
  for (; i + 4 * kLanes <= count; i += 4 * kLanes) {
#pragma GCC unroll 4
    for (int turn = 0; turn < 4; ++turn) body(i + turn * kLanes, kLanes, turn);
  }
  for (; i < count; i += kLanes) body(i, count - i < kLanes ? count - i : kLanes, 0);
}

void Activate(const float* in, int64_t count, Activation activation, float* out) {
  WithActivation(activation, [=](const auto& f) SAVEDMODEL_LAMBDA {
    ForVectors(count, [&](int64_t i, int64_t n) SAVEDMODEL_LAMBDA {
      StoreFirst(out + i, f(LoadFirst(in + i, n)), n);
    });
  });
}

// In place, rows of `columns` that lie `stride` apart.
void ActivateRows(float* x, int64_t rows, int64_t columns, int64_t stride,
                  Activation activation) {
  WithActivation(activation, [=](const auto& f) SAVEDMODEL_LAMBDA {
    for (int64_t row = 0; row < rows; ++row) {
      ForVectors(columns, [&](int64_t i, int64_t n) SAVEDMODEL_LAMBDA {
        float* at = x + row * stride + i;
        StoreFirst(at, f(LoadFirst(at, n)), n);
      });
    }
  });
}

}  // namespace
}  // namespace savedmodel::kernels::isa
