#include "kernels/kernels.h"

#include <sys/mman.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>
#include <string>

#include "kernels/kernel_table.h"

namespace savedmodel::kernels {
namespace {

bool Allows(const std::string& max_isa, Isa isa) {
  // oneDNN's names, from less to more; what is not known allows everything.
  if (max_isa == "sse41" || max_isa == "avx") return false;
  if (max_isa.rfind("avx2", 0) == 0) return isa <= Isa::kAvx2;
  if (max_isa == "avx512_core" || max_isa == "avx512_core_vnni")
    return isa <= Isa::kAvx512;
  return true;
}

Isa BestIsa() {
  const char* value = std::getenv("ONEDNN_MAX_CPU_ISA");
  if (!value) value = std::getenv("DNNL_MAX_CPU_ISA");
  std::string max_isa = value ? value : "";
  std::transform(max_isa.begin(), max_isa.end(), max_isa.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  if (Allows(max_isa, Isa::kAvx512) && __builtin_cpu_supports("avx512f") &&
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl")) {
    return Allows(max_isa, Isa::kAvx512Bfloat16) && __builtin_cpu_supports("avx512bf16")
               ? Isa::kAvx512Bfloat16
               : Isa::kAvx512;
  }
  if (Allows(max_isa, Isa::kAvx2) && __builtin_cpu_supports("avx2") &&
      __builtin_cpu_supports("fma")) {
    return Isa::kAvx2;
  }
  return Isa::kNone;
}

Isa& CurrentIsa() {
  static Isa isa = BestIsa();
  return isa;
}

const KernelTable& Table() {
  return CurrentIsa() >= Isa::kAvx512 ? kAvx512Kernels : kAvx2Kernels;
}

class SerialParallel final : public Parallel {
 public:
  int threads() const override { return 1; }
  void For(int64_t tasks, TaskRef task) const override {
    for (int64_t i = 0; i < tasks; ++i) task(i);
  }
};

// The calling thread's scratch memory, at least `count` floats; valid until the next
// call.
float* Scratch(int64_t count) {
  struct Arena {
    FloatArray data;
    int64_t size = 0;
  };
  static thread_local Arena arena;
  if (arena.size < count) {
    arena.data.reset();
    arena.data = AllocateFloats(count);
    arena.size = count;
  }
  return arena.data.get();
}

// Below this many multiplications waking another thread takes longer than it saves: a
// core does about 50 in a nanosecond.
constexpr int64_t kParallelMacs = 2'000'000;
// A task that is worth handing out, in multiplications and in bytes touched.
constexpr int64_t kTaskMacs = 1'500'000;
constexpr int64_t kTaskBytes = 256 * 1024;
// More tasks than threads, because other processes may take a core away for a while.
constexpr int64_t kTasksPerThread = 4;
// A right-hand side larger than this does not stay in the second-level cache.
constexpr int64_t kLargeMatrixFloats = 160 * 1024;

Range Part(int64_t count, int64_t parts, int64_t i) {
  return {count * i / parts, count * (i + 1) / parts};
}

// part(range) for ranges that make up [0, count); the whole needs `tasks` tasks' time.
template <typename F>
void ForRanges(const Parallel& parallel, int64_t count, int64_t tasks, const F& part) {
  const int64_t parts =
      std::min({count, tasks, int64_t(parallel.threads()) * kTasksPerThread});
  if (parallel.threads() == 1 || parts <= 1) {
    if (count > 0) part(Range{0, count});
    return;
  }
  parallel.For(parts, [&](int64_t i) { part(Part(count, parts, i)); });
}

// Of a product with n columns. Up to eight are computed in the shorter registers: half of
// the longer ones would be idle.
const KernelTable& TableFor(int64_t n) {
  return n <= kAvx2Kernels.lanes ? kAvx2Kernels : Table();
}

int64_t PackedFloats(int64_t k, int64_t n) {
  return n == 1 ? k : k * RoundUp(n, TableFor(n).lanes);
}

// Rounding A takes as long as a few columns of B; short sums gain little.
Precision Granted(Precision precision, int64_t k, int64_t n) {
  const bool possible = CurrentIsa() == Isa::kAvx512Bfloat16;
  return possible && k >= 32 && n >= 16 ? precision : Precision::kFloat32;
}

// Floats, or cells of two bfloat16.
int64_t PackedCells(int64_t k, int64_t n, Precision precision) {
  return PackedFloats(precision == Precision::kBfloat16 ? DivUp(k, 2) : k, n);
}

// Weights of at least this size lie in huge pages, behind each other.
constexpr int64_t kHugeWeightBytes = 512 * 1024;
constexpr int64_t kPageBytes = 4096, kHugePageBytes = 2 * 1024 * 1024;
// What is set aside for them; only pages that are written take memory.
constexpr int64_t kWeightBlockBytes = 16 * kHugePageBytes;

void* AllocateBytes(int64_t alignment, int64_t bytes) {
  void* p = std::aligned_alloc(size_t(alignment), size_t(RoundUp(bytes, alignment)));
  if (!p) throw std::bad_alloc();
  return p;
}

// A call reads all weights of a model once. In small pages each 4 kB of them cost a look
// at the page tables, and end what the processor fetches ahead.
WeightArray AllocateWeights(int64_t count) {
  const int64_t bytes = RoundUp(count * int64_t(sizeof(float)), 64);
  if (bytes < kHugeWeightBytes) return AllocateFloats(count);
  // The block that was begun last lives as long as weights in it.
  static std::mutex mutex;
  static std::weak_ptr<float[]> last_block;
  static int64_t size = 0, used = 0;
  const std::lock_guard<std::mutex> lock(mutex);
  WeightArray block = last_block.lock();
  if (!block || used + bytes > size) {
    size = std::max(kWeightBlockBytes, RoundUp(bytes, kHugePageBytes));
    used = 0;
    block = FloatArray(static_cast<float*>(AllocateBytes(kHugePageBytes, size)));
    madvise(block.get(), size_t(size), MADV_HUGEPAGE);  // where the system has them
    last_block = block;
  }
  float* weights = block.get() + used / int64_t(sizeof(float));
  used += bytes;
  // The block stays for other weights; these give the pages that are theirs alone back.
  return {weights, [block, bytes](float* released) {
            const int64_t offset = (released - block.get()) * int64_t(sizeof(float));
            const int64_t begin = RoundUp(offset, kPageBytes);
            const int64_t end = (offset + bytes) / kPageBytes * kPageBytes;
            if (begin < end)
              madvise(block.get() + begin / int64_t(sizeof(float)), size_t(end - begin),
                      MADV_DONTNEED);
          }};
}

WeightArray Pack(const float* b, int64_t k, int64_t n, int64_t ldb, bool transposed,
                 const float* column_scale, Precision precision) {
  const bool rounded = precision == Precision::kBfloat16;
  WeightArray floats =
      rounded ? AllocateFloats(PackedFloats(k, n)) : AllocateWeights(PackedFloats(k, n));
  TableFor(n).pack(b, k, n, ldb, transposed, 1.0f, column_scale, floats.get());
  if (!rounded) return floats;
  WeightArray cells = AllocateWeights(PackedCells(k, n, precision));
  kAvx512Bfloat16.pack(floats.get(), k, n, cells.get());
  return cells;
}

// Outputs that fit in a register.
constexpr int64_t kMaxWideChannels = 16;

// Rows of A that are copied once for all threads, in floats: 2 MB.
constexpr int64_t kSharedTilesFloats = 512 * 1024;

// Panels that a few rows may be multiplied by at once. Tasks begin at multiples of it, so
// that sums, which such groups make in an order of their own, do not depend on the tasks.
constexpr int64_t kPanelGroup = 4;

// For few rows and a large B, of `cells`: each thread fetches its own part of B. False if
// that is not the case.
bool RunGemmByPanels(const GemmTable& gemm, const GemmArgs& args, int64_t m,
                     int64_t cells, int64_t tiles, int64_t panels,
                     const Parallel& parallel) {
  const int64_t threads = parallel.threads();
  if (cells <= kLargeMatrixFloats || panels < 2 * threads) return false;
  if (tiles == 1) {
    const int64_t groups = DivUp(panels, kPanelGroup);
    ForRanges(parallel, groups, groups, [&](Range range) {
      range = {range.begin * kPanelGroup, std::min(range.end * kPanelGroup, panels)};
      gemm.run(args, {0, m}, range, Scratch(gemm.scratch(args, {0, m}, range)));
    });
    return true;
  }
  const int64_t floats = gemm.shared_tiles(args, m);
  if (floats > kSharedTilesFloats) return false;
  float* shared = Scratch(floats);
  // A thread's rows, of which it has the copy in its cache, times parts of B in turn.
  // Helpers begin at the last task: from there, too, panels follow each other.
  const int64_t row_parts = std::clamp<int64_t>(tiles / 2, 1, threads);
  const int64_t wanted = DivUp(threads * kTasksPerThread, row_parts);
  const int64_t panel_parts = panels <= 4 * wanted ? panels : wanted;
  parallel.For(row_parts, [&](int64_t task) {
    gemm.pack_tiles(args, m, Part(tiles, row_parts, task), shared);
  });
  parallel.For(row_parts * panel_parts, [&](int64_t task) {
    const int64_t row = task / panel_parts, i = task % panel_parts;
    gemm.run_tiles(args, m, Part(tiles, row_parts, row),
                   Part(panels, panel_parts, row == 0 ? i : panel_parts - 1 - i), shared);
  });
  return true;
}

void RunGemm(const GemmArgs& args, int64_t m, Precision precision,
             const Parallel& parallel) {
  if (m == 0 || args.n == 0) return;
  const KernelTable& table = TableFor(args.n);
  const bool bfloat16 = precision == Precision::kBfloat16;
  const GemmTable& gemm = bfloat16 ? kAvx512Bfloat16.gemm : table.gemm;
  const int64_t tiles = DivUp(m, table.max_rows);
  const int64_t panels = DivUp(args.n, table.panel_width);
  const int64_t cells = args.n * (bfloat16 ? DivUp(args.k, 2) : args.k);
  const int64_t macs = m * cells;
  const auto run = [&](Range rows, Range columns) {
    gemm.run(args, rows, columns, Scratch(gemm.scratch(args, rows, columns)));
  };
  // Of one row, reading a large B is what takes the time.
  if (parallel.threads() == 1 || (macs < kParallelMacs && cells < kLargeMatrixFloats))
    return run({0, m}, {0, panels});
  if (RunGemmByPanels(gemm, args, m, cells, tiles, panels, parallel)) return;
  // Whole tiles, and where these are few, panels.
  const int64_t threads = parallel.threads();
  const int64_t tasks =
      std::clamp<int64_t>(macs / kTaskMacs, threads, threads * kTasksPerThread);
  const int64_t row_parts = std::min(tiles, tasks);
  const int64_t panel_parts = std::min(panels, DivUp(tasks, row_parts));
  parallel.For(row_parts * panel_parts, [&](int64_t task) {
    const Range tile = Part(tiles, row_parts, task / panel_parts);
    run({m * tile.begin / tiles, m * tile.end / tiles},
        Part(panels, panel_parts, task % panel_parts));
  });
}

}  // namespace

Isa ActiveIsa() { return CurrentIsa(); }

void SetIsaForTest(Isa isa) { CurrentIsa() = std::min(isa, BestIsa()); }

const Parallel& Serial() {
  static const SerialParallel serial;
  return serial;
}

void FreeFloats::operator()(float* p) const { std::free(p); }

FloatArray AllocateFloats(int64_t count) {
  const int64_t bytes = std::max<int64_t>(count, 1) * int64_t(sizeof(float));
  return FloatArray(static_cast<float*>(AllocateBytes(64, bytes)));
}

PackedMatrix::PackedMatrix(const float* b, int64_t k, int64_t n, int64_t ldb,
                           bool transposed, const float* column_scale,
                           Precision precision)
    : k_(k),
      n_(n),
      precision_(Granted(precision, k, n)),
      data_(Pack(b, k, n, ldb, transposed, column_scale, precision_)) {}

int64_t PackedMatrix::bytes() const {
  return PackedCells(k_, n_, precision_) * int64_t(sizeof(float));
}

void MatMul(const float* a, int64_t m, int64_t lda, const PackedMatrix& b,
            const Epilogue& epilogue, float* out, int64_t ldc, const Parallel& parallel) {
  RunGemm({a, lda, nullptr, b.k(), b.n(), b.data(), epilogue, out, ldc}, m, b.precision(),
          parallel);
}

void BatchMatMul(int64_t outer, int64_t inner, int64_t m, int64_t k, int64_t n,
                 const MatrixBatch<const float>& a, const MatrixBatch<const float>& b,
                 bool transpose_b, float scale, const MatrixBatch<float>& out,
                 const Parallel& parallel) {
  const KernelTable& table = TableFor(n);
  const Range panels = {0, DivUp(n, table.panel_width)};
  const int64_t macs = outer * inner * m * n * k;
  if (outer * inner * m * n == 0) return;
  const int64_t tasks = macs < kParallelMacs ? 1 : std::max<int64_t>(2, macs / kTaskMacs);
  ForRanges(parallel, outer * inner, tasks, [&](Range matrices) {
    const auto element = [&](const auto& batch, int64_t i) {
      return batch.data + i / inner * batch.outer_stride + i % inner * batch.inner_stride;
    };
    for (int64_t i = matrices.begin; i < matrices.end; ++i) {
      GemmArgs args = {element(a, i),   a.row_stride,  nullptr, k, n, nullptr, {},
                       element(out, i), out.row_stride};
      const int64_t packed = RoundUp(PackedFloats(k, n), 16);
      float* scratch = Scratch(packed + table.gemm.scratch(args, {0, m}, panels));
      table.pack(element(b, i), k, n, b.row_stride, transpose_b, scale, nullptr, scratch);
      args.b = scratch;
      table.gemm.run(args, {0, m}, panels, scratch + packed);
    }
  });
}

ConvMethod BestConvMethod(const Window& w, int64_t in_channels, int64_t out_channels) {
  const bool possible = w.kernel_h == 3 && w.kernel_w == 3 && w.stride_h == 1 &&
                        w.stride_w == 1 && w.dilation_h == 1 && w.dilation_w == 1;
  // 128 k pairs make 8 MB. Layers with as many see small images, and read a filter once
  // for few pixels.
  return possible && in_channels >= 32 && out_channels >= 32 &&
                 in_channels * out_channels <= 128 * 1024
             ? ConvMethod::kWinograd
             : ConvMethod::kDirect;
}

PackedConv2D::PackedConv2D(const float* filter, int64_t kernel_h, int64_t kernel_w,
                           int64_t in_channels, int64_t out_channels,
                           const float* channel_scale, ConvMethod method,
                           Precision precision)
    : method_(method),
      precision_(method == ConvMethod::kDirect
                     ? Granted(precision, kernel_h * kernel_w * in_channels, out_channels)
                     : Precision::kFloat32),
      kernel_h_(kernel_h),
      kernel_w_(kernel_w),
      in_channels_(in_channels),
      out_channels_(out_channels) {
  if (method == ConvMethod::kWinograd) {
    data_ = AllocateWeights(bytes() / int64_t(sizeof(float)));
    TableFor(out_channels)
        .pack_winograd(filter, in_channels, out_channels, channel_scale, data_.get(),
                       PackedFloats(in_channels, out_channels));
  } else {
    data_ = Pack(filter, kernel_h * kernel_w * in_channels, out_channels, out_channels,
                 false, channel_scale, precision_);
  }

  // At most a quarter more multiplications for having all lanes at work.
  if (method == ConvMethod::kDirect && out_channels > 1) {
    const int64_t fit = std::min(Table().lanes / out_channels, kernel_w / 4 + 1);
    wide_pixels_ = std::max<int64_t>(fit, 1);
  }
  if (wide_pixels_ == 1) return;
  const int64_t wide_w = kernel_w + wide_pixels_ - 1,
                wide_n = wide_pixels_ * out_channels;
  const int64_t wide_k = kernel_h * wide_w * in_channels;
  const FloatArray wide = AllocateFloats(wide_k * wide_n);
  std::fill_n(wide.get(), wide_k * wide_n, 0.0f);
  for (int64_t i = 0; i < kernel_h * kernel_w * in_channels; ++i) {
    const int64_t y = i / (kernel_w * in_channels), column = i % (kernel_w * in_channels);
    for (int64_t pixel = 0; pixel < wide_pixels_; ++pixel) {
      const int64_t row = (y * wide_w + pixel) * in_channels + column;
      for (int64_t o = 0; o < out_channels; ++o) {
        wide[row * wide_n + pixel * out_channels + o] =
            filter[i * out_channels + o] * (channel_scale ? channel_scale[o] : 1.0f);
      }
    }
  }
  wide_data_ = AllocateFloats(PackedFloats(wide_k, wide_n));
  TableFor(wide_n).pack(wide.get(), wide_k, wide_n, wide_n, false, 1.0f, nullptr,
                        wide_data_.get());
}

int64_t PackedConv2D::bytes() const {
  const int64_t cells =
      method_ == ConvMethod::kWinograd
          ? kWinogradElements * PackedFloats(in_channels_, out_channels_)
          : PackedCells(kernel_h_ * kernel_w_ * in_channels_, out_channels_, precision_);
  return cells * int64_t(sizeof(float));
}

void Conv2D(const float* in, const ImageShape& shape, const PackedConv2D& filter,
            const Window& w, const Epilogue& epilogue, float* out,
            const Parallel& parallel) {
  const int64_t n = filter.out_channels();
  const ConvInput conv = {in, shape, w.OutHeight(shape.height), w.OutWidth(shape.width),
                          w};
  const int64_t pixels = shape.batch * conv.out_h * conv.out_w;
  const int64_t k = w.kernel_h * w.kernel_w * shape.channels;
  if (filter.method() == ConvMethod::kWinograd) {
    const WinogradArgs args = {
        conv, n, filter.data(), PackedFloats(shape.channels, n), epilogue, out};
    const KernelTable& table = TableFor(n);
    const int64_t tiles = shape.batch * DivUp(conv.out_h, 2) * DivUp(conv.out_w, 2);
    // Each task reads the whole filter.
    const int64_t tasks =
        std::min(pixels * k * n / 2 / kTaskMacs,
                 std::max<int64_t>(parallel.threads(), tiles / (2 * table.max_rows)));
    ForRanges(parallel, tiles, tasks, [&](Range range) {
      table.winograd(args, range, Scratch(table.winograd_scratch(args)));
    });
    return;
  }
  const int64_t wide = filter.wide_pixels();
  if (wide > 1 && w.stride_w == 1 && w.dilation_w == 1 && conv.out_w % wide == 0) {
    ConvInput wide_conv = conv;
    wide_conv.window.kernel_w += wide - 1;
    wide_conv.window.stride_w = wide;
    wide_conv.out_w /= wide;
    float bias[kMaxWideChannels];
    Epilogue wide_epilogue = epilogue;
    if (epilogue.bias) {
      for (int64_t i = 0; i < wide * n; ++i) bias[i] = epilogue.bias[i % n];
      wide_epilogue.bias = bias;
    }
    RunGemm(
        {nullptr, 0, &wide_conv, w.kernel_h * wide_conv.window.kernel_w * shape.channels,
         wide * n, filter.wide_data(), wide_epilogue, out, wide * n},
        pixels / wide, Precision::kFloat32, parallel);
    return;
  }
  const bool is_matrix = w.kernel_h == 1 && w.kernel_w == 1 && w.stride_h == 1 &&
                         w.stride_w == 1 && w.pad_top == 0 && w.pad_bottom == 0 &&
                         w.pad_left == 0 && w.pad_right == 0;
  GemmArgs args = {in, shape.channels, nullptr, k, n, filter.data(), epilogue, out, n};
  if (!is_matrix) args.conv = &conv;
  RunGemm(args, pixels, filter.precision(), parallel);
}

PackedDepthwise::PackedDepthwise(const float* filter, int64_t kernel_h, int64_t kernel_w,
                                 int64_t channels, const float* channel_scale)
    : kernel_h_(kernel_h),
      kernel_w_(kernel_w),
      channels_(channels),
      data_(AllocateFloats(kernel_h * kernel_w * channels)) {
  for (int64_t i = 0; i < kernel_h * kernel_w * channels; ++i) {
    data_[i] = filter[i] * (channel_scale ? channel_scale[i % channels] : 1.0f);
  }
}

void DepthwiseConv2D(const float* in, const ImageShape& shape,
                     const PackedDepthwise& filter, const Window& w, const float* bias,
                     Activation activation, float* out, const Parallel& parallel) {
  const KernelTable& table = Table();
  const DepthwiseArgs args = {in,
                              shape,
                              w.OutHeight(shape.height),
                              w.OutWidth(shape.width),
                              w,
                              filter.data(),
                              bias,
                              activation,
                              out};
  const int64_t outputs = shape.batch * args.out_h * args.out_w * shape.channels;
  // Memory sets the pace, and a thread that wrote a part of the input should read it.
  const int64_t tasks = 16 * outputs * w.kernel_h * w.kernel_w / kTaskMacs;
  ForRanges(parallel, shape.batch * args.out_h, tasks, [&](Range rows) {
    table.depthwise(args, rows, Scratch(table.depthwise_scratch(args)));
  });
}

namespace {

void Pool(const float* in, const ImageShape& shape, const Window& w, bool max, float* out,
          const Parallel& parallel) {
  const PoolArgs args = {
      in, shape, w.OutHeight(shape.height), w.OutWidth(shape.width), w, max, out};
  const int64_t outputs = shape.batch * args.out_h * args.out_w * shape.channels;
  ForRanges(parallel, shape.batch * args.out_h,
            2 * outputs * w.kernel_h * w.kernel_w / kTaskMacs,
            [&](Range rows) { Table().pool(args, rows); });
}

}  // namespace

void MaxPool2D(const float* in, const ImageShape& shape, const Window& window, float* out,
               const Parallel& parallel) {
  Pool(in, shape, window, true, out, parallel);
}

void AvgPool2D(const float* in, const ImageShape& shape, const Window& window, float* out,
               const Parallel& parallel) {
  Pool(in, shape, window, false, out, parallel);
}

void GlobalMean(const float* in, const ImageShape& shape, float* out,
                const Parallel& parallel) {
  const int64_t pixels = shape.height * shape.width, channels = shape.channels;
  if (shape.batch * channels == 0) return;
  // Sums over parts of the pixels, whose number does not depend on the threads: nor do
  // the results.
  const int64_t parts = std::clamp<int64_t>(pixels * channels * 4 / kTaskBytes, 1,
                                            std::max<int64_t>(pixels, 1));
  float* sums = Scratch(shape.batch * parts * channels);
  ForRanges(parallel, shape.batch * parts,
            shape.batch * pixels * channels * 4 / kTaskBytes, [&](Range range) {
              for (int64_t i = range.begin; i < range.end; ++i) {
                const Range part = Part(pixels, parts, i % parts);
                Table().sum_pixels(in + (i / parts * pixels + part.begin) * channels,
                                   part.end - part.begin, channels, sums + i * channels);
              }
            });
  const float inverse = 1.0f / float(pixels);
  for (int64_t n = 0; n < shape.batch; ++n) {
    for (int64_t c = 0; c < channels; ++c) {
      float sum = 0;
      for (int64_t p = 0; p < parts; ++p) sum += sums[(n * parts + p) * channels + c];
      out[n * channels + c] = sum * inverse;
    }
  }
}

void ScaleChannels(const float* in, const ImageShape& shape, const float* scale,
                   float* out, const Parallel& parallel) {
  const int64_t rows = shape.batch * shape.height, row = shape.width * shape.channels;
  ForRanges(parallel, rows, rows * row * 8 / kTaskBytes, [&](Range range) {
    for (int64_t i = range.begin; i < range.end; ++i) {
      Table().scale_pixels(in + i * row, scale + i / shape.height * shape.channels,
                           shape.width, shape.channels, out + i * row);
    }
  });
}

void Activate(const float* in, int64_t count, Activation activation, float* out,
              const Parallel& parallel) {
  ForRanges(parallel, DivUp(count, 16), count * 16 / kTaskBytes, [&](Range range) {
    const int64_t begin = range.begin * 16, end = std::min(count, range.end * 16);
    Table().activate(in + begin, end - begin, activation, out + begin);
  });
}

void Binary(BinaryOp op, const float* a, const float* b, int64_t rows, int64_t columns,
            bool broadcast, bool reverse, Activation activation, float* out,
            const Parallel& parallel) {
  if (!broadcast) {
    // One long row, cut anywhere.
    columns *= rows;
    rows = DivUp(columns, 1024);
    ForRanges(parallel, rows, columns * 12 / kTaskBytes, [&](Range range) {
      const int64_t begin = range.begin * 1024, end = std::min(columns, range.end * 1024);
      Table().binary(op, a + begin, b + begin, 1, end - begin, false, reverse, activation,
                     out + begin);
    });
    return;
  }
  ForRanges(parallel, rows, rows * columns * 8 / kTaskBytes, [&](Range range) {
    const int64_t at = range.begin * columns;
    Table().binary(op, a + at, b, range.end - range.begin, columns, true, reverse,
                   activation, out + at);
  });
}

void LayerNorm(const float* in, const float* residual, int64_t rows, int64_t columns,
               const float* gamma, const float* beta, float epsilon, float* out,
               const Parallel& parallel) {
  ForRanges(parallel, rows, rows * columns * 8 / kTaskBytes, [&](Range range) {
    const int64_t at = range.begin * columns;
    Table().layer_norm(in + at, residual ? residual + at : nullptr,
                       range.end - range.begin, columns, gamma, beta, epsilon, out + at);
  });
}

void Softmax(const float* in, const float* mask, int64_t rows_per_mask, int64_t rows,
             int64_t columns, float* out, const Parallel& parallel) {
  ForRanges(parallel, rows, rows * columns * 16 / kTaskBytes, [&](Range range) {
    Table().softmax(in, mask, columns, range, rows_per_mask, out);
  });
}

void LstmCell(const float* gates, const float* previous_c, int64_t batch, int64_t units,
              float* h, float* c) {
  Table().lstm_cell(gates, previous_c, batch, units, h, c);
}

}  // namespace savedmodel::kernels
