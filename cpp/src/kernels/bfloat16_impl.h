// Products in bfloat16 with sums in float32, for gemm_impl.h. A cell holds two values, of
// adjacent columns of A or adjacent rows of B, which one instruction multiplies and adds
// up: twice as many multiplications in the same time. Included by kernels_avx512.cc
// alone; to be run only where the processor has that instruction.
#pragma once

#include <cstdint>

#include "kernels/kernel_table.h"

namespace savedmodel::kernels::isa {
namespace {

struct Bfloat16Cell {
  static constexpr int64_t kColumns = 2;
  static constexpr bool kInPlace = false;
  SAVEDMODEL_INLINE static Vec MultiplyAdd(Vec a, Vec b, Vec sum) {
    return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
  }
  // Reads on to a multiple of 2 * kLanes floats, which the distance of a tile's rows
  // allows.
  SAVEDMODEL_INLINE static void Convert(float* row, int64_t k) {
    for (int64_t i = 0; i < k; i += 2 * kLanes) {
      const Vec low = i + kLanes <= k ? Load(row + i) : LoadFirst(row + i, k - i);
      const int64_t rest = k - i - kLanes;
      const Vec high = rest >= kLanes ? Load(row + i + kLanes)
                       : rest > 0     ? LoadFirst(row + i + kLanes, rest)
                                      : Zero();
      Store(row + i / 2, (Vec)_mm512_cvtne2ps_pbh(high, low));
    }
  }
};

// A whole packed matrix of floats -> one of cells.
void PackBfloat16(const float* packed, int64_t k, int64_t n, float* cells) {
  for (int64_t column = 0; column < n; column += kPanelWidth) {
    const int64_t width = RoundUp(Least(kPanelWidth, n - column), kLanes);
    for (int64_t i = 0; i < k; i += 2) {
      for (int64_t j = 0; j < width; j += kLanes) {
        const Vec even = Load(packed + i * width + j);
        const Vec odd = i + 1 < k ? Load(packed + (i + 1) * width + j) : Zero();
        const __m512i rounded = (__m512i)_mm512_cvtne2ps_pbh(odd, even);
        const __m512i low = _mm512_cvtepu16_epi32(_mm512_castsi512_si256(rounded));
        const __m512i high = _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(rounded, 1));
        Store(cells + i / 2 * width + j,
              _mm512_castsi512_ps(_mm512_or_si512(low, _mm512_slli_epi32(high, 16))));
      }
    }
    packed += k * width;
    cells += DivUp(k, 2) * width;
  }
}

}  // namespace
}  // namespace savedmodel::kernels::isa
