#include "inspect/text_origins.h"

#include <algorithm>
#include <utility>

#include "inspect/meta_graph.h"
#include "tensorflow/cc/saved_model/loader_util.h"

namespace savedmodel {

namespace {

namespace tf = tensorflow;

using Origin = TextOrigins::Origin;
using Kind = Origin::Kind;

// Nodes and calls from a use to what it uses. Real ones are a dozen apart; each level
// takes of the stack.
constexpr int kMaxDepth = 100;

// Of a tensor of strings the first one; null for other constants.
const std::string* ConstantText(const tf::NodeDef& node) {
  static const auto* empty = new std::string;
  const auto value = node.attr().find("value");
  if (node.op() != "Const" || value == node.attr().end()) return nullptr;
  const tf::TensorProto& tensor = value->second.tensor();
  if (tensor.dtype() != tf::DT_STRING || !tensor.tensor_content().empty()) return nullptr;
  // What is left out is empty.
  return tensor.string_val().empty() ? empty : &tensor.string_val(0);
}

// Of the outputs of a node, one is fed: those that are, here, are first ones.
bool IsFirstOutput(std::string_view tensor) {
  const std::size_t colon = tensor.find(':');
  return colon == std::string_view::npos || tensor.substr(colon) == ":0";
}

// A path that comes from several callers: one constant among them is what to know of it.
Origin Either(const Origin& a, const Origin& b) {
  if (a.kind == b.kind || a.kind == Kind::kConstant) return a;
  return b.kind == Kind::kConstant ? b : Origin();
}

}  // namespace

TextOrigins::TextOrigins(const tf::MetaGraphDef& meta_graph, const GraphIndex& graph,
                         std::set<std::string> saving,
                         std::function<bool(const tf::NodeDef&)> is_fed)
    : meta_graph_(meta_graph),
      graph_(graph),
      saving_(std::move(saving)),
      is_fed_(std::move(is_fed)) {
  std::vector<tf::AssetFileDef> assets;
  // Where they cannot be read, none is fed.
  if (!tf::internal::GetAssetFileDefs(meta_graph, &assets).ok()) return;
  for (const tf::AssetFileDef& asset : assets) {
    const std::string& tensor = asset.tensor_info().name();
    if (IsFirstOutput(tensor)) assets_.emplace(NodeOf(tensor));
  }
}

Origin TextOrigins::Of(const tf::NodeDef& node, const tf::FunctionDef* function,
                       const std::string& input) {
  return OfInput(node, function, input, 0);
}

Origin TextOrigins::OfInput(const tf::NodeDef& node, const tf::FunctionDef* function,
                            const std::string& input, int depth) {
  if (depth >= kMaxDepth || input.substr(0, 1) == "^") return {};
  if (function == nullptr && !IsFirstOutput(input)) return {};
  const tf::NodeDef* producer = Find(function, input);
  if (producer == nullptr)
    return function == nullptr ? Origin()
                               : OfArgument(*function, NodeOf(input), depth + 1);
  const Origin origin = OfNode(*producer, function, depth + 1);
  if (function == nullptr && origin.kind == Kind::kAsset &&
      assets_.count(producer->name()) != 0 && !is_fed_(node))
    return {origin.text == nullptr ? Kind::kUnknown : Kind::kConstant, origin.text};
  return origin;
}

Origin TextOrigins::OfNode(const tf::NodeDef& node, const tf::FunctionDef* function,
                           int depth) {
  // Unknown meanwhile, for nodes in a circle.
  const auto [known, is_new] = nodes_.try_emplace(&node);
  if (!is_new) return known->second;
  const Origin origin = OfOutput(node, function, depth);
  return nodes_[&node] = origin;
}

Origin TextOrigins::OfOutput(const tf::NodeDef& node, const tf::FunctionDef* function,
                             int depth) {
  const std::string* text = IsOp(node) ? ConstantText(node) : nullptr;
  if (function == nullptr) {
    const std::string& file = meta_graph_.saver_def().filename_tensor_name();
    if (node.name() == NodeOf(file) && IsFirstOutput(file))
      return {Kind::kVariables, nullptr};
    if (assets_.count(node.name()) != 0) return {Kind::kAsset, text};
  }
  if (text != nullptr) return {Kind::kConstant, text};
  const std::string& op = node.op();
  if (!IsOp(node) || node.input().empty()) return {};
  if (op == "Identity" || op == "PlaceholderWithDefault")
    return OfInput(node, function, node.input(0), depth);
  if (op == "ReadVariableOp" && function == nullptr) {
    const tf::NodeDef* handle = graph_.FindNode(NodeOf(node.input(0)));
    return handle == nullptr ? Origin() : OfVariable(*handle, depth);
  }
  // What savers make of the path of the variables files.
  const auto is_data = [](const std::string& input) { return input.substr(0, 1) != "^"; };
  const int inputs =
      static_cast<int>(std::count_if(node.input().begin(), node.input().end(), is_data));
  const bool is_join = op == "StringJoin" && inputs == 2 &&
                       StringAttr(node, "separator").empty() &&
                       StaysBeside(function, node.input(1));
  if (!is_join && op != "ShardedFilename" && op != "Pack") return {};
  const int count = op == "Pack" ? inputs : 1;
  for (int i = 0; i < count; ++i) {
    if (OfInput(node, function, node.input(i), depth).kind != Kind::kVariables) return {};
  }
  return {Kind::kVariables, nullptr};
}

Origin TextOrigins::OfVariable(const tf::NodeDef& handle, int depth) {
  ListVariables();
  const auto users = variable_users_.find(&handle);
  if (users == variable_users_.end()) return {};
  Origin origin;
  for (const tf::NodeDef* user : users->second) {
    const std::string& op = user->op();
    if (IsOp(*user) && (op == "ReadVariableOp" || op == "VarIsInitializedOp")) continue;
    if (!IsOp(*user) || op != "AssignVariableOp" || user->input_size() < 2) return {};
    origin = OfInput(*user, nullptr, user->input(1), depth);
    if (origin.kind != Kind::kAsset) return {};
  }
  return {origin.kind, nullptr};
}

bool TextOrigins::StaysBeside(const tf::FunctionDef* function, const std::string& input) {
  const auto stays = [this](const tf::NodeDef* node) {
    if (node == nullptr || !IsOp(*node)) return false;
    const std::string* text = ConstantText(*node);
    return text != nullptr && text->find("..") == std::string::npos &&
           (text->empty() || text->back() != '.');
  };
  const tf::NodeDef* node = Find(function, input);
  if (node == nullptr || (node->op() != "Select" && node->op() != "SelectV2"))
    return stays(node);
  return IsOp(*node) && node->input_size() >= 3 &&
         stays(Find(function, node->input(1))) && stays(Find(function, node->input(2)));
}

const tf::NodeDef* TextOrigins::Find(const tf::FunctionDef* function,
                                     std::string_view input) {
  if (function == nullptr) return graph_.FindNode(NodeOf(input));
  const auto [body, is_new] = bodies_.try_emplace(function);
  if (is_new) {
    for (const tf::NodeDef& node : function->node_def())
      body->second.emplace(node.name(), &node);
  }
  const auto found = body->second.find(NodeOf(input));
  return found == body->second.end() ? nullptr : found->second;
}

Origin TextOrigins::OfArgument(const tf::FunctionDef& function, std::string_view name,
                               int depth) {
  const auto& arguments = function.signature().input_arg();
  const auto argument =
      std::find_if(arguments.begin(), arguments.end(),
                   [name](const tf::OpDef::ArgDef& each) { return each.name() == name; });
  if (argument == arguments.end()) return {};
  // Unknown meanwhile, for functions that call themselves.
  const auto [known, is_new] = arguments_.try_emplace(&*argument);
  if (!is_new) return known->second;
  ListCalls();
  const int number = static_cast<int>(argument - arguments.begin());
  std::vector<Origin> origins;
  const std::string& callee = function.signature().name();
  if (meta_graph_.object_graph_def().concrete_functions().count(callee) != 0)
    origins.push_back(OfRootArgument(function, number));
  for (const Call& call : calls_[callee]) {
    const int input = number + call.offset;
    if (input >= call.node->input_size()) {
      origins.clear();
      break;
    }
    const Origin origin =
        OfInput(*call.node, call.caller, call.node->input(input), depth);
    origins.push_back(call.passes_inputs || origin.kind == Kind::kConstant ? origin
                                                                           : Origin());
  }
  Origin origin;
  if (!origins.empty()) origin = origins.front();
  for (const Origin& each : origins) origin = Either(origin, each);
  return arguments_[&*argument] = origin;
}

Origin TextOrigins::OfRootArgument(const tf::FunctionDef& function, int argument) const {
  const tf::SavedObjectGraph& objects = meta_graph_.object_graph_def();
  const auto found = objects.concrete_functions().find(function.signature().name());
  if (found == objects.concrete_functions().end()) return {};
  // What a function has captured comes after its own arguments.
  const auto& bound = found->second.bound_inputs();
  const int first = function.signature().input_arg_size() - bound.size();
  if (argument < first) {
    return saving_.count(found->first) == 0 ? Origin()
                                            : Origin{Kind::kVariables, nullptr};
  }
  if (first < 0) return {};
  const int id = bound[argument - first];
  const bool is_asset =
      id >= 0 && id < objects.nodes_size() && objects.nodes(id).has_asset();
  return {is_asset ? Kind::kAsset : Kind::kUnknown, nullptr};
}

void TextOrigins::ListVariables() {
  if (has_variables_) return;
  has_variables_ = true;
  // Of all variables of the name: containers can be the same by two names.
  std::unordered_map<std::string, int> handles;
  bool any_handle = false;  // of those that can be of any variable
  ForEachNode(meta_graph_.graph_def(),
              [&](const tf::NodeDef& node, const tf::FunctionDef*) {
                if (node.op() == "VarHandleOp")
                  ++handles[StringAttr(node, "shared_name")];
                const auto dtype = node.attr().find("dtype");
                any_handle |= node.op() == "_VarHandlesOp" ||
                              (node.op() == "Const" && dtype != node.attr().end() &&
                               dtype->second.type() == tf::DT_RESOURCE);
              });
  if (any_handle) return;
  for (const tf::NodeDef& node : meta_graph_.graph_def().node()) {
    for (const std::string& input : node.input()) {
      const tf::NodeDef* handle = graph_.FindNode(NodeOf(input));
      if (input.substr(0, 1) != "^" && handle != nullptr &&
          handle->op() == "VarHandleOp" &&
          handles[StringAttr(*handle, "shared_name")] == 1)
        variable_users_[handle].push_back(&node);
    }
  }
}

void TextOrigins::ListCalls() {
  if (has_calls_) return;
  has_calls_ = true;
  ForEachNode(meta_graph_.graph_def(), [this](const tf::NodeDef& node,
                                              const tf::FunctionDef* caller) {
    const std::string& op = node.op();
    const bool is_own = !IsOp(node);
    // The condition, or the number of the branch, comes before the arguments.
    const bool chooses = !is_own && (op == "If" || op == "StatelessIf" || op == "Case" ||
                                     op == "StatelessCase");
    const bool calls_f = !is_own && IsPartitionedCall(node);
    ForEachCallee(node, [&](const std::string& name) {
      const tf::FunctionDef* callee = graph_.FindFunction(name);
      if (callee == nullptr) return;
      std::vector<Call>& calls = calls_[callee->signature().name()];
      if (calls.empty() || calls.back().node != &node)
        calls.push_back({&node, caller, chooses ? 1 : 0, is_own || chooses || calls_f});
    });
  });
}

}  // namespace savedmodel
