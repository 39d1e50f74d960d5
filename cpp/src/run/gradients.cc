#include <cstring>
#include <map>

#include "core/runtime.h"
#include "core/tensor_access.h"
#include "run/convert_to_tensor.h"
#include "run/function_state.h"
#include "run/gradient_graph.h"
#include "savedmodel/error.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/framework/types.h"
#include "tensorflow/core/protobuf/saved_object_graph.pb.h"

namespace savedmodel {

namespace {

namespace tf = tensorflow;

bool HasGradient(DataType dtype) {
  const auto type = static_cast<tf::DataType>(dtype);
  return tf::DataTypeIsFloating(type) || tf::DataTypeIsComplex(type);
}

Tensor Zeros(DataType dtype, const Shape& shape) {
  Tensor zeros(dtype, shape);
  if (zeros.num_bytes() != 0) std::memset(zeros.mutable_data(), 0, zeros.num_bytes());
  return zeros;
}

[[noreturn]] void Fail(const std::string& message) {
  throw Error(ErrorCode::kInvalidArgument, message);
}

// The values that stand, in a nest of the outputs' structure, for their tensors, in
// TensorFlow's order; None in a tensor's or a nest's place stands for all of it.
void Flatten(const Value& outputs, const Value& given, const std::string& description,
             std::vector<const Value*>* leaves) {
  const auto fail = [&] {
    Fail(description + ": expected gradients in the structure " + outputs.ToString() +
         ", got " + given.ToString());
  };
  const auto elements = [](const Value& value) {
    std::vector<const Value*> all;
    if (value.kind() == Value::Kind::kNamedTuple) {
      for (const auto& [name, element] : value.items()) all.push_back(&element);
    } else if (value.kind() == Value::Kind::kList ||
               value.kind() == Value::Kind::kTuple) {
      for (const Value& element : value.elements()) all.push_back(&element);
    }
    return all;
  };
  switch (outputs.kind()) {
    case Value::Kind::kTensorSpec: leaves->push_back(&given); break;
    case Value::Kind::kTypeSpec: {
      const std::vector<const Value*> parts = elements(given);
      const std::size_t count = outputs.type_spec().components.size();
      if (!given.is_none() && parts.size() != count) fail();
      for (std::size_t i = 0; i < count; ++i)
        leaves->push_back(given.is_none() ? &given : parts[i]);
      break;
    }
    case Value::Kind::kList:
    case Value::Kind::kTuple:
    case Value::Kind::kNamedTuple: {
      const std::vector<const Value*> expected = elements(outputs);
      const std::vector<const Value*> parts = elements(given);
      if (!given.is_none() && parts.size() != expected.size()) fail();
      for (std::size_t i = 0; i < expected.size(); ++i)
        Flatten(*expected[i], given.is_none() ? given : *parts[i], description, leaves);
      break;
    }
    case Value::Kind::kDict: {
      if (!given.is_none() && (given.kind() != Value::Kind::kDict ||
                               given.items().size() != outputs.items().size())) {
        fail();
      }
      std::map<std::string_view, const Value*> by_key;
      if (!given.is_none()) {
        for (const auto& [key, value] : given.items()) by_key.emplace(key, &value);
      }
      std::map<std::string_view, const Value*> sorted;
      for (const auto& [key, value] : outputs.items()) sorted.emplace(key, &value);
      for (const auto& [key, value] : sorted) {
        const auto part = by_key.find(key);
        if (!given.is_none() && part == by_key.end()) fail();
        Flatten(*value, given.is_none() ? given : *part->second, description, leaves);
      }
      break;
    }
    default:
      if (!given.is_none()) fail();
  }
}

// The gradient that is given for each flat output, if it is.
std::vector<std::optional<Tensor>> OutputGradients(const Value& given,
                                                   const Value& structure,
                                                   const tf::FunctionDef& function,
                                                   const std::string& description) {
  const auto& outputs = function.signature().output_arg();
  std::vector<std::optional<Tensor>> gradients(static_cast<std::size_t>(outputs.size()));
  if (given.is_none()) return gradients;
  std::vector<const Value*> leaves;
  if (outputs.size() == 1 && given.kind() != Value::Kind::kDict) {
    leaves.push_back(&given);  // by itself; a list may be the tensor
  } else {
    Flatten(structure, given, description, &leaves);
  }
  if (leaves.size() != gradients.size()) {
    Fail(description + ": expected " + std::to_string(gradients.size()) +
         " output gradients, got " + std::to_string(leaves.size()));
  }
  for (std::size_t i = 0; i < leaves.size(); ++i) {
    if (leaves[i]->is_none()) continue;
    const auto dtype = static_cast<DataType>(outputs[static_cast<int>(i)].type());
    if (HasGradient(dtype)) gradients[i] = ConvertToTensor(*leaves[i], dtype);
    if (!gradients[i] || gradients[i]->dtype() != dtype) {
      Fail(description + ", gradient of output " + std::to_string(i) +
           (HasGradient(dtype)
                ? std::string(": expected a tensor of ") + DataTypeName(dtype)
                : std::string(", which is ") + DataTypeName(dtype) + ": expected None") +
           ", got " + leaves[i]->ToString());
    }
  }
  return gradients;
}

tf::NodeDef Unary(const std::string& name, const char* op, const std::string& input,
                  tf::DataType type) {
  tf::NodeDef node;
  node.set_name(name);
  node.set_op(op);
  node.add_input(input);
  (*node.mutable_attr())["T"].set_type(type);
  return node;
}

}  // namespace

std::shared_ptr<const GradientCallable> ConcreteFunctionState::MakeGradients(
    const std::vector<std::string>& variables, const std::vector<bool>& fed) {
  ThrowIfForked();  // before the lock, which a thread that is gone may hold
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto known = gradients_.find({variables, fed});
  if (known != gradients_.end()) return known->second;
  const auto bundle = handle_->Acquire();
  const tf::FunctionDef& function = Definition(*bundle);
  const std::vector<std::string> captures = Captures(*bundle, function);
  std::vector<tf::NodeDef> capture_nodes;
  std::unordered_set<const tf::NodeDef*> seen;
  std::unordered_set<std::string> captured;
  for (const tf::NodeDef* node : bundle->index->Reach(captures, &seen, description_)) {
    capture_nodes.push_back(*node);
    captured.insert(node->name());
  }
  std::vector<std::string> wanted;
  for (const std::string& variable : variables) {
    if (captured.count(variable) != 0) wanted.push_back(variable);
  }
  auto made = std::make_shared<GradientCallable>();
  made->fetches.assign(variables.size(), -1);
  if (!wanted.empty()) {
    const tf::MetaGraphDef& meta_graph = bundle->meta_graph_def;
    const std::string prefix = "savedmodel/gradients/" + NodeName(signature().name()) +
                               "/" + std::to_string(++gradient_graphs_);
    GradientGraph graph = BuildGradientGraph(
        {meta_graph.graph_def().library(), meta_graph.object_graph_def(),
         meta_graph.graph_def().versions(), signature().name(), captures, capture_nodes,
         wanted, prefix, description_});
    std::vector<std::string> feeds = graph.feeds;
    std::vector<std::string> shapes;
    std::map<std::string, std::string> ones;  // node of a placeholder -> its default
    for (std::size_t i = 0; i < graph.output_gradient_feeds.size(); ++i) {
      const std::string& feed = graph.output_gradient_feeds[i];
      if (feed.empty()) continue;
      const tf::DataType type =
          function.signature().output_arg(static_cast<int>(i)).type();
      const std::string name = prefix + "/output_" + std::to_string(i);
      if (fed[i]) {
        made->fed_outputs.push_back(i);
        feeds.push_back(feed);
        bundle->index->Add(Unary(name + "_shape", "Shape", graph.outputs[i], type));
        shapes.push_back(name + "_shape:0");
      } else {
        bundle->index->Add(Unary(name + "_ones", "OnesLike", graph.outputs[i], type));
        ones[std::string(NodeOf(feed))] = name + "_ones";
      }
    }
    for (tf::FunctionDef& added : *graph.graph.mutable_library()->mutable_function())
      bundle->index->Add(std::move(added));
    for (tf::NodeDef& node : *graph.graph.mutable_node()) {
      const auto default_value = ones.find(node.name());
      if (default_value != ones.end()) {
        node = Unary(node.name(), "Identity", default_value->second,
                     node.attr().at("dtype").type());
      }
      bundle->index->Add(std::move(node));
    }
    std::vector<std::string> fetches;
    for (std::size_t i = 0, next = 0; i < variables.size(); ++i) {
      if (captured.count(variables[i]) == 0) continue;
      const std::string& gradient = graph.gradients[next++];
      if (gradient.empty()) continue;
      made->fetches[i] = static_cast<int>(fetches.size());
      fetches.push_back(gradient);
    }
    if (!fetches.empty()) {
      fetches.insert(fetches.end(), shapes.begin(), shapes.end());
      made->callable =
          session_.MakeCallable(feeds, fetches, {}, nullptr, description_ + ", gradients",
                                /*may_use_engine=*/false);
    }
  }
  gradients_.emplace(std::pair(variables, fed), made);
  return made;
}

std::vector<Tensor> ConcreteFunctionState::Gradients(
    std::vector<Tensor> inputs, const std::vector<Variable>& variables,
    const Value& output_gradients) {
  std::vector<std::string> nodes;
  for (const Variable& variable : variables) {
    if (VariableAccess::Handle(variable) != handle_.get()) {
      Fail(description_ + ", gradients: variable '" + variable.name() +
           "' is of another model");
    }
    if (!HasGradient(variable.dtype())) {
      Fail(description_ + ", gradients: variable '" + variable.name() + "' of dtype " +
           DataTypeName(variable.dtype()) + " has no gradient");
    }
    nodes.push_back(VariableAccess::Node(variable));
  }
  const auto bundle = handle_->Acquire();
  const auto given = OutputGradients(output_gradients, signature().structured_outputs(),
                                     Definition(*bundle), description_ + ", gradients");
  std::vector<bool> fed;
  for (const auto& gradient : given) fed.push_back(gradient.has_value());
  const auto gradients = MakeGradients(nodes, fed);
  std::vector<Tensor> outputs;
  if (gradients->callable) {
    for (const std::size_t output : gradients->fed_outputs)
      inputs.push_back(*given[output]);
    outputs = gradients->callable->Run(inputs);
    // TensorFlow would broadcast them.
    const std::size_t first = outputs.size() - gradients->fed_outputs.size();
    for (std::size_t i = 0; i < gradients->fed_outputs.size(); ++i) {
      const Tensor& shape = outputs[first + i];
      const Shape expected(shape.data<std::int32_t>(),
                           shape.data<std::int32_t>() + shape.num_elements());
      const Tensor& gradient = *given[gradients->fed_outputs[i]];
      if (gradient.shape() != expected) {
        Fail(description_ + ", gradient of output " +
             std::to_string(gradients->fed_outputs[i]) + ": expected " +
             TensorSpec{"", gradient.dtype(), PartialShape(expected)}.ToString() +
             ", got " + gradient.ToString());
      }
    }
  }
  std::vector<Tensor> results;
  for (std::size_t i = 0; i < variables.size(); ++i) {
    const int fetch = gradients->fetches[i];
    results.push_back(fetch >= 0
                          ? outputs[static_cast<std::size_t>(fetch)]
                          : Zeros(variables[i].dtype(), variables[i].value().shape()));
  }
  return results;
}

std::vector<Tensor> Gradients(const Function& function, Value::Elements args,
                              Value::Items kwargs, const std::vector<Variable>& variables,
                              const Value& output_gradients) {
  const FunctionState& state = FunctionAccess::Get(function);
  FunctionSignature::Call call =
      state.signature().Match({std::move(args), std::move(kwargs)});
  return state.concrete_functions()[static_cast<std::size_t>(call.index)]->Gradients(
      std::move(call.inputs), variables, output_gradients);
}

std::vector<Tensor> Gradients(const ConcreteFunction& function, Value::Elements args,
                              Value::Items kwargs, const std::vector<Variable>& variables,
                              const Value& output_gradients) {
  ConcreteFunctionState& state = FunctionAccess::Get(function);
  return state.Gradients(state.MatchInputs({std::move(args), std::move(kwargs)}),
                         variables, output_gradients);
}

}  // namespace savedmodel
