#include "load/restore_plan.h"

#include <charconv>
#include <optional>
#include <unordered_map>
#include <unordered_set>

#include "tensorflow/core/framework/tensor.h"

namespace savedmodel {

namespace {

namespace tf = tensorflow;

// A longer chain of Identity nodes than any saver writes: a cycle.
constexpr int kMaxChain = 64;

// "name:k" in a graph, "name:output:k" in a function.
std::size_t OutputIndex(const std::string& tensor) {
  const std::size_t colon = tensor.rfind(':');
  std::size_t index = 0;
  if (colon != std::string::npos) {
    std::from_chars(tensor.data() + colon + 1, tensor.data() + tensor.size(), index);
  }
  return index;
}

// The nodes among which the restore op's are, and what the arguments of its function are
// outside.
class Body {
 public:
  explicit Body(const GraphIndex& graph) : graph_(graph) {}
  Body(const GraphIndex& graph, const tf::FunctionDef& function, const tf::NodeDef& call)
      : graph_(graph), is_function_(true) {
    for (const tf::NodeDef& node : function.node_def())
      nodes_.emplace(node.name(), &node);
    const int count = std::min(function.signature().input_arg_size(), call.input_size());
    for (int i = 0; i < count; ++i) {
      arguments_.emplace(function.signature().input_arg(i).name(), call.input(i));
    }
  }

  const tf::NodeDef* Find(std::string_view name) const {
    if (!is_function_) return graph_.FindNode(name);
    const auto found = nodes_.find(name);
    return found == nodes_.end() ? nullptr : found->second;
  }

  // The tensor behind Identity nodes.
  std::string Source(std::string tensor) const {
    for (int i = 0; i < kMaxChain; ++i) {
      const tf::NodeDef* node = Find(NodeOf(tensor));
      if (node == nullptr || node->op() != "Identity" || node->input_size() == 0) break;
      tensor = node->input(0);
    }
    return tensor;
  }

  // The node outside that makes this tensor, or null.
  const tf::NodeDef* Outside(const std::string& tensor) const {
    const std::string source = Source(tensor);
    const std::string name(NodeOf(source));
    const auto argument = arguments_.find(name);
    if (argument != arguments_.end()) return graph_.FindNode(NodeOf(argument->second));
    return is_function_ ? nullptr : graph_.FindNode(name);
  }

  // The strings of a Const.
  std::optional<std::vector<std::string>> Strings(const std::string& tensor) const {
    const tf::NodeDef* node = Find(NodeOf(Source(tensor)));
    if (node == nullptr || node->op() != "Const") return std::nullopt;
    const auto value = node->attr().find("value");
    tf::Tensor strings;
    if (value == node->attr().end() || value->second.tensor().dtype() != tf::DT_STRING ||
        !strings.FromProto(value->second.tensor())) {
      return std::nullopt;
    }
    std::vector<std::string> texts;
    for (std::int64_t i = 0; i < strings.NumElements(); ++i) {
      texts.emplace_back(strings.flat<tf::tstring>()(i));
    }
    return texts;
  }

 private:
  const GraphIndex& graph_;
  bool is_function_ = false;
  std::unordered_map<std::string_view, const tf::NodeDef*> nodes_;
  std::unordered_map<std::string_view, std::string> arguments_;
};

class Reader {
 public:
  Reader(const Body& body, RestorePlan* plan) : body_(body), plan_(*plan) {}

  void Read(const tf::NodeDef& node) {
    const std::string& op = node.op();
    if (op == "AssignVariableOp" || op == "Assign") {
      Add(node, 1);
    } else if (op == "LookupTableImportV2") {
      Add(node, 2);
    } else if (op != "Const" && op != "RestoreV2" && op != "Identity" && op != "NoOp" &&
               op != "Placeholder" && op != "PlaceholderWithDefault" &&
               op != "VarHandleOp" && !IsRefVariable(node) &&
               op.find("Table") == std::string::npos) {
      plan_.complete = false;
    }
  }

 private:
  // A node that gives its first input the value of the `count` that follow.
  void Add(const tf::NodeDef& node, int count) {
    const tf::NodeDef* owner =
        node.input_size() > count ? body_.Outside(node.input(0)) : nullptr;
    std::vector<CheckpointTensor> tensors;
    for (int i = 1; i <= count && owner != nullptr; ++i) {
      std::optional<CheckpointTensor> tensor = Restored(body_.Source(node.input(i)));
      if (tensor) tensors.push_back(std::move(*tensor));
    }
    if (owner == nullptr || tensors.size() != static_cast<std::size_t>(count)) {
      plan_.complete = false;
    } else {
      plan_.tensors.emplace(owner->name(), std::move(tensors));
    }
  }

  // What an output of RestoreV2 is.
  std::optional<CheckpointTensor> Restored(const std::string& tensor) {
    const tf::NodeDef* restore = body_.Find(NodeOf(tensor));
    if (restore == nullptr || restore->op() != "RestoreV2" || restore->input_size() < 3)
      return std::nullopt;
    auto known = restores_.find(restore);
    if (known == restores_.end()) {
      Names names{body_.Strings(restore->input(1)), body_.Strings(restore->input(2))};
      known = restores_.emplace(restore, std::move(names)).first;
    }
    const auto& [keys, slices] = known->second;
    const std::size_t index = OutputIndex(tensor);
    if (!keys || !slices || index >= keys->size() || index >= slices->size())
      return std::nullopt;
    return CheckpointTensor{(*keys)[index], (*slices)[index]};
  }

  using Names = std::pair<std::optional<std::vector<std::string>>,
                          std::optional<std::vector<std::string>>>;
  const Body& body_;
  RestorePlan& plan_;
  std::unordered_map<const tf::NodeDef*, Names> restores_;
};

}  // namespace

RestorePlan ReadRestorePlan(const tf::MetaGraphDef& meta_graph, const GraphIndex& graph) {
  RestorePlan plan;
  const std::string& restore_op = meta_graph.saver_def().restore_op_name();
  if (restore_op.empty()) return plan;
  const tf::NodeDef* restore = graph.FindNode(NodeOf(restore_op));
  if (restore == nullptr) {
    plan.complete = false;
    return plan;
  }
  if (IsPartitionedCall(*restore)) {
    const auto callee = restore->attr().find("f");
    const tf::FunctionDef* function =
        callee == restore->attr().end()
            ? nullptr
            : graph.FindFunction(callee->second.func().name());
    if (function == nullptr) {
      plan.complete = false;
      return plan;
    }
    const Body body(graph, *function, *restore);
    Reader reader(body, &plan);
    for (const tf::NodeDef& node : function->node_def()) reader.Read(node);
    return plan;
  }
  const Body body(graph);
  Reader reader(body, &plan);
  std::unordered_set<const tf::NodeDef*> seen;
  for (const tf::NodeDef* node :
       graph.Reach({restore->name()}, &seen, "the restore op")) {
    reader.Read(*node);
  }
  return plan;
}

}  // namespace savedmodel
