#include "kernels/kernels.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "kernels/team.h"
#include "kernels/thread_pool.h"

namespace savedmodel::kernels {
namespace {

using Floats = std::vector<float>;
using Doubles = std::vector<double>;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

double Reference(Activation activation, double x) {
  switch (activation.kind) {
    case ActivationKind::kNone: return x;
    case ActivationKind::kRelu: return x < 0 ? 0 : x;
    case ActivationKind::kRelu6: return x < 0 ? 0 : x > 6 ? 6 : x;
    case ActivationKind::kElu: return x < 0 ? std::expm1(x) : x;
    case ActivationKind::kLeakyRelu: return x < 0 ? double(activation.alpha) * x : x;
    case ActivationKind::kSigmoid: return 1 / (1 + std::exp(-x));
    case ActivationKind::kTanh: return std::tanh(x);
    case ActivationKind::kSwish: return x / (1 + std::exp(-x));
    case ActivationKind::kHardSwish: return x * std::clamp(x + 3, 0.0, 6.0) / 6;
    case ActivationKind::kGelu: return x / 2 * (1 + std::erf(x / std::sqrt(2.0)));
    case ActivationKind::kGeluTanh:
      return x / 2 * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
  }
  return x;
}

constexpr ActivationKind kAllKinds[] = {
    ActivationKind::kNone, ActivationKind::kRelu,    ActivationKind::kRelu6,
    ActivationKind::kElu,  ActivationKind::kSigmoid, ActivationKind::kLeakyRelu,
    ActivationKind::kTanh, ActivationKind::kSwish,   ActivationKind::kHardSwish,
    ActivationKind::kGelu, ActivationKind::kGeluTanh};

// Each test runs on each instruction set that the processor has, with one thread and with
// three.
class Kernels : public testing::TestWithParam<Isa> {
 protected:
  void SetUp() override {
    SetIsaForTest(GetParam());
    if (ActiveIsa() != GetParam())
      GTEST_SKIP() << "the processor has no such instructions";
  }
  void TearDown() override { SetIsaForTest(Isa::kAvx512Bfloat16); }

  int64_t Draw(int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(generator_);
  }
  bool Coin() { return Draw(0, 1) == 1; }

  // Of its exact size on the heap, so that AddressSanitizer sees what reads beyond.
  Floats Random(int64_t count, float scale = 1) {
    std::normal_distribution<float> normal(0, scale);
    Floats values(static_cast<size_t>(count));
    for (float& v : values) v = normal(generator_);
    return values;
  }

  const Parallel& AnyParallel() {
    static ThreadPool pool(3);
    static const Team team(&pool);
    return Coin() ? static_cast<const Parallel&>(team) : Serial();
  }

  Precision AnyPrecision() { return Coin() ? Precision::kBfloat16 : Precision::kFloat32; }

  Activation AnyActivation() {
    return {kAllKinds[Draw(0, std::size(kAllKinds) - 1)], 0.3f};
  }

  Window AnyWindow(int64_t max_kernel) {
    Window w;
    w.kernel_h = Draw(1, max_kernel);
    w.kernel_w = Draw(1, max_kernel);
    w.stride_h = Draw(1, 3);
    w.stride_w = Draw(1, 3);
    w.dilation_h = Draw(1, 2);
    w.dilation_w = Draw(1, 2);
    w.pad_top = Draw(0, w.kernel_h - 1);
    w.pad_bottom = Draw(0, w.kernel_h - 1);
    w.pad_left = Draw(0, w.kernel_w - 1);
    w.pad_right = Draw(0, w.kernel_w - 1);
    return w;
  }

  // A size that the window fits in.
  static int64_t Fit(int64_t size, int64_t kernel, int64_t dilation) {
    return std::max(size, (kernel - 1) * dilation + 1);
  }

  std::mt19937 generator_{17};
};

// To the nearest, halves to even. Not for NaN.
float RoundToBfloat16(float x) {
  std::uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000;
  std::memcpy(&x, &bits, sizeof bits);
  return x;
}

Floats Rounded(Floats values, Precision precision) {
  if (precision == Precision::kFloat32) return values;
  std::transform(values.begin(), values.end(), values.begin(), RoundToBfloat16);
  return values;
}

// Within 1e-5 of the result's scale, and NaN where NaN is due.
void ExpectClose(const Floats& actual, const Doubles& expected, const std::string& what,
                 double tolerance = 1e-5) {
  ASSERT_EQ(actual.size(), expected.size());
  double scale = 1e-30;
  for (double e : expected) {
    if (std::isfinite(e)) scale = std::max(scale, std::fabs(e));
  }
  for (size_t i = 0; i < actual.size(); ++i) {
    if (std::isnan(expected[i])) {
      ASSERT_TRUE(std::isnan(actual[i])) << what << ", element " << i;
    } else if (std::isinf(expected[i])) {
      ASSERT_EQ(actual[i], expected[i]) << what << ", element " << i;
    } else {
      ASSERT_NEAR(actual[i], expected[i], tolerance * scale) << what << ", element " << i;
    }
  }
}

std::string Show(std::initializer_list<int64_t> numbers) {
  std::string text;
  for (int64_t n : numbers) text += std::to_string(n) + " ";
  return text;
}

Doubles ReferenceConv(const Floats& in, const ImageShape& s, const Floats& filter,
                      const Window& w, int64_t out_channels) {
  const int64_t out_h = w.OutHeight(s.height), out_w = w.OutWidth(s.width);
  Doubles out(static_cast<size_t>(s.batch * out_h * out_w * out_channels));
  for (int64_t n = 0, at = 0; n < s.batch; ++n) {
    for (int64_t y = 0; y < out_h; ++y) {
      for (int64_t x = 0; x < out_w; ++x, at += out_channels) {
        for (int64_t ky = 0; ky < w.kernel_h; ++ky) {
          for (int64_t kx = 0; kx < w.kernel_w; ++kx) {
            const int64_t in_y = y * w.stride_h - w.pad_top + ky * w.dilation_h;
            const int64_t in_x = x * w.stride_w - w.pad_left + kx * w.dilation_w;
            if (in_y < 0 || in_y >= s.height || in_x < 0 || in_x >= s.width) continue;
            for (int64_t c = 0; c < s.channels; ++c) {
              const double value =
                  in[((n * s.height + in_y) * s.width + in_x) * s.channels + c];
              const float* weights =
                  &filter[((ky * w.kernel_w + kx) * s.channels + c) * out_channels];
              for (int64_t o = 0; o < out_channels; ++o)
                out[at + o] += value * weights[o];
            }
          }
        }
      }
    }
  }
  return out;
}

TEST_P(Kernels, MatMul) {
  for (int i = 0; i < 300; ++i) {
    const bool large = i % 10 == 0;
    const int64_t m = Draw(1, large ? 400 : 40), k = Draw(0, large ? 1000 : 70);
    const int64_t n = i % 5 == 0 ? Draw(1, 8) : Draw(1, large ? 600 : 140);
    const int64_t lda = k + Draw(0, 5), ldc = n + Draw(0, 5);
    const bool transposed = Coin(), scaled = Coin();
    const int64_t ldb = (transposed ? k : n) + Draw(0, 5);
    // Sums have about the size of one, so that a bounded activation is no finer a
    // measure.
    const Floats a = Random(m * lda);
    const Floats b = Random((transposed ? n : k) * ldb, 1 / std::sqrt(1.0f + float(k)));
    const Floats scale = Random(n), bias = Random(n), residual = Random(m * ldc);
    const bool with_bias = Coin(), with_residual = Coin(), in_place = Coin();
    const Activation activation = AnyActivation();

    const PackedMatrix packed(b.data(), k, n, ldb, transposed,
                              scaled ? scale.data() : nullptr, AnyPrecision());
    Floats factors = b;  // as multiplied
    for (int64_t j = 0; j < k && scaled; ++j) {
      for (int64_t c = 0; c < n; ++c)
        factors[transposed ? c * ldb + j : j * ldb + c] *= scale[c];
    }
    factors = Rounded(factors, packed.precision());
    const Floats rows = Rounded(a, packed.precision());
    Doubles expected(static_cast<size_t>(m * ldc), -7);
    for (int64_t r = 0; r < m; ++r) {
      for (int64_t c = 0; c < n; ++c) {
        double sum = 0;
        for (int64_t j = 0; j < k; ++j) {
          sum +=
              double(rows[r * lda + j]) * factors[transposed ? c * ldb + j : j * ldb + c];
        }
        if (with_bias) sum += bias[c];
        if (with_residual) sum += residual[r * ldc + c];
        expected[r * ldc + c] = Reference(activation, sum);
      }
    }
    Floats out(static_cast<size_t>(m * ldc), -7);
    if (with_residual && in_place) {
      for (int64_t r = 0; r < m; ++r) {
        std::copy_n(&residual[r * ldc], n, &out[r * ldc]);
      }
    }
    const float* addend = in_place ? out.data() : residual.data();
    MatMul(
        a.data(), m, lda, packed,
        {with_bias ? bias.data() : nullptr, with_residual ? addend : nullptr, activation},
        out.data(), ldc, AnyParallel());
    ExpectClose(out, expected, Show({m, k, n}));
  }
}

TEST_P(Kernels, Conv2D) {
  for (int i = 0; i < 300; ++i) {
    Window w = AnyWindow(i % 10 == 0 ? 7 : 3);
    if (i % 7 == 0) {
      // Long rows of the filter.
      w.kernel_w = 13;
      w.dilation_w = 1;
      w.stride_w = Draw(1, 2);
    }
    const bool large = i % 10 == 1;
    const bool winograd = i % 3 == 0;
    if (winograd) {
      w.kernel_h = w.kernel_w = 3;
      w.stride_h = w.stride_w = w.dilation_h = w.dilation_w = 1;
    }
    const ImageShape s = {Draw(1, 2), Fit(Draw(1, 20), w.kernel_h, w.dilation_h),
                          Fit(Draw(1, 20), w.kernel_w, w.dilation_w),
                          Coin() ? Draw(1, 5) : Draw(1, large ? 200 : 50)};
    const int64_t channels =
        i % 5 == 0 || i % 7 == 0 ? Draw(1, 8) : Draw(1, large ? 200 : 70);
    const int64_t taps = w.kernel_h * w.kernel_w;
    const Floats in = Random(s.batch * s.height * s.width * s.channels);
    const Floats filter =
        Random(taps * s.channels * channels, 1 / std::sqrt(float(taps * s.channels)));
    const Floats scale = Random(channels), bias = Random(channels);
    const PackedConv2D packed(
        filter.data(), w.kernel_h, w.kernel_w, s.channels, channels, scale.data(),
        winograd ? ConvMethod::kWinograd : ConvMethod::kDirect, AnyPrecision());
    Floats scaled = filter;
    for (size_t j = 0; j < scaled.size(); ++j) scaled[j] *= scale[j % size_t(channels)];
    Doubles expected = ReferenceConv(Rounded(in, packed.precision()), s,
                                     Rounded(scaled, packed.precision()), w, channels);
    const Floats residual = Random(int64_t(expected.size()));
    const Activation activation = AnyActivation();
    const bool with_residual = Coin();
    for (size_t j = 0; j < expected.size(); ++j) {
      const size_t c = j % size_t(channels);
      expected[j] = Reference(
          activation, expected[j] + bias[c] + (with_residual ? residual[j] : 0.0f));
    }
    Floats out(expected.size());
    Conv2D(in.data(), s, packed, w,
           {bias.data(), with_residual ? residual.data() : nullptr, activation},
           out.data(), AnyParallel());
    ExpectClose(out, expected,
                Show({s.batch, s.height, s.width, s.channels, channels, w.kernel_h,
                      w.kernel_w, w.stride_h, w.stride_w, w.dilation_h, w.dilation_w,
                      w.pad_top, w.pad_bottom, w.pad_left, w.pad_right}));
  }
}

TEST_P(Kernels, DepthwiseConv2D) {
  for (int i = 0; i < 400; ++i) {
    Window w = AnyWindow(5);
    if (i % 4 > 0) {
      w.kernel_h = w.kernel_w = Coin() ? 3 : 5;
      w.stride_h = w.stride_w = Draw(1, 2);
      w.dilation_h = w.dilation_w = 1;
    }
    const ImageShape s = {Draw(1, 2), Fit(Draw(1, 30), w.kernel_h, w.dilation_h),
                          Fit(Draw(1, 30), w.kernel_w, w.dilation_w), Draw(1, 70)};
    const Floats in = Random(s.batch * s.height * s.width * s.channels);
    const Floats filter = Random(w.kernel_h * w.kernel_w * s.channels);
    const Floats bias = Random(s.channels), scale = Random(s.channels);
    const Activation activation = AnyActivation();
    const int64_t out_h = w.OutHeight(s.height), out_w = w.OutWidth(s.width);
    Doubles expected;
    for (int64_t n = 0; n < s.batch; ++n) {
      for (int64_t y = 0; y < out_h; ++y) {
        for (int64_t x = 0; x < out_w; ++x) {
          for (int64_t c = 0; c < s.channels; ++c) {
            double sum = 0;
            for (int64_t ky = 0; ky < w.kernel_h; ++ky) {
              for (int64_t kx = 0; kx < w.kernel_w; ++kx) {
                const int64_t in_y = y * w.stride_h - w.pad_top + ky * w.dilation_h;
                const int64_t in_x = x * w.stride_w - w.pad_left + kx * w.dilation_w;
                if (in_y < 0 || in_y >= s.height || in_x < 0 || in_x >= s.width) continue;
                sum +=
                    double(
                        in[((n * s.height + in_y) * s.width + in_x) * s.channels + c]) *
                    filter[(ky * w.kernel_w + kx) * s.channels + c];
              }
            }
            expected.push_back(Reference(activation, sum * scale[c] + bias[c]));
          }
        }
      }
    }
    Floats out(expected.size());
    const PackedDepthwise packed(filter.data(), w.kernel_h, w.kernel_w, s.channels,
                                 scale.data());
    DepthwiseConv2D(in.data(), s, packed, w, bias.data(), activation, out.data(),
                    AnyParallel());
    ExpectClose(out, expected,
                Show({s.batch, s.height, s.width, s.channels, w.kernel_h, w.kernel_w,
                      w.stride_h, w.stride_w, w.dilation_h, w.dilation_w, w.pad_top,
                      w.pad_bottom, w.pad_left, w.pad_right}));
  }
}

TEST_P(Kernels, BatchMatMul) {
  for (int i = 0; i < 60; ++i) {
    const int64_t outer = Draw(1, 3), inner = Draw(1, 4);
    const int64_t m = Draw(1, 60), k = Draw(1, 90), n = Draw(1, 90);
    const bool transpose = Coin();
    // Heads side by side, as attention has them.
    const int64_t b_rows = transpose ? n : k, b_columns = transpose ? k : n;
    const Floats a = Random(outer * m * inner * k);
    const Floats b = Random(outer * b_rows * inner * b_columns);
    Floats out(static_cast<size_t>(outer * inner * m * n));
    Doubles expected;
    for (int64_t o = 0; o < outer; ++o) {
      for (int64_t j = 0; j < inner; ++j) {
        for (int64_t r = 0; r < m; ++r) {
          for (int64_t c = 0; c < n; ++c) {
            double sum = 0;
            for (int64_t x = 0; x < k; ++x) {
              const int64_t row = transpose ? c : x, column = transpose ? x : c;
              sum += double(a[((o * m + r) * inner + j) * k + x]) *
                     b[((o * b_rows + row) * inner + j) * b_columns + column];
            }
            expected.push_back(0.125 * sum);
          }
        }
      }
    }
    BatchMatMul(outer, inner, m, k, n, {a.data(), m * inner * k, k, inner * k},
                {b.data(), b_rows * inner * b_columns, b_columns, inner * b_columns},
                transpose, 0.125f, {out.data(), inner * m * n, m * n, n}, AnyParallel());
    ExpectClose(out, expected, Show({outer, inner, m, k, n, transpose}));
  }
}

TEST_P(Kernels, ActivationsAreExactToTheLastPlaces) {
  Floats in = {0.0f,    -0.0f, kInf,   -kInf, kNan,  1e-30f,
               -1e-30f, 3e38f, -3e38f, 88.8f, -88.8f};
  for (float x = -110; x < 110; x += 0.037f) in.push_back(x);
  for (float x = 1e-6f; x < 1; x *= 1.1f) in.insert(in.end(), {x, -x});
  for (ActivationKind kind : kAllKinds) {
    const Activation activation{kind, 0.3f};
    Floats out(in.size());
    Activate(in.data(), int64_t(in.size()), activation, out.data(), Serial());
    for (size_t i = 0; i < in.size(); ++i) {
      const double expected = Reference(activation, double(in[i]));
      if (std::isnan(expected)) {
        EXPECT_TRUE(std::isnan(out[i])) << int(kind) << " of " << in[i];
      } else if (std::isinf(float(expected))) {
        EXPECT_EQ(out[i], float(expected)) << int(kind) << " of " << in[i];
      } else {
        // Relative to the input as well: gelu takes small differences of numbers of its
        // size.
        const double scale =
            std::max(std::fabs(expected), std::min(1.0, std::fabs(double(in[i]))));
        EXPECT_NEAR(out[i], expected, 5e-7 * scale + 1e-37)
            << int(kind) << " of " << in[i];
      }
    }
    // NaN survives every epilogue, too.
    const Floats one = {1}, bad = {kNan};
    Floats result(1);
    MatMul(bad.data(), 1, 1, PackedMatrix(one.data(), 1, 1, 1),
           {nullptr, nullptr, activation}, result.data(), 1, Serial());
    EXPECT_TRUE(std::isnan(result[0])) << int(kind);
  }
}

TEST_P(Kernels, Pools) {
  for (int i = 0; i < 60; ++i) {
    const Window w = AnyWindow(3);
    const ImageShape s = {Draw(1, 2), Fit(Draw(1, 20), w.kernel_h, w.dilation_h),
                          Fit(Draw(1, 20), w.kernel_w, w.dilation_w), Draw(1, 70)};
    const Floats in = Random(s.batch * s.height * s.width * s.channels);
    Doubles greatest, mean;
    for (int64_t n = 0; n < s.batch; ++n) {
      for (int64_t y = 0; y < w.OutHeight(s.height); ++y) {
        for (int64_t x = 0; x < w.OutWidth(s.width); ++x) {
          for (int64_t c = 0; c < s.channels; ++c) {
            double sum = 0, most = -double(kInf);
            int count = 0;
            for (int64_t ky = 0; ky < w.kernel_h; ++ky) {
              for (int64_t kx = 0; kx < w.kernel_w; ++kx) {
                const int64_t in_y = y * w.stride_h - w.pad_top + ky * w.dilation_h;
                const int64_t in_x = x * w.stride_w - w.pad_left + kx * w.dilation_w;
                if (in_y < 0 || in_y >= s.height || in_x < 0 || in_x >= s.width) continue;
                const double v =
                    in[((n * s.height + in_y) * s.width + in_x) * s.channels + c];
                sum += v;
                most = std::max(most, v);
                ++count;
              }
            }
            greatest.push_back(most);
            mean.push_back(sum / count);
          }
        }
      }
    }
    Floats out(greatest.size());
    MaxPool2D(in.data(), s, w, out.data(), AnyParallel());
    ExpectClose(out, greatest, "max");
    AvgPool2D(in.data(), s, w, out.data(), AnyParallel());
    ExpectClose(out, mean, "mean");
  }
}

TEST_P(Kernels, GlobalMeanAndScaleChannels) {
  for (int i = 0; i < 40; ++i) {
    const int64_t most = i % 5 == 0 ? 70 : 12;
    const ImageShape s = {Draw(1, 3), Draw(1, most), Draw(1, most), Draw(1, 300)};
    const int64_t pixels = s.height * s.width;
    const Floats in = Random(s.batch * pixels * s.channels);
    const Floats scale = Random(s.batch * s.channels);
    Doubles mean(static_cast<size_t>(s.batch * s.channels));
    Doubles scaled;
    for (int64_t n = 0; n < s.batch; ++n) {
      for (int64_t p = 0; p < pixels; ++p) {
        for (int64_t c = 0; c < s.channels; ++c) {
          const double v = in[(n * pixels + p) * s.channels + c];
          mean[n * s.channels + c] += v / double(pixels);
          scaled.push_back(v * scale[n * s.channels + c]);
        }
      }
    }
    Floats out(mean.size());
    GlobalMean(in.data(), s, out.data(), AnyParallel());
    ExpectClose(out, mean, "mean");
    Floats in_place = in;
    ScaleChannels(in_place.data(), s, scale.data(), in_place.data(), AnyParallel());
    ExpectClose(in_place, scaled, "scaled");
  }
}

TEST_P(Kernels, Binary) {
  for (int i = 0; i < 100; ++i) {
    const int64_t rows = Draw(1, i % 5 == 0 ? 2000 : 20), columns = Draw(1, 150);
    const bool broadcast = Coin(), reverse = Coin();
    const Floats a = Random(rows * columns),
                 b = Random(broadcast ? columns : rows * columns);
    const auto op = BinaryOp(Draw(0, 2));
    const Activation activation = AnyActivation();
    Doubles expected;
    for (int64_t j = 0; j < rows * columns; ++j) {
      double x = a[j], y = b[broadcast ? j % columns : j];
      if (reverse) std::swap(x, y);
      expected.push_back(Reference(activation, op == BinaryOp::kAdd   ? x + y
                                               : op == BinaryOp::kSub ? x - y
                                                                      : x * y));
    }
    Floats out = a;
    Binary(op, out.data(), b.data(), rows, columns, broadcast, reverse, activation,
           out.data(), AnyParallel());
    ExpectClose(out, expected, Show({rows, columns, broadcast, reverse, int64_t(op)}));
  }
}

TEST_P(Kernels, LayerNorm) {
  for (int i = 0; i < 40; ++i) {
    const int64_t rows = Draw(1, i % 5 == 0 ? 700 : 10), columns = Draw(1, 300);
    Floats in = Random(rows * columns);
    for (float& v : in) v += 100;  // a mean that would cancel digits
    const Floats residual = Random(rows * columns);
    const Floats gamma = Random(columns), beta = Random(columns);
    const bool with_residual = Coin(), with_gamma = Coin(), with_beta = Coin();
    Doubles expected;
    for (int64_t r = 0; r < rows; ++r) {
      Doubles x;
      double mean = 0, variance = 0;
      for (int64_t c = 0; c < columns; ++c) {
        // The sum is rounded as the kernel's is; what is tested is the rest.
        const float v = in[r * columns + c];
        x.push_back(with_residual ? v + residual[r * columns + c] : v);
        mean += x.back() / double(columns);
      }
      for (double v : x) variance += (v - mean) * (v - mean) / double(columns);
      for (int64_t c = 0; c < columns; ++c) {
        const double y = (x[c] - mean) / std::sqrt(variance + 1e-3);
        expected.push_back(y * (with_gamma ? gamma[c] : 1) + (with_beta ? beta[c] : 0));
      }
    }
    Floats out(in.size());
    LayerNorm(in.data(), with_residual ? residual.data() : nullptr, rows, columns,
              with_gamma ? gamma.data() : nullptr, with_beta ? beta.data() : nullptr,
              1e-3f, out.data(), AnyParallel());
    // Numbers near 100 have no more digits.
    ExpectClose(out, expected, Show({rows, columns}), 2e-4);
  }
}

TEST_P(Kernels, Softmax) {
  for (int i = 0; i < 40; ++i) {
    const int64_t rows_per_mask = Draw(1, 4), masks = Draw(1, i % 5 == 0 ? 300 : 5);
    const int64_t rows = rows_per_mask * masks, columns = Draw(1, 300);
    const Floats in = Random(rows * columns, 20);
    Floats mask(static_cast<size_t>(masks * columns));
    const bool masked = Coin();
    if (masked) {
      for (float& v : mask) v = Coin() ? -1e9f : 0;
    }
    Doubles expected;
    for (int64_t r = 0; r < rows; ++r) {
      Doubles e;
      for (int64_t c = 0; c < columns; ++c) {
        // As the kernel rounds it: next to 1e9 little is left.
        e.push_back(in[r * columns + c] + mask[r / rows_per_mask * columns + c]);
      }
      const double top = *std::max_element(e.begin(), e.end());
      double sum = 0;
      for (double& v : e) sum += v = std::exp(v - top);
      for (double v : e) expected.push_back(v / sum);
    }
    Floats out = in;
    Softmax(out.data(), masked ? mask.data() : nullptr, rows_per_mask, rows, columns,
            out.data(), AnyParallel());
    ExpectClose(out, expected, Show({rows, columns, masked}));
  }
}

TEST_P(Kernels, LstmCell) {
  for (int64_t units : {1, 7, 16, 33, 128}) {
    const int64_t batch = Draw(1, 3);
    const Floats gates = Random(batch * 4 * units, 3);
    Floats c = Random(batch * units), h(c.size());
    Doubles expected_h, expected_c;
    const auto sigmoid = [](double x) { return 1 / (1 + std::exp(-x)); };
    for (int64_t b = 0; b < batch; ++b) {
      for (int64_t u = 0; u < units; ++u) {
        const float* g = &gates[b * 4 * units + u];
        const double state = sigmoid(g[units]) * c[b * units + u] +
                             sigmoid(g[0]) * std::tanh(double(g[2 * units]));
        expected_c.push_back(state);
        expected_h.push_back(sigmoid(g[3 * units]) * std::tanh(state));
      }
    }
    LstmCell(gates.data(), c.data(), batch, units, h.data(), c.data());
    ExpectClose(h, expected_h, "h", 1e-6);
    ExpectClose(c, expected_c, "c", 1e-6);
  }
}

// What a thread count may change is the time alone.
TEST_P(Kernels, SameBitsOnAnyThreads) {
  ThreadPool pool(4);
  const Team team(&pool);
  const Window w{3, 3, 1, 1, 1, 1, 1, 1, 1, 1};
  const ImageShape s = {1, 30, 30, 64};
  const Floats in = Random(30 * 30 * 64), filter = Random(9 * 64 * 96);
  const PackedConv2D packed(filter.data(), 3, 3, 64, 96);
  Floats one(30 * 30 * 96), many(one.size());
  Conv2D(in.data(), s, packed, w, {}, one.data(), Serial());
  Conv2D(in.data(), s, packed, w, {}, many.data(), team);
  EXPECT_EQ(one, many);
  // Products that are cut into rows, into panels and into both.
  struct Product {
    int64_t m, k, n;
  };
  for (const Product& p :
       {Product{1, 1024, 1000}, Product{3, 700, 1100}, Product{8, 1024, 600},
        Product{49, 512, 1024}, Product{100, 900, 300}, Product{400, 1200, 300}}) {
    const Floats a = Random(p.m * p.k), b = Random(p.k * p.n), bias = Random(p.n);
    const PackedMatrix matrix(b.data(), p.k, p.n, p.n);
    const Epilogue epilogue = {bias.data(), nullptr, {ActivationKind::kSwish}};
    Floats serial(static_cast<size_t>(p.m * p.n)), parallel(serial.size());
    MatMul(a.data(), p.m, p.k, matrix, epilogue, serial.data(), p.n, Serial());
    MatMul(a.data(), p.m, p.k, matrix, epilogue, parallel.data(), p.n, team);
    EXPECT_EQ(serial, parallel) << Show({p.m, p.k, p.n});
  }
}

// Where windows lie inside the image, its rows are read in place; at its edges they are
// copied.
TEST_P(Kernels, Conv2DOfFewChannels) {
  ThreadPool pool(3);
  const Team team(&pool);
  for (int i = 0; i < 60; ++i) {
    Window w;
    w.kernel_h = Draw(1, 7), w.kernel_w = Draw(1, 7);
    w.stride_h = Draw(1, 3), w.stride_w = Draw(1, 3);
    w.dilation_h = Draw(1, 2);
    w.pad_top = Draw(0, 2), w.pad_left = Draw(0, 2);
    w.pad_bottom = Draw(0, 2), w.pad_right = Draw(0, 2);
    const ImageShape s = {Draw(1, 2), Draw(15, 40), Draw(15, 70), Draw(1, 6)};
    const int64_t channels = Draw(9, 64);
    const Floats in = Random(s.batch * s.height * s.width * s.channels);
    const Floats filter = Random(w.kernel_h * w.kernel_w * s.channels * channels);
    const PackedConv2D packed(filter.data(), w.kernel_h, w.kernel_w, s.channels,
                              channels);
    const Doubles expected = ReferenceConv(in, s, filter, w, channels);
    Floats serial(expected.size()), parallel(expected.size());
    Conv2D(in.data(), s, packed, w, {}, serial.data(), Serial());
    ExpectClose(serial, expected, Show({s.height, s.width, s.channels, channels}));
    Conv2D(in.data(), s, packed, w, {}, parallel.data(), team);
    EXPECT_EQ(serial, parallel);
  }
}

// Large weights share memory. Those that go give back what is theirs alone.
TEST_P(Kernels, WeightsComeAndGo) {
  constexpr int64_t k = 600, n = 490;
  const Floats a = Random(k);
  std::vector<std::pair<Floats, std::unique_ptr<PackedMatrix>>> matrices;
  for (int round = 0; round < 50; ++round) {
    Floats b = Random(k * n);
    auto packed = std::make_unique<PackedMatrix>(b.data(), k, n, n);
    matrices.emplace_back(std::move(b), std::move(packed));
    // Others stay what they are.
    if (matrices.size() > 20) matrices.erase(matrices.begin() + Draw(0, 19));
  }
  for (const auto& [b, packed] : matrices) {
    Doubles expected(n);
    for (int64_t i = 0; i < k; ++i) {
      for (int64_t j = 0; j < n; ++j)
        expected[size_t(j)] += double(a[size_t(i)]) * double(b[size_t(i * n + j)]);
    }
    Floats out(n);
    MatMul(a.data(), 1, k, *packed, {}, out.data(), n, Serial());
    ExpectClose(out, expected, Show({k, n}));
  }
}

// Teams that come and go, several at once, with rounds of few and of many tasks.
TEST(Team, RunsEachTaskOnce) {
  ThreadPool pool(4);
  const auto rounds = [&](unsigned seed) {
    std::minstd_rand generator(seed);
    for (int life = 0; life < 20; ++life) {
      const Team team(&pool);
      EXPECT_EQ(team.threads(), 4);
      for (int round = 0; round < 100; ++round) {
        std::vector<int> runs(generator() % 12);
        team.For(int64_t(runs.size()), [&](int64_t task) { ++runs[size_t(task)]; });
        EXPECT_EQ(runs, std::vector<int>(runs.size(), 1));
      }
    }
  };
  rounds(1);
  std::thread other(rounds, 2);
  rounds(3);
  other.join();
}

TEST(Team, WithoutAPoolIsTheCaller) {
  const Team<ThreadPool> team(nullptr);
  EXPECT_EQ(team.threads(), 1);
  int runs = 0;
  team.For(5, [&](int64_t task) { EXPECT_EQ(task, runs++); });
  EXPECT_EQ(runs, 5);
}

TEST(Team, HelpersTakeTasks) {
  ThreadPool pool(2);
  const Team team(&pool);
  std::atomic<bool> helped{false};
  const std::thread::id caller = std::this_thread::get_id();
  while (!helped) {
    team.For(2, [&](int64_t) {
      if (std::this_thread::get_id() != caller) helped = true;
      std::this_thread::yield();
    });
  }
}

// Winograd's sums are other ones, but round about as well: both against double precision.
TEST_P(Kernels, WinogradIsAsExactAsTheDirectConvolution) {
  const Window w{3, 3, 1, 1, 1, 1, 1, 1, 1, 1};
  for (int64_t channels : {32, 128, 256}) {
    const ImageShape s = {1, 14, 14, channels};
    // Positive, as after a relu: large sums, small differences.
    Floats in = Random(14 * 14 * channels);
    for (float& v : in) v = std::fabs(v);
    const Floats filter =
        Random(9 * channels * channels, 1 / std::sqrt(9 * float(channels)));
    const Doubles expected = ReferenceConv(in, s, filter, w, channels);
    double scale = 0;
    for (double v : expected) scale = std::max(scale, std::fabs(v));
    for (ConvMethod method : {ConvMethod::kDirect, ConvMethod::kWinograd}) {
      const PackedConv2D packed(filter.data(), 3, 3, channels, channels, nullptr, method);
      Floats out(expected.size());
      Conv2D(in.data(), s, packed, w, {}, out.data(), Serial());
      double error = 0;
      for (size_t i = 0; i < out.size(); ++i) {
        error = std::max(error, std::fabs(out[i] - expected[i]));
      }
      RecordProperty(method == ConvMethod::kDirect ? "direct" : "winograd",
                     std::to_string(1e9 * error / scale) + "e-9");
      EXPECT_LT(error / scale, 1e-6) << channels << " channels, method " << int(method);
    }
  }
}

TEST_P(Kernels, EnvironmentLimitsTheInstructionSet) {
  const auto best_under = [](const char* variable, const char* value) {
    setenv(variable, value, 1);
    SetIsaForTest(Isa::kAvx512Bfloat16);
    unsetenv(variable);
    return ActiveIsa();
  };
  for (const char* variable : {"ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"}) {
    EXPECT_EQ(best_under(variable, "SSE41"), Isa::kNone);
    EXPECT_FALSE(Supported());
    EXPECT_EQ(best_under(variable, "AVX"), Isa::kNone);
    EXPECT_EQ(best_under(variable, "avx2"), Isa::kAvx2);
    EXPECT_EQ(best_under(variable, "AVX2_VNNI"), Isa::kAvx2);
    for (const char* older : {"AVX512_CORE", "AVX512_CORE_VNNI"}) {
      EXPECT_GE(best_under(variable, older), std::min(GetParam(), Isa::kAvx512));
      EXPECT_LE(ActiveIsa(), Isa::kAvx512);
    }
    EXPECT_GE(best_under(variable, "DEFAULT"), GetParam());
  }
}

INSTANTIATE_TEST_SUITE_P(Isas, Kernels,
                         testing::Values(Isa::kAvx2, Isa::kAvx512, Isa::kAvx512Bfloat16),
                         [](const auto& isa) {
                           return isa.param == Isa::kAvx2     ? "Avx2"
                                  : isa.param == Isa::kAvx512 ? "Avx512"
                                                              : "Avx512Bfloat16";
                         });

}  // namespace
}  // namespace savedmodel::kernels
