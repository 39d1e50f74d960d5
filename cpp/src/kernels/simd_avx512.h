// A vector of float32 in AVX-512 registers: the vocabulary that the *_impl.h files are
// written in. simd_avx2.h has the same names. Included by kernels_avx512.cc alone; see
// there for why everything is inside an unnamed namespace.
#pragma once

#include <immintrin.h>

#include <cstdint>

#define SAVEDMODEL_INLINE inline __attribute__((always_inline))
#define SAVEDMODEL_LAMBDA __attribute__((always_inline))

namespace savedmodel::kernels::isa {
namespace {

using Vec = __m512;
using Mask = __mmask16;

constexpr int kLanes = 16;

// Register blocking of GemmMicro: 14 x 2 accumulators, 2 vectors of B and a broadcast
// fill 31 of the 32 registers. 14 also divides the heights and widths of the usual
// feature maps.
constexpr int kMaxRows = 14;
constexpr int kPanelVecs = 2;
// Accumulators that few rows may spread over several panels (see GemmMicro).
constexpr int kMaxAccumulators = 24;

SAVEDMODEL_INLINE Mask FirstLanes(int64_t n) { return Mask((1u << n) - 1); }

SAVEDMODEL_INLINE Vec Zero() { return _mm512_setzero_ps(); }
SAVEDMODEL_INLINE Vec Set(float x) { return _mm512_set1_ps(x); }
SAVEDMODEL_INLINE Vec Load(const float* p) { return _mm512_loadu_ps(p); }
SAVEDMODEL_INLINE void Store(float* p, Vec x) { _mm512_storeu_ps(p, x); }

// The first n lanes, 1 <= n <= kLanes; memory behind them is not touched, lanes read as
// zero.
SAVEDMODEL_INLINE Vec LoadFirst(const float* p, int64_t n) {
  return n == kLanes ? Load(p) : _mm512_maskz_loadu_ps(FirstLanes(n), p);
}
SAVEDMODEL_INLINE void StoreFirst(float* p, Vec x, int64_t n) {
  if (n == kLanes) {
    Store(p, x);
  } else {
    _mm512_mask_storeu_ps(p, FirstLanes(n), x);
  }
}

SAVEDMODEL_INLINE Vec Add(Vec a, Vec b) { return _mm512_add_ps(a, b); }
SAVEDMODEL_INLINE Vec Sub(Vec a, Vec b) { return _mm512_sub_ps(a, b); }
SAVEDMODEL_INLINE Vec Mul(Vec a, Vec b) { return _mm512_mul_ps(a, b); }
SAVEDMODEL_INLINE Vec Div(Vec a, Vec b) { return _mm512_div_ps(a, b); }
SAVEDMODEL_INLINE Vec Fma(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a, b, c); }
// 1 / a for a > 0, to two units in the last place; below 1e-37 with fewer digits. Takes
// half of a division's time.
SAVEDMODEL_INLINE Vec Reciprocal(Vec a) {
  const Vec about = _mm512_rcp14_ps(a);
  // Newton's step, for an infinity zero.
  const Vec finite = _mm512_min_ps(Set(0x1p126f), a);
  return Fma(about, _mm512_fnmadd_ps(finite, about, Set(1.0f)), about);
}
// b where either is NaN.
SAVEDMODEL_INLINE Vec Max(Vec a, Vec b) { return _mm512_max_ps(a, b); }
SAVEDMODEL_INLINE Vec Min(Vec a, Vec b) { return _mm512_min_ps(a, b); }
SAVEDMODEL_INLINE Vec Abs(Vec a) { return _mm512_abs_ps(a); }
// a op b in the first n lanes, a in the others.
SAVEDMODEL_INLINE Vec AddFirst(Vec a, Vec b, int64_t n) {
  return _mm512_mask_add_ps(a, FirstLanes(n), a, b);
}
SAVEDMODEL_INLINE Vec MaxFirst(Vec a, Vec b, int64_t n) {
  return _mm512_mask_max_ps(a, FirstLanes(n), a, b);
}
// The magnitude of a with the sign of b.
SAVEDMODEL_INLINE Vec CopySign(Vec a, Vec b) {
  const __m512 sign = Set(-0.0f);
  return _mm512_or_ps(_mm512_andnot_ps(sign, a), _mm512_and_ps(sign, b));
}
SAVEDMODEL_INLINE Mask Less(Vec a, Vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
SAVEDMODEL_INLINE Vec Select(Mask m, Vec yes, Vec no) {
  return _mm512_mask_blend_ps(m, no, yes);
}
constexpr int kExponentBias = 127;
// The float whose exponent field is in the lowest 8 bits of a: 2^(field - bias), zero for
// 0.
SAVEDMODEL_INLINE Vec LowBitsToExponent(Vec a) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(a), 23));
}

SAVEDMODEL_INLINE float Sum(Vec a) { return _mm512_reduce_add_ps(a); }
SAVEDMODEL_INLINE float Largest(Vec a) { return _mm512_reduce_max_ps(a); }

}  // namespace
}  // namespace savedmodel::kernels::isa
