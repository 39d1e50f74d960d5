// Matrix products and convolutions. Included by kernels_*.cc after activation_impl.h.
//
// A tile of kMaxRows rows of A times a panel of B is accumulated in registers
// (GemmMicro). A row of A is read element by element and broadcast, so rows may lie
// anywhere, as long as they are equally far apart: those of a matrix are used where they
// are or, like a convolution's, copied into a tile buffer, which costs little (one load
// and one store for kLanes elements that are each used n times), fits the first-level
// cache and never maps all its rows to one cache set. A convolution thus is a product
// with a matrix of which only a tile exists at a time.
//
// Tiles and B are made of cells of 32 bits: a float, or what bfloat16_impl.h puts there.
//
// Loops around it, chosen by the size of B:
//   tiles, blocks of k, panels   B stays in the second-level cache for all tiles; the
//   tile of
//                                A and of the output in the first-level cache.
//   blocks of rows, blocks of k, panels, tiles
//                                B is too large to stay: each panel is fetched once for
//                                many tiles, whose block of A stays in the second-level
//                                cache.
#pragma once

#include <cstdint>

#include "kernels/kernel_table.h"

namespace savedmodel::kernels::isa {
namespace {

constexpr int64_t kPanelWidth = kPanelVecs * kLanes;
// A tile of A with kMaxBlockK columns: 29 kB of the first-level cache on AVX-512. The
// distance of its rows is an odd number of cache lines.
constexpr int64_t kMaxBlockK = 512;
constexpr int64_t kTileStride = kMaxBlockK + 16;
constexpr int64_t kTileFloats = kMaxRows * kTileStride;
// What of B may stay in the second-level cache, of which there is 1 MB or more.
constexpr int64_t kResidentFloats = 160 * 1024;
// A block of A: about 700 kB.
constexpr int64_t kBlockTiles = 336 / kMaxRows;

struct Float32Cell {
  // Of A, or rows of B, that a cell holds.
  static constexpr int64_t kColumns = 1;
  // Rows of A need not be copied into a tile.
  static constexpr bool kInPlace = true;
  SAVEDMODEL_INLINE static Vec MultiplyAdd(Vec a, Vec b, Vec sum) {
    return Fma(a, b, sum);
  }
  // Makes cells of a row of k floats, where they are.
  SAVEDMODEL_INLINE static void Convert(float*, int64_t) {}
};

struct MicroArgs {
  const float* a;  // row 0; the other rows a_stride apart
  int64_t a_stride;
  int64_t runs;  // parts of A's rows, of k adjacent columns each, run_stride apart
  int64_t run_stride;
  const float* b;  // the panel; the next one panel_stride further
  int64_t panel_stride;
  const float* prefetch;  // a cache line from here on is fetched for each k
  int64_t k;              // in cells
  float* out;
  int64_t ldc;
  int64_t last_lanes;   // columns in the last vector
  const float* bias;    // or null
  const float* addend;  // added to the result, rows ldc apart; or null
  Clamp clamp;
};

// out[kRows][kVecs vectors] = clamp(a . b + bias + addend). Few rows take several panels
// at once, so that there are enough independent sums to keep the multipliers busy.
template <typename Cell, int kRows, int kVecs, bool kTile>
void GemmMicro(const MicroArgs& args) {
  // Partial sums over k where rows and vectors are fewer than the eight that two
  // multipliers with a latency of four cycles need.
  constexpr int kSums = kRows * kVecs;
  constexpr int kSplit = kSums * 2 > kMaxRows * kPanelVecs || kSums >= 8 ? 1
                         : kSums * 2 >= 8                                ? 2
                                                                         : 4;
  const int64_t a_stride = kTile ? kTileStride : args.a_stride;
  const float* b = args.b;
  const float* prefetch = args.prefetch;

  // What is read and written at the end is fetched while the sums are made.
  if (kRows > 2) {
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      for (int v = 0; v < kVecs; ++v) {
        const int64_t at = r * args.ldc + v * kLanes;
        __builtin_prefetch(args.out + at, 1);
        if (args.addend) __builtin_prefetch(args.addend + at);
      }
    }
  }

  Vec sum[kSplit][kRows][kVecs];
#pragma GCC unroll 4
  for (int s = 0; s < kSplit; ++s) {
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
      for (int v = 0; v < kVecs; ++v) sum[s][r][v] = Zero();
    }
  }
  const float* a;
  const auto step = [&](int s) SAVEDMODEL_LAMBDA {
    Vec bv[kVecs];
#pragma GCC unroll 8
    for (int v = 0; v < kVecs; ++v) {
      bv[v] = Load(b + (v / kPanelVecs) * args.panel_stride + (v % kPanelVecs) * kLanes);
    }
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const Vec av = Set(a[r * a_stride]);
#pragma GCC unroll 8
      for (int v = 0; v < kVecs; ++v)
        sum[s][r][v] = Cell::MultiplyAdd(av, bv[v], sum[s][r][v]);
    }
    a += 1;
    b += kVecs == 1 ? kLanes : kPanelWidth;
  };
  const int64_t runs = kTile ? 1 : args.runs;
  for (int64_t run = 0; run < runs; ++run) {
    a = args.a + run * args.run_stride;
    int64_t k = args.k;
    for (; k >= kSplit; k -= kSplit) {
      __builtin_prefetch(prefetch, 0, 2);
      prefetch += 16;
#pragma GCC unroll 4
      for (int s = 0; s < kSplit; ++s) step(s);
    }
    if (kSplit > 1) {
      for (; k > 0; --k) step(0);
    }
  }
  if (kSplit > 1) {
#pragma GCC unroll 4
    for (int s = 1; s < kSplit; ++s) {
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
        for (int v = 0; v < kVecs; ++v) {
          sum[0][r][v] = Add(sum[0][r][v], sum[s][r][v]);
        }
      }
    }
  }

  const Vec low = Set(args.clamp.low), high = Set(args.clamp.high);
#pragma GCC unroll 8
  for (int v = 0; v < kVecs; ++v) {
    const int64_t lanes = v + 1 == kVecs ? args.last_lanes : kLanes;
    const Vec bias = args.bias ? LoadFirst(args.bias + v * kLanes, lanes) : Zero();
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const int64_t at = r * args.ldc + v * kLanes;
      Vec x = Add(sum[0][r][v], bias);
      if (args.addend) x = Add(x, LoadFirst(args.addend + at, lanes));
      StoreFirst(args.out + at, ApplyClamp(low, high, x), lanes);
    }
  }
}

// How many panels kRows rows may take at once: 4, 2 or 1.
constexpr int PanelsAtOnce(int rows) {
  return rows * 4 * kPanelVecs <= kMaxAccumulators   ? 4
         : rows * 2 * kPanelVecs <= kMaxAccumulators ? 2
                                                     : 1;
}

using MicroFunction = void (*)(const MicroArgs&);

// For one number of rows: a panel of one vector, a whole panel, PanelsAtOnce panels.
struct MicroFunctions {
  MicroFunction half, one, many;
};

template <typename Cell, int kRows, bool kTile>
constexpr MicroFunctions MicroFunctionsOf() {
  return {GemmMicro<Cell, kRows, 1, kTile>, GemmMicro<Cell, kRows, kPanelVecs, kTile>,
          GemmMicro<Cell, kRows, kPanelVecs * PanelsAtOnce(kRows), kTile>};
}

// The functions for 1 .. kMaxRows rows.
template <typename Cell, bool kTile, int... kRows>
struct MicroTable {
  MicroFunctions of_rows[sizeof...(kRows)] = {MicroFunctionsOf<Cell, kRows, kTile>()...};
};
template <typename Cell, bool kTile, int kNext, int... kRows>
struct MakeMicroTable : MakeMicroTable<Cell, kTile, kNext - 1, kNext, kRows...> {};
template <typename Cell, bool kTile, int... kRows>
struct MakeMicroTable<Cell, kTile, 0, kRows...> {
  using type = MicroTable<Cell, kTile, kRows...>;
};
template <typename Cell>
constexpr typename MakeMicroTable<Cell, true, kMaxRows>::type kTileMicros;
template <typename Cell>
constexpr typename MakeMicroTable<Cell, false, kMaxRows>::type kRowMicros;

template <typename Cell>
MicroFunctions MicroFunctionsFor(int64_t rows, bool tile) {
  if constexpr (Cell::kInPlace) {
    if (!tile) return kRowMicros<Cell>.of_rows[rows - 1];
  }
  return kTileMicros<Cell>.of_rows[rows - 1];
}

// Copies n floats and up to kLanes - 1 of anything behind them.
SAVEDMODEL_INLINE void CopyPadded(const float* from, int64_t n, float* to) {
  ForVectors(n, [&](int64_t i, int64_t lanes)
                    SAVEDMODEL_LAMBDA { Store(to + i, LoadFirst(from + i, lanes)); });
}
SAVEDMODEL_INLINE void ZeroPadded(int64_t n, float* to) {
  for (int64_t i = 0; i < n; i += kLanes) Store(to + i, Zero());
}

int64_t Least(int64_t a, int64_t b) { return a < b ? a : b; }
int64_t Greatest(int64_t a, int64_t b) { return a > b ? a : b; }

// Columns [k0, k0 + k) of one output pixel's row, as runs of the filter's columns where
// they are adjacent in the image, too, otherwise of one column's channels: calls
// image_run(column, from, n) for what lies in the image and zero_run(column, n) for
// padding, columns relative to k0.
template <typename ImageRun, typename ZeroRun>
SAVEDMODEL_INLINE void ForRuns(const ConvInput& conv, int64_t image, int64_t y, int64_t x,
                               int64_t k0, int64_t k, const ImageRun& image_run,
                               const ZeroRun& zero_run) {
  const Window& w = conv.window;
  const int64_t channels = conv.shape.channels;
  const int64_t run_columns = w.dilation_w == 1 ? w.kernel_w : 1;
  const int64_t run = run_columns * channels;
  const int64_t runs_in_row = w.dilation_w == 1 ? 1 : w.kernel_w;
  const int64_t in_y0 = y * w.stride_h - w.pad_top;
  const int64_t in_x0 = x * w.stride_w - w.pad_left;
  const int64_t first_run = k0 / run;
  int64_t kernel_y = first_run / runs_in_row, kernel_x = first_run % runs_in_row;
  for (int64_t start = first_run * run - k0; start < k; start += run) {
    // The run's part within the columns, and within the image's row.
    const int64_t begin = Greatest(start, 0), end = Least(start + run, k);
    const int64_t in_y = in_y0 + kernel_y * w.dilation_h;
    const int64_t in_x = in_x0 + kernel_x * w.dilation_w;
    int64_t inside_begin = begin, inside_end = end;
    if (in_y < 0 || in_y >= conv.shape.height) {
      inside_begin = inside_end = end;
    } else if (in_x < 0 || in_x + run_columns > conv.shape.width) {
      inside_begin = Least(end, Greatest(begin, start - in_x * channels));
      inside_end = Greatest(inside_begin,
                            Least(end, start + (conv.shape.width - in_x) * channels));
    }
    if (begin < inside_begin) zero_run(begin, inside_begin - begin);
    if (inside_begin < inside_end) {
      const int64_t pixel = (image * conv.shape.height + in_y) * conv.shape.width + in_x;
      image_run(inside_begin, conv.in + pixel * channels + (inside_begin - start),
                inside_end - inside_begin);
    }
    if (inside_end < end) zero_run(inside_end, end - inside_end);
    if (++kernel_x == runs_in_row) {
      kernel_x = 0;
      ++kernel_y;
    }
  }
}

// Vectors are stored whole: what that spoils is written by the next run, or behind the
// row's end.
void GatherPixel(const ConvInput& conv, int64_t image, int64_t y, int64_t x, int64_t k0,
                 int64_t k, float* to) {
  ForRuns(
      conv, image, y, x, k0, k,
      [&](int64_t column, const float* from, int64_t n)
          SAVEDMODEL_LAMBDA { CopyPadded(from, n, to + column); },
      [&](int64_t column, int64_t n) SAVEDMODEL_LAMBDA { ZeroPadded(n, to + column); });
}

// The same for `pixels` neighbours in an output row whose windows lie inside the image's
// width, without dilation: run by run, so that little is computed for each pixel. Matters
// where the runs are short, with an image's three channels.
void GatherInside(const ConvInput& conv, int64_t image, int64_t y, int64_t x,
                  int64_t pixels, int64_t k0, int64_t k, float* to) {
  const Window& w = conv.window;
  const int64_t channels = conv.shape.channels;
  const int64_t run = w.kernel_w * channels;
  const int64_t step = w.stride_w * channels;
  const int64_t in_x = x * w.stride_w - w.pad_left;
  for (int64_t kernel_y = k0 / run; kernel_y * run < k0 + k; ++kernel_y) {
    const int64_t start = kernel_y * run - k0;
    const int64_t begin = Greatest(start, 0), end = Least(start + run, k);
    const int64_t in_y = y * w.stride_h - w.pad_top + kernel_y * w.dilation_h;
    const float* from =
        conv.in +
        ((image * conv.shape.height + in_y) * conv.shape.width + in_x) * channels +
        (begin - start);
    const bool inside = in_y >= 0 && in_y < conv.shape.height;
    for (int64_t p = 0; p < pixels; ++p) {
      float* out = to + p * kTileStride + begin;
      if (inside) {
        CopyPadded(from + p * step, end - begin, out);
      } else {
        ZeroPadded(end - begin, out);
      }
    }
  }
}

// Output columns whose window lies inside the image's width.
Range InsideColumns(const ConvInput& conv) {
  const Window& w = conv.window;
  const int64_t last = conv.shape.width - w.ReachWidth() + w.pad_left;
  return {DivUp(w.pad_left, w.stride_w),
          last < 0 ? 0 : Least(conv.out_w, last / w.stride_w + 1)};
}

// A tile of A in `to`, rows kTileStride apart, in floats.
void GatherFloats(const GemmArgs& args, int64_t row, int64_t rows, int64_t k0, int64_t k,
                  float* to) {
  if (!args.conv) {
    for (int64_t r = 0; r < rows; ++r) {
      CopyPadded(args.a + (row + r) * args.lda + k0, k, to + r * kTileStride);
    }
    return;
  }
  const ConvInput& conv = *args.conv;
  const Range columns = InsideColumns(conv);
  int64_t x = row % conv.out_w;
  int64_t y = row / conv.out_w % conv.out_h;
  int64_t image = row / conv.out_w / conv.out_h;
  for (int64_t r = 0; r < rows;) {
    const int64_t inside = Least(rows - r, columns.end - x);
    if (conv.window.dilation_w == 1 && x >= columns.begin && inside > 1) {
      GatherInside(conv, image, y, x, inside, k0, k, to + r * kTileStride);
      r += inside;
      x += inside;
    } else {
      GatherPixel(conv, image, y, x, k0, k, to + r * kTileStride);
      ++r;
      ++x;
    }
    if (x < conv.out_w) continue;
    x = 0;
    if (++y < conv.out_h) continue;
    y = 0;
    ++image;
  }
}

template <typename Cell>
void GatherTile(const GemmArgs& args, int64_t row, int64_t rows, int64_t k0, int64_t k,
                float* to) {
  GatherFloats(args, row, rows, k0, k, to);
  for (int64_t r = 0; r < rows; ++r) Cell::Convert(to + r * kTileStride, k);
}

// k in blocks of nearly equal size, multiples of the cache line.
struct KBlocks {
  explicit KBlocks(int64_t total)
      : k(total),
        count(Greatest(1, DivUp(k, kMaxBlockK))),
        size(RoundUp(DivUp(k, count), 16)) {}
  Range operator[](int64_t i) const {
    return {Least(k, i * size), Least(k, (i + 1) * size)};
  }
  int64_t k, count, size;
};

// Rows in tiles of nearly equal size.
struct Tiles {
  explicit Tiles(Range range)
      : begin(range.begin), rows(range.end - range.begin), count(DivUp(rows, kMaxRows)) {}
  Range operator[](int64_t i) const {
    return {begin + rows * i / count, begin + rows * (i + 1) / count};
  }
  int64_t begin, rows, count;
};

// Rows of A where they lie.
struct RowsInPlace {
  const float* a;
  int64_t stride;
  int64_t runs, run_columns, run_stride;  // as in MicroArgs
};

// Those of a matrix; of a convolution, neighbours in an output row whose windows lie
// inside the image. False for others.
bool FindInPlace(const GemmArgs& args, Range tile, Range ks, RowsInPlace* rows) {
  if (!args.conv) {
    *rows = {args.a + tile.begin * args.lda + ks.begin, args.lda, 1, ks.end - ks.begin,
             0};
    return true;
  }
  const ConvInput& conv = *args.conv;
  const Window& w = conv.window;
  const int64_t x = tile.begin % conv.out_w, y = tile.begin / conv.out_w % conv.out_h;
  const int64_t image = tile.begin / conv.out_w / conv.out_h;
  const Range columns = InsideColumns(conv);
  const int64_t in_y = y * w.stride_h - w.pad_top, in_x = x * w.stride_w - w.pad_left;
  if (w.dilation_w != 1 || ks.end - ks.begin != args.k || x < columns.begin ||
      x + tile.end - tile.begin > columns.end || in_y < 0 ||
      in_y + w.ReachHeight() > conv.shape.height) {
    return false;
  }
  const int64_t channels = conv.shape.channels, line = conv.shape.width * channels;
  *rows = {conv.in + (image * conv.shape.height + in_y) * line + in_x * channels,
           w.stride_w * channels, w.kernel_h, w.kernel_w * channels, w.dilation_h * line};
  return true;
}

// One tile times some panels, of one block of k.
template <typename Cell>
class PanelRow {
 public:
  // Of the rows' copy.
  PanelRow(const GemmArgs& args, Range rows, Range ks, const float* tile)
      : PanelRow(args, rows, ks, true,
                 {tile, kTileStride, 1, DivUp(ks.end - ks.begin, Cell::kColumns), 0}) {}
  PanelRow(const GemmArgs& args, Range rows, Range ks, const RowsInPlace& in_place)
      : PanelRow(args, rows, ks, false, in_place) {}

  void Run(Range panels) {
    int64_t p = panels.begin;
    if (group_ > 1) {
      for (; p + group_ <= panels.end && (p + group_) * kPanelWidth <= args_.n;
           p += group_) {
        Run(functions_.many, p, group_ * kPanelWidth, nullptr);
      }
    }
    for (; p < panels.end; ++p) RunPanel(p, nullptr);
  }

  void RunPanel(int64_t p, const float* prefetch) {
    const int64_t columns = Least(kPanelWidth, args_.n - p * kPanelWidth);
    Run(columns <= kLanes ? functions_.half : functions_.one, p, columns, prefetch);
  }

  // Where panel p of B begins, in this block of k.
  const float* Panel(int64_t p) const {
    const bool half = args_.n - p * kPanelWidth <= kLanes;
    return args_.b + p * micro_.panel_stride +
           ks_.begin / Cell::kColumns * (half ? kLanes : kPanelWidth);
  }

 private:
  PanelRow(const GemmArgs& args, Range rows, Range ks, bool tile, const RowsInPlace& a)
      : args_(args),
        rows_(rows),
        ks_(ks),
        first_(ks.begin == 0),
        last_(ks.end == args.k) {
    const int64_t count = rows.end - rows.begin;
    functions_ = MicroFunctionsFor<Cell>(count, tile);
    group_ = PanelsAtOnce(int(count));
    micro_.a = a.a;
    micro_.a_stride = a.stride;
    micro_.runs = a.runs;
    micro_.run_stride = a.run_stride;
    micro_.k = a.run_columns;
    micro_.panel_stride = kPanelWidth * DivUp(args.k, Cell::kColumns);
    micro_.ldc = args.ldc;
    const bool clamp_now = last_ && IsClamp(args.epilogue.activation);
    micro_.clamp = ClampOf(clamp_now ? args.epilogue.activation : Activation());
    activate_ = last_ && !IsClamp(args.epilogue.activation);
  }

  void Run(MicroFunction function, int64_t p, int64_t columns, const float* prefetch) {
    const int64_t column = p * kPanelWidth;
    const int64_t at = rows_.begin * args_.ldc + column;
    const Epilogue& epilogue = args_.epilogue;
    micro_.b = Panel(p);
    micro_.prefetch = prefetch ? prefetch : micro_.b;
    micro_.out = args_.out + at;
    micro_.last_lanes = (columns - 1) % kLanes + 1;
    micro_.bias = first_ && epilogue.bias ? epilogue.bias + column : nullptr;
    micro_.addend = !first_             ? micro_.out
                    : epilogue.residual ? epilogue.residual + at
                                        : nullptr;
    function(micro_);
    if (activate_) {
      ActivateRows(micro_.out, rows_.end - rows_.begin, columns, args_.ldc,
                   epilogue.activation);
    }
  }

  const GemmArgs& args_;
  Range rows_, ks_;
  bool first_, last_, activate_;
  int64_t group_;
  MicroFunctions functions_;
  MicroArgs micro_;
};

// Tiles [which) of A, of one block of k, copied one behind the other.
template <typename Cell>
void PackTiles(const GemmArgs& args, const Tiles& tiles, Range which, Range ks,
               float* to) {
  for (int64_t t = which.begin; t < which.end; ++t, to += kTileFloats) {
    GatherTile<Cell>(args, tiles[t].begin, tiles[t].end - tiles[t].begin, ks.begin,
                     ks.end - ks.begin, to);
  }
}

// Those times panels, each of which is fetched once for all tiles.
template <typename Cell>
void TilesTimesPanels(const GemmArgs& args, const Tiles& tiles, Range which, Range ks,
                      const float* packed, Range panels) {
  const int64_t steps = DivUp(ks.end - ks.begin, Cell::kColumns);
  for (int64_t p = panels.begin; p < panels.end; ++p) {
    for (int64_t t = which.begin; t < which.end; ++t) {
      const int64_t i = t - which.begin;
      PanelRow<Cell> row(args, tiles[t], ks, packed + i * kTileFloats);
      // The first two tiles fetch the next panel, a line for each step: half of it.
      const bool fetch = (p + 1) * kPanelWidth < args.n && i < 2;
      row.RunPanel(p, fetch ? row.Panel(p + 1) + i * 16 * steps : nullptr);
    }
  }
}

template <typename Cell>
bool StaysInCache(const GemmArgs& args, const Tiles& tiles, Range panels) {
  const int64_t cells = DivUp(args.k, Cell::kColumns);
  return tiles.count < 2 ||
         cells * (panels.end - panels.begin) * kPanelWidth <= kResidentFloats;
}

// B has one column: products of rows with it, which need no copy of A.
void GemmColumn(const GemmArgs& args, Range rows) {
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    Vec sums[4] = {};
    const auto add = [&](int64_t column, const float* a, int64_t n) SAVEDMODEL_LAMBDA {
      ForVectorsInTurn(n, [&](int64_t i, int64_t lanes, int turn) SAVEDMODEL_LAMBDA {
        sums[turn] = Fma(LoadFirst(a + i, lanes), LoadFirst(args.b + column + i, lanes),
                         sums[turn]);
      });
    };
    if (args.conv) {
      const int64_t out_w = args.conv->out_w, out_h = args.conv->out_h;
      ForRuns(*args.conv, row / out_w / out_h, row / out_w % out_h, row % out_w, 0,
              args.k, add, [](int64_t, int64_t) SAVEDMODEL_LAMBDA {});
    } else {
      add(0, args.a + row * args.lda, args.k);
    }
    float x = Sum(Add(Add(sums[0], sums[1]), Add(sums[2], sums[3])));
    if (args.epilogue.bias) x += args.epilogue.bias[0];
    if (args.epilogue.residual) x += args.epilogue.residual[row * args.ldc];
    args.out[row * args.ldc] = x;
  }
  const int64_t adjacent = args.ldc == 1 ? rows.end - rows.begin : 1;
  for (int64_t row = rows.begin; row < rows.end; row += adjacent) {
    float* out = args.out + row * args.ldc;
    Activate(out, adjacent, args.epilogue.activation, out);
  }
}

template <typename Cell>
int64_t GemmScratch(const GemmArgs& args, Range rows, Range panels) {
  const Tiles tiles(rows);
  return kTileFloats *
         (StaysInCache<Cell>(args, tiles, panels) ? 1 : Least(kBlockTiles, tiles.count));
}

template <typename Cell>
void Gemm(const GemmArgs& args, Range rows, Range panels, float* scratch) {
  if (args.n == 1) return GemmColumn(args, rows);
  const Tiles tiles(rows);
  const KBlocks blocks(args.k);
  if (StaysInCache<Cell>(args, tiles, panels)) {
    // Copying rows pays when several panels read them. Not by how many are computed here:
    // a convolution's sums are made in another order in place.
    const bool try_in_place =
        Cell::kInPlace && (args.n <= 2 * kPanelWidth || tiles.rows <= 4);
    for (int64_t t = 0; t < tiles.count; ++t) {
      const Range tile = tiles[t];
      for (int64_t i = 0; i < blocks.count; ++i) {
        const Range ks = blocks[i];
        RowsInPlace in_place;
        if (try_in_place && FindInPlace(args, tile, ks, &in_place)) {
          PanelRow<Cell>(args, tile, ks, in_place).Run(panels);
        } else {
          GatherTile<Cell>(args, tile.begin, tile.end - tile.begin, ks.begin,
                           ks.end - ks.begin, scratch);
          PanelRow<Cell>(args, tile, ks, scratch).Run(panels);
        }
      }
    }
    return;
  }
  for (int64_t row_block = 0; row_block < tiles.count; row_block += kBlockTiles) {
    const Range block = {row_block, Least(tiles.count, row_block + kBlockTiles)};
    for (int64_t i = 0; i < blocks.count; ++i) {
      PackTiles<Cell>(args, tiles, block, blocks[i], scratch);
      TilesTimesPanels<Cell>(args, tiles, block, blocks[i], scratch, panels);
    }
  }
}

// The same in two parts, for threads that share the copy of A.
int64_t SharedTilesFloats(const GemmArgs& args, int64_t m) {
  return Tiles({0, m}).count * KBlocks(args.k).count * kTileFloats;
}

template <typename Cell>
void PackSharedTiles(const GemmArgs& args, int64_t m, Range which, float* shared) {
  const Tiles tiles({0, m});
  const KBlocks blocks(args.k);
  for (int64_t i = 0; i < blocks.count; ++i) {
    PackTiles<Cell>(args, tiles, which, blocks[i],
                    shared + (i * tiles.count + which.begin) * kTileFloats);
  }
}

template <typename Cell>
void GemmSharedTiles(const GemmArgs& args, int64_t m, Range which, Range panels,
                     const float* shared) {
  const Tiles tiles({0, m});
  const KBlocks blocks(args.k);
  for (int64_t i = 0; i < blocks.count; ++i) {
    TilesTimesPanels<Cell>(args, tiles, which, blocks[i],
                           shared + (i * tiles.count + which.begin) * kTileFloats,
                           panels);
  }
}

template <typename Cell>
constexpr GemmTable kGemmTable = {Gemm<Cell>, GemmScratch<Cell>, SharedTilesFloats,
                                  PackSharedTiles<Cell>, GemmSharedTiles<Cell>};

// One panel of b, or of b transposed: [k, columns] in rows of `width`.
void PackPanel(const float* b, int64_t k, int64_t columns, int64_t ldb, float scale,
               const float* column_scale, float* packed, int64_t width) {
  for (int64_t j = 0; j < columns; j += kLanes) {
    const int64_t lanes = Least(kLanes, columns - j);
    const Vec factor =
        column_scale ? Mul(Set(scale), LoadFirst(column_scale + j, lanes)) : Set(scale);
    for (int64_t i = 0; i < k; ++i) {
      Store(packed + i * width + j, Mul(factor, LoadFirst(b + i * ldb + j, lanes)));
    }
  }
}

void PackPanelTransposed(const float* b, int64_t k, int64_t columns, int64_t ldb,
                         float scale, const float* column_scale, float* packed,
                         int64_t width) {
  const auto factor = [=](int64_t j) SAVEDMODEL_LAMBDA {
    return column_scale ? scale * column_scale[j] : scale;
  };
  const int64_t whole_k = k / 4 * 4;
  int64_t j = 0;
  for (; j + 4 <= columns; j += 4) {
    const float* row = b + j * ldb;
    const __m128 factors =
        _mm_setr_ps(factor(j), factor(j + 1), factor(j + 2), factor(j + 3));
    for (int64_t i = 0; i < whole_k; i += 4) {
      __m128 x0 = _mm_loadu_ps(row + i), x1 = _mm_loadu_ps(row + ldb + i);
      __m128 x2 = _mm_loadu_ps(row + 2 * ldb + i), x3 = _mm_loadu_ps(row + 3 * ldb + i);
      _MM_TRANSPOSE4_PS(x0, x1, x2, x3);
      float* to = packed + i * width + j;
      _mm_storeu_ps(to, _mm_mul_ps(factors, x0));
      _mm_storeu_ps(to + width, _mm_mul_ps(factors, x1));
      _mm_storeu_ps(to + 2 * width, _mm_mul_ps(factors, x2));
      _mm_storeu_ps(to + 3 * width, _mm_mul_ps(factors, x3));
    }
    for (int64_t i = whole_k; i < k; ++i) {
      for (int64_t c = 0; c < 4; ++c) {
        packed[i * width + j + c] = factor(j + c) * row[c * ldb + i];
      }
    }
  }
  for (; j < width; ++j) {
    for (int64_t i = 0; i < k; ++i) {
      packed[i * width + j] = j < columns ? factor(j) * b[j * ldb + i] : 0.0f;
    }
  }
}

void Pack(const float* b, int64_t k, int64_t n, int64_t ldb, bool transposed, float scale,
          const float* column_scale, float* packed) {
  if (n == 1) {
    const float factor = column_scale ? scale * column_scale[0] : scale;
    for (int64_t i = 0; i < k; ++i) packed[i] = factor * b[i * (transposed ? 1 : ldb)];
    return;
  }
  const auto pack_panel = transposed ? PackPanelTransposed : PackPanel;
  for (int64_t column = 0; column < n; column += kPanelWidth) {
    const int64_t columns = Least(kPanelWidth, n - column);
    const int64_t width = RoundUp(columns, kLanes);
    pack_panel(b + column * (transposed ? ldb : 1), k, columns, ldb, scale,
               column_scale ? column_scale + column : nullptr, packed, width);
    packed += k * width;
  }
}

}  // namespace
}  // namespace savedmodel::kernels::isa
