#include "run/function_signature.h"

#include <algorithm>
#include <set>
#include <utility>

#include "inspect/structured_value.h"
#include "run/convert_to_tensor.h"
#include "savedmodel/error.h"

namespace savedmodel {

namespace {

namespace tf = tensorflow;
using Kind = Value::Kind;

// How values become the tensors that a structure asks for.
enum class Conversion {
  kNone,    // only tensors of the dtype do
  kPython,  // Python values too
  kCast,    // and tensors of other dtypes, as arguments under an input signature
};

bool IsContainer(const Value& value) {
  return value.kind() == Kind::kList || value.kind() == Kind::kTuple ||
         value.kind() == Kind::kNamedTuple || value.kind() == Kind::kDict;
}

// The parts of a list, tuple, named tuple or dict, in TensorFlow's flattening order.
std::vector<const Value*> Parts(const Value& value) {
  std::vector<const Value*> parts;
  if (value.kind() == Kind::kList || value.kind() == Kind::kTuple) {
    for (const Value& element : value.elements()) parts.push_back(&element);
  } else if (value.kind() == Kind::kNamedTuple) {
    for (const auto& field : value.items()) parts.push_back(&field.second);
  } else {
    std::vector<const std::pair<std::string, Value>*> sorted;
    for (const auto& item : value.items()) sorted.push_back(&item);
    std::sort(sorted.begin(), sorted.end(),
              [](const auto* a, const auto* b) { return a->first < b->first; });
    for (const auto* item : sorted) parts.push_back(&item->second);
  }
  return parts;
}

bool SameKeys(const Value& a, const Value& b, bool in_order) {
  std::vector<std::string_view> left;
  std::vector<std::string_view> right;
  for (const auto& item : a.items()) left.push_back(item.first);
  for (const auto& item : b.items()) right.push_back(item.first);
  if (!in_order) {
    std::sort(left.begin(), left.end());
    std::sort(right.begin(), right.end());
  }
  return left == right;
}

// True if nest.flatten_up_to descends from `expected` into `actual`.
bool SameContainer(const Value& expected, const Value& actual) {
  switch (expected.kind()) {
    case Kind::kList:
      return actual.kind() == Kind::kList &&
             actual.elements().size() == expected.elements().size();
    case Kind::kTuple:
      // A named tuple is a tuple.
      if (actual.kind() == Kind::kNamedTuple) {
        return actual.items().size() == expected.elements().size();
      }
      return actual.kind() == Kind::kTuple &&
             actual.elements().size() == expected.elements().size();
    case Kind::kNamedTuple:
      return actual.kind() == Kind::kNamedTuple &&
             actual.type_name() == expected.type_name() &&
             SameKeys(expected, actual, /*in_order=*/true);
    case Kind::kDict:
      return actual.kind() == Kind::kDict && SameKeys(expected, actual, false);
    default: return false;
  }
}

std::optional<Tensor> AsTensor(const TensorSpec& spec, const Value& value,
                               Conversion conversion) {
  std::optional<Tensor> tensor;
  if (value.kind() == Kind::kTensor && conversion != Conversion::kCast) {
    if (value.tensor().dtype() == spec.dtype) tensor = value.tensor();
  } else if (conversion != Conversion::kNone) {
    tensor = ConvertToTensor(value, spec.dtype);
  }
  if (tensor && !spec.shape.IsCompatibleWith(tensor->shape())) return std::nullopt;
  return tensor;
}

const Value* FindField(const Value& value, const char* type_name, const char* field) {
  if (value.kind() != Kind::kNamedTuple || value.type_name() != type_name) return nullptr;
  for (const auto& item : value.items()) {
    if (item.first == field) return &item.second;
  }
  return nullptr;
}

bool AppendSparse(const TypeSpec& spec, const Value& value, Conversion conversion,
                  std::vector<Tensor>* tensors) {
  const char* const kFields[] = {"indices", "values", "dense_shape"};
  std::vector<Tensor> components;
  for (std::size_t i = 0; i < 3; ++i) {
    const Value* field = FindField(value, "SparseTensorValue", kFields[i]);
    if (field == nullptr) return false;
    // Nobody writes the indices as tensors of the right dtype.
    auto tensor =
        AsTensor(spec.components[i], *field, i == 1 ? conversion : Conversion::kCast);
    if (!tensor) return false;
    components.push_back(std::move(*tensor));
  }
  const Tensor& dense_shape = components[2];
  const auto* sizes = dense_shape.data<std::int64_t>();
  // Kernels trust that the parts agree.
  if (components[0].dim(0) != components[1].dim(0) ||
      components[0].dim(1) != dense_shape.dim(0) ||
      !spec.shape.IsCompatibleWith(
          Shape(sizes, sizes + static_cast<std::size_t>(dense_shape.num_elements())))) {
    return false;
  }
  std::move(components.begin(), components.end(), std::back_inserter(*tensors));
  return true;
}

template <typename T>
bool IsPartition(const Tensor& row_splits, std::int64_t num_values) {
  const T* splits = row_splits.data<T>();
  const std::int64_t count = row_splits.num_elements();
  return count > 0 && splits[0] == 0 && splits[count - 1] == num_values &&
         std::is_sorted(splits, splits + count);
}

bool AppendRagged(const TypeSpec& spec, const Value& value, Conversion conversion,
                  std::vector<Tensor>* tensors) {
  std::vector<Tensor> row_splits;
  const Value* values = &value;
  for (std::size_t i = 1; i < spec.components.size(); ++i) {
    const Value* splits = FindField(*values, "RaggedTensorValue", "row_splits");
    values = FindField(*values, "RaggedTensorValue", "values");
    if (splits == nullptr || values == nullptr) return false;
    auto tensor = AsTensor(spec.components[i], *splits, Conversion::kCast);
    if (!tensor) return false;
    row_splits.push_back(std::move(*tensor));
  }
  auto flat_values = AsTensor(spec.components[0], *values, conversion);
  if (!flat_values || (!row_splits.empty() && flat_values->rank() == 0)) return false;
  for (std::size_t i = 0; i < row_splits.size(); ++i) {
    const std::int64_t num_values = i + 1 < row_splits.size()
                                        ? row_splits[i + 1].num_elements() - 1
                                        : flat_values->dim(0);
    const bool valid = row_splits[i].dtype() == DataType::kInt32
                           ? IsPartition<std::int32_t>(row_splits[i], num_values)
                           : IsPartition<std::int64_t>(row_splits[i], num_values);
    if (!valid) return false;
  }
  tensors->push_back(std::move(*flat_values));
  std::move(row_splits.begin(), row_splits.end(), std::back_inserter(*tensors));
  return true;
}

bool AppendComposite(const TypeSpec& spec, const Value& value, Conversion conversion,
                     std::vector<Tensor>* tensors) {
  if (spec.class_name == "SparseTensorSpec") {
    return AppendSparse(spec, value, conversion, tensors);
  }
  if (spec.class_name == "RaggedTensorSpec") {
    return AppendRagged(spec, value, conversion, tensors);
  }
  // A variable is given as its handle.
  if (spec.class_name == "VariableSpec" && value.kind() == Kind::kTensor &&
      value.tensor().dtype() == DataType::kResource) {
    tensors->push_back(value.tensor());
    return true;
  }
  return false;
}

// Appends the tensors that `actual` gives where `expected` is asked for; false if it does
// not fit.
bool Append(const Value& expected, const Value& actual, Conversion conversion,
            std::vector<Tensor>* tensors) {
  if (IsContainer(expected)) {
    if (!SameContainer(expected, actual)) return false;
    const auto wanted = Parts(expected);
    const auto given = Parts(actual);
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      if (!Append(*wanted[i], *given[i], conversion, tensors)) return false;
    }
    return true;
  }
  if (expected.kind() == Kind::kTensorSpec) {
    auto tensor = AsTensor(expected.tensor_spec(), actual, conversion);
    if (tensor) tensors->push_back(std::move(*tensor));
    return tensor.has_value();
  }
  if (expected.kind() == Kind::kTypeSpec) {
    return AppendComposite(expected.type_spec(), actual, conversion, tensors);
  }
  return expected == actual;
}

// The tensors of a structure of specs, in TensorFlow's flattening order.
void AppendSpecs(const Value& structure, std::vector<TensorSpec>* specs) {
  if (IsContainer(structure)) {
    for (const Value* part : Parts(structure)) AppendSpecs(*part, specs);
  } else if (structure.kind() == Kind::kTensorSpec) {
    specs->push_back(structure.tensor_spec());
  } else if (structure.kind() == Kind::kTypeSpec) {
    const auto& components = structure.type_spec().components;
    specs->insert(specs->end(), components.begin(), components.end());
  }
}

// Builds a structure of specs anew, its tensors taken from *next on.
Value Pack(const Value& structure, std::vector<Tensor>::iterator* next) {
  const auto pack_items = [&] {
    Value::Items items;
    for (const auto& [key, value] : structure.items()) {
      items.emplace_back(key, Pack(value, next));
    }
    return items;
  };
  switch (structure.kind()) {
    case Kind::kList:
    case Kind::kTuple: {
      Value::Elements elements;
      for (const Value& element : structure.elements()) {
        elements.push_back(Pack(element, next));
      }
      return structure.kind() == Kind::kList ? Value::List(std::move(elements))
                                             : Value::Tuple(std::move(elements));
    }
    case Kind::kNamedTuple: return Value::NamedTuple(structure.type_name(), pack_items());
    case Kind::kDict: return Value::Dict(pack_items());
    case Kind::kTensorSpec: return std::move(*(*next)++);
    case Kind::kTypeSpec: break;
    default: return structure;
  }
  const TypeSpec& spec = structure.type_spec();
  const auto begin = *next;
  *next += static_cast<std::ptrdiff_t>(spec.components.size());
  std::vector<Tensor> tensors(std::make_move_iterator(begin),
                              std::make_move_iterator(*next));
  if (spec.class_name == "SparseTensorSpec" && tensors.size() == 3) {
    return Value::Sparse(std::move(tensors[0]), std::move(tensors[1]),
                         std::move(tensors[2]));
  }
  if (spec.class_name == "RaggedTensorSpec" && !tensors.empty()) {
    Tensor flat_values = std::move(tensors[0]);
    tensors.erase(tensors.begin());
    return Value::Ragged(std::move(flat_values), std::move(tensors));
  }
  if (spec.class_name == "IndexedSlicesSpec" && tensors.size() >= 2) {
    Value::Items fields;
    fields.emplace_back("values", std::move(tensors[0]));
    fields.emplace_back("indices", std::move(tensors[1]));
    fields.emplace_back("dense_shape",
                        tensors.size() > 2 ? Value(std::move(tensors[2])) : Value());
    return Value::NamedTuple("IndexedSlicesValue", std::move(fields));
  }
  // A class that we cannot put together: its tensors.
  Value::Elements elements;
  for (Tensor& tensor : tensors) elements.emplace_back(std::move(tensor));
  return Value::Tuple(std::move(elements));
}

// As Python spells it in TensorFlow's function types.
std::string SanitizeName(const std::string& name) {
  const auto is_letter = [](unsigned char c) {
    // Every letter beyond ASCII counts as one.
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c >= 0x80;
  };
  std::string result = name;
  for (char& c : result) {
    if (!is_letter(static_cast<unsigned char>(c)) && !(c >= '0' && c <= '9')) c = '_';
  }
  const bool begins_well =
      !result.empty() && is_letter(static_cast<unsigned char>(result[0]));
  return begins_well ? result : "arg_" + result;
}

// A list may be as long as the caller likes; a message should not.
std::string Shortened(const Value& value) {
  constexpr std::size_t kMaxText = 1000;
  std::string text = value.ToString();
  if (text.size() > kMaxText) text = text.substr(0, kMaxText) + "...";
  return text;
}

std::string DescribeArguments(const Value::Elements& args, const Value& kwargs) {
  std::string text = "Positional arguments (" + std::to_string(args.size()) + " total):";
  // As TensorFlow has it, with no argument too.
  if (args.empty()) text += "\n    * ";
  for (const Value& arg : args) text += "\n    * " + Shortened(arg);
  return text + "\n  Keyword arguments: " + Shortened(kwargs);
}

// Casts an argument to what the input signature says of it. Throws InvalidArgument with
// TensorFlow's words; the caller adds the rest.
Value CastTo(const Value& constraint, const Value& value) {
  const auto fail = [&](const std::string& came) {
    throw Error(ErrorCode::kInvalidArgument,
                "Can not cast " + came + " to " + Shortened(constraint));
  };
  if (IsContainer(constraint)) {
    if (!SameContainer(constraint, value)) fail(Shortened(value));
    const auto wanted = Parts(constraint);
    const auto given = Parts(value);
    Value::Elements cast;
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      cast.push_back(CastTo(*wanted[i], *given[i]));
    }
    if (value.kind() == Kind::kList) return Value::List(std::move(cast));
    if (value.kind() == Kind::kTuple) return Value::Tuple(std::move(cast));
    std::vector<std::string> keys;
    for (const auto& item : value.items()) keys.push_back(item.first);
    if (value.kind() == Kind::kDict) std::sort(keys.begin(), keys.end());
    Value::Items items;
    for (std::size_t i = 0; i < keys.size(); ++i) {
      items.emplace_back(std::move(keys[i]), std::move(cast[i]));
    }
    return value.kind() == Kind::kDict
               ? Value::Dict(std::move(items))
               : Value::NamedTuple(value.type_name(), std::move(items));
  }
  if (constraint.kind() == Kind::kTensorSpec) {
    const TensorSpec& spec = constraint.tensor_spec();
    auto tensor = ConvertToTensor(value, spec.dtype);
    if (!tensor) fail(Shortened(value));
    if (!spec.shape.IsCompatibleWith(tensor->shape())) {
      fail(Value(TensorSpec{"", spec.dtype, PartialShape(tensor->shape())}).ToString());
    }
    return std::move(*tensor);
  }
  if (constraint.kind() == Kind::kTypeSpec) {
    std::vector<Tensor> tensors;
    if (!AppendComposite(constraint.type_spec(), value, Conversion::kCast, &tensors)) {
      fail(Shortened(value));
    }
    auto next = tensors.begin();
    return constraint.type_spec().class_name == "VariableSpec" ? value
                                                               : Pack(constraint, &next);
  }
  if (constraint != value) fail(Shortened(value));
  return value;
}

[[noreturn]] void Fail(const std::string& why) {
  throw Error(ErrorCode::kInvalidArgument, why);
}

[[noreturn]] void FailSpec(const std::string& context, const std::string& why) {
  throw Error(ErrorCode::kInvalidArgument,
              context + ": the SavedModel's function specification is broken: " + why);
}

// The field of a FullArgSpec that is a list of names.
std::vector<std::string> Names(const Value& fullargspec, const char* field) {
  std::vector<std::string> names;
  const Value& value = fullargspec.at(field);
  if (value.is_none()) return names;
  for (const Value& name : value.elements()) names.push_back(name.string_value());
  return names;
}

std::optional<std::string> OptionalName(const Value& value) {
  if (value.is_none()) return std::nullopt;
  return value.string_value();
}

}  // namespace

ConcreteFunctionSignature::ConcreteFunctionSignature(
    std::string name, const tf::SavedConcreteFunction& proto, std::string context)
    : name_(std::move(name)), context_(std::move(context)) {
  const std::string where = context_ + ", concrete function '" + name_ + "'";
  inputs_ = FromStructuredValue(proto.canonicalized_input_signature(), where);
  outputs_ = FromStructuredValue(proto.output_signature(), where);
  if (inputs_.kind() != Kind::kTuple || inputs_.elements().size() != 2 ||
      inputs_.elements()[0].kind() != Kind::kTuple ||
      inputs_.elements()[1].kind() != Kind::kDict) {
    FailSpec(where,
             "expected a tuple of arguments and a dict of keyword arguments, got " +
                 Shortened(inputs_));
  }
  AppendSpecs(inputs_, &flat_inputs_);
  std::vector<TensorSpec> flat_outputs;
  AppendSpecs(outputs_, &flat_outputs);
  num_flat_outputs_ = static_cast<int>(flat_outputs.size());
}

std::optional<std::vector<Tensor>> ConcreteFunctionSignature::TryCall(
    const FunctionArguments& arguments, bool convert) const {
  const Value& positional = inputs_.elements()[0];
  const Value& keyword = inputs_.elements()[1];
  if (positional.elements().size() != arguments.args.size() ||
      keyword.items().size() != arguments.kwargs.size()) {
    return std::nullopt;
  }
  const Conversion conversion = convert ? Conversion::kPython : Conversion::kNone;
  std::vector<Tensor> tensors;
  tensors.reserve(flat_inputs_.size());
  for (std::size_t i = 0; i < arguments.args.size(); ++i) {
    if (!Append(positional.elements()[i], arguments.args[i], conversion, &tensors)) {
      return std::nullopt;
    }
  }
  // The dict of the signature is sorted, which is the order of the tensors.
  for (const auto& [name, expected] : keyword.items()) {
    const auto found =
        std::find_if(arguments.kwargs.begin(), arguments.kwargs.end(),
                     [&, &key = name](const auto& item) { return item.first == key; });
    if (found == arguments.kwargs.end() ||
        !Append(expected, found->second, conversion, &tensors)) {
      return std::nullopt;
    }
  }
  return tensors;
}

Value ConcreteFunctionSignature::PackOutputs(std::vector<Tensor> outputs) const {
  if (static_cast<int>(outputs.size()) != num_flat_outputs_) {
    throw Error(ErrorCode::kInternal,
                context_ + ", concrete function '" + name_ + "': expected " +
                    std::to_string(num_flat_outputs_) + " outputs, got " +
                    std::to_string(outputs.size()));
  }
  auto next = outputs.begin();
  return Pack(outputs_, &next);
}

FunctionSignature::FunctionSignature(
    const tf::FunctionSpec& spec,
    std::vector<ConcreteFunctionSignature> concrete_functions, std::string context)
    : concrete_functions_(std::move(concrete_functions)), context_(std::move(context)) {
  const Value fullargspec = FromStructuredValue(spec.fullargspec(), context_);
  const Value input_signature =
      spec.has_input_signature() ? FromStructuredValue(spec.input_signature(), context_)
                                 : Value();
  try {
    ReadParameters(fullargspec, spec.is_method());
    if (!input_signature.is_none() && !input_signature.elements().empty()) {
      AddConstraints(input_signature.elements());
    }
  } catch (const Error& error) {
    FailSpec(context_, error.what());
  }
}

void FunctionSignature::ReadParameters(const Value& fullargspec, bool is_method) {
  if (fullargspec.kind() != Kind::kNamedTuple) {
    Fail("expected a FullArgSpec, got " + Shortened(fullargspec));
  }
  std::vector<std::string> args = Names(fullargspec, "args");
  // The function is restored as a free one.
  if (is_method || (!args.empty() && args[0] == "self")) {
    if (args.empty()) Fail("a method without a named 'self' argument");
    args.erase(args.begin());
  }
  for (const std::string& name : args) {
    positional_.push_back({SanitizeName(name), std::nullopt, std::nullopt});
  }
  for (const std::string& name : Names(fullargspec, "kwonlyargs")) {
    keyword_only_.push_back({SanitizeName(name), std::nullopt, std::nullopt});
  }
  varargs_ = OptionalName(fullargspec.at("varargs"));
  varkw_ = OptionalName(fullargspec.at("varkw"));
  std::set<std::string> names;
  for (const auto* parameters : {&positional_, &keyword_only_}) {
    for (const Parameter& parameter : *parameters) {
      if (!names.insert(parameter.name).second) {
        Fail("two parameters '" + parameter.name + "'");
      }
    }
  }

  const Value& defaults = fullargspec.at("defaults");
  if (!defaults.is_none()) {
    const Value::Elements& values = defaults.elements();
    // That of a dropped `self` is dropped too.
    const std::size_t count = std::min(values.size(), positional_.size());
    for (std::size_t i = 0; i < count; ++i) {
      positional_[positional_.size() - 1 - i].default_value =
          values[values.size() - 1 - i];
    }
  }
  const Value& keyword_defaults = fullargspec.at("kwonlydefaults");
  if (keyword_defaults.is_none()) return;
  for (const auto& [name, value] : keyword_defaults.items()) {
    for (Parameter& parameter : keyword_only_) {
      if (parameter.name == SanitizeName(name)) parameter.default_value = value;
    }
  }
}

void FunctionSignature::AddConstraints(const Value::Elements& input_signature) {
  auto next = input_signature.begin();
  const auto constrain = [&](Parameter* parameter) {
    if (next != input_signature.end()) {
      parameter->constraint = *next++;
    } else if (parameter->default_value) {
      parameter->constraint = parameter->default_value;
    } else {
      Fail("input_signature missing type constraint for " + parameter->name);
    }
  };
  for (Parameter& parameter : positional_) constrain(&parameter);
  if (varargs_) {
    // One parameter for each of what is left, none by keyword.
    for (int i = 0; next != input_signature.end(); ++i) {
      positional_.push_back({*varargs_ + "_" + std::to_string(i), std::nullopt, *next++});
    }
    varargs_.reset();
    positional_only_ = true;
  }
  for (Parameter& parameter : keyword_only_) constrain(&parameter);
  varkw_.reset();
  if (next != input_signature.end()) {
    Fail("input_signature contains " + std::to_string(input_signature.end() - next) +
         " extra type constraints");
  }
}

std::string FunctionSignature::ToString() const {
  std::string text;
  const auto add = [&](const std::string& part) {
    text += (text.empty() ? "" : ", ") + part;
  };
  const auto add_parameter = [&](const Parameter& parameter) {
    std::string part = parameter.name;
    if (parameter.constraint) part += ": " + Shortened(*parameter.constraint);
    if (parameter.default_value) {
      part += (parameter.constraint ? " = " : "=") + Shortened(*parameter.default_value);
    }
    add(part);
  };
  for (const Parameter& parameter : positional_) add_parameter(parameter);
  if (positional_only_ && !positional_.empty()) add("/");
  if (varargs_) {
    add("*" + *varargs_);
  } else if (!keyword_only_.empty()) {
    add("*");
  }
  for (const Parameter& parameter : keyword_only_) add_parameter(parameter);
  if (varkw_) add("**" + *varkw_);
  return "(" + text + ")";
}

void FunctionSignature::FailBinding(const std::string& why,
                                    const FunctionArguments& arguments) const {
  Value::Items kwargs;
  std::set<std::string> seen;
  for (const auto& item : arguments.kwargs) {
    if (seen.insert(item.first).second) kwargs.push_back(item);
  }
  throw Error(ErrorCode::kInvalidArgument,
              context_ + ": Binding inputs to tf.function failed due to `" + why +
                  "`. Received args: " + Shortened(Value::Tuple(arguments.args)) +
                  " and kwargs: " + Shortened(Value::Dict(std::move(kwargs))) +
                  " for signature: " + ToString() + ".");
}

FunctionArguments FunctionSignature::Canonicalize(
    const FunctionArguments& arguments) const {
  Value::Items kwargs;
  for (const auto& [name, value] : arguments.kwargs) {
    const std::string sanitized = SanitizeName(name);
    for (const auto& item : kwargs) {
      if (item.first == sanitized) {
        FailBinding("multiple values for keyword argument '" + name + "'", arguments);
      }
    }
    kwargs.emplace_back(sanitized, value);
  }
  // Takes the keyword argument of that name out of what is left.
  const auto take = [&](const std::string& name) -> std::optional<Value> {
    const auto found = std::find_if(kwargs.begin(), kwargs.end(),
                                    [&](const auto& item) { return item.first == name; });
    if (found == kwargs.end()) return std::nullopt;
    Value value = std::move(found->second);
    kwargs.erase(found);
    return value;
  };
  const auto bound = [&](const Parameter& parameter, std::optional<Value> value) {
    if (!value) value = parameter.default_value;
    if (!value) {
      FailBinding("missing a required argument: '" + parameter.name + "'", arguments);
    }
    if (!parameter.constraint) return std::move(*value);
    try {
      return CastTo(*parameter.constraint, *value);
    } catch (const Error& error) {
      FailBinding(error.what(), arguments);
    }
  };

  FunctionArguments canonical;
  for (std::size_t i = 0; i < positional_.size(); ++i) {
    const Parameter& parameter = positional_[i];
    std::optional<Value> by_name = take(parameter.name);
    if (by_name && positional_only_) {
      FailBinding("'" + parameter.name +
                      "' parameter is positional only, but was passed as a keyword",
                  arguments);
    }
    if (i < arguments.args.size()) {
      if (by_name) {
        FailBinding("multiple values for argument '" + parameter.name + "'", arguments);
      }
      by_name = arguments.args[i];
    }
    canonical.args.push_back(bound(parameter, std::move(by_name)));
  }
  for (std::size_t i = positional_.size(); i < arguments.args.size(); ++i) {
    if (!varargs_) FailBinding("too many positional arguments", arguments);
    canonical.args.push_back(arguments.args[i]);
  }
  for (const Parameter& parameter : keyword_only_) {
    canonical.kwargs.emplace_back(parameter.name, bound(parameter, take(parameter.name)));
  }
  if (!kwargs.empty() && !varkw_) {
    FailBinding("got an unexpected keyword argument '" + kwargs[0].first + "'",
                arguments);
  }
  std::move(kwargs.begin(), kwargs.end(), std::back_inserter(canonical.kwargs));
  return canonical;
}

FunctionSignature::Call FunctionSignature::Match(
    const FunctionArguments& arguments) const {
  const FunctionArguments canonical = Canonicalize(arguments);
  if (concrete_functions_.empty()) {
    throw Error(ErrorCode::kInvalidArgument,
                context_ + ": Found zero restored functions for caller function.");
  }
  // Without conversion first: a more specific trace goes before one that takes a tensor.
  for (const bool convert : {false, true}) {
    for (std::size_t i = 0; i < concrete_functions_.size(); ++i) {
      auto inputs = concrete_functions_[i].TryCall(canonical, convert);
      if (inputs) return {static_cast<int>(i), std::move(*inputs)};
    }
  }
  FailMatch(canonical);
}

void FunctionSignature::FailMatch(const FunctionArguments& canonical) const {
  std::string text =
      context_ +
      ": Could not find matching concrete function to call loaded from the SavedModel. "
      "Got:\n  " +
      DescribeArguments(canonical.args, Value::Dict(canonical.kwargs)) +
      "\n\n Expected these arguments to match one of the following " +
      std::to_string(concrete_functions_.size()) + " option(s):";
  int option = 0;
  for (const ConcreteFunctionSignature& function : concrete_functions_) {
    const Value::Elements& signature = function.structured_input_signature().elements();
    text += "\n\nOption " + std::to_string(++option) + ":\n  " +
            DescribeArguments(signature[0].elements(), signature[1]);
  }
  throw Error(ErrorCode::kInvalidArgument, text);
}

BareFunctionSignature::BareFunctionSignature(const tf::SavedBareConcreteFunction& proto,
                                             ConcreteFunctionSignature concrete_function,
                                             std::string context)
    : concrete_function_(std::move(concrete_function)), context_(std::move(context)) {
  for (const std::string& keyword : proto.argument_keywords()) {
    keywords_.push_back(keyword);
  }
  if (proto.allowed_positional_arguments() < 0) {
    FailSpec(context_, "a negative number of positional arguments");
  }
  num_positional_ = static_cast<std::size_t>(proto.allowed_positional_arguments());
  if (proto.has_function_spec()) {
    function_.emplace(proto.function_spec(),
                      std::vector<ConcreteFunctionSignature>{concrete_function_},
                      context_);
  }
}

std::vector<Tensor> BareFunctionSignature::Match(
    const FunctionArguments& arguments) const {
  if (!function_) return MatchFlat(arguments);
  std::string why;
  try {
    const FunctionArguments canonical = function_->Canonicalize(arguments);
    FunctionArguments cast;
    const Value::Elements& signature =
        concrete_function_.structured_input_signature().elements();
    cast.args = CastTo(signature[0], Value::Tuple(canonical.args)).elements();
    cast.kwargs = CastTo(signature[1], Value::Dict(canonical.kwargs)).items();
    if (auto inputs = concrete_function_.TryCall(cast, false)) return std::move(*inputs);
  } catch (const Error& error) {
    why = error.what();
  }
  try {
    return MatchFlat(arguments);
  } catch (const Error& error) {
    throw Error(error.code(),
                why + "\nFallback to flat signature also failed due to: " + error.what());
  }
}

std::vector<Tensor> BareFunctionSignature::MatchFlat(
    const FunctionArguments& arguments) const {
  const auto& specs = concrete_function_.flat_inputs();
  const auto fail = [&](const std::string& why) {
    throw Error(ErrorCode::kInvalidArgument, context_ + ": " + why);
  };
  if (keywords_.size() != specs.size()) {
    fail("the function takes " + std::to_string(specs.size()) +
         " tensors and the SavedModel names " + std::to_string(keywords_.size()));
  }
  if (arguments.args.size() > std::min(num_positional_, keywords_.size())) {
    fail("takes " + std::to_string(std::min(num_positional_, keywords_.size())) +
         " positional arguments, got " + std::to_string(arguments.args.size()));
  }
  std::vector<const Value*> values(keywords_.size());
  for (std::size_t i = 0; i < arguments.args.size(); ++i) values[i] = &arguments.args[i];
  for (const auto& [name, value] : arguments.kwargs) {
    const auto found = std::find_if(keywords_.begin(), keywords_.end(),
                                    [&, &given = name](const std::string& keyword) {
                                      return keyword == given ||
                                             SanitizeName(keyword) == SanitizeName(given);
                                    });
    if (found == keywords_.end()) fail("got unexpected keyword arguments: " + name);
    const auto index = static_cast<std::size_t>(found - keywords_.begin());
    if (values[index] != nullptr) fail("got two values for '" + name + "'");
    values[index] = &value;
  }
  std::string missing;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (values[i] == nullptr) missing += (missing.empty() ? "" : ", ") + keywords_[i];
  }
  if (!missing.empty()) fail("missing required arguments: " + missing);
  std::vector<Tensor> tensors;
  for (std::size_t i = 0; i < values.size(); ++i) {
    try {
      tensors.push_back(CastTo(specs[i], *values[i]).tensor());
    } catch (const Error& error) {
      fail("argument '" + keywords_[i] + "': " + error.what());
    }
  }
  return tensors;
}

}  // namespace savedmodel
