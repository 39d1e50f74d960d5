// Winograd's convolution F(2 x 2, 3 x 3): Lavin and Gray, "Fast Algorithms for
// Convolutional Neural Networks", 2015. Included by kernels_*.cc after gemm_impl.h.
//
// A tile of 2 x 2 outputs is made from 4 x 4 inputs by 16 multiplications for each pair
// of channels instead of 36: inputs and filter are transformed (sums and differences, the
// filter's once, when it is packed), multiplied element by element, which over channels
// and tiles is 16 products of matrices, and transformed back. It rounds about as
// well as the direct convolution; larger tiles do not.
#pragma once

#include <cstdint>

#include "kernels/kernel_table.h"

namespace savedmodel::kernels::isa {
namespace {

constexpr int kElements = kWinogradElements;
// Transformed inputs of a block of tiles: 256 kB, so that they, the products and a part
// of the filter share the second-level cache.
constexpr int64_t kBlockFloats = 64 * 1024;
// Output channels at once: rows of the transformed inputs are read twice, where they are.
constexpr int64_t kBlockChannels = 2 * kPanelWidth;

int64_t WinogradStride(int64_t channels) { return RoundUp(channels, 16) + 16; }

int64_t WinogradBlockTiles(int64_t channels) {
  const int64_t tiles = kBlockFloats / (kElements * WinogradStride(channels));
  return Greatest(2 * kMaxRows, tiles / kMaxRows * kMaxRows);
}

struct WinogradTile {
  int64_t image, y, x;  // of the first output
};

WinogradTile WinogradTileAt(const ConvInput& conv, int64_t tile) {
  const int64_t columns = DivUp(conv.out_w, 2), rows = DivUp(conv.out_h, 2);
  return {tile / (columns * rows), 2 * (tile / columns % rows), 2 * (tile % columns)};
}

// The four sums and differences of B^T d, one dimension of the input's transform.
SAVEDMODEL_INLINE void TransformInput(const Vec d0, const Vec d1, const Vec d2,
                                      const Vec d3, Vec* out) {
  out[0] = Sub(d0, d2);
  out[1] = Add(d1, d2);
  out[2] = Sub(d2, d1);
  out[3] = Sub(d1, d3);
}

// Element e of the tile's transformed input at to + e * element_stride.
void TransformTile(const ConvInput& conv, int64_t tile, const float* zeros, float* to,
                   int64_t element_stride) {
  const WinogradTile at = WinogradTileAt(conv, tile);
  const int64_t channels = conv.shape.channels;
  const float* in[4][4];
  for (int64_t i = 0; i < 4; ++i) {
    const int64_t y = at.y - conv.window.pad_top + i;
    for (int64_t j = 0; j < 4; ++j) {
      const int64_t x = at.x - conv.window.pad_left + j;
      const bool inside =
          y >= 0 && y < conv.shape.height && x >= 0 && x < conv.shape.width;
      const int64_t pixel = (at.image * conv.shape.height + y) * conv.shape.width + x;
      in[i][j] = inside ? conv.in + pixel * channels : zeros;
    }
  }
  ForVectors(channels, [&](int64_t c, int64_t lanes) SAVEDMODEL_LAMBDA {
    Vec rows[4][4];  // rows[j][i]: row i of B^T d, column j
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      TransformInput(LoadFirst(in[0][j] + c, lanes), LoadFirst(in[1][j] + c, lanes),
                     LoadFirst(in[2][j] + c, lanes), LoadFirst(in[3][j] + c, lanes),
                     rows[j]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      Vec element[4];
      TransformInput(rows[0][i], rows[1][i], rows[2][i], rows[3][i], element);
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j)
        Store(to + (4 * i + j) * element_stride + c, element[j]);
    }
  });
}

// One dimension of the filter's transform, G g.
SAVEDMODEL_INLINE void TransformFilter(const Vec g0, const Vec g1, const Vec g2,
                                       Vec* out) {
  const Vec half = Set(0.5f);
  const Vec sides = Add(g0, g2);
  out[0] = g0;
  out[1] = Mul(half, Add(sides, g1));
  out[2] = Mul(half, Sub(sides, g1));
  out[3] = g2;
}

// The transformed filter's elements as packed matrices (see Pack), `stride` apart.
void PackWinograd(const float* filter, int64_t channels, int64_t n,
                  const float* channel_scale, float* packed, int64_t stride) {
  for (int64_t column = 0; column < n; column += kPanelWidth) {
    const int64_t columns = Least(kPanelWidth, n - column);
    const int64_t width = n == 1 ? 1 : RoundUp(columns, kLanes);
    for (int64_t c = 0; c < channels; ++c, packed += width) {
      ForVectors(columns, [&](int64_t j, int64_t lanes) SAVEDMODEL_LAMBDA {
        const float* taps = filter + c * n + column + j;
        const Vec scale =
            channel_scale ? LoadFirst(channel_scale + column + j, lanes) : Set(1.0f);
        Vec rows[3][4];  // rows[x][i]: row i of G g, column x
#pragma GCC unroll 3
        for (int x = 0; x < 3; ++x) {
          Vec g[3];
#pragma GCC unroll 3
          for (int y = 0; y < 3; ++y) {
            g[y] = Mul(scale, LoadFirst(taps + (3 * y + x) * channels * n, lanes));
          }
          TransformFilter(g[0], g[1], g[2], rows[x]);
        }
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) {
          Vec element[4];
          TransformFilter(rows[0][i], rows[1][i], rows[2][i], element);
#pragma GCC unroll 4
          for (int e = 0; e < 4; ++e) {
            StoreFirst(packed + (4 * i + e) * stride + j, element[e],
                       Least(width, kLanes));
          }
        }
      });
    }
  }
}

// Channels [channel, channel + count) of the tile's outputs from its products, element e
// at from + e * element_stride.
void TransformBack(const WinogradArgs& args, int64_t tile, const float* from,
                   int64_t element_stride, int64_t channel, int64_t count) {
  const WinogradTile at = WinogradTileAt(args.conv, tile);
  const Epilogue& epilogue = args.epilogue;
  const Clamp clamp = ClampOf(epilogue.activation);
  const int64_t out_h = args.conv.out_h, out_w = args.conv.out_w;
  const int64_t first = ((at.image * out_h + at.y) * out_w + at.x) * args.n + channel;
  const int64_t row = out_w * args.n;
  const int64_t rows = Least(2, out_h - at.y), columns = Least(2, out_w - at.x);
  ForVectors(count, [&](int64_t c, int64_t lanes) SAVEDMODEL_LAMBDA {
    Vec sums[2][4];
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      Vec m[4];
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) m[i] = Load(from + (4 * i + j) * element_stride + c);
      sums[0][j] = Add(Add(m[0], m[1]), m[2]);
      sums[1][j] = Sub(Sub(m[1], m[2]), m[3]);
    }
    const Vec bias =
        epilogue.bias ? LoadFirst(epilogue.bias + channel + c, lanes) : Zero();
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) {
      if (i >= rows) break;
      const Vec* s = sums[i];
      const Vec out[2] = {Add(Add(s[0], s[1]), Add(s[2], bias)),
                          Add(Sub(s[1], s[2]), Sub(bias, s[3]))};
#pragma GCC unroll 2
      for (int j = 0; j < 2; ++j) {
        if (j >= columns) break;
        const int64_t to = first + i * row + j * args.n + c;
        Vec x = out[j];
        if (epilogue.residual) x = Add(x, LoadFirst(epilogue.residual + to, lanes));
        StoreFirst(args.out + to, ApplyClamp(Set(clamp.low), Set(clamp.high), x), lanes);
      }
    }
  });
  if (IsClamp(epilogue.activation)) return;
  for (int64_t i = 0; i < rows; ++i) {
    ActivateRows(args.out + first + i * row, columns, count, args.n, epilogue.activation);
  }
}

// Zeros, the transformed inputs, the products, Gemm's own.
int64_t WinogradScratch(const WinogradArgs& args) {
  const int64_t channels = args.conv.shape.channels;
  const int64_t tiles = WinogradBlockTiles(channels);
  return WinogradStride(channels) * (1 + kElements * tiles) +
         kElements * tiles * kBlockChannels + kTileFloats;
}

void Winograd(const WinogradArgs& args, Range tiles, float* scratch) {
  const int64_t channels = args.conv.shape.channels;
  const int64_t stride = WinogradStride(channels);
  const int64_t most = WinogradBlockTiles(channels);
  float* zeros = scratch;
  float* inputs = zeros + stride;
  float* products = inputs + kElements * most * stride;
  float* gemm_scratch = products + kElements * most * kBlockChannels;
  ZeroPadded(channels, zeros);
  const int64_t total = tiles.end - tiles.begin;
  const int64_t blocks = DivUp(total, most);
  for (int64_t b = 0; b < blocks; ++b) {
    const int64_t begin = tiles.begin + total * b / blocks;
    const int64_t count = tiles.begin + total * (b + 1) / blocks - begin;
    for (int64_t t = 0; t < count; ++t) {
      TransformTile(args.conv, begin + t, zeros, inputs + t * stride, most * stride);
    }
    for (int64_t channel = 0; channel < args.n; channel += kBlockChannels) {
      const int64_t out_channels = Least(kBlockChannels, args.n - channel);
      const Range panels = {channel / kPanelWidth,
                            DivUp(channel + out_channels, kPanelWidth)};
      for (int64_t e = 0; e < kElements; ++e) {
        GemmArgs gemm = {};
        gemm.a = inputs + e * most * stride;
        gemm.lda = stride;
        gemm.k = channels;
        gemm.n = args.n;
        gemm.b = args.filter + e * args.filter_stride;
        // Gemm's columns are the whole product's: channel 0 would lie before the block.
        gemm.out = products + e * most * kBlockChannels - channel;
        gemm.ldc = kBlockChannels;
        Gemm<Float32Cell>(gemm, {0, count}, panels, gemm_scratch);
      }
      for (int64_t t = 0; t < count; ++t) {
        TransformBack(args, begin + t, products + t * kBlockChannels,
                      most * kBlockChannels, channel, out_channels);
      }
    }
  }
}

}  // namespace
}  // namespace savedmodel::kernels::isa
