#include "inspect/graph_index.h"

#include <mutex>

#include "inspect/meta_graph.h"
#include "savedmodel/error.h"

namespace savedmodel {

namespace tf = tensorflow;

std::string_view NodeOf(std::string_view tensor) {
  if (tensor.substr(0, 1) == "^") tensor.remove_prefix(1);
  return tensor.substr(0, tensor.find(':'));
}

std::string NodeName(std::string_view function) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string name;
  for (const char c : function) {
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
        c == '_') {
      name += c;
    } else {
      const auto byte = static_cast<unsigned char>(c);
      name += {'.', kDigits[byte >> 4], kDigits[byte & 15]};
    }
  }
  return name;
}

const std::string& StringAttr(const tf::NodeDef& node, const char* name) {
  static const auto* empty = new std::string;
  const auto found = node.attr().find(name);
  return found == node.attr().end() ? *empty : found->second.s();
}

bool IsPartitionedCall(const tf::NodeDef& node) {
  return node.op() == "PartitionedCall" || node.op() == "StatefulPartitionedCall";
}

bool IsRefVariable(const tf::NodeDef& node) {
  return node.op() == "VariableV2" || node.op() == "Variable";
}

std::string ResourceId(const tf::NodeDef& node) {
  const std::string& shared_name = StringAttr(node, "shared_name");
  if (shared_name.empty() && node.op() != "VarHandleOp") return node.name();
  return node.op() + "\n" + StringAttr(node, "container") + "\n" + shared_name;
}

GraphIndex::GraphIndex(const tf::GraphDef& graph) {
  nodes_.reserve(static_cast<std::size_t>(graph.node_size()));
  for (const tf::NodeDef& node : graph.node()) nodes_.emplace(node.name(), &node);
  for (const tf::FunctionDef& function : graph.library().function()) {
    functions_.emplace(function.signature().name(), &function);
  }
}

const tf::NodeDef* GraphIndex::FindNode(std::string_view name) const {
  const std::shared_lock<std::shared_mutex> lock(mutex_);
  const auto found = nodes_.find(name);
  return found == nodes_.end() ? nullptr : found->second;
}

const tf::FunctionDef* GraphIndex::FindFunction(std::string_view name) const {
  const std::shared_lock<std::shared_mutex> lock(mutex_);
  const auto found = functions_.find(name);
  return found == functions_.end() ? nullptr : found->second;
}

std::vector<std::string> GraphIndex::NodeNames() const {
  const std::shared_lock<std::shared_mutex> lock(mutex_);
  std::vector<std::string> names;
  names.reserve(nodes_.size());
  for (const auto& [name, node] : nodes_) names.emplace_back(name);
  return names;
}

void GraphIndex::Add(tf::NodeDef node) {
  const std::unique_lock<std::shared_mutex> lock(mutex_);
  if (nodes_.count(node.name()) != 0) return;
  const tf::NodeDef& added = added_nodes_.emplace_back(std::move(node));
  nodes_.emplace(added.name(), &added);
}

void GraphIndex::Add(tf::FunctionDef function) {
  const std::unique_lock<std::shared_mutex> lock(mutex_);
  if (functions_.count(function.signature().name()) != 0) return;
  const tf::FunctionDef& added = added_functions_.emplace_back(std::move(function));
  functions_.emplace(added.signature().name(), &added);
}

std::vector<const tf::NodeDef*> GraphIndex::Reach(
    const std::vector<std::string>& names, std::unordered_set<const tf::NodeDef*>* seen,
    const std::string& context) const {
  const std::shared_lock<std::shared_mutex> lock(mutex_);
  std::vector<const tf::NodeDef*> reached;
  const auto visit = [&](const std::string& input, const tf::NodeDef* consumer) {
    const auto node = nodes_.find(NodeOf(input));
    if (node == nodes_.end()) {
      throw Error(ErrorCode::kInvalidArgument,
                  context + ": " +
                      (consumer == nullptr
                           ? "no tensor '" + input + "' in the graph"
                           : "node '" + consumer->name() + "' takes its input from '" +
                                 input + "', which is not in the graph"));
    }
    if (seen->insert(node->second).second) reached.push_back(node->second);
  };
  for (const std::string& name : names) visit(name, nullptr);
  for (std::size_t next = 0; next < reached.size(); ++next) {
    const tf::NodeDef* node = reached[next];
    for (const std::string& input : node->input()) visit(input, node);
  }
  return reached;
}

std::vector<const tf::FunctionDef*> GraphIndex::ReachFunctions(
    const std::vector<const tf::NodeDef*>& nodes,
    std::unordered_set<const tf::FunctionDef*>* seen) const {
  const std::shared_lock<std::shared_mutex> lock(mutex_);
  std::vector<const tf::FunctionDef*> reached;
  const auto visit = [&](const std::string& name) {
    const auto function = functions_.find(name);
    if (function != functions_.end() && seen->insert(function->second).second) {
      reached.push_back(function->second);
    }
  };
  for (const tf::NodeDef* node : nodes) ForEachCallee(*node, visit);
  for (std::size_t next = 0; next < reached.size(); ++next) {
    for (const tf::NodeDef& node : reached[next]->node_def()) ForEachCallee(node, visit);
  }
  return reached;
}

}  // namespace savedmodel
