#include "core/ops.h"

#include <algorithm>
#include <memory>
#include <unordered_map>
#include <utility>

#include "core/runtime.h"
#include "tensorflow/core/framework/common_shape_fns.h"
#include "tensorflow/core/framework/op_def_builder.h"
#include "tensorflow/core/framework/shape_inference.h"
#include "tensorflow/core/util/overflow.h"
#include "tensorflow/core/util/strided_slice_op.h"

namespace savedmodel {

namespace {

namespace tf = tensorflow;
namespace si = tf::shape_inference;

const tf::OpRegistrationData* FindRegistered(const std::string& name) {
  EnsureRuntime();
  return tf::OpRegistry::Global()->LookUp(name);
}

// ------------------------------------------------------------------------------ shapes

// Of ops whose shape functions lie in libtensorflow_cc: the cases that nets are made of.
// For all others it is loaded and asked.
absl::Status AskTensorFlow(const char* op, si::InferenceContext* c) {
  const tf::OpRegistrationData* registered = FindRegistered(op);
  if (registered == nullptr) return absl::NotFoundError(op);
  return registered->shape_inference_fn(c);
}

absl::Status ShapeOfShape(si::InferenceContext* c) {
  const si::ShapeHandle input = c->input(0);
  c->set_output(
      0, c->Vector(c->RankKnown(input) ? c->MakeDim(c->Rank(input)) : c->UnknownDim()));
  return absl::OkStatus();
}

// The product of the dimensions that are known, how many are not, and the last of those.
struct Elements {
  std::int64_t known = 1;
  int unknown = 0;
  int index = -1;
};

Elements ElementsOf(si::InferenceContext* c, si::ShapeHandle shape) {
  Elements elements;
  for (int i = 0; i < c->Rank(shape); ++i) {
    const si::DimensionHandle dim = c->Dim(shape, i);
    if (!c->ValueKnown(dim)) {
      ++elements.unknown;
      elements.index = i;
    } else if (tf::MultiplyWithoutOverflow(elements.known, c->Value(dim)) < 0) {
      return {0, 2, -1};  // says nothing
    } else {
      elements.known *= c->Value(dim);
    }
  }
  return elements;
}

absl::Status ReshapeShape(si::InferenceContext* c) {
  si::ShapeHandle out;
  const absl::Status status = c->MakeShapeFromShapeTensor(1, &out);
  if (!status.ok()) return status;
  const si::ShapeHandle in = c->input(0);
  if (c->RankKnown(in) && c->RankKnown(out)) {
    const Elements from = ElementsOf(c, in);
    const Elements to = ElementsOf(c, out);
    if (from.unknown == 0 && to.unknown == 0 && from.known != to.known) {
      return absl::InvalidArgumentError("Cannot reshape to another number of elements");
    }
    if (to.unknown == 1 && to.known > 0) {
      si::DimensionHandle dim;
      if (from.unknown == 0) {
        if (from.known % to.known != 0)
          return absl::InvalidArgumentError(
              "Cannot reshape to another number of elements");
        dim = c->MakeDim(from.known / to.known);
      } else if (from.unknown == 1 && from.known == to.known) {
        dim = c->Dim(in, from.index);
      } else {
        dim = c->Dim(out, to.index);
      }
      const absl::Status replaced = c->ReplaceDim(out, to.index, dim, &out);
      if (!replaced.ok()) return replaced;
    }
  }
  c->set_output(0, out);
  return absl::OkStatus();
}

absl::Status SqueezeShape(si::InferenceContext* c) {
  const si::ShapeHandle input = c->input(0);
  std::vector<std::int32_t> axes;
  const absl::Status status = c->GetAttr("squeeze_dims", &axes);
  if (!status.ok()) return status;
  // All axes of one element, if none are named: it must be known which these are.
  if (!c->RankKnown(input) || (axes.empty() && !c->FullyDefined(input)))
    return AskTensorFlow("Squeeze", c);
  const int rank = c->Rank(input);
  std::vector<bool> squeezed(rank);
  for (const std::int32_t axis : axes) {
    const int index = axis < 0 ? axis + rank : axis;
    if (index < 0 || index >= rank) return AskTensorFlow("Squeeze", c);
    const si::DimensionHandle dim = c->Dim(input, index);
    if (c->ValueKnown(dim) && c->Value(dim) != 1) return AskTensorFlow("Squeeze", c);
    squeezed[index] = true;
  }
  std::vector<si::DimensionHandle> dims;
  for (int i = 0; i < rank; ++i) {
    const si::DimensionHandle dim = c->Dim(input, i);
    if (axes.empty() ? c->Value(dim) != 1 : !squeezed[i]) dims.push_back(dim);
  }
  c->set_output(0, c->MakeShape(dims));
  return absl::OkStatus();
}

absl::Status PadShape(si::InferenceContext* c) {
  const tf::Tensor* paddings = c->input_tensor(1);
  const si::ShapeHandle input = c->input(0);
  if (paddings == nullptr || paddings->dtype() != tf::DT_INT32 || !c->RankKnown(input) ||
      paddings->shape() != tf::TensorShape({c->Rank(input), 2})) {
    return AskTensorFlow("Pad", c);
  }
  const auto pads = paddings->matrix<std::int32_t>();
  std::vector<si::DimensionHandle> dims;
  for (int i = 0; i < c->Rank(input); ++i) {
    if (pads(i, 0) < 0 || pads(i, 1) < 0) return AskTensorFlow("Pad", c);
    si::DimensionHandle dim;
    const absl::Status status =
        c->Add(c->Dim(input, i), std::int64_t{pads(i, 0)} + pads(i, 1), &dim);
    if (!status.ok()) return status;
    dims.push_back(dim);
  }
  c->set_output(0, c->MakeShape(dims));
  return absl::OkStatus();
}

absl::Status PackShape(si::InferenceContext* c) {
  std::int32_t axis = 0;
  const absl::Status status = c->GetAttr("axis", &axis);
  if (!status.ok()) return status;
  bool scalars = axis == 0;
  for (int i = 0; i < c->num_inputs(); ++i)
    scalars = scalars && c->RankKnown(c->input(i)) && c->Rank(c->input(i)) == 0;
  if (!scalars) return AskTensorFlow("Pack", c);
  c->set_output(0, c->Vector(c->num_inputs()));
  return absl::OkStatus();
}

absl::Status StridedSliceShape(si::InferenceContext* c) {
  const tf::Tensor* begin = c->input_tensor(1);
  const tf::Tensor* end = c->input_tensor(2);
  const tf::Tensor* strides = c->input_tensor(3);
  if (begin == nullptr || end == nullptr || strides == nullptr ||
      !c->RankKnown(c->input(0))) {
    return AskTensorFlow("StridedSlice", c);
  }
  const auto mask = [c](const char* name) {
    std::int32_t value = 0;
    return c->GetAttr(name, &value).ok() ? value : 0;
  };
  std::vector<std::int64_t> sizes;
  for (int i = 0; i < c->Rank(c->input(0)); ++i)
    sizes.push_back(c->Value(c->Dim(c->input(0), i)));
  tf::PartialTensorShape input;
  absl::Status status = tf::PartialTensorShape::BuildPartialTensorShape(sizes, &input);
  if (!status.ok()) return status;
  tf::PartialTensorShape processing;
  tf::PartialTensorShape result;
  bool is_identity = false;
  bool is_simple = false;
  bool slices_first = false;
  absl::InlinedVector<std::int64_t, 4> begins;
  absl::InlinedVector<std::int64_t, 4> ends;
  absl::InlinedVector<std::int64_t, 4> steps;
  status = tf::ValidateStridedSliceOp(
      begin, end, *strides, input, mask("begin_mask"), mask("end_mask"),
      mask("ellipsis_mask"), mask("new_axis_mask"), mask("shrink_axis_mask"), &processing,
      &result, &is_identity, &is_simple, &slices_first, &begins, &ends, &steps);
  if (!status.ok()) return status;
  si::ShapeHandle out;
  status = c->MakeShapeFromPartialTensorShape(result, &out);
  if (!status.ok()) return status;
  c->set_output(0, out);
  return absl::OkStatus();
}

// ------------------------------------------------------------------------- definitions

// A builder with what is given as in TensorFlow's REGISTER_OP: "name: type".
tf::OpDefBuilder Op(const char* name, std::initializer_list<const char*> inputs,
                    std::initializer_list<const char*> outputs,
                    std::initializer_list<const char*> attributes,
                    tf::OpShapeInferenceFn shapes) {
  tf::OpDefBuilder builder(name);
  for (const char* input : inputs) builder.Input(input);
  for (const char* output : outputs) builder.Output(output);
  for (const char* attribute : attributes) builder.Attr(attribute);
  builder.SetShapeFn(std::move(shapes));
  return builder;
}

tf::OpDefBuilder Unary(const char* name, const char* type,
                       tf::OpShapeInferenceFn shapes = si::UnchangedShape) {
  return Op(name, {"x: T"}, {"y: T"}, {type}, std::move(shapes));
}

tf::OpDefBuilder Binary(const char* name, const char* type) {
  return Op(name, {"x: T", "y: T"}, {"z: T"}, {type}, si::BroadcastBinaryOpShapeFn);
}

tf::OpDefBuilder Activation(const char* name, const char* type) {
  return Op(name, {"features: T"}, {"activations: T"}, {type}, si::UnchangedShape);
}

tf::OpDefBuilder Call(const char* name) {
  return Op(
      name, {"args: Tin"}, {"output: Tout"},
      {"Tin: list(type) >= 0", "Tout: list(type) >= 0", "f: func", "config: string = ''",
       "config_proto: string = ''", "executor_type: string = ''"},
      si::UnknownShape);
}

std::vector<tf::OpDefBuilder> Definitions() {
  static constexpr char kFloatsAndComplex[] =
      "T: {bfloat16, half, float, double, complex64, complex128}";
  static constexpr char kPadding[] = "padding: {'SAME', 'VALID', 'EXPLICIT'}";
  static constexpr char kPads[] = "explicit_paddings: list(int) = []";
  static constexpr char kFormat[] = "data_format: {'NHWC', 'NCHW'} = 'NHWC'";
  static constexpr char kDilations[] = "dilations: list(int) = [1, 1, 1, 1]";
  std::vector<tf::OpDefBuilder> ops;
  const auto add = [&ops](tf::OpDefBuilder op) { ops.push_back(std::move(op)); };

  add(Op("Placeholder", {}, {"output: dtype"},
         {"dtype: type", "shape: shape = { unknown_rank: true }"}, si::UnknownShape));
  add(Op("Const", {}, {"output: dtype"}, {"value: tensor", "dtype: type"},
         si::UnknownShape));
  add(Op("NoOp", {}, {}, {}, si::NoOutputs));
  add(Op("Identity", {"input: T"}, {"output: T"}, {"T: type"}, si::UnchangedShape));
  add(Op("IdentityN", {"input: T"}, {"output: T"}, {"T: list(type)"}, si::UnknownShape));
  add(Call("PartitionedCall"));
  add(Call("StatefulPartitionedCall").SetIsStateful().SetIsDistributedCommunication());
  add(Op("VarHandleOp", {}, {"resource: resource"},
         {"container: string = ''", "shared_name: string = ''", "debug_name: string = ''",
          "dtype: type", "shape: shape", "allowed_devices: list(string) = []"},
         si::ScalarShape)
          .SetIsStateful());
  add(Op("ReadVariableOp", {"resource: resource"}, {"value: dtype"}, {"dtype: type"},
         si::UnknownShape)
          .SetIsStateful());

  add(Op("Conv2D", {"input: T", "filter: T"}, {"output: T"},
         {"T: {half, bfloat16, float, double, int32}", "strides: list(int)",
          "use_cudnn_on_gpu: bool = true", kPadding, kPads, kFormat, kDilations},
         si::Conv2DShapeWithExplicitPadding));
  add(Op("DepthwiseConv2dNative", {"input: T", "filter: T"}, {"output: T"},
         {"T: {half, bfloat16, float, double}", "strides: list(int)", kPadding, kPads,
          kFormat, kDilations},
         si::DepthwiseConv2DNativeShapeWithExplicitPadding));
  add(Op("MatMul", {"a: T", "b: T"}, {"product: T"},
         {"transpose_a: bool = false", "transpose_b: bool = false",
          "T: {bfloat16, half, float, double, int32, int64, uint8, uint16, uint32, "
          "uint64, complex64, complex128}",
          "grad_a: bool = false", "grad_b: bool = false"},
         si::MatMulShape));
  add(Op("BiasAdd", {"value: T", "bias: T"}, {"output: T"}, {"T: numbertype", kFormat},
         si::BiasAddShape));
  add(Op("FusedBatchNormV3", {"x: T", "scale: U", "offset: U", "mean: U", "variance: U"},
         {"y: T", "batch_mean: U", "batch_variance: U", "reserve_space_1: U",
          "reserve_space_2: U", "reserve_space_3: U"},
         {"T: {half, bfloat16, float}", "U: {bfloat16, float}", "epsilon: float = 0.0001",
          "exponential_avg_factor: float = 1.0",
          "data_format: {'NHWC', 'NCHW', 'NDHWC', 'NCDHW'} = 'NHWC'",
          "is_training: bool = true"},
         si::FusedBatchNormV3Shape));
  add(Op("AvgPool", {"value: T"}, {"output: T"},
         {"ksize: list(int) >= 4", "strides: list(int) >= 4",
          "padding: {'SAME', 'VALID'}", kFormat, "T: {half, bfloat16, float, double}"},
         si::AvgPoolShape));
  add(Op("MaxPool", {"input: T"}, {"output: T"},
         {"T: {half, bfloat16, float, double, int32, int64, uint8, int16, int8, uint16, "
          "qint8} = DT_FLOAT",
          "ksize: list(int) >= 4", "strides: list(int) >= 4", kPadding, kPads,
          "data_format: {'NHWC', 'NCHW', 'NCHW_VECT_C'} = 'NHWC'"},
         si::MaxPoolShapeWithExplicitPadding));
  add(Op("Mean", {"input: T", "reduction_indices: Tidx"}, {"output: T"},
         {"keep_dims: bool = false", "T: numbertype", "Tidx: {int32, int64} = DT_INT32"},
         si::ReductionShape));
  add(Op(
      "Softmax", {"logits: T"}, {"softmax: T"}, {"T: {half, bfloat16, float, double}"},
      [](si::InferenceContext* c) { return si::UnchangedShapeWithRankAtLeast(c, 1); }));
  add(Activation("Relu", "T: {realnumbertype, qint8}"));
  add(Activation("Relu6", "T: realnumbertype"));
  add(Activation("Elu", "T: {half, bfloat16, float, double}"));
  add(Op("LeakyRelu", {"features: T"}, {"activations: T"},
         {"alpha: float = 0.2", "T: {half, bfloat16, float, double} = DT_FLOAT"},
         si::UnchangedShape));
  add(Unary("Sigmoid", kFloatsAndComplex));
  add(Unary("Tanh", kFloatsAndComplex));
  add(Unary("Sqrt", kFloatsAndComplex));
  add(Unary("Rsqrt", kFloatsAndComplex));
  add(Binary("AddV2",
             "T: {bfloat16, half, float, double, uint8, uint16, uint32, uint64, int8, "
             "int16, int32, int64, complex64, complex128}")
          .SetIsAggregate()
          .SetIsCommutative());
  add(Binary("Sub",
             "T: {bfloat16, half, float, double, uint8, int8, uint16, int16, int32, "
             "int64, complex64, complex128, uint32, uint64}"));
  add(Binary("Mul",
             "T: {bfloat16, half, float, double, uint8, int8, uint16, int16, int32, "
             "uint32, uint64, int64, complex64, complex128}")
          .SetIsCommutative());
  add(Binary("RealDiv",
             "T: {bfloat16, half, float, double, uint8, int8, uint16, int16, int32, "
             "uint32, uint64, int64, complex64, complex128}"));
  add(Binary("Maximum",
             "T: {bfloat16, half, float, double, int8, uint8, int16, uint16, int32, "
             "uint32, int64, uint64}"));

  add(Op("Shape", {"input: T"}, {"output: out_type"},
         {"T: type", "out_type: {int32, int64} = DT_INT32"}, ShapeOfShape));
  add(Op("Reshape", {"tensor: T", "shape: Tshape"}, {"output: T"},
         {"T: type", "Tshape: {int32, int64} = DT_INT32"}, ReshapeShape));
  add(Op("Squeeze", {"input: T"}, {"output: T"},
         {"T: type", "squeeze_dims: list(int) >= 0 = []"}, SqueezeShape));
  add(Op("Pad", {"input: T", "paddings: Tpaddings"}, {"output: T"},
         {"T: type", "Tpaddings: {int32, int64} = DT_INT32"}, PadShape));
  add(Op("Pack", {"values: N * T"}, {"output: T"},
         {"N: int >= 1", "T: type", "axis: int = 0"}, PackShape));
  add(Op("StridedSlice", {"input: T", "begin: Index", "end: Index", "strides: Index"},
         {"output: T"},
         {"T: type", "Index: {int16, int32, int64}", "begin_mask: int = 0",
          "end_mask: int = 0", "ellipsis_mask: int = 0", "new_axis_mask: int = 0",
          "shrink_axis_mask: int = 0"},
         StridedSliceShape));
  return ops;
}

using OpTable =
    std::unordered_map<std::string, std::unique_ptr<const tf::OpRegistrationData>>;

const OpTable& Known() {
  static const OpTable* known = [] {
    auto* table = new OpTable;
    for (const tf::OpDefBuilder& definition : Definitions()) {
      auto op = std::make_unique<tf::OpRegistrationData>();
      // One that this TensorFlow does not take is not known.
      if (!definition.Finalize(op.get()).ok()) continue;
      std::string name = op->op_def.name();
      table->emplace(std::move(name), std::move(op));
    }
    return table;
  }();
  return *known;
}

}  // namespace

const tf::OpRegistrationData* FindOp(const std::string& name) {
  const auto known = Known().find(name);
  return known != Known().end() ? known->second.get() : FindRegistered(name);
}

std::vector<std::string> KnownOps() {
  std::vector<std::string> names;
  for (const auto& [name, op] : Known()) names.push_back(name);
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace savedmodel
