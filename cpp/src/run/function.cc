#include "savedmodel/function.h"

#include "core/runtime.h"
#include "run/function_state.h"
#include "savedmodel/error.h"
#include "tensorflow/core/framework/function.pb.h"
#include "tensorflow/core/framework/types.h"
#include "tensorflow/core/protobuf/saved_object_graph.pb.h"

namespace savedmodel {

namespace {

namespace tf = tensorflow;

tf::NodeDef Placeholder(const std::string& name, const TensorSpec& spec) {
  tf::NodeDef node;
  node.set_name(name);
  node.set_op("Placeholder");
  (*node.mutable_attr())["dtype"].set_type(static_cast<tf::DataType>(spec.dtype));
  tf::TensorShapeProto& shape = *(*node.mutable_attr())["shape"].mutable_shape();
  if (spec.shape.unknown_rank()) {
    shape.set_unknown_rank(true);
  } else {
    for (const std::int64_t dim : spec.shape.dims()) shape.add_dim()->set_size(dim);
  }
  return node;
}

}  // namespace

ConcreteFunctionState::ConcreteFunctionState(std::shared_ptr<BundleHandle> handle,
                                             Session session,
                                             BareFunctionSignature signature,
                                             std::string description)
    : handle_(std::move(handle)),
      session_(std::move(session)),
      signature_(std::move(signature)),
      description_(std::move(description)) {}

const tf::FunctionDef& ConcreteFunctionState::Definition(
    const LoadedBundle& bundle) const {
  const tf::FunctionDef* function = bundle.index->FindFunction(signature().name());
  if (function == nullptr) {
    throw Error(ErrorCode::kInvalidArgument,
                description_ + " is not in the graph's function library");
  }
  return *function;
}

std::vector<std::string> ConcreteFunctionState::Captures(
    const LoadedBundle& bundle, const tf::FunctionDef& function) const {
  const tf::SavedConcreteFunction& saved =
      bundle.meta_graph_def.object_graph_def().concrete_functions().at(
          signature().name());
  const auto inputs = static_cast<std::size_t>(function.signature().input_arg_size());
  const std::size_t own = signature().flat_inputs().size();
  const auto bound = static_cast<std::size_t>(saved.bound_inputs_size());
  if (own + bound != inputs) {
    throw Error(ErrorCode::kInvalidArgument,
                description_ + ": its graph takes " + std::to_string(inputs) +
                    " tensors, its signature gives " + std::to_string(own) +
                    " and its bound inputs " + std::to_string(bound));
  }
  std::vector<std::string> tensors;
  for (const int id : saved.bound_inputs()) {
    const std::string& tensor =
        bundle.graph->bindings().tensors[static_cast<std::size_t>(id)];
    if (tensor.empty()) {
      throw Error(ErrorCode::kUnimplemented,
                  description_ + " captures object " + std::to_string(id) +
                      ", which is in no graph of the SavedModel");
    }
    tensors.push_back(tensor);
  }
  return tensors;
}

// A call of the function in the session's graph, with placeholders for its arguments.
Callable ConcreteFunctionState::Make() {
  const auto bundle = handle_->Acquire();
  const tf::FunctionDef& function = Definition(*bundle);
  const std::string prefix = "savedmodel/function/" + NodeName(signature().name());
  tf::NodeDef call;
  call.set_name(prefix + "/call");
  call.set_op("StatefulPartitionedCall");
  auto& attributes = *call.mutable_attr();
  attributes["f"].mutable_func()->set_name(signature().name());
  attributes["config_proto"].set_s("");
  auto& input_types = *attributes["Tin"].mutable_list();
  auto& output_types = *attributes["Tout"].mutable_list();
  std::vector<std::string> feeds;
  for (const TensorSpec& spec : signature().flat_inputs()) {
    const std::string name = prefix + "/arg_" + std::to_string(feeds.size());
    bundle->index->Add(Placeholder(name, spec));
    call.add_input(name);
    feeds.push_back(name + ":0");
  }
  for (const std::string& tensor : Captures(*bundle, function)) call.add_input(tensor);
  for (int i = 0; i < function.signature().input_arg_size(); ++i) {
    const tf::OpDef::ArgDef& argument = function.signature().input_arg(i);
    const auto index = static_cast<std::size_t>(i);
    if (index < feeds.size() &&
        argument.type() !=
            static_cast<tf::DataType>(signature().flat_inputs()[index].dtype)) {
      throw Error(ErrorCode::kInvalidArgument,
                  description_ + ": argument " + std::to_string(i) + " is " +
                      tf::DataTypeString(argument.type()) +
                      " in its graph, another in its signature");
    }
    input_types.add_type(argument.type());
  }
  std::vector<std::string> fetches;
  for (const tf::OpDef::ArgDef& result : function.signature().output_arg()) {
    output_types.add_type(result.type());
    fetches.push_back(call.name() + ":" + std::to_string(fetches.size()));
  }
  std::vector<std::string> targets;
  if (fetches.empty()) targets.push_back(call.name());
  bundle->index->Add(std::move(call));
  return session_.MakeCallable(feeds, fetches, targets, nullptr, description_,
                               /*may_use_engine=*/true);
}

Value ConcreteFunctionState::Run(const std::vector<Tensor>& inputs) {
  ThrowIfForked();  // before the lock, which a thread that is gone may hold
  std::optional<Callable> callable;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!callable_) callable_ = Make();
    callable = callable_;
  }
  return signature().PackOutputs(callable->Run(inputs));
}

const std::string& ConcreteFunction::name() const { return state_->signature().name(); }
const Value& ConcreteFunction::structured_input_signature() const {
  return state_->signature().structured_input_signature();
}
const Value& ConcreteFunction::structured_outputs() const {
  return state_->signature().structured_outputs();
}
Value ConcreteFunction::Call(Value::Elements args, Value::Items kwargs) const {
  return state_->Call({std::move(args), std::move(kwargs)});
}

const std::string& Function::name() const { return state_->path(); }

std::vector<ConcreteFunction> Function::concrete_functions() const {
  std::vector<ConcreteFunction> functions;
  for (const auto& state : state_->concrete_functions())
    functions.push_back(FunctionAccess::Make(state));
  return functions;
}

Value Function::Call(Value::Elements args, Value::Items kwargs) const {
  const FunctionSignature::Call call =
      state_->signature().Match({std::move(args), std::move(kwargs)});
  return state_->concrete_functions()[static_cast<std::size_t>(call.index)]->Run(
      call.inputs);
}

std::string Function::ToString() const { return name() + state_->signature().ToString(); }

}  // namespace savedmodel
