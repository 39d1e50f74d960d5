// Float32 kernels on the CPU for the layers of neural networks: convolution, matrix
// product and what lies between them.
//
// TensorFlow's wheel exports ops, not the primitives below them; its ops keep plain
// layouts, know few fusions and cost microseconds each. These kernels have constant
// weights packed once for the processor's registers, and bias, residual and activation
// applied while a result is still in registers or in the first-level cache.
//
// Common to all of them:
// - Tensors are dense, row-major, images in NHWC. Sizes are in elements. Nothing is read
// or
//   written outside of what is described; no alignment is required.
// - Inputs and weights are read, outputs written; nobody keeps a pointer beyond the call,
// and
//   packed weights are a copy. An output may be the same array as an input only where it
//   says so.
// - Any number of threads may call at once, also with the same packed weights. Scratch
// memory is
//   kept by each thread and grows to what its largest call needed, below a megabyte
//   except for Winograd convolutions and BatchMatMul.
// - Arguments are checked by the caller: sizes that contradict each other are undefined
//   behaviour. Sizes of zero are allowed and write nothing.
// - The processor must be Supported().
#pragma once

#include <cstdint>
#include <memory>
#include <type_traits>

namespace savedmodel::kernels {

// Instruction sets that there are kernels for; the last one adds products in bfloat16.
enum class Isa { kNone, kAvx2, kAvx512, kAvx512Bfloat16 };

// The best that the processor has and that ONEDNN_MAX_CPU_ISA or DNNL_MAX_CPU_ISA, with
// oneDNN's values, allow. Decided once.
Isa ActiveIsa();

// False when there is no kernel for this processor; then nothing else here may be called.
inline bool Supported() { return ActiveIsa() != Isa::kNone; }

// For tests: makes ActiveIsa() `isa`, or the best below it. Nothing that was packed
// before may be used afterwards. Not thread-safe.
void SetIsaForTest(Isa isa);

// A borrowed callable, valid for the duration of the call it is passed to.
class TaskRef {
 public:
  template <typename F,
            typename = std::enable_if_t<!std::is_same_v<std::decay_t<F>, TaskRef>>>
  TaskRef(const F& f)  // NOLINT(google-explicit-constructor): taken as a lambda
      : object_(&f), call_([](const void* object, int64_t task) {
          (*static_cast<const F*>(object))(task);
        }) {}
  void operator()(int64_t task) const { call_(object_, task); }

 private:
  const void* object_;
  void (*call_)(const void*, int64_t);
};

// The threads that a call may use.
class Parallel {
 public:
  virtual ~Parallel() = default;
  // How many tasks can run at once, the caller's among them; at least 1.
  virtual int threads() const = 0;
  // Runs task(0) .. task(tasks - 1), in any order and on any thread, and returns when all
  // are done. Tasks do not block and do not throw. Tasks are few and large: hand them out
  // one by one.
  virtual void For(int64_t tasks, TaskRef task) const = 0;
};

// The caller's thread alone.
const Parallel& Serial();

enum class ActivationKind {
  kNone,
  kRelu,
  kRelu6,
  kElu,
  kLeakyRelu,
  kSigmoid,
  kTanh,
  kSwish,      // x * sigmoid(x)
  kHardSwish,  // x * relu6(x + 3) / 6
  kGelu,       // x / 2 * (1 + erf(x / sqrt(2)))
  kGeluTanh,   // its approximation by tanh
};

// NaN gives NaN; infinities give what the formula above gives.
struct Activation {
  ActivationKind kind = ActivationKind::kNone;
  float alpha = 0.2f;  // of kLeakyRelu
};

// What is done to a result of c channels (the last axis) before it is stored:
// activation(result + bias + residual).
struct Epilogue {
  const float* bias = nullptr;  // [c], or none
  const float* residual =
      nullptr;  // of the output's shape (and row stride), or none; may be it
  Activation activation;
};

// 64-byte aligned floats.
struct FreeFloats {
  void operator()(float* p) const;
};
using FloatArray = std::unique_ptr<float[], FreeFloats>;
FloatArray AllocateFloats(int64_t count);

// Packed weights. Copies of what holds them share them.
using WeightArray = std::shared_ptr<float[]>;

// What the factors of a product are rounded to; sums are float32. A request: where
// bfloat16, of which half as many bits are read and twice as many multiplied at once, is
// not at hand or would gain nothing, float32 stays.
enum class Precision { kFloat32, kBfloat16 };

// A constant right-hand side B, [k, n], of matrix products, in the layout of the kernels:
// n is cut into panels as wide as two registers, each contiguous, the last one padded
// with zeros to a whole register.
class PackedMatrix {
 public:
  // b: [k, n] with rows ldb apart; with `transposed` [n, k]. Column j is multiplied by
  // column_scale[j] (what batch normalisation folds into weights) unless that is null.
  PackedMatrix(const float* b, int64_t k, int64_t n, int64_t ldb, bool transposed = false,
               const float* column_scale = nullptr,
               Precision precision = Precision::kFloat32);

  int64_t k() const { return k_; }
  int64_t n() const { return n_; }
  Precision precision() const { return precision_; }
  int64_t bytes() const;
  const float* data() const { return data_.get(); }

 private:
  int64_t k_, n_;
  Precision precision_;
  WeightArray data_;
};

// out = epilogue(a . b), a: [m, k] with rows lda apart, out: [m, n] with rows ldc apart.
void MatMul(const float* a, int64_t m, int64_t lda, const PackedMatrix& b,
            const Epilogue& epilogue, float* out, int64_t ldc, const Parallel& parallel);

// A batch of matrices: outer * inner of them, matrix (o, i) at data + o * outer_stride +
// i * inner_stride, its rows row_stride apart, elements of a row adjacent. Two strides
// reach the heads of attention, [batch, sequence, heads, size], without a transposition.
template <typename T>
struct MatrixBatch {
  T* data;
  int64_t outer_stride, inner_stride, row_stride;
};

// out = scale * a . b, or scale * a . b^T with `transpose_b`, for each matrix of the
// batch. a: [m, k]; b: [k, n], or [n, k]; out: [m, n].
void BatchMatMul(int64_t outer, int64_t inner, int64_t m, int64_t k, int64_t n,
                 const MatrixBatch<const float>& a, const MatrixBatch<const float>& b,
                 bool transpose_b, float scale, const MatrixBatch<float>& out,
                 const Parallel& parallel);

// A sliding window over height and width.
struct Window {
  int64_t kernel_h = 1, kernel_w = 1;
  int64_t stride_h = 1, stride_w = 1;
  int64_t dilation_h = 1, dilation_w = 1;
  int64_t pad_top = 0, pad_bottom = 0, pad_left = 0, pad_right = 0;

  // What it covers, holes included.
  int64_t ReachHeight() const { return (kernel_h - 1) * dilation_h + 1; }
  int64_t ReachWidth() const { return (kernel_w - 1) * dilation_w + 1; }
  // As TensorFlow computes it, rounding to zero: negative where there is no such output.
  int64_t OutHeight(int64_t h) const {
    return (h + pad_top + pad_bottom - ReachHeight() + stride_h) / stride_h;
  }
  int64_t OutWidth(int64_t w) const {
    return (w + pad_left + pad_right - ReachWidth() + stride_w) / stride_w;
  }
};

// The size of an NHWC tensor.
struct ImageShape {
  int64_t batch, height, width, channels;
};

// How a convolution is computed. Winograd's F(2 x 2, 3 x 3) takes less than half the
// multiplications, rounds about as well as the direct one, and takes 16 / 9 of the memory
// for its filter.
enum class ConvMethod { kDirect, kWinograd };

// The faster one: Winograd's for 3 x 3 filters with strides and dilations of one, unless
// there are so few channels that transforms dominate, or so many that fetching the larger
// filter does.
ConvMethod BestConvMethod(const Window& window, int64_t in_channels,
                          int64_t out_channels);

// The constant filter of a convolution with one group.
class PackedConv2D {
 public:
  // filter: [kernel_h, kernel_w, in_channels, out_channels]; channel_scale as
  // column_scale above. kWinograd is for what BestConvMethod allows it for, and float32
  // whatever the precision.
  PackedConv2D(const float* filter, int64_t kernel_h, int64_t kernel_w,
               int64_t in_channels, int64_t out_channels,
               const float* channel_scale = nullptr,
               ConvMethod method = ConvMethod::kDirect,
               Precision precision = Precision::kFloat32);

  ConvMethod method() const { return method_; }
  Precision precision() const { return precision_; }
  int64_t kernel_h() const { return kernel_h_; }
  int64_t kernel_w() const { return kernel_w_; }
  int64_t in_channels() const { return in_channels_; }
  int64_t out_channels() const { return out_channels_; }
  int64_t bytes() const;
  const float* data() const { return data_.get(); }
  // See wide_data_: one where there is none.
  int64_t wide_pixels() const { return wide_pixels_; }
  const float* wide_data() const { return wide_data_.get(); }

 private:
  ConvMethod method_;
  Precision precision_;
  int64_t kernel_h_, kernel_w_, in_channels_, out_channels_;
  int64_t wide_pixels_ = 1;
  // One packed matrix, [kernel_h * kernel_w * in_channels, out_channels]; or for each
  // element of Winograd's transform one, [in_channels, out_channels].
  WeightArray data_;
  // A filter with few outputs would leave lanes of the registers idle. This one, as many
  // columns wider, gives the outputs of wide_pixels_ neighbours in a row at once.
  FloatArray wide_data_;
};

// in: `shape`; out: [batch, window.OutHeight(height), window.OutWidth(width),
// out_channels]. The window's kernel is the filter's; its padding may differ from call to
// call.
void Conv2D(const float* in, const ImageShape& shape, const PackedConv2D& filter,
            const Window& window, const Epilogue& epilogue, float* out,
            const Parallel& parallel);

// The constant filter of a depthwise convolution with channel multiplier 1.
class PackedDepthwise {
 public:
  // filter: [kernel_h, kernel_w, channels, 1]; channel_scale: [channels], or null.
  PackedDepthwise(const float* filter, int64_t kernel_h, int64_t kernel_w,
                  int64_t channels, const float* channel_scale = nullptr);

  int64_t kernel_h() const { return kernel_h_; }
  int64_t kernel_w() const { return kernel_w_; }
  int64_t channels() const { return channels_; }
  int64_t bytes() const {
    return kernel_h_ * kernel_w_ * channels_ * int64_t(sizeof(float));
  }
  const float* data() const { return data_.get(); }

 private:
  int64_t kernel_h_, kernel_w_, channels_;
  FloatArray data_;  // [kernel_h, kernel_w, channels]
};

// in: `shape`, out: [batch, OutHeight, OutWidth, channels]. No residual. The window as
// above.
void DepthwiseConv2D(const float* in, const ImageShape& shape,
                     const PackedDepthwise& filter, const Window& window,
                     const float* bias, Activation activation, float* out,
                     const Parallel& parallel);

// The greatest element under the window, padding not counted. NaN may or may not win.
void MaxPool2D(const float* in, const ImageShape& shape, const Window& window, float* out,
               const Parallel& parallel);
// The mean of the elements under the window, padding not counted.
void AvgPool2D(const float* in, const ImageShape& shape, const Window& window, float* out,
               const Parallel& parallel);

// out[n, c] = mean of in[n, :, :, c].
void GlobalMean(const float* in, const ImageShape& shape, float* out,
                const Parallel& parallel);

// out[n, h, w, c] = in[n, h, w, c] * scale[n, c]; out may be in.
void ScaleChannels(const float* in, const ImageShape& shape, const float* scale,
                   float* out, const Parallel& parallel);

// out[i] = activation(in[i]); out may be in.
void Activate(const float* in, int64_t count, Activation activation, float* out,
              const Parallel& parallel);

enum class BinaryOp { kAdd, kSub, kMul };

// out = activation(a op b). a, out: [rows, columns]; b: the same, or [columns] with
// `broadcast`, then also b op a with `reverse`. out may be a or b (when they have its
// shape).
void Binary(BinaryOp op, const float* a, const float* b, int64_t rows, int64_t columns,
            bool broadcast, bool reverse, Activation activation, float* out,
            const Parallel& parallel);

// Over each row of [rows, columns]: (x - mean) / sqrt(variance + epsilon) * gamma + beta,
// the variance that of the whole population. x is in, plus residual (of its shape) unless
// that is null. gamma, beta: [columns] or null. out may be in or residual.
void LayerNorm(const float* in, const float* residual, int64_t rows, int64_t columns,
               const float* gamma, const float* beta, float epsilon, float* out,
               const Parallel& parallel);

// Over each row of [rows, columns], after mask (null, or of a row's length, with row r
// using mask + (r / rows_per_mask) * columns) was added. out may be in.
void Softmax(const float* in, const float* mask, int64_t rows_per_mask, int64_t rows,
             int64_t columns, float* out, const Parallel& parallel);

// The elementwise part of an LSTM cell: gates [batch, 4 * units] in Keras's order i, f,
// c, o, before their activations; previous_c, h, c: [batch, units]. c may be previous_c.
//   c = sigmoid(f) * previous_c + sigmoid(i) * tanh(g),  h = sigmoid(o) * tanh(c)
void LstmCell(const float* gates, const float* previous_c, int64_t batch, int64_t units,
              float* h, float* c);

}  // namespace savedmodel::kernels
