// What kernels.cc, compiled for any processor, asks of the code for one instruction set.
// Plain data and function pointers only.
#pragma once

#include <cstdint>

#include "kernels/kernels.h"

namespace savedmodel::kernels {

struct Range {
  int64_t begin, end;
};

// Where a convolution's window lies in its input, for its product of matrices: row m is
// output pixel m in (batch, y, x) order, column k the filter's element in (y, x, channel)
// order.
struct ConvInput {
  const float* in;
  ImageShape shape;
  int64_t out_h, out_w;
  Window window;
};

// epilogue(A . B) with B packed. Of A, either rows or a convolution's input are given.
struct GemmArgs {
  const float* a;
  int64_t lda;
  const ConvInput* conv;  // null: A is a matrix
  int64_t k, n;
  const float* b;
  Epilogue epilogue;
  float* out;
  int64_t ldc;
};

// Winograd's convolution, see winograd_impl.h: 16 products for tiles of 2 x 2 outputs.
constexpr int64_t kWinogradElements = 16;

struct WinogradArgs {
  ConvInput conv;
  int64_t n;            // output channels
  const float* filter;  // packed matrices, filter_stride apart
  int64_t filter_stride;
  Epilogue epilogue;
  float* out;
};

struct DepthwiseArgs {
  const float* in;
  ImageShape shape;
  int64_t out_h, out_w;
  Window window;
  const float* filter;
  const float* bias;
  Activation activation;
  float* out;
};

struct PoolArgs {
  const float* in;
  ImageShape shape;
  int64_t out_h, out_w;
  Window window;
  bool max;
  float* out;
};

// Products of matrices. `tiles` are parts of A's rows, of max_rows at most; floats of
// scratch and shared memory are asked for before.
struct GemmTable {
  // Rows [rows) times panels [panels).
  void (*run)(const GemmArgs&, Range rows, Range panels, float* scratch);
  int64_t (*scratch)(const GemmArgs&, Range rows, Range panels);
  // The same for m rows in two parts: tiles [tiles) of A are copied to `shared`, which is
  // for all of them; then tiles [tiles) are multiplied by panels [panels).
  int64_t (*shared_tiles)(const GemmArgs&, int64_t m);
  void (*pack_tiles)(const GemmArgs&, int64_t m, Range tiles, float* shared);
  void (*run_tiles)(const GemmArgs&, int64_t m, Range tiles, Range panels,
                    const float* shared);
};

// Products with B in bfloat16.
struct Bfloat16Table {
  GemmTable gemm;
  // Rounds what KernelTable's `pack` has packed: two of its values in each float.
  void (*pack)(const float* packed, int64_t k, int64_t n, float* cells);
};

// *_scratch say how many floats the scratch has.
struct KernelTable {
  int64_t lanes;        // floats in a register
  int64_t panel_width;  // columns of B in a panel
  int64_t max_rows;     // rows of A in a tile

  GemmTable gemm;
  // The packed form of scale * b (b transposed: [n, k]), see PackedMatrix. column_scale
  // or null.
  void (*pack)(const float* b, int64_t k, int64_t n, int64_t ldb, bool transposed,
               float scale, const float* column_scale, float* packed);

  // filter: [3, 3, channels, n]; the elements' packed matrices lie `stride` apart.
  void (*pack_winograd)(const float* filter, int64_t channels, int64_t n,
                        const float* channel_scale, float* packed, int64_t stride);
  // Tiles [tiles) of batch * ceil(out_h / 2) * ceil(out_w / 2).
  void (*winograd)(const WinogradArgs&, Range tiles, float* scratch);
  int64_t (*winograd_scratch)(const WinogradArgs&);
  // Output rows [rows) of batch * out_h.
  void (*depthwise)(const DepthwiseArgs&, Range rows, float* scratch);
  int64_t (*depthwise_scratch)(const DepthwiseArgs&);
  void (*pool)(const PoolArgs&, Range rows);
  // in: [pixels, channels].
  void (*sum_pixels)(const float* in, int64_t pixels, int64_t channels, float* sums);
  void (*scale_pixels)(const float* in, const float* scale, int64_t pixels,
                       int64_t channels, float* out);
  void (*activate)(const float* in, int64_t count, Activation, float* out);
  void (*binary)(BinaryOp, const float* a, const float* b, int64_t rows, int64_t columns,
                 bool broadcast, bool reverse, Activation, float* out);
  void (*layer_norm)(const float* in, const float* residual, int64_t rows,
                     int64_t columns, const float* gamma, const float* beta,
                     float epsilon, float* out);
  void (*softmax)(const float* in, const float* mask, int64_t columns, Range rows,
                  int64_t rows_per_mask, float* out);
  void (*lstm_cell)(const float* gates, const float* previous_c, int64_t batch,
                    int64_t units, float* h, float* c);
};

extern const KernelTable kAvx2Kernels;
extern const KernelTable kAvx512Kernels;
// With kAvx512Kernels' lanes, panels and tiles. For processors with AVX512-BF16.
extern const Bfloat16Table kAvx512Bfloat16;

// Not left as functions for the linker to choose from: see kernels_avx512.cc.
[[gnu::always_inline]] constexpr int64_t DivUp(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}
[[gnu::always_inline]] constexpr int64_t RoundUp(int64_t a, int64_t b) {
  return DivUp(a, b) * b;
}

}  // namespace savedmodel::kernels
