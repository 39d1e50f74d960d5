// The kernels on the layers of MobileNet, ResNet50 and EfficientNetB0 and on small
// products: time, GFLOP/s and the share of what the processor's multipliers can do,
// measured beside them.
//
//     kernels_benchmark [threads] [avx2|avx512] [substring of a layer's group]
//
// On a busy machine, -2 threads tell what two would take: tasks run on one thread and
// their times are dealt to two.
//
// A net's layers run in turn, as they would in the net, so that weights come from where
// they would come from; the least of many rounds counts.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "kernels/kernels.h"
#include "kernels/team.h"
#include "kernels/thread_pool.h"

namespace {

using namespace savedmodel::kernels;

double Now();

// Runs tasks on the caller's thread and counts how much sooner `threads` would have been
// done, each taking the next task when it is free.
class Simulated final : public Parallel {
 public:
  explicit Simulated(int threads) : threads_(threads) {}
  int threads() const override { return threads_; }
  void For(int64_t tasks, TaskRef task) const override {
    constexpr double kWaking = 3e-6;
    std::vector<double> free_at(static_cast<size_t>(threads_), kWaking);
    free_at[0] = 0;
    const double start = Now();
    for (int64_t i = 0; i < tasks; ++i) {
      const double begin = Now();
      task(i);
      *std::min_element(free_at.begin(), free_at.end()) += Now() - begin;
    }
    saved += Now() - start - *std::max_element(free_at.begin(), free_at.end());
  }
  mutable double saved = 0;

 private:
  int threads_;
};
const Simulated* simulated = nullptr;

double Now() {
  return std::chrono::duration<double>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

std::vector<float> Random(int64_t count) {
  static std::minstd_rand generator(1);
  std::uniform_real_distribution<float> uniform(-1, 1);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& v : values) v = uniform(generator);
  return values;
}

// Memory that layers of a net share, as a net's activations do: two images in turn.
float* Image(int which) {
  static FloatArray images[3];
  constexpr int64_t kFloats = 4'000'000;
  if (!images[which]) {
    images[which] = AllocateFloats(kFloats);
    const std::vector<float> values = Random(kFloats);
    std::copy(values.begin(), values.end(), images[which].get());
  }
  return images[which].get();
}

struct Layer {
  std::string group, name;
  double macs;
  std::function<void(const Parallel&)> run;
  double seconds = 1e9;
};

class Net {
 public:
  std::vector<Layer> layers;

  void Conv(const char* group, int64_t size, int64_t in, int64_t out, int64_t kernel,
            int64_t stride, Activation activation = {ActivationKind::kRelu},
            bool residual = false) {
    const Window w = SamePadding(size, kernel, stride);
    const auto filter = std::make_shared<PackedConv2D>(
        Random(kernel * kernel * in * out).data(), kernel, kernel, in, out, nullptr,
        BestConvMethod(w, in, out));
    const int64_t out_size = w.OutHeight(size);
    const auto bias = std::make_shared<std::vector<float>>(Random(out));
    const ImageShape shape = {1, size, size, in};
    const int from = turn_ = !turn_;
    layers.push_back(
        {group, Name("conv", size, in, out, kernel, stride),
         double(out_size * out_size * kernel * kernel * in * out),
         [=](const Parallel& parallel) {
           Epilogue epilogue{bias->data(), residual ? Image(2) : nullptr, activation};
           Conv2D(Image(from), shape, *filter, w, epilogue, Image(!from), parallel);
         }});
  }

  // Of another shape than a square, with `same` padding.
  void ConvOf(const char* group, int64_t h, int64_t w, int64_t in, int64_t out,
              int64_t kernel_h, int64_t kernel_w, int64_t stride_w) {
    Window window;
    window.kernel_h = kernel_h;
    window.kernel_w = kernel_w;
    window.stride_w = stride_w;
    window.pad_top = window.pad_bottom = kernel_h / 2;
    window.pad_left = kernel_w / 2;
    window.pad_right = kernel_w / 2;
    const auto filter = std::make_shared<PackedConv2D>(
        Random(kernel_h * kernel_w * in * out).data(), kernel_h, kernel_w, in, out);
    const ImageShape shape = {1, h, w, in};
    layers.push_back({group,
                      "conv " + std::to_string(kernel_h) + "x" +
                          std::to_string(kernel_w) + "/" + std::to_string(stride_w) +
                          " " + std::to_string(h) + "x" + std::to_string(w) + "x" +
                          std::to_string(in) + " -> " + std::to_string(out),
                      double(window.OutHeight(h) * window.OutWidth(w) * kernel_h *
                             kernel_w * in * out),
                      [=](const Parallel& parallel) {
                        Conv2D(Image(0), shape, *filter, window, {}, Image(1), parallel);
                      }});
  }

  void Depthwise(const char* group, int64_t size, int64_t channels, int64_t kernel,
                 int64_t stride, Activation activation = {ActivationKind::kRelu6}) {
    const Window w = SamePadding(size, kernel, stride);
    const auto filter = std::make_shared<PackedDepthwise>(
        Random(kernel * kernel * channels).data(), kernel, kernel, channels);
    const auto bias = std::make_shared<std::vector<float>>(Random(channels));
    const ImageShape shape = {1, size, size, channels};
    const int64_t out_size = w.OutHeight(size);
    const int from = turn_ = !turn_;
    layers.push_back({group, Name("depthwise", size, channels, channels, kernel, stride),
                      double(out_size * out_size * kernel * kernel * channels),
                      [=](const Parallel& parallel) {
                        DepthwiseConv2D(Image(from), shape, *filter, w, bias->data(),
                                        activation, Image(!from), parallel);
                      }});
  }

  void Squeeze(const char* group, int64_t size, int64_t channels, int64_t squeezed) {
    const auto reduce = std::make_shared<PackedMatrix>(Random(channels * squeezed).data(),
                                                       channels, squeezed, squeezed);
    const auto expand = std::make_shared<PackedMatrix>(Random(channels * squeezed).data(),
                                                       squeezed, channels, channels);
    const auto gate = std::make_shared<std::vector<float>>(Random(3 * channels));
    const ImageShape shape = {1, size, size, channels};
    const int from = !turn_;
    layers.push_back(
        {group, "squeeze-excite " + std::to_string(size) + "x" + std::to_string(channels),
         double(2 * channels * squeezed), [=](const Parallel& parallel) {
           float* mean = gate->data();
           float* small = mean + channels;
           float* scale = small + channels;
           GlobalMean(Image(!from), shape, mean, parallel);
           MatMul(mean, 1, channels, *reduce,
                  {nullptr, nullptr, {ActivationKind::kSwish}}, small, squeezed,
                  parallel);
           MatMul(small, 1, squeezed, *expand,
                  {nullptr, nullptr, {ActivationKind::kSigmoid}}, scale, channels,
                  parallel);
           ScaleChannels(Image(!from), shape, scale, Image(!from), parallel);
         }});
  }

  void Dense(const char* group, int64_t m, int64_t k, int64_t n,
             Activation activation = {ActivationKind::kRelu}) {
    const auto b = std::make_shared<PackedMatrix>(Random(k * n).data(), k, n, n);
    const auto bias = std::make_shared<std::vector<float>>(Random(n));
    layers.push_back({group,
                      "matmul " + std::to_string(m) + " x " + std::to_string(k) + " x " +
                          std::to_string(n),
                      double(m * k * n), [=](const Parallel& parallel) {
                        MatMul(Image(0), m, k, *b, {bias->data(), nullptr, activation},
                               Image(1), n, parallel);
                      }});
  }

  void Other(const char* group, const char* name, double operations,
             std::function<void(const Parallel&)> run) {
    layers.push_back({group, name, operations, std::move(run)});
  }

 private:
  static Window SamePadding(int64_t size, int64_t kernel, int64_t stride) {
    Window w;
    w.kernel_h = w.kernel_w = kernel;
    w.stride_h = w.stride_w = stride;
    const int64_t out = (size + stride - 1) / stride;
    const int64_t pad = std::max<int64_t>(0, (out - 1) * stride + kernel - size);
    w.pad_top = w.pad_left = pad / 2;
    w.pad_bottom = w.pad_right = pad - pad / 2;
    return w;
  }
  static std::string Name(const char* kind, int64_t size, int64_t in, int64_t out,
                          int64_t kernel, int64_t stride) {
    return std::string(kind) + " " + std::to_string(kernel) + "x" +
           std::to_string(kernel) + "/" + std::to_string(stride) + " " +
           std::to_string(size) + "x" + std::to_string(size) + "x" + std::to_string(in) +
           " -> " + std::to_string(out);
  }
  int turn_ = 0;
};

Net MobileNet() {
  Net net;
  const char* g = "mobilenet";
  const Activation relu6 = {ActivationKind::kRelu6};
  net.Conv(g, 224, 3, 32, 3, 2, relu6);
  struct Block {
    int64_t size, in, out, stride;
  };
  std::vector<Block> blocks = {{112, 32, 64, 1},  {112, 64, 128, 2}, {56, 128, 128, 1},
                               {56, 128, 256, 2}, {28, 256, 256, 1}, {28, 256, 512, 2}};
  for (int i = 0; i < 5; ++i) blocks.push_back({14, 512, 512, 1});
  blocks.push_back({14, 512, 1024, 2});
  blocks.push_back({7, 1024, 1024, 1});
  for (const Block& b : blocks) {
    net.Depthwise(g, b.size, b.in, 3, b.stride);
    net.Conv(g, b.size / b.stride, b.in, b.out, 1, 1, relu6);
  }
  net.Conv(g, 1, 1024, 1000, 1, 1, {});
  return net;
}

Net ResNet50() {
  Net net;
  const char* g = "resnet50";
  net.Conv(g, 224, 3, 64, 7, 2);
  struct Stage {
    int64_t size, width, blocks, stride;
  };
  int64_t channels = 64;
  for (const Stage& s : {Stage{56, 64, 3, 1}, Stage{56, 128, 4, 2}, Stage{28, 256, 6, 2},
                         Stage{14, 512, 3, 2}}) {
    for (int64_t i = 0; i < s.blocks; ++i) {
      const int64_t stride = i == 0 ? s.stride : 1;
      const int64_t size = i == 0 ? s.size : s.size / s.stride;
      if (i == 0) net.Conv(g, size, channels, 4 * s.width, 1, stride, {});
      net.Conv(g, size, channels, s.width, 1, stride);
      net.Conv(g, size / stride, s.width, s.width, 3, 1);
      net.Conv(g, size / stride, s.width, 4 * s.width, 1, 1, {ActivationKind::kRelu},
               true);
      channels = 4 * s.width;
    }
  }
  return net;
}

Net EfficientNetB0() {
  Net net;
  const char* g = "efficientnet";
  const Activation swish = {ActivationKind::kSwish};
  net.Conv(g, 224, 3, 32, 3, 2, swish);
  struct Stage {
    int64_t expand, out, blocks, kernel, stride;
  };
  int64_t channels = 32, size = 112;
  for (const Stage& s :
       {Stage{1, 16, 1, 3, 1}, Stage{6, 24, 2, 3, 2}, Stage{6, 40, 2, 5, 2},
        Stage{6, 80, 3, 3, 2}, Stage{6, 112, 3, 5, 1}, Stage{6, 192, 4, 5, 2},
        Stage{6, 320, 1, 3, 1}}) {
    for (int64_t i = 0; i < s.blocks; ++i) {
      const int64_t stride = i == 0 ? s.stride : 1;
      const int64_t wide = channels * s.expand;
      if (s.expand != 1) net.Conv(g, size, channels, wide, 1, 1, swish);
      net.Depthwise(g, size, wide, s.kernel, stride, swish);
      size = (size + stride - 1) / stride;
      net.Squeeze(g, size, wide, std::max<int64_t>(1, channels / 4));
      net.Conv(g, size, wide, s.out, 1, 1, {}, i > 0);
      channels = s.out;
    }
  }
  net.Conv(g, size, channels, 1280, 1, 1, swish);
  return net;
}

// Its convolutions have many rows and few output channels.
Net BasicPitch() {
  Net net;
  struct Shape {
    int64_t h, w, in, out, kernel_h, kernel_w, stride_w;
  };
  for (const Shape& l :
       {Shape{172, 264, 8, 8, 3, 39, 1}, Shape{172, 264, 8, 1, 5, 5, 1},
        Shape{172, 264, 1, 32, 7, 7, 3}, Shape{172, 88, 32, 1, 7, 3, 1},
        Shape{172, 264, 8, 32, 5, 5, 3}, Shape{172, 88, 33, 1, 3, 3, 1}}) {
    net.ConvOf("basic-pitch", l.h, l.w, l.in, l.out, l.kernel_h, l.kernel_w, l.stride_w);
  }
  return net;
}

Net Small() {
  Net net;
  for (int64_t m : {1, 2, 4, 8}) {
    net.Dense("small", m, 64, 128);
    net.Dense("small", m, 128, 10);
  }
  net.Dense("small", 1, 32, 128);
  net.Dense("small", 1, 1024, 1000);
  net.Dense("small", 32, 64, 128);
  return net;
}

Net Transformer() {
  Net net;
  const char* g = "transformer";
  net.Dense(g, 128, 512, 512, {});
  net.Dense(g, 128, 512, 2048, {ActivationKind::kGelu});
  net.Dense(g, 128, 2048, 512, {});
  net.Other(g, "q k^T, 8 heads of 64", 8 * 128 * 128 * 64, [](const Parallel& parallel) {
    BatchMatMul(1, 8, 128, 64, 128, {Image(0), 0, 64, 512}, {Image(1), 0, 64, 512}, true,
                0.125f, {Image(2), 0, 128 * 128, 128}, parallel);
  });
  net.Other(g, "softmax", 8 * 128 * 128, [](const Parallel& parallel) {
    Softmax(Image(0), nullptr, 1, 8 * 128, 128, Image(2), parallel);
  });
  net.Other(g, "scores v, 8 heads of 64", 8 * 128 * 128 * 64,
            [](const Parallel& parallel) {
              BatchMatMul(1, 8, 128, 128, 64, {Image(0), 0, 128 * 128, 128},
                          {Image(1), 0, 64, 512}, false, 1.0f, {Image(2), 0, 64, 512},
                          parallel);
            });
  net.Other(g, "layer norm", 128 * 512, [](const Parallel& parallel) {
    LayerNorm(Image(0), Image(1), 128, 512, Image(1), Image(1), 1e-6f, Image(2),
              parallel);
  });
  return net;
}

// Operations of another kind, with the number of results in place of multiplications.
Net Pointwise() {
  Net net;
  const char* g = "pointwise";
  const std::vector<std::pair<const char*, ActivationKind>> kinds = {
      {"relu", ActivationKind::kRelu},         {"elu", ActivationKind::kElu},
      {"sigmoid", ActivationKind::kSigmoid},   {"tanh", ActivationKind::kTanh},
      {"swish", ActivationKind::kSwish},       {"gelu", ActivationKind::kGelu},
      {"gelu_tanh", ActivationKind::kGeluTanh}};
  for (const auto& [name, kind] : kinds) {
    net.Other(g, name, 4096, [kind = kind](const Parallel& parallel) {
      Activate(Image(0), 4096, {kind}, Image(1), parallel);
    });
  }
  net.Other(g, "global mean 7x7x2048", 7 * 7 * 2048, [](const Parallel& parallel) {
    GlobalMean(Image(0), {1, 7, 7, 2048}, Image(1), parallel);
  });
  net.Other(g, "max pool 3x3/2 112x112x64", 56 * 56 * 64, [](const Parallel& parallel) {
    Window w;
    w.kernel_h = w.kernel_w = 3;
    w.stride_h = w.stride_w = 2;
    w.pad_bottom = w.pad_right = 1;
    MaxPool2D(Image(0), {1, 112, 112, 64}, w, Image(1), parallel);
  });
  net.Other(g, "add 56x56x256", 56 * 56 * 256, [](const Parallel& parallel) {
    Binary(BinaryOp::kAdd, Image(0), Image(1), 1, 56 * 56 * 256, false, false, {},
           Image(2), parallel);
  });
  net.Other(g, "lstm cell 128 units", 128, [](const Parallel&) {
    LstmCell(Image(0), Image(1), 1, 128, Image(2), Image(1));
  });
  return net;
}

// Multiplications a second of one thread, all operands in registers.
double PeakMacs() {
  static PackedMatrix* b = new PackedMatrix(Random(256 * 32).data(), 256, 32, 32);
  double best = 0;
  for (int i = 0; i < 200; ++i) {
    const double start = Now();
    MatMul(Image(0), 1400, 256, *b, {}, Image(1), 32, Serial());
    best = std::max(best, 1400 * 256 * 32 / (Now() - start));
  }
  return best;
}

void Measure(Net& net, const Parallel& parallel, double peak) {
  double whole = 1e9;
  const double begin = Now();
  for (int round = 0; round < 5 || Now() - begin < 2; ++round) {
    const double start = Now();
    for (Layer& layer : net.layers) {
      // What takes no time is repeated.
      const int repeats = layer.macs < 1e6 && net.layers.size() < 20 ? 100 : 1;
      const double before = Now() - (simulated ? simulated->saved : 0);
      for (int i = 0; i < repeats; ++i) layer.run(parallel);
      layer.seconds = std::min(
          layer.seconds, (Now() - (simulated ? simulated->saved : 0) - before) / repeats);
    }
    whole = std::min(whole, Now() - start);
  }
  double macs = 0, sum = 0;
  for (const Layer& layer : net.layers) {
    sum += layer.seconds;
    std::printf("  %-44s %9.2f us %8.1f GFLOP/s %4.0f%%\n", layer.name.c_str(),
                layer.seconds * 1e6, 2e-9 * layer.macs / layer.seconds,
                100 * layer.macs / layer.seconds / peak);
    macs += layer.macs;
  }
  std::printf(
      "%-14s least round %7.3f ms, sum of the least %7.3f ms: %.1f GFLOP/s, %.0f%%\n\n",
      net.layers[0].group.c_str(), whole * 1e3, sum * 1e3, 2e-9 * macs / sum,
      100 * macs / sum / peak);
}

}  // namespace

int main(int argc, char** argv) {
  const int asked = argc > 1 ? std::atoi(argv[1]) : 1;
  const int threads = std::abs(asked);
  if (argc > 2 && std::strcmp(argv[2], "avx2") == 0) SetIsaForTest(Isa::kAvx2);
  if (!Supported()) return std::puts("no kernels for this processor"), 1;
  ThreadPool pool(asked > 1 ? asked : 1);
  const Team team(&pool);
  const Simulated simulation(threads);
  if (asked < 0) simulated = &simulation;
  const Parallel& parallel = asked < 0 ? static_cast<const Parallel&>(simulation) : team;
  const double peak = PeakMacs();
  std::printf("%s, %d threads; the best product on one thread: %.1f GFLOP/s\n",
              ActiveIsa() >= Isa::kAvx512 ? "AVX-512" : "AVX2", threads, 2e-9 * peak);
  for (Net (*make)() :
       {MobileNet, ResNet50, EfficientNetB0, BasicPitch, Transformer, Small, Pointwise}) {
    Net net = make();
    if (argc > 3 && net.layers[0].group.find(argv[3]) == std::string::npos) continue;
    Measure(net, parallel, peak * threads);
  }
}
