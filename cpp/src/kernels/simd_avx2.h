// A vector of float32 in AVX2 registers, with fused multiply-add; simd_avx512.h says
// more.
#pragma once

#include <immintrin.h>

#include <cstdint>

#define SAVEDMODEL_INLINE inline __attribute__((always_inline))
#define SAVEDMODEL_LAMBDA __attribute__((always_inline))

namespace savedmodel::kernels::isa {
namespace {

using Vec = __m256;
using Mask = __m256;

constexpr int kLanes = 8;

// Register blocking of GemmMicro: 6 x 2 accumulators, 2 vectors of B and a broadcast fill
// 15 of the 16 registers.
constexpr int kMaxRows = 6;
constexpr int kPanelVecs = 2;
constexpr int kMaxAccumulators = 8;

SAVEDMODEL_INLINE __m256i FirstLanes(int64_t n) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(int(n)), lane);
}

SAVEDMODEL_INLINE Vec Zero() { return _mm256_setzero_ps(); }
SAVEDMODEL_INLINE Vec Set(float x) { return _mm256_set1_ps(x); }
SAVEDMODEL_INLINE Vec Load(const float* p) { return _mm256_loadu_ps(p); }
SAVEDMODEL_INLINE void Store(float* p, Vec x) { _mm256_storeu_ps(p, x); }

SAVEDMODEL_INLINE Vec LoadFirst(const float* p, int64_t n) {
  return n == kLanes ? Load(p) : _mm256_maskload_ps(p, FirstLanes(n));
}
// A masked store takes some twenty cycles on AMD processors.
SAVEDMODEL_INLINE void StoreFirst(float* p, Vec x, int64_t n) {
  if (n == kLanes) {
    Store(p, x);
  } else {
    _mm256_maskstore_ps(p, FirstLanes(n), x);
  }
}

SAVEDMODEL_INLINE Vec Add(Vec a, Vec b) { return _mm256_add_ps(a, b); }
SAVEDMODEL_INLINE Vec Sub(Vec a, Vec b) { return _mm256_sub_ps(a, b); }
SAVEDMODEL_INLINE Vec Mul(Vec a, Vec b) { return _mm256_mul_ps(a, b); }
SAVEDMODEL_INLINE Vec Div(Vec a, Vec b) { return _mm256_div_ps(a, b); }
SAVEDMODEL_INLINE Vec Fma(Vec a, Vec b, Vec c) { return _mm256_fmadd_ps(a, b, c); }
SAVEDMODEL_INLINE Vec Reciprocal(Vec a) { return Div(Set(1.0f), a); }
SAVEDMODEL_INLINE Vec Max(Vec a, Vec b) { return _mm256_max_ps(a, b); }
SAVEDMODEL_INLINE Vec Min(Vec a, Vec b) { return _mm256_min_ps(a, b); }
SAVEDMODEL_INLINE Vec Abs(Vec a) { return _mm256_andnot_ps(Set(-0.0f), a); }
SAVEDMODEL_INLINE Vec AddFirst(Vec a, Vec b, int64_t n) {
  const Vec sum = Add(a, b);
  return n == kLanes ? sum : _mm256_blendv_ps(a, sum, _mm256_castsi256_ps(FirstLanes(n)));
}
SAVEDMODEL_INLINE Vec MaxFirst(Vec a, Vec b, int64_t n) {
  const Vec max = Max(a, b);
  return n == kLanes ? max : _mm256_blendv_ps(a, max, _mm256_castsi256_ps(FirstLanes(n)));
}
SAVEDMODEL_INLINE Vec CopySign(Vec a, Vec b) {
  const __m256 sign = Set(-0.0f);
  return _mm256_or_ps(_mm256_andnot_ps(sign, a), _mm256_and_ps(sign, b));
}
SAVEDMODEL_INLINE Mask Less(Vec a, Vec b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
SAVEDMODEL_INLINE Vec Select(Mask m, Vec yes, Vec no) {
  return _mm256_blendv_ps(no, yes, m);
}
constexpr int kExponentBias = 127;
SAVEDMODEL_INLINE Vec LowBitsToExponent(Vec a) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(a), 23));
}

SAVEDMODEL_INLINE __m128 Halves(Vec a, __m128 (*op)(__m128, __m128)) {
  __m128 x = op(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  x = op(x, _mm_movehl_ps(x, x));
  return op(x, _mm_movehdup_ps(x));
}
SAVEDMODEL_INLINE float Sum(Vec a) {
  return _mm_cvtss_f32(Halves(a, [](__m128 x, __m128 y) { return _mm_add_ps(x, y); }));
}
SAVEDMODEL_INLINE float Largest(Vec a) {
  return _mm_cvtss_f32(Halves(a, [](__m128 x, __m128 y) { return _mm_max_ps(x, y); }));
}

}  // namespace
}  // namespace savedmodel::kernels::isa
