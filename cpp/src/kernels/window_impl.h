// Depthwise convolution and pooling. Included by kernels_*.cc after gemm_impl.h.
#pragma once

#include <cstdint>

#include "kernels/kernel_table.h"

namespace savedmodel::kernels::isa {
namespace {

// A block of output pixels is computed at once, kRowsOut x kColumnsOut, for one vector of
// channels after the other, so that an input vector is loaded once for all outputs that
// it touches. Input pixels are reached through a table of pointers, in which padding is a
// pixel of zeros.
struct DepthwiseBlock {
  const float* const*
      in;  // pointers to the block's first input pixel; rows in_stride apart
  int64_t in_stride;
  const float* filter;
  const float* bias;
  Clamp clamp;
  int64_t channels;
  float* out;       // the first output pixel
  int64_t out_row;  // floats from one output row to the next
  int64_t columns;  // output columns that exist, of kColumnsOut
};

template <int kKernel, int kStride, int kRowsOut, int kColumnsOut>
void DepthwiseMicro(const DepthwiseBlock& block) {
  constexpr int kRowsIn = (kRowsOut - 1) * kStride + kKernel;
  constexpr int kColumnsIn = (kColumnsOut - 1) * kStride + kKernel;
  const Vec low = Set(block.clamp.low), high = Set(block.clamp.high);
  ForVectors(block.channels, [&](int64_t c, int64_t lanes) SAVEDMODEL_LAMBDA {
    const Vec bias = block.bias ? LoadFirst(block.bias + c, lanes) : Zero();
    Vec sum[kRowsOut][kColumnsOut];
#pragma GCC unroll 2
    for (int y = 0; y < kRowsOut; ++y) {
#pragma GCC unroll 8
      for (int x = 0; x < kColumnsOut; ++x) sum[y][x] = bias;
    }
#pragma GCC unroll 8
    for (int in_y = 0; in_y < kRowsIn; ++in_y) {
      Vec weight[kRowsOut][kKernel];  // of this input row, for each output row
#pragma GCC unroll 2
      for (int y = 0; y < kRowsOut; ++y) {
        const int kernel_y = in_y - y * kStride;
        if (kernel_y < 0 || kernel_y >= kKernel) continue;
#pragma GCC unroll 8
        for (int x = 0; x < kKernel; ++x) {
          weight[y][x] = LoadFirst(
              block.filter + (kernel_y * kKernel + x) * block.channels + c, lanes);
        }
      }
#pragma GCC unroll 32
      for (int in_x = 0; in_x < kColumnsIn; ++in_x) {
        const Vec value = LoadFirst(block.in[in_y * block.in_stride + in_x] + c, lanes);
#pragma GCC unroll 2
        for (int y = 0; y < kRowsOut; ++y) {
          const int kernel_y = in_y - y * kStride;
          if (kernel_y < 0 || kernel_y >= kKernel) continue;
#pragma GCC unroll 8
          for (int x = 0; x < kColumnsOut; ++x) {
            const int kernel_x = in_x - x * kStride;
            if (kernel_x < 0 || kernel_x >= kKernel) continue;
            sum[y][x] = Fma(value, weight[y][kernel_x], sum[y][x]);
          }
        }
      }
    }
#pragma GCC unroll 2
    for (int y = 0; y < kRowsOut; ++y) {
#pragma GCC unroll 8
      for (int x = 0; x < kColumnsOut; ++x) {
        if (x >= block.columns) break;
        StoreFirst(block.out + y * block.out_row + x * block.channels + c,
                   ApplyClamp(low, high, sum[y][x]), lanes);
      }
    }
  });
}

// For one kernel size and stride.
struct DepthwiseFunctions {
  void (*one_row)(const DepthwiseBlock&);
  void (*two_rows)(const DepthwiseBlock&);  // or null
  int64_t columns;
};

template <int kKernel, int kStride, int kColumnsOut>
DepthwiseFunctions DepthwiseFunctionsOf() {
  // Two rows of outputs, their weights and an input fill AVX-512's registers for 3 x 3.
  constexpr bool kTwoRows = kKernel == 3 && kLanes == 16;
  return {DepthwiseMicro<kKernel, kStride, 1, kColumnsOut>,
          kTwoRows      ? DepthwiseMicro < kKernel, kStride, kTwoRows ? 2 : 1,
          kColumnsOut > : nullptr, kColumnsOut};
}

template <int kKernel, int kStride>
DepthwiseFunctions ChooseDepthwise(int64_t out_w) {
  // Fewest columns computed in vain.
  return RoundUp(out_w, 7) <= RoundUp(out_w, 4)
             ? DepthwiseFunctionsOf<kKernel, kStride, 7>()
             : DepthwiseFunctionsOf<kKernel, kStride, 4>();
}

// No function when the window is not of a common kind.
DepthwiseFunctions ChooseDepthwise(const Window& w, int64_t out_w) {
  const bool square = w.kernel_h == w.kernel_w && w.stride_h == w.stride_w;
  if (!square || w.dilation_h != 1 || w.dilation_w != 1) return {};
  if (w.kernel_h == 3 && w.stride_h == 1) return ChooseDepthwise<3, 1>(out_w);
  if (w.kernel_h == 3 && w.stride_h == 2) return ChooseDepthwise<3, 2>(out_w);
  if (w.kernel_h == 5 && w.stride_h == 1) return ChooseDepthwise<5, 1>(out_w);
  if (w.kernel_h == 5 && w.stride_h == 2) return ChooseDepthwise<5, 2>(out_w);
  return {};
}

int64_t DepthwiseTableColumns(const DepthwiseArgs& args, int64_t columns_out) {
  return (RoundUp(args.out_w, columns_out) - 1) * args.window.stride_w +
         args.window.kernel_w;
}

constexpr int64_t kFloatsPerPointer = 2;
static_assert(sizeof(const float*) == kFloatsPerPointer * sizeof(float));

// Zeros, then the table of pointers.
int64_t DepthwiseScratch(const DepthwiseArgs& args) {
  const DepthwiseFunctions functions = ChooseDepthwise(args.window, args.out_w);
  if (!functions.one_row) return 0;
  const int64_t rows = args.window.stride_h + args.window.kernel_h;
  return RoundUp(args.shape.channels, 16) +
         rows * DepthwiseTableColumns(args, functions.columns) * kFloatsPerPointer;
}

// The part of [0, kernel) that lies inside an input of `size` when its start is at
// `first`.
SAVEDMODEL_INLINE Range InsideTaps(int64_t first, int64_t dilation, int64_t kernel,
                                   int64_t size) {
  const int64_t begin = first >= 0 ? 0 : DivUp(-first, dilation);
  const int64_t end = first >= size ? 0 : DivUp(size - first, dilation);
  return {begin, Least(kernel, end)};
}

// Any kernel, stride and dilation, pixel by pixel.
void DepthwiseRowGeneral(const DepthwiseArgs& args, int64_t image, int64_t y,
                         float* out) {
  const Window& w = args.window;
  const int64_t channels = args.shape.channels;
  const Clamp clamp = ClampOf(args.activation);
  const int64_t in_y0 = y * w.stride_h - w.pad_top;
  const Range ys = InsideTaps(in_y0, w.dilation_h, w.kernel_h, args.shape.height);
  for (int64_t x = 0; x < args.out_w; ++x) {
    const int64_t in_x0 = x * w.stride_w - w.pad_left;
    const Range xs = InsideTaps(in_x0, w.dilation_w, w.kernel_w, args.shape.width);
    ForVectors(channels, [&](int64_t c, int64_t lanes) SAVEDMODEL_LAMBDA {
      Vec sum = args.bias ? LoadFirst(args.bias + c, lanes) : Zero();
      for (int64_t ky = ys.begin; ky < ys.end; ++ky) {
        const int64_t row = image * args.shape.height + in_y0 + ky * w.dilation_h;
        for (int64_t kx = xs.begin; kx < xs.end; ++kx) {
          const int64_t pixel = row * args.shape.width + in_x0 + kx * w.dilation_w;
          sum = Fma(LoadFirst(args.in + pixel * channels + c, lanes),
                    LoadFirst(args.filter + (ky * w.kernel_w + kx) * channels + c, lanes),
                    sum);
        }
      }
      StoreFirst(out + x * channels + c, ApplyClamp(Set(clamp.low), Set(clamp.high), sum),
                 lanes);
    });
  }
  if (!IsClamp(args.activation)) {
    Activate(out, args.out_w * channels, args.activation, out);
  }
}

void Depthwise(const DepthwiseArgs& args, Range rows, float* scratch) {
  const Window& w = args.window;
  const int64_t channels = args.shape.channels;
  const int64_t out_row = args.out_w * channels;
  const DepthwiseFunctions functions = ChooseDepthwise(w, args.out_w);
  if (!functions.one_row) {
    for (int64_t row = rows.begin; row < rows.end; ++row) {
      DepthwiseRowGeneral(args, row / args.out_h, row % args.out_h,
                          args.out + row * out_row);
    }
    return;
  }
  const float* zeros = scratch;
  ZeroPadded(channels, scratch);
  const auto table = reinterpret_cast<const float**>(scratch + RoundUp(channels, 16));
  const int64_t table_columns = DepthwiseTableColumns(args, functions.columns);
  for (int64_t row = rows.begin; row < rows.end;) {
    const int64_t image = row / args.out_h, y = row % args.out_h;
    const bool two = functions.two_rows && row + 1 < rows.end && y + 1 < args.out_h;
    const int64_t rows_in = w.kernel_h + (two ? w.stride_h : 0);
    for (int64_t i = 0; i < rows_in; ++i) {
      const int64_t in_y = y * w.stride_h - w.pad_top + i;
      const bool inside = in_y >= 0 && in_y < args.shape.height;
      const float* line =
          args.in + (image * args.shape.height + in_y) * args.shape.width * channels;
      const float** pointers = table + i * table_columns;
      const int64_t begin = inside ? Least(w.pad_left, table_columns) : table_columns;
      const int64_t end =
          inside ? Least(w.pad_left + args.shape.width, table_columns) : table_columns;
      for (int64_t j = 0; j < begin; ++j) pointers[j] = zeros;
      for (int64_t j = begin; j < end; ++j)
        pointers[j] = line + (j - w.pad_left) * channels;
      for (int64_t j = end; j < table_columns; ++j) pointers[j] = zeros;
    }
    for (int64_t x = 0; x < args.out_w; x += functions.columns) {
      DepthwiseBlock block;
      block.in = table + x * w.stride_w;
      block.in_stride = table_columns;
      block.filter = args.filter;
      block.bias = args.bias;
      block.clamp = ClampOf(args.activation);
      block.channels = channels;
      block.out = args.out + row * out_row + x * channels;
      block.out_row = out_row;
      block.columns = Least(functions.columns, args.out_w - x);
      (two ? functions.two_rows : functions.one_row)(block);
      if (IsClamp(args.activation)) continue;
      ActivateRows(block.out, two ? 2 : 1, block.columns * channels, out_row,
                   args.activation);
    }
    row += two ? 2 : 1;
  }
}

template <bool kMax>
void PoolRows(const PoolArgs& args, Range rows) {
  const Window& w = args.window;
  const int64_t channels = args.shape.channels;
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    const int64_t image = row / args.out_h;
    const int64_t in_y0 = row % args.out_h * w.stride_h - w.pad_top;
    const Range ys = InsideTaps(in_y0, w.dilation_h, w.kernel_h, args.shape.height);
    for (int64_t x = 0; x < args.out_w; ++x) {
      const int64_t in_x0 = x * w.stride_w - w.pad_left;
      const Range xs = InsideTaps(in_x0, w.dilation_w, w.kernel_w, args.shape.width);
      const Vec count = Set(float((ys.end - ys.begin) * (xs.end - xs.begin)));
      float* out = args.out + (row * args.out_w + x) * channels;
      ForVectors(channels, [&](int64_t c, int64_t lanes) SAVEDMODEL_LAMBDA {
        Vec result = kMax ? Set(-__builtin_inff()) : Zero();
        for (int64_t ky = ys.begin; ky < ys.end; ++ky) {
          const int64_t line = image * args.shape.height + in_y0 + ky * w.dilation_h;
          for (int64_t kx = xs.begin; kx < xs.end; ++kx) {
            const int64_t pixel = line * args.shape.width + in_x0 + kx * w.dilation_w;
            const Vec value = LoadFirst(args.in + pixel * channels + c, lanes);
            result = kMax ? Max(result, value) : Add(result, value);
          }
        }
        StoreFirst(out + c, kMax ? result : Div(result, count), lanes);
      });
    }
  }
}

void Pool(const PoolArgs& args, Range rows) {
  args.max ? PoolRows<true>(args, rows) : PoolRows<false>(args, rows);
}

}  // namespace
}  // namespace savedmodel::kernels::isa
