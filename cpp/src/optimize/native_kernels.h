#ifndef SAVEDMODEL_OPTIMIZE_NATIVE_KERNELS_H_
#define SAVEDMODEL_OPTIMIZE_NATIVE_KERNELS_H_

#include <memory>
#include <optional>
#include <vector>

#include "optimize/native_kernel.h"

namespace savedmodel {

using NativeKernelPtr = std::shared_ptr<const NativeKernel>;

// What a kernel does to each result before it is stored. `bias` is empty or has one
// element for each channel.
struct NativeEpilogue {
  std::vector<float> bias;
  bool residual = false;  // the kernel's last input is added, of the output's shape
  kernels::Activation activation;
};

// x [n, h, w, c], (residual) -> [n, h', w', out_channels]. `filter` as TensorFlow's;
// `scale`: null, or by which each output channel's filter is multiplied.
NativeKernelPtr MakeConv2D(const tensorflow::Tensor& filter,
                           const kernels::Window& window, bool same_padding,
                           const float* scale, kernels::Precision precision,
                           NativeEpilogue epilogue);
// The same with one filter for each channel; no residual.
NativeKernelPtr MakeDepthwiseConv2D(const tensorflow::Tensor& filter,
                                    const kernels::Window& window, bool same_padding,
                                    const float* scale, NativeEpilogue epilogue);
// x [..., k], (residual) -> [..., n]. `weights`: [k, n], or [n, k] if `transposed`.
NativeKernelPtr MakeMatMul(const tensorflow::Tensor& weights, bool transposed,
                           const float* scale, kernels::Precision precision,
                           NativeEpilogue epilogue);
// x [t, ..., k] -> t products [..., n] with `weights` [k, n], where n is a multiple
// of 16.
NativeKernelPtr MakeUnpackedMatMul(const tensorflow::Tensor& weights);
// x -> activation(x)
NativeKernelPtr MakeActivation(kernels::Activation activation);
// x, y -> activation(x op y), of the same shape.
NativeKernelPtr MakeBinary(kernels::BinaryOp op, kernels::Activation activation);
// x [..., c] -> activation(x op operand), or operand op x. An operand of one element goes
// with every x.
NativeKernelPtr MakeBinaryConstant(kernels::BinaryOp op, std::vector<float> operand,
                                   bool reverse, kernels::Activation activation);
// x -> the same elements in this shape. -1, once: as many as there are. `keep_first`: the
// first of `dims` is that of x.
NativeKernelPtr MakeReshape(std::vector<std::int64_t> dims, bool keep_first);
// x -> without these axes, which have one element; counted from the end if negative.
NativeKernelPtr MakeSqueeze(std::vector<std::int64_t> axes);
// x [n, h, w, c] -> mean over h and w: [n, c], or [n, 1, 1, c] if `keep_dims`.
NativeKernelPtr MakeGlobalMean(bool keep_dims);
// x [n, h, w, c], scale [n, 1, 1, c] -> x * scale
NativeKernelPtr MakeScaleChannels();
// x [..., c] -> layer normalization over c
NativeKernelPtr MakeLayerNorm(std::vector<float> gamma, std::vector<float> beta,
                              float epsilon);
// x -> softmax over the last axis
NativeKernelPtr MakeSoftmax();
// x [n, h, w, c] -> pooled
NativeKernelPtr MakePool2D(bool max, const kernels::Window& window, bool same_padding);
// query [b, t, h, d], key and value [b, s, h, d] ->
// softmax(scale * query . key) . value [b, t, h, d]
NativeKernelPtr MakeAttention(float scale);
// gates [b, 4 * units], c [b, units] -> h, c [b, units]
NativeKernelPtr MakeLstmCell();

}  // namespace savedmodel

#endif  // SAVEDMODEL_OPTIMIZE_NATIVE_KERNELS_H_
