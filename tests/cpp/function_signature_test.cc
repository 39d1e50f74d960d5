#include "run/function_signature.h"

#include <google/protobuf/text_format.h>

#include "inspect/structured_value.h"
#include "testing.h"

namespace savedmodel {
namespace {

namespace tf = tensorflow;
using testing::Floats;
using testing::Throws;
using testing::Values;

template <typename Proto>
Proto Parse(const std::string& text) {
  Proto proto;
  if (!google::protobuf::TextFormat::ParseFromString(text, &proto)) {
    ADD_FAILURE() << "not a " << proto.GetTypeName() << ": " << text;
  }
  return proto;
}

Value Read(const std::string& text) {
  return FromStructuredValue(Parse<tf::StructuredValue>(text), "model 'm'");
}

std::string Spec(const std::string& dtype, const std::string& shape) {
  return "tensor_spec_value { dtype: " + dtype + " shape { " + shape + " } }";
}
const std::string kScalar = Spec("DT_FLOAT", "");
const std::string kVector = Spec("DT_FLOAT", "dim { size: -1 }");
const std::string kInteger = Spec("DT_INT32", "");

std::string Tuple(const std::vector<std::string>& values) {
  std::string text = "tuple_value {";
  for (const std::string& value : values) text += " values { " + value + " }";
  return text + " }";
}

std::string Dict(const std::vector<std::pair<std::string, std::string>>& fields) {
  std::string text = "dict_value {";
  for (const auto& [key, value] : fields) {
    text += " fields { key: '" + key + "' value { " + value + " } }";
  }
  return text + " }";
}

std::string Sparse(const std::string& dims) {
  return "type_spec_value { type_spec_class: SPARSE_TENSOR_SPEC type_spec_class_name: "
         "'SparseTensorSpec' num_flat_components: 3 type_state { " +
         Tuple({"tensor_shape_value { " + dims + " }", "tensor_dtype_value: DT_FLOAT"}) +
         " } }";
}

std::string Ragged(const std::string& ragged_rank, const std::string& dims) {
  return "type_spec_value { type_spec_class: RAGGED_TENSOR_SPEC type_spec_class_name: "
         "'RaggedTensorSpec' num_flat_components: 2 type_state { " +
         Tuple({"tensor_shape_value { " + dims + " }", "tensor_dtype_value: DT_FLOAT",
                "int64_value: " + ragged_rank, "tensor_dtype_value: DT_INT64"}) +
         " } }";
}

ConcreteFunctionSignature Concrete(const std::vector<std::string>& args,
                                   const std::string& kwargs = Dict({}),
                                   const std::string& outputs = kScalar) {
  return ConcreteFunctionSignature(
      "inference",
      Parse<tf::SavedConcreteFunction>("canonicalized_input_signature { " +
                                       Tuple({Tuple(args), kwargs}) +
                                       " } output_signature { " + outputs + " }"),
      "model 'm', function 'f'");
}

std::string List(const std::vector<std::string>& names) {
  std::string text = "list_value {";
  for (const std::string& name : names)
    text += " values { string_value: '" + name + "' }";
  return text + " }";
}

// A FunctionSpec with these parameters; "" is None.
tf::FunctionSpec FunctionSpec(const std::vector<std::string>& args,
                              const std::string& defaults = "",
                              const std::string& varargs = "",
                              const std::string& varkw = "",
                              const std::vector<std::string>& keyword_only = {},
                              const std::string& keyword_defaults = "",
                              const std::string& input_signature = "") {
  std::string text = "fullargspec { named_tuple_value { name: 'FullArgSpec'";
  const auto add = [&](const std::string& key, const std::string& value) {
    text += " values { key: '" + key + "' value { " +
            (value.empty() ? "none_value {}" : value) + " } }";
  };
  add("args", List(args));
  add("varargs", varargs.empty() ? "" : "string_value: '" + varargs + "'");
  add("varkw", varkw.empty() ? "" : "string_value: '" + varkw + "'");
  add("defaults", defaults);
  add("kwonlyargs", List(keyword_only));
  add("kwonlydefaults", keyword_defaults);
  add("annotations", Dict({}));
  return Parse<tf::FunctionSpec>(
      text + " } } input_signature { " +
      (input_signature.empty() ? "none_value {}" : input_signature) + " }");
}

FunctionSignature Function(const tf::FunctionSpec& spec,
                           std::vector<ConcreteFunctionSignature> concrete) {
  return FunctionSignature(spec, std::move(concrete), "model 'm', function 'f'");
}

Value ScalarOf(float value) { return Tensor::Scalar(value); }

// (x, training=False), traced with scalars, both ways, and with an integer.
FunctionSignature Flag() {
  return Function(
      FunctionSpec({"self", "x", "training"}, Tuple({"bool_value: false"})),
      {Concrete({kScalar, "bool_value: true"}), Concrete({kScalar, "bool_value: false"}),
       Concrete({kInteger, "bool_value: false"}),
       Concrete({kVector, "bool_value: false"})});
}

TEST(StructuredValueTest, ReadsEveryKind) {
  EXPECT_EQ(Read("none_value {}"), Value());
  EXPECT_EQ(Read("float64_value: 1.5"), Value(1.5));
  EXPECT_EQ(Read("int64_value: -3"), Value(-3));
  EXPECT_EQ(Read("bool_value: true").kind(), Value::Kind::kBool);
  EXPECT_EQ(Read("string_value: 'a'"), Value("a"));
  EXPECT_EQ(Read("tensor_dtype_value: DT_FLOAT").ToString(), "tf.float32");
  EXPECT_EQ(Read("tensor_shape_value { dim { size: 2 } dim { size: -1 } }").ToString(),
            "TensorShape([2, None])");
  EXPECT_EQ(Read("tensor_shape_value { unknown_rank: true }").ToString(),
            "TensorShape(None)");
  EXPECT_EQ(Read(kVector).ToString(),
            "TensorSpec(shape=(None,), dtype=tf.float32, name=None)");
  EXPECT_EQ(Read("bounded_tensor_spec_value { dtype: DT_INT32 name: 'n' }").ToString(),
            "TensorSpec(shape=(), dtype=tf.int32, name='n')");
  EXPECT_EQ(Read(Dict({{"b", "int64_value: 1"}, {"a", "int64_value: 2"}})).ToString(),
            "{'a': 2, 'b': 1}");
  EXPECT_EQ(Read("named_tuple_value { name: 'P' values { key: 'x' value { int64_value: 1 "
                 "} } }")
                .ToString(),
            "P(x=1)");
  EXPECT_EQ(
      Values<float>(Read("numpy_value { dtype: DT_FLOAT tensor_shape { dim { size: 2 "
                         "} } float_val: 3 }")
                        .tensor()),
      (std::vector<float>{3, 3}));
}

TEST(StructuredValueTest, TakesCompositeSpecsApart) {
  const Value sparse = Read(Sparse("dim { size: -1 } dim { size: 3 }"));
  EXPECT_EQ(sparse.ToString(), "SparseTensorSpec(TensorShape([None, 3]), tf.float32)");
  ASSERT_EQ(sparse.type_spec().components.size(), 3u);
  EXPECT_EQ(sparse.type_spec().components[0].ToString(), "int64 with shape (None, 2)");
  const Value ragged =
      Read(Ragged("1", "dim { size: 2 } dim { size: -1 } dim { size: 4 }"));
  EXPECT_EQ(ragged.ToString(),
            "RaggedTensorSpec(TensorShape([2, None, 4]), tf.float32, 1, tf.int64)");
  ASSERT_EQ(ragged.type_spec().components.size(), 2u);
  EXPECT_EQ(ragged.type_spec().components[0].ToString(), "float32 with shape (None, 4)");
  EXPECT_EQ(ragged.type_spec().components[1].ToString(), "int64 with shape (3,)");
}

TEST(StructuredValueTest, RefusesWhatCannotBe) {
  const std::string kBroken[] = {
      "",
      "list_value { values {} }",
      "tensor_dtype_value: 9999",
      "tensor_spec_value { dtype: DT_INVALID }",
      Spec("DT_FLOAT", "dim { size: -5 }"),
      "tensor_value { dtype: DT_RESOURCE }",
      "tensor_value { dtype: DT_FLOAT tensor_shape { dim { size: 4611686018427387904 } "
      "dim "
      "{ size: 4 } } }",
      "numpy_value { dtype: DT_FLOAT tensor_shape { dim { size: 1000000000000 } } "
      "float_val: 1 }",
      "tensor_value { dtype: DT_FLOAT tensor_shape { dim { size: 2 } } tensor_content: "
      "'abc' }",
      "type_spec_value {}",
      "type_spec_value { num_flat_components: -1 type_state { none_value {} } }",
      "type_spec_value { num_flat_components: 2000000000 type_state { none_value {} } }",
      Ragged("-1", "unknown_rank: true"),
      Ragged("1000000000000", "unknown_rank: true"),
      Ragged("3", "dim { size: 2 }"),
  };
  for (const std::string& text : kBroken) {
    EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument, {"model 'm'"}, [&] { Read(text); }))
        << text;
  }
  tf::StructuredValue deep;
  deep.mutable_none_value();
  for (int i = 0; i < 10000; ++i) {
    tf::StructuredValue outer;
    *outer.mutable_list_value()->add_values() = std::move(deep);
    deep = std::move(outer);
  }
  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument, {"deeper than 100"},
                     [&] { FromStructuredValue(deep, "model 'm'"); }));
  // Not by recursion.
  while (deep.list_value().values_size() != 0) {
    tf::StructuredValue inner = std::move(*deep.mutable_list_value()->mutable_values(0));
    deep = std::move(inner);
  }
}

TEST(FunctionSignatureTest, DropsSelfAndFillsInDefaults) {
  const FunctionSignature flag = Flag();
  EXPECT_EQ(flag.ToString(), "(x, training=False)");
  const FunctionArguments canonical = flag.Canonicalize({{}, {{"x", 1.0}}});
  EXPECT_EQ(Value::Tuple(canonical.args), Value::Tuple({1.0, false}));
  EXPECT_TRUE(canonical.kwargs.empty());
}

TEST(FunctionSignatureTest, ReportsWrongArgumentsAsPythonDoes) {
  const FunctionSignature flag = Flag();
  const auto fails = [&](FunctionArguments arguments, const std::string& text) {
    return Throws(
        ErrorCode::kInvalidArgument,
        {"model 'm', function 'f'", text, "for signature: (x, training=False)."},
        [&] { flag.Canonicalize(arguments); });
  };
  EXPECT_TRUE(fails({}, "missing a required argument: 'x'"));
  EXPECT_TRUE(fails({{1, 2, 3}, {}}, "too many positional arguments"));
  EXPECT_TRUE(fails({{1}, {{"x", 2}}}, "multiple values for argument 'x'"));
  EXPECT_TRUE(fails({{1}, {{"y", 2}}}, "got an unexpected keyword argument 'y'"));
  EXPECT_TRUE(
      fails({{}, {{"x", 2}, {"x", 3}}}, "multiple values for keyword argument 'x'"));
}

TEST(FunctionSignatureTest, BindsVariableAndKeywordOnlyArguments) {
  const FunctionSignature rest =
      Function(FunctionSpec({"x"}, "", "rest", "extra", {"scale"},
                            Dict({{"scale", "int64_value: 2"}})),
               {});
  EXPECT_EQ(rest.ToString(), "(x, *rest, scale=2, **extra)");
  const FunctionArguments canonical = rest.Canonicalize({{1, 2, 3}, {{"y", 4}}});
  EXPECT_EQ(Value::Tuple(canonical.args), Value::Tuple({1, 2, 3}));
  EXPECT_EQ(Value::Dict(canonical.kwargs), Value::Dict({{"scale", 2}, {"y", 4}}));
  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument, {"Found zero restored functions"},
                     [&] { rest.Match({{1}, {}}); }));
}

TEST(FunctionSignatureTest, ChoosesWithoutConversionFirst) {
  const FunctionSignature flag = Flag();
  EXPECT_EQ(flag.Match({{ScalarOf(1)}, {}}).index, 1);
  EXPECT_EQ(flag.Match({{ScalarOf(1), true}, {}}).index, 0);
  EXPECT_EQ(flag.Match({{Tensor::Scalar(std::int32_t{1})}, {}}).index, 2);
  // A Python integer becomes what the first trace asks for.
  const auto call = flag.Match({{1}, {}});
  EXPECT_EQ(call.index, 1);
  EXPECT_EQ(Values<float>(call.inputs.at(0)), std::vector<float>{1});
  EXPECT_EQ(flag.Match({{Value::List({1, 2.5})}, {}}).index, 3);
}

TEST(FunctionSignatureTest, ListsTheOptionsIfNoneFits) {
  EXPECT_TRUE(
      Throws(ErrorCode::kInvalidArgument,
             {"Could not find matching concrete function to call loaded from the "
              "SavedModel. Got:\n"
              "  Positional arguments (2 total):\n    * 'x'\n    * False\n  Keyword "
              "arguments: {}\n\n"
              " Expected these arguments to match one of the following 4 option(s):\n\n"
              "Option 1:\n  Positional arguments (2 total):\n"
              "    * TensorSpec(shape=(), dtype=tf.float32, name=None)\n    * True\n"
              "  Keyword arguments: {}\n\nOption 2:"},
             [] { Flag().Match({{"x"}, {}}); }));
  // Another dtype is never cast.
  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument, {"dtype=float64"},
                     [] { Flag().Match({{Tensor::Scalar(1.0)}, {}}); }));
}

TEST(FunctionSignatureTest, FlattensInTensorFlowsOrder) {
  const FunctionSignature nest =
      Function(FunctionSpec({"x"}),
               {Concrete({Dict({{"b", kScalar}, {"a", Tuple({kScalar, kVector})}})})});
  const Tensor first = Floats({1});
  const auto call = nest.Match(
      {{Value::Dict({{"b", 3.0}, {"a", Value::Tuple({ScalarOf(2), first})}})}, {}});
  ASSERT_EQ(call.inputs.size(), 3u);
  EXPECT_EQ(Values<float>(call.inputs[0]), std::vector<float>{2});
  EXPECT_EQ(call.inputs[1].data(), first.data());
  EXPECT_EQ(Values<float>(call.inputs[2]), std::vector<float>{3});
  const Value kOthers[] = {
      Value::Dict({{"b", 3.0}}),
      Value::Dict({{"b", 3.0}, {"a", Value::List({1.0, first})}}),
      Value::Dict({{"b", 3.0}, {"c", Value::Tuple({1.0, first})}}),
      Value::List({}),
  };
  for (const Value& other : kOthers) {
    EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument, {"Could not find matching"}, [&] {
      nest.Match({{other}, {}});
    })) << other.ToString();
  }
}

TEST(FunctionSignatureTest, CastsToTheInputSignature) {
  const FunctionSignature pair =
      Function(FunctionSpec({"x", "n", "scale"}, Tuple({"int64_value: 1"}), "", "", {},
                            "", Tuple({kVector, kInteger})),
               {Concrete({kVector, kInteger, "int64_value: 1"})});
  const double kDoubles[] = {1.5, 2.5};
  const auto call =
      pair.Match({{Tensor::Copy(kDoubles, {2}), Tensor::Scalar(std::int64_t{7})}, {}});
  EXPECT_EQ(Values<float>(call.inputs.at(0)), (std::vector<float>{1.5, 2.5}));
  EXPECT_EQ(Values<std::int32_t>(call.inputs.at(1)), std::vector<std::int32_t>{7});
  const auto fails = [&](Value x, Value n, Value scale, const std::string& text) {
    return Throws(ErrorCode::kInvalidArgument, {"Can not cast", text},
                  [&] { pair.Match({{x, n, scale}, {}}); });
  };
  EXPECT_TRUE(fails(
      1.0, 1, 1,
      "TensorSpec(shape=(), dtype=tf.float32, name=None) to TensorSpec(shape=(None,)"));
  EXPECT_TRUE(fails(Value::List({}), 1.5, 1, "1.5 to TensorSpec"));
  EXPECT_TRUE(
      fails(Value::List({}), std::int64_t{1} << 31, 1, "2147483648 to TensorSpec"));
  EXPECT_TRUE(fails(Value::List({}), 1, 2, "2 to 1"));
}

TEST(FunctionSignatureTest, ConvertsRegularNestsOnly) {
  const FunctionSignature any =
      Function(FunctionSpec({"x"}), {Concrete({Spec("DT_INT8", "unknown_rank: true")})});
  const auto shape = [&](Value x) { return any.Match({{x}, {}}).inputs.at(0).shape(); };
  EXPECT_EQ(shape(Value::List({Value::Tuple({1, true}), Value::List({-128, 127})})),
            (Shape{2, 2}));
  EXPECT_EQ(shape(Value::List({Value::List({}), Value::List({})})), (Shape{2, 0}));
  EXPECT_EQ(shape(Value::List({Tensor::Scalar(std::int64_t{3}), 4})), (Shape{2}));
  Value::Elements many(1 << 16, 1);
  const Value kOthers[] = {
      128,
      -129,
      1.0,
      "1",
      Value(),
      Value::List({1, Value::List({1})}),
      Value::List({Value::List({1}), 1}),
      Value::List({Value::List({1}), Value::List({1, 2})}),
      Value::Dict({}),
      // Whose first elements promise more than memory holds.
      Value::List({Value::List({Value::List(many), 1}), 1}),
      Value::List({Floats({1, 2}), 1}),
  };
  for (const Value& other : kOthers) {
    EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument, {"Could not find matching"},
                       [&] { shape(other); }));
  }
}

TEST(FunctionSignatureTest, TakesSparseAndRaggedTensors) {
  const FunctionSignature sparse = Function(
      FunctionSpec({"x"}), {Concrete({Sparse("dim { size: -1 } dim { size: 3 }")})});
  const std::int64_t kIndices[] = {0, 1};
  const Tensor indices = Tensor::Copy(kIndices, {1, 2});
  const auto sparse_of = [&](std::int64_t columns, Tensor values) {
    const std::int64_t sizes[] = {2, columns};
    return Value::Sparse(indices, std::move(values), Tensor::Copy(sizes, {2}));
  };
  EXPECT_EQ(sparse.Match({{sparse_of(3, Floats({5}))}, {}}).inputs.size(), 3u);
  EXPECT_THROW(sparse.Match({{sparse_of(4, Floats({5}))}, {}}), Error);
  EXPECT_THROW(sparse.Match({{sparse_of(3, Floats({5, 6}))}, {}}), Error);
  EXPECT_THROW(sparse.Match({{Value::NamedTuple("SparseTensorValue", {})}, {}}), Error);

  const FunctionSignature ragged =
      Function(FunctionSpec({"x"}),
               {Concrete({Ragged("1", "dim { size: -1 } dim { size: -1 }")})});
  const auto ragged_of = [&](const std::vector<std::int64_t>& splits) {
    return Value::Ragged(
        Floats({1, 2, 3}),
        {Tensor::Copy(splits.data(), {static_cast<std::int64_t>(splits.size())})});
  };
  const auto call = ragged.Match({{ragged_of({0, 1, 3})}, {}});
  ASSERT_EQ(call.inputs.size(), 2u);
  EXPECT_EQ(Values<float>(call.inputs[0]), (std::vector<float>{1, 2, 3}));
  // Kernels would read beyond the values.
  for (const std::vector<std::int64_t>& splits : std::vector<std::vector<std::int64_t>>{
           {}, {0}, {1, 3}, {0, 4}, {0, 2, 1, 3}, {0, -1, 3}}) {
    EXPECT_THROW(ragged.Match({{ragged_of(splits)}, {}}), Error);
  }
  EXPECT_THROW(ragged.Match({{Floats({1})}, {}}), Error);
}

TEST(FunctionSignatureTest, TakesNothingForClassesItDoesNotKnow) {
  const Value kValues[] = {Floats({1}), Value::Ragged(Floats({1}), {Floats({1})}),
                           Value::NamedTuple("SparseTensorValue", {{"indices", 1}})};
  for (const std::string name :
       {"SparseTensorSpec", "RaggedTensorSpec", "VariableSpec"}) {
    const std::string spec =
        "type_spec_value { type_spec_class: REGISTERED_TYPE_SPEC type_spec_class_name: "
        "'" +
        name + "' type_state { none_value {} } }";
    const FunctionSignature function =
        Function(FunctionSpec({"x"}), {Concrete({spec}, Dict({}), spec)});
    for (const Value& value : kValues) {
      EXPECT_THROW(function.Match({{value}, {}}), Error);
    }
    EXPECT_EQ(function.concrete_functions()[0].PackOutputs({}), Value::Tuple({}));
  }
}

TEST(FunctionSignatureTest, PacksOutputs) {
  const auto concrete =
      Concrete({}, Dict({}),
               Dict({{"z", Tuple({kScalar, "none_value {}",
                                  Ragged("1",
                                         "dim { size: -1 } dim { size: "
                                         "-1 }")})},
                     {"a", "named_tuple_value { name: 'P' values { key: 'y' value { " +
                               kScalar + " } } values { key: 'x' value { " +
                               Sparse("dim { size: -1 }") + " } } }"}}));
  ASSERT_EQ(concrete.num_flat_outputs(), 7);
  std::vector<Tensor> tensors;
  for (int i = 0; i < 7; ++i) tensors.push_back(Floats({static_cast<float>(i)}));
  const Value packed = concrete.PackOutputs(tensors);
  EXPECT_EQ(packed.at("a").at("y"), Value(tensors[0]));
  EXPECT_EQ(packed.at("a").at("x"), Value::Sparse(tensors[1], tensors[2], tensors[3]));
  EXPECT_EQ(packed.at("z"),
            Value::Tuple({tensors[4], Value(), Value::Ragged(tensors[5], {tensors[6]})}));
  tensors.pop_back();
  EXPECT_TRUE(Throws(ErrorCode::kInternal, {"expected 7 outputs, got 6"},
                     [&] { concrete.PackOutputs(tensors); }));
}

TEST(FunctionSignatureTest, RefusesBrokenSpecifications) {
  EXPECT_THROW(Function(tf::FunctionSpec(), {}), Error);
  EXPECT_THROW(Function(Parse<tf::FunctionSpec>("fullargspec { int64_value: 1 }"), {}),
               Error);
  EXPECT_THROW(
      Function(Parse<tf::FunctionSpec>("fullargspec { named_tuple_value { name: 'F' } }"),
               {}),
      Error);
  EXPECT_THROW(Function(FunctionSpec({"x", "x"}), {}), Error);
  EXPECT_THROW(Function(FunctionSpec({"x"}, "int64_value: 1"), {}), Error);
  EXPECT_THROW(Function(FunctionSpec({"x"}, "", "", "", {}, "", "int64_value: 1"), {}),
               Error);
  EXPECT_THROW(
      Function(FunctionSpec({"x", "y"}, "", "", "", {}, "", Tuple({kScalar})), {}),
      Error);
  EXPECT_THROW(
      Function(FunctionSpec({"x"}, "", "", "", {}, "", Tuple({kScalar, kScalar})), {}),
      Error);
  tf::FunctionSpec method = FunctionSpec({});
  method.set_is_method(true);
  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument, {"function 'f'", "'self'"},
                     [&] { Function(method, {}); }));
  EXPECT_THROW(ConcreteFunctionSignature("f", tf::SavedConcreteFunction(), "m"), Error);
}

TEST(BareFunctionSignatureTest, TakesFlatTensorsByPositionAndName) {
  const BareFunctionSignature bare(
      Parse<tf::SavedBareConcreteFunction>("argument_keywords: 'x' argument_keywords: "
                                           "'in/y' allowed_positional_arguments: 1"),
      Concrete({kScalar, kInteger}), "model 'm', function 'f'");
  const auto inputs = bare.Match({{1.5}, {{"in_y", 2}}});
  EXPECT_EQ(Values<float>(inputs.at(0)), std::vector<float>{1.5});
  EXPECT_EQ(Values<std::int32_t>(inputs.at(1)), std::vector<std::int32_t>{2});
  const auto fails = [&](FunctionArguments arguments, const std::string& text) {
    return Throws(ErrorCode::kInvalidArgument, {"model 'm', function 'f'", text},
                  [&] { bare.Match(arguments); });
  };
  EXPECT_TRUE(fails({{1.0, 2}, {}}, "takes 1 positional arguments, got 2"));
  EXPECT_TRUE(fails({{}, {{"x", 1.0}}}, "missing required arguments: in/y"));
  EXPECT_TRUE(fails({{1.0}, {{"x", 1.0}}}, "got two values for 'x'"));
  EXPECT_TRUE(fails({{1.0}, {{"z", 1.0}}}, "got unexpected keyword arguments: z"));
  EXPECT_TRUE(fails({{1.0}, {{"in/y", 1.5}}}, "argument 'in/y': Can not cast 1.5 to"));
}

TEST(BareFunctionSignatureTest, TakesStructuresByItsFunctionSpec) {
  auto proto = Parse<tf::SavedBareConcreteFunction>(
      "argument_keywords: 'x' argument_keywords: 'x_1' allowed_positional_arguments: 2");
  *proto.mutable_function_spec() = FunctionSpec({"x", "k"}, Tuple({"int64_value: 1"}));
  const BareFunctionSignature bare(
      proto, Concrete({Tuple({kScalar, kScalar}), "int64_value: 1"}), "model 'm'");
  EXPECT_EQ(bare.Match({{Value::Tuple({1.0, ScalarOf(2)})}, {}}).size(), 2u);
  EXPECT_EQ(bare.Match({{1.0, 2.0}, {}}).size(), 2u);
  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument,
                     {"Fallback to flat signature also failed"},
                     [&] { bare.Match({{Value::Tuple({1.0})}, {}}); }));
}

}  // namespace
}  // namespace savedmodel
