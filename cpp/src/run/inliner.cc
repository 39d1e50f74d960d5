#include "run/inliner.h"

#include <unordered_set>
#include <utility>

#include "core/runtime.h"
#include "core/status.h"
#include "inspect/graph_index.h"
#include "tensorflow/core/framework/node_def_util.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/graph/tensor_id.h"

namespace savedmodel {

namespace {

namespace tf = tensorflow;

// Functions that call others twice, and those twice, make a graph without end. The
// largest published models have some ten thousand nodes.
constexpr std::size_t kMaxNodes = 200'000;
constexpr std::size_t kMaxDepth = 256;

bool IsControl(const std::string& input) { return !input.empty() && input[0] == '^'; }

}  // namespace

std::pair<std::string, int> ParseInput(const std::string& input) {
  const tf::TensorId id = tf::ParseTensorName(input);
  return {std::string(id.node()), id.index()};
}

Inliner::Inliner(const tf::FunctionDefLibrary& library, std::string context)
    : context_(std::move(context)), library_(tf::OpRegistry::Global(), library) {
  EnsureRuntime();  // the registry is asked from now on
}

Inliner::Called Inliner::Call(const std::string& function, const Attributes& attributes,
                              const std::string& call,
                              const std::vector<std::string>& inputs,
                              const std::vector<std::string>& controls) {
  const std::string where = context_ + ", function '" + function + "'";
  const tf::FunctionDef* definition = library_.Find(function);
  if (definition == nullptr) throw Error(ErrorCode::kNotFound, where + " is not there");
  tf::InstantiationResult body;
  ThrowIfError(tf::InstantiateFunction(
                   *definition, tf::AttrSlice(&attributes),
                   [this](const std::string& op, const tf::OpDef** signature) {
                     return library_.LookUpOpDef(op, signature);
                   },
                   &body),
               where);
  if (body.arg_types.size() != inputs.size()) {
    throw Error(ErrorCode::kInvalidArgument,
                where + ": expected " + std::to_string(body.arg_types.size()) +
                    " inputs, got " + std::to_string(inputs.size()));
  }
  if (nodes_.size() + functions_.size() + body.nodes.size() > kMaxNodes ||
      depth_ >= kMaxDepth) {
    throw Error(ErrorCode::kResourceExhausted,
                where + ": with the functions that it calls there are too many nodes");
  }
  ++depth_;
  functions_[call] = function;
  Called called{std::vector<std::string>(body.ret_types.size()), body.arg_types,
                body.ret_types};
  const std::string scope = call + "/";
  std::unordered_set<std::string> arguments;
  for (const tf::NodeDef& node : body.nodes) {
    if (node.op() != tf::FunctionLibraryDefinition::kArgOp) continue;
    arguments.insert(node.name());
    const auto index = static_cast<std::size_t>(node.attr().at("index").i());
    aliases_[scope + node.name() + ":0"] = inputs.at(index);
  }
  for (tf::NodeDef& node : body.nodes) {
    if (node.op() == tf::FunctionLibraryDefinition::kArgOp) continue;
    // What waits for nothing else in the body waits for what the call waits for.
    bool first = true;
    std::vector<std::string> renamed;
    for (const std::string& input : node.input()) {
      const auto [name, index] = ParseInput(input);
      if (arguments.count(name) == 0) {
        first = false;
      } else if (index < 0) {
        continue;  // an argument is there from the start
      }
      renamed.push_back(index < 0 ? "^" + scope + name
                                  : scope + name + ":" + std::to_string(index));
    }
    if (node.op() == tf::FunctionLibraryDefinition::kRetOp) {
      const auto index = static_cast<std::size_t>(node.attr().at("index").i());
      called.outputs.at(index) = renamed.at(0);
      continue;
    }
    node.clear_input();
    for (std::string& input : renamed) node.add_input(std::move(input));
    if (first) {
      for (const std::string& control : controls) node.add_input(control);
    }
    node.set_name(scope + node.name());
    AddBodyNode(std::move(node));
  }
  std::vector<std::string>& after = controls_[call];
  after = controls;
  for (const auto& [name, node] : definition->control_ret())
    after.push_back("^" + scope + node);
  --depth_;
  return called;
}

bool Inliner::IsCall(const tf::NodeDef& node) const {
  return IsPartitionedCall(node) || library_.Contains(node.op());
}

void Inliner::AddCall(const tf::NodeDef& node, const std::string& name,
                      const std::vector<std::string>& inputs,
                      const std::vector<std::string>& controls) {
  const bool partitioned = IsPartitionedCall(node);
  const auto attribute = node.attr().find("f");
  if (partitioned && attribute == node.attr().end()) {
    throw Error(ErrorCode::kInvalidArgument,
                context_ + ": call '" + node.name() + "' names no function");
  }
  const Called called =
      partitioned ? Call(attribute->second.func().name(), attribute->second.func().attr(),
                         name, inputs, controls)
                  : Call(node.op(), node.attr(), name, inputs, controls);
  for (std::size_t i = 0; i < called.outputs.size(); ++i)
    Alias(name + ":" + std::to_string(i), called.outputs[i]);
}

void Inliner::AddBodyNode(tf::NodeDef node) {
  // These name nodes by the names that they had in the function.
  node.mutable_attr()->erase("_class");
  node.mutable_attr()->erase("_output_shapes");
  std::vector<std::string> inputs;
  std::vector<std::string> controls;
  for (const std::string& input : node.input())
    (IsControl(input) ? controls : inputs).push_back(input);

  if (IsCall(node)) return AddCall(node, node.name(), inputs, controls);
  if (node.op() == "IdentityN" && node.attr().count("_gradient_op_type") == 0) {
    const auto types = node.attr().find("T");
    std::vector<std::string>& row = controls_[node.name()];
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      if (types == node.attr().end() ||
          i >= static_cast<std::size_t>(types->second.list().type_size())) {
        throw Error(ErrorCode::kInvalidArgument,
                    context_ + ": node '" + node.name() + "' lacks a type");
      }
      tf::NodeDef identity;
      identity.set_name(node.name() + "/_" + std::to_string(i));
      identity.set_op("Identity");
      identity.set_device(node.device());
      (*identity.mutable_attr())["T"].set_type(
          types->second.list().type(static_cast<int>(i)));
      identity.add_input(inputs[i]);
      for (const std::string& control : controls) identity.add_input(control);
      aliases_[node.name() + ":" + std::to_string(i)] = identity.name() + ":0";
      row.push_back("^" + identity.name());
      nodes_.push_back(std::move(identity));
    }
    return;
  }
  nodes_.push_back(std::move(node));
}

std::string Inliner::Resolve(std::string tensor) const {
  for (std::size_t steps = 0;; ++steps) {
    const auto found = aliases_.find(tensor);
    if (found == aliases_.end()) return tensor;
    if (steps > aliases_.size()) {
      throw Error(ErrorCode::kInvalidArgument,
                  context_ + ": tensor '" + tensor + "' is its own input");
    }
    tensor = found->second;
  }
}

void Inliner::ResolveControl(const std::string& node,
                             std::set<std::string>* found) const {
  std::vector<std::string> open{node};
  std::unordered_set<std::string> seen;
  while (!open.empty()) {
    const std::string next = std::move(open.back());
    open.pop_back();
    if (!seen.insert(next).second) continue;
    const auto stands_for = controls_.find(next);
    if (stands_for == controls_.end()) {
      found->insert(next);
    } else {
      for (const std::string& control : stands_for->second)
        open.push_back(control.substr(1));
    }
  }
}

std::vector<tf::NodeDef> Inliner::Take() {
  for (tf::NodeDef& node : nodes_) {
    std::vector<std::string> resolved;
    std::set<std::string> waits_for;
    for (const std::string& input : node.input()) {
      if (IsControl(input)) {
        ResolveControl(input.substr(1), &waits_for);
      } else {
        const auto [name, index] = ParseInput(input);
        resolved.push_back(Resolve(name + ":" + std::to_string(index)));
      }
    }
    for (const std::string& name : waits_for) resolved.push_back("^" + name);
    node.clear_input();
    for (std::string& input : resolved) node.add_input(std::move(input));
  }
  return std::exchange(nodes_, {});
}

std::vector<Inliner::Scope> Inliner::ScopesOf(const std::string& node) const {
  std::vector<Scope> scopes;
  for (auto end = node.rfind('/'); end != std::string::npos && end != 0;
       end = node.rfind('/', end - 1)) {
    const std::string call = node.substr(0, end);
    const auto found = functions_.find(call);
    if (found != functions_.end()) scopes.push_back({found->second, call});
  }
  return scopes;
}

}  // namespace savedmodel
