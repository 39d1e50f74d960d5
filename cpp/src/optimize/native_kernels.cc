#include "optimize/native_kernels.h"

#include <algorithm>
#include <string>
#include <utility>

#include "tensorflow/core/util/overflow.h"

namespace savedmodel {

namespace {

namespace tf = tensorflow;
using kernels::Activation;
using kernels::ActivationKind;

const char* Name(ActivationKind kind) {
  switch (kind) {
    case ActivationKind::kNone: return "";
    case ActivationKind::kRelu: return "Relu";
    case ActivationKind::kRelu6: return "Relu6";
    case ActivationKind::kElu: return "Elu";
    case ActivationKind::kLeakyRelu: return "LeakyRelu";
    case ActivationKind::kSigmoid: return "Sigmoid";
    case ActivationKind::kTanh: return "Tanh";
    case ActivationKind::kSwish: return "Swish";
    case ActivationKind::kHardSwish: return "HardSwish";
    case ActivationKind::kGelu: return "Gelu";
    case ActivationKind::kGeluTanh: return "GeluTanh";
  }
  return "";
}

std::string WithActivation(std::string name, const Activation& activation) {
  if (activation.kind != ActivationKind::kNone)
    name += std::string("+") + Name(activation.kind);
  return name;
}

// The window with TensorFlow's "SAME" padding for this size.
kernels::Window Padded(kernels::Window window, bool same, std::int64_t height,
                       std::int64_t width) {
  if (!same) return window;
  const auto pad = [](std::int64_t size, std::int64_t kernel, std::int64_t stride,
                      std::int64_t dilation, std::int64_t* before, std::int64_t* after) {
    const std::int64_t out = (size + stride - 1) / stride;
    const std::int64_t reach = (kernel - 1) * dilation + 1;
    const std::int64_t total =
        std::max<std::int64_t>((out - 1) * stride + reach - size, 0);
    *before = total / 2;
    *after = total - total / 2;
  };
  pad(height, window.kernel_h, window.stride_h, window.dilation_h, &window.pad_top,
      &window.pad_bottom);
  pad(width, window.kernel_w, window.stride_w, window.dilation_w, &window.pad_left,
      &window.pad_right);
  return window;
}

std::optional<kernels::ImageShape> ImageOf(const tf::Tensor& tensor) {
  if (tensor.dims() != 4) return std::nullopt;
  return kernels::ImageShape{tensor.dim_size(0), tensor.dim_size(1), tensor.dim_size(2),
                             tensor.dim_size(3)};
}

// Of what windows give; nothing where TensorFlow calls its size negative. Where the
// window just does not fit, the size is zero (and oneDNN, at the session's hand, gives
// whatever is in memory or divides by zero).
std::optional<tf::TensorShape> PooledShape(const kernels::ImageShape& image,
                                           const kernels::Window& window,
                                           std::int64_t channels) {
  const std::int64_t height = window.OutHeight(image.height);
  const std::int64_t width = window.OutWidth(image.width);
  if (height < 0 || width < 0) return std::nullopt;
  tf::TensorShape shape;
  if (!tf::TensorShape::BuildTensorShape({image.batch, height, width, channels}, &shape)
           .ok()) {
    return std::nullopt;
  }
  return shape;
}

class EpilogueKernel : public NativeKernel {
 protected:
  explicit EpilogueKernel(NativeEpilogue epilogue) : epilogue_(std::move(epilogue)) {}

  std::string NameOf(const char* op,
                     kernels::Precision precision = kernels::Precision::kFloat32) const {
    std::string name = op;
    if (precision == kernels::Precision::kBfloat16) name += "(bfloat16)";
    if (!epilogue_.bias.empty()) name += "+Bias";
    if (epilogue_.residual) name += "+Add";
    return WithActivation(std::move(name), epilogue_.activation);
  }

  const float* bias() const {
    return epilogue_.bias.empty() ? nullptr : epilogue_.bias.data();
  }
  // False if the residual has another shape.
  bool Make(const NativeContext& context, const tf::TensorShape& shape,
            kernels::Epilogue* made) const {
    made->bias = bias();
    made->activation = epilogue_.activation;
    if (!epilogue_.residual) return true;
    const int last = context.num_inputs() - 1;
    made->residual = context.data(last);
    return context.input(last).shape() == shape;
  }

  const NativeEpilogue epilogue_;
};

class Conv2DKernel final : public EpilogueKernel {
 public:
  Conv2DKernel(const tf::Tensor& filter, const kernels::Window& window, bool same,
               const float* scale, kernels::Precision precision, NativeEpilogue epilogue)
      : EpilogueKernel(std::move(epilogue)),
        window_(window),
        same_(same),
        filter_(filter.flat<float>().data(), filter.dim_size(0), filter.dim_size(1),
                filter.dim_size(2), filter.dim_size(3), scale,
                kernels::BestConvMethod(window, filter.dim_size(2), filter.dim_size(3)),
                precision) {}

  std::string name() const override { return NameOf("Conv2D", filter_.precision()); }

  bool Run(NativeContext* context) const override {
    const auto image = ImageOf(context->input(0));
    if (!image || image->channels != filter_.in_channels()) return false;
    const kernels::Window window = Padded(window_, same_, image->height, image->width);
    const auto shape = PooledShape(*image, window, filter_.out_channels());
    kernels::Epilogue epilogue;
    if (!shape || !Make(*context, *shape, &epilogue)) return false;
    float* out = context->Output(0, *shape);
    if (out == nullptr) return false;
    kernels::Conv2D(context->data(0), *image, filter_, window, epilogue, out,
                    context->parallel());
    return true;
  }

 private:
  const kernels::Window window_;
  const bool same_;
  const kernels::PackedConv2D filter_;
};

class DepthwiseKernel final : public EpilogueKernel {
 public:
  DepthwiseKernel(const tf::Tensor& filter, const kernels::Window& window, bool same,
                  const float* scale, NativeEpilogue epilogue)
      : EpilogueKernel(std::move(epilogue)),
        window_(window),
        same_(same),
        filter_(filter.flat<float>().data(), filter.dim_size(0), filter.dim_size(1),
                filter.dim_size(2), scale) {}

  std::string name() const override { return NameOf("DepthwiseConv2D"); }

  bool Run(NativeContext* context) const override {
    const auto image = ImageOf(context->input(0));
    if (!image || image->channels != filter_.channels()) return false;
    const kernels::Window window = Padded(window_, same_, image->height, image->width);
    const auto shape = PooledShape(*image, window, filter_.channels());
    if (!shape) return false;
    float* out = context->Output(0, *shape);
    if (out == nullptr) return false;
    kernels::DepthwiseConv2D(context->data(0), *image, filter_, window, bias(),
                             epilogue_.activation, out, context->parallel());
    return true;
  }

 private:
  const kernels::Window window_;
  const bool same_;
  const kernels::PackedDepthwise filter_;
};

class MatMulKernel final : public EpilogueKernel {
 public:
  MatMulKernel(const tf::Tensor& weights, bool transposed, const float* scale,
               kernels::Precision precision, NativeEpilogue epilogue)
      : EpilogueKernel(std::move(epilogue)),
        weights_(weights.flat<float>().data(), weights.dim_size(transposed ? 1 : 0),
                 weights.dim_size(transposed ? 0 : 1), weights.dim_size(1), transposed,
                 scale, precision) {}

  std::string name() const override { return NameOf("MatMul", weights_.precision()); }

  bool Run(NativeContext* context) const override {
    tf::TensorShape shape = context->input(0).shape();
    if (shape.dims() < 2 || shape.dim_size(shape.dims() - 1) != weights_.k())
      return false;
    shape.set_dim(shape.dims() - 1, weights_.n());
    kernels::Epilogue epilogue;
    if (!Make(*context, shape, &epilogue)) return false;
    float* out = context->Output(0, shape);
    if (out == nullptr) return false;
    const std::int64_t rows = weights_.n() == 0 ? 0 : shape.num_elements() / weights_.n();
    kernels::MatMul(context->data(0), rows, weights_.k(), weights_, epilogue, out,
                    weights_.n(), context->parallel());
    return true;
  }

 private:
  const kernels::PackedMatrix weights_;
};

class UnpackedMatMulKernel final : public NativeKernel {
 public:
  explicit UnpackedMatMulKernel(const tf::Tensor& weights)
      : weights_(weights.flat<float>().data(), weights.dim_size(0), weights.dim_size(1),
                 weights.dim_size(1)) {}

  std::string name() const override { return "Unpack+MatMul"; }

  bool Run(NativeContext* context) const override {
    tf::TensorShape shape = context->input(0).shape();
    if (shape.dims() < 2 || shape.dim_size(shape.dims() - 1) != weights_.k() ||
        shape.dim_size(0) != context->num_outputs()) {
      return false;
    }
    shape.set_dim(shape.dims() - 1, weights_.n());
    float* out = context->OutputSlices(shape);
    if (out == nullptr) return false;
    kernels::MatMul(context->data(0), shape.num_elements() / weights_.n(), weights_.k(),
                    weights_, {}, out, weights_.n(), context->parallel());
    return true;
  }

 private:
  const kernels::PackedMatrix weights_;
};

class ActivationKernel final : public NativeKernel {
 public:
  explicit ActivationKernel(Activation activation) : activation_(activation) {}
  std::string name() const override { return Name(activation_.kind); }
  bool Run(NativeContext* context) const override {
    const tf::Tensor& x = context->input(0);
    float* out = context->Output(0, x.shape());
    if (out == nullptr) return false;
    kernels::Activate(context->data(0), x.NumElements(), activation_, out,
                      context->parallel());
    return true;
  }

 private:
  const Activation activation_;
};

const char* Name(kernels::BinaryOp op) {
  return op == kernels::BinaryOp::kAdd   ? "Add"
         : op == kernels::BinaryOp::kSub ? "Sub"
                                         : "Mul";
}

class BinaryKernel final : public NativeKernel {
 public:
  BinaryKernel(kernels::BinaryOp op, Activation activation)
      : op_(op), activation_(activation) {}
  std::string name() const override { return WithActivation(Name(op_), activation_); }
  bool Run(NativeContext* context) const override {
    const tf::Tensor& x = context->input(0);
    if (context->input(1).shape() != x.shape()) return false;
    float* out = context->Output(0, x.shape());
    if (out == nullptr) return false;
    kernels::Binary(op_, context->data(0), context->data(1), 1, x.NumElements(), false,
                    false, activation_, out, context->parallel());
    return true;
  }

 private:
  const kernels::BinaryOp op_;
  const Activation activation_;
};

class BinaryConstantKernel final : public NativeKernel {
 public:
  BinaryConstantKernel(kernels::BinaryOp op, std::vector<float> operand, bool reverse,
                       Activation activation)
      : op_(op),
        channels_(static_cast<std::int64_t>(operand.size())),
        reverse_(reverse),
        activation_(activation) {
    // One for all, or an image's three, is repeated, to make rows that fill vectors.
    const std::size_t size = operand.size();
    const std::size_t repeats = size == 0 || size >= 64 ? 1 : 16 * ((size + 15) / size);
    for (std::size_t i = 0; i < repeats; ++i)
      operand_.insert(operand_.end(), operand.begin(), operand.end());
  }
  std::string name() const override { return WithActivation(Name(op_), activation_); }
  bool Run(NativeContext* context) const override {
    const tf::Tensor& x = context->input(0);
    if (channels_ != 1 && (x.dims() == 0 || x.dim_size(x.dims() - 1) != channels_))
      return false;
    float* out = context->Output(0, x.shape());
    const auto columns = static_cast<std::int64_t>(operand_.size());
    if (out == nullptr || columns == 0) return out != nullptr;
    const std::int64_t rows = x.NumElements() / columns;
    const float* data = context->data(0);
    kernels::Binary(op_, data, operand_.data(), rows, columns, true, reverse_,
                    activation_, out, context->parallel());
    const std::int64_t done = rows * columns;
    if (done < x.NumElements()) {
      kernels::Binary(op_, data + done, operand_.data(), 1, x.NumElements() - done, true,
                      reverse_, activation_, out + done, context->parallel());
    }
    return true;
  }

 private:
  const kernels::BinaryOp op_;
  const std::int64_t channels_;
  std::vector<float> operand_;
  const bool reverse_;
  const Activation activation_;
};

class ReshapeKernel final : public NativeKernel {
 public:
  ReshapeKernel(std::vector<std::int64_t> dims, bool keep_first)
      : dims_(std::move(dims)), keep_first_(keep_first) {}
  std::string name() const override { return "Reshape"; }
  bool SharesInputs() const override { return true; }
  bool Run(NativeContext* context) const override {
    const tf::Tensor& x = context->input(0);
    if (keep_first_ && x.dims() == 0) return false;
    std::vector<std::int64_t> dims = dims_;
    if (keep_first_) dims.front() = x.dim_size(0);
    std::int64_t known = 1;
    std::int64_t* inferred = nullptr;
    for (std::int64_t& dim : dims) {
      if (dim == -1 && inferred == nullptr) {
        inferred = &dim;
      } else if (dim < 0 || (known = tf::MultiplyWithoutOverflow(known, dim)) < 0) {
        return false;
      }
    }
    if (inferred != nullptr) {
      if (known == 0 || x.NumElements() % known != 0) return false;
      *inferred = x.NumElements() / known;
    }
    tf::TensorShape shape;
    return tf::TensorShape::BuildTensorShape(dims, &shape).ok() &&
           context->Share(0, 0, shape);
  }

 private:
  const std::vector<std::int64_t> dims_;
  const bool keep_first_;
};

class SqueezeKernel final : public NativeKernel {
 public:
  explicit SqueezeKernel(std::vector<std::int64_t> axes) : axes_(std::move(axes)) {}
  std::string name() const override { return "Squeeze"; }
  bool SharesInputs() const override { return true; }
  bool Run(NativeContext* context) const override {
    const tf::Tensor& x = context->input(0);
    std::vector<bool> squeezed(x.dims());
    for (const std::int64_t axis : axes_) {
      const std::int64_t index = axis < 0 ? axis + x.dims() : axis;
      if (index < 0 || index >= x.dims() || x.dim_size(static_cast<int>(index)) != 1)
        return false;
      squeezed[index] = true;
    }
    tf::TensorShape shape;
    for (int i = 0; i < x.dims(); ++i) {
      if (!squeezed[i]) shape.AddDim(x.dim_size(i));
    }
    return context->Share(0, 0, shape);
  }

 private:
  const std::vector<std::int64_t> axes_;
};

class GlobalMeanKernel final : public NativeKernel {
 public:
  explicit GlobalMeanKernel(bool keep_dims) : keep_dims_(keep_dims) {}
  std::string name() const override { return "GlobalMean"; }
  bool Run(NativeContext* context) const override {
    const auto image = ImageOf(context->input(0));
    if (!image || image->height * image->width == 0) return false;
    float* out = context->Output(
        0, keep_dims_ ? tf::TensorShape({image->batch, 1, 1, image->channels})
                      : tf::TensorShape({image->batch, image->channels}));
    if (out == nullptr) return false;
    kernels::GlobalMean(context->data(0), *image, out, context->parallel());
    return true;
  }

 private:
  const bool keep_dims_;
};

class ScaleChannelsKernel final : public NativeKernel {
 public:
  std::string name() const override { return "ScaleChannels"; }
  bool Run(NativeContext* context) const override {
    const auto image = ImageOf(context->input(0));
    if (!image || context->input(1).shape() !=
                      tf::TensorShape({image->batch, 1, 1, image->channels})) {
      return false;
    }
    float* out = context->Output(0, context->input(0).shape());
    if (out == nullptr) return false;
    kernels::ScaleChannels(context->data(0), *image, context->data(1), out,
                           context->parallel());
    return true;
  }
};

class LayerNormKernel final : public NativeKernel {
 public:
  LayerNormKernel(std::vector<float> gamma, std::vector<float> beta, float epsilon)
      : gamma_(std::move(gamma)), beta_(std::move(beta)), epsilon_(epsilon) {}
  std::string name() const override { return "LayerNorm"; }
  bool Run(NativeContext* context) const override {
    const tf::Tensor& x = context->input(0);
    const auto columns = static_cast<std::int64_t>(gamma_.size());
    if (x.dims() == 0 || x.dim_size(x.dims() - 1) != columns || columns == 0)
      return false;
    float* out = context->Output(0, x.shape());
    if (out == nullptr) return false;
    kernels::LayerNorm(context->data(0), nullptr, x.NumElements() / columns, columns,
                       gamma_.data(), beta_.data(), epsilon_, out, context->parallel());
    return true;
  }

 private:
  const std::vector<float> gamma_;
  const std::vector<float> beta_;
  const float epsilon_;
};

class SoftmaxKernel final : public NativeKernel {
 public:
  std::string name() const override { return "Softmax"; }
  bool Run(NativeContext* context) const override {
    const tf::Tensor& x = context->input(0);
    if (x.dims() == 0) return false;
    const std::int64_t columns = x.dim_size(x.dims() - 1);
    float* out = context->Output(0, x.shape());
    if (out == nullptr || columns == 0) return out != nullptr;
    kernels::Softmax(context->data(0), nullptr, 1, x.NumElements() / columns, columns,
                     out, context->parallel());
    return true;
  }
};

class PoolKernel final : public NativeKernel {
 public:
  PoolKernel(bool max, const kernels::Window& window, bool same)
      : max_(max), window_(window), same_(same) {}
  std::string name() const override { return max_ ? "MaxPool" : "AvgPool"; }
  bool Run(NativeContext* context) const override {
    const auto image = ImageOf(context->input(0));
    if (!image) return false;
    const kernels::Window window = Padded(window_, same_, image->height, image->width);
    const auto shape = PooledShape(*image, window, image->channels);
    if (!shape) return false;
    float* out = context->Output(0, *shape);
    if (out == nullptr) return false;
    (max_ ? kernels::MaxPool2D : kernels::AvgPool2D)(context->data(0), *image, window,
                                                     out, context->parallel());
    return true;
  }

 private:
  const bool max_;
  const kernels::Window window_;
  const bool same_;
};

class AttentionKernel final : public NativeKernel {
 public:
  explicit AttentionKernel(float scale) : scale_(scale) {}
  std::string name() const override { return "Attention"; }

  bool Run(NativeContext* context) const override {
    const tf::TensorShape& query = context->input(0).shape();
    const tf::TensorShape& key = context->input(1).shape();
    if (query.dims() != 4 || key.dims() != 4 || context->input(2).shape() != key)
      return false;
    const std::int64_t batch = query.dim_size(0);
    const std::int64_t heads = query.dim_size(2);
    const std::int64_t size = query.dim_size(3);
    const std::int64_t queries = query.dim_size(1);
    const std::int64_t keys = key.dim_size(1);
    if (key.dim_size(0) != batch || key.dim_size(2) != heads || key.dim_size(3) != size ||
        keys == 0) {
      return false;
    }
    float* out = context->Output(0, query);
    const tf::Tensor scores = context->Temporary(batch * heads * queries * keys);
    if (out == nullptr || !scores.IsInitialized()) return false;
    auto* scored = static_cast<float*>(scores.data());
    const std::int64_t row = heads * size;
    const auto rows = [&](const float* data, std::int64_t length) {
      return kernels::MatrixBatch<const float>{data, length * row, size, row};
    };
    const std::int64_t square = queries * keys;
    kernels::BatchMatMul(batch, heads, queries, size, keys,
                         rows(context->data(0), queries), rows(context->data(1), keys),
                         true, scale_, {scored, heads * square, square, keys},
                         context->parallel());
    kernels::Softmax(scored, nullptr, 1, batch * heads * queries, keys, scored,
                     context->parallel());
    kernels::BatchMatMul(batch, heads, queries, keys, size,
                         {scored, heads * square, square, keys},
                         rows(context->data(2), keys), false, 1.0f,
                         {out, queries * row, size, row}, context->parallel());
    return true;
  }

 private:
  const float scale_;
};

class LstmCellKernel final : public NativeKernel {
 public:
  std::string name() const override { return "LstmCell"; }
  bool Run(NativeContext* context) const override {
    const tf::TensorShape& gates = context->input(0).shape();
    const tf::TensorShape& state = context->input(1).shape();
    if (gates.dims() != 2 || state.dims() != 2 ||
        gates.dim_size(0) != state.dim_size(0) ||
        gates.dim_size(1) != 4 * state.dim_size(1)) {
      return false;
    }
    float* h = context->Output(0, state);
    float* c = context->Output(1, state);
    if (h == nullptr || c == nullptr) return false;
    kernels::LstmCell(context->data(0), context->data(1), state.dim_size(0),
                      state.dim_size(1), h, c);
    return true;
  }
};

}  // namespace

NativeKernelPtr MakeConv2D(const tf::Tensor& filter, const kernels::Window& window,
                           bool same_padding, const float* scale,
                           kernels::Precision precision, NativeEpilogue epilogue) {
  return std::make_shared<Conv2DKernel>(filter, window, same_padding, scale, precision,
                                        std::move(epilogue));
}
NativeKernelPtr MakeDepthwiseConv2D(const tf::Tensor& filter,
                                    const kernels::Window& window, bool same_padding,
                                    const float* scale, NativeEpilogue epilogue) {
  return std::make_shared<DepthwiseKernel>(filter, window, same_padding, scale,
                                           std::move(epilogue));
}
NativeKernelPtr MakeMatMul(const tf::Tensor& weights, bool transposed, const float* scale,
                           kernels::Precision precision, NativeEpilogue epilogue) {
  return std::make_shared<MatMulKernel>(weights, transposed, scale, precision,
                                        std::move(epilogue));
}
NativeKernelPtr MakeUnpackedMatMul(const tf::Tensor& weights) {
  return std::make_shared<UnpackedMatMulKernel>(weights);
}
NativeKernelPtr MakeActivation(Activation activation) {
  return std::make_shared<ActivationKernel>(activation);
}
NativeKernelPtr MakeBinary(kernels::BinaryOp op, Activation activation) {
  return std::make_shared<BinaryKernel>(op, activation);
}
NativeKernelPtr MakeBinaryConstant(kernels::BinaryOp op, std::vector<float> operand,
                                   bool reverse, Activation activation) {
  return std::make_shared<BinaryConstantKernel>(op, std::move(operand), reverse,
                                                activation);
}
NativeKernelPtr MakeReshape(std::vector<std::int64_t> dims, bool keep_first) {
  return std::make_shared<ReshapeKernel>(std::move(dims), keep_first);
}
NativeKernelPtr MakeSqueeze(std::vector<std::int64_t> axes) {
  return std::make_shared<SqueezeKernel>(std::move(axes));
}
NativeKernelPtr MakeGlobalMean(bool keep_dims) {
  return std::make_shared<GlobalMeanKernel>(keep_dims);
}
NativeKernelPtr MakeScaleChannels() { return std::make_shared<ScaleChannelsKernel>(); }
NativeKernelPtr MakeLayerNorm(std::vector<float> gamma, std::vector<float> beta,
                              float epsilon) {
  return std::make_shared<LayerNormKernel>(std::move(gamma), std::move(beta), epsilon);
}
NativeKernelPtr MakeSoftmax() { return std::make_shared<SoftmaxKernel>(); }
NativeKernelPtr MakePool2D(bool max, const kernels::Window& window, bool same_padding) {
  return std::make_shared<PoolKernel>(max, window, same_padding);
}
NativeKernelPtr MakeAttention(float scale) {
  return std::make_shared<AttentionKernel>(scale);
}
NativeKernelPtr MakeLstmCell() { return std::make_shared<LstmCellKernel>(); }

}  // namespace savedmodel
