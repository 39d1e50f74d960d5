#include "run/retention.h"

#include <string_view>
#include <unordered_map>
#include <unordered_set>

#include "inspect/meta_graph.h"
#include "tensorflow/core/framework/op.h"

namespace savedmodel {

namespace {

namespace tf = tensorflow;

// Stateful ops that read state, call functions, draw random numbers, or update state by
// copying values out of their inputs.
bool IsKnownNotToRetain(std::string_view op) {
  static const std::unordered_set<std::string_view> kOps = {
      // variables
      "VarHandleOp", "ReadVariableOp", "VarIsInitializedOp", "VariableShape",
      "DisableCopyOnRead", "ResourceGather", "ResourceGatherNd", "AssignAddVariableOp",
      "AssignSubVariableOp", "Variable", "VariableV2",
      // tables
      "HashTable", "HashTableV2", "MutableHashTableV2", "LookupTableFind",
      "LookupTableFindV2", "LookupTableSize", "LookupTableSizeV2", "LookupTableExportV2",
      // functions and control flow
      "PartitionedCall", "StatefulPartitionedCall", "If", "While", "Case", "RemoteCall",
      // a TensorArray ends with the step
      "TensorArrayV3", "TensorArrayReadV3", "TensorArrayWriteV3", "TensorArrayGatherV3",
      "TensorArrayScatterV3", "TensorArrayConcatV3", "TensorArraySplitV3",
      "TensorArraySizeV3", "TensorArrayCloseV3", "TensorArrayGradV3",
      // random numbers
      "RandomUniform", "RandomUniformInt", "RandomStandardNormal", "TruncatedNormal",
      "ParameterizedTruncatedNormal", "RandomShuffle", "RandomGamma", "RandomPoisson",
      "RandomPoissonV2", "Multinomial", "RngReadAndSkip", "RngSkip", "StatefulUniform",
      "StatefulUniformFullInt", "StatefulUniformInt", "StatefulStandardNormalV2",
      "StatefulTruncatedNormal", "StatefulRandomBinomial",
      // side effects outside TensorFlow
      "Assert", "Print", "PrintV2", "ReadFile", "WriteFile"};
  return kOps.count(op) != 0;
}

class Search {
 public:
  explicit Search(const tf::GraphDef& graph) {
    for (const tf::NodeDef& node : graph.node()) nodes_.emplace(node.name(), &node);
    for (const tf::FunctionDef& function : graph.library().function()) {
      functions_.emplace(function.signature().name(), &function);
    }
  }

  // Of the nodes that these tensors need, and of the functions that those call.
  bool ReachesRetainingOp(const std::vector<std::string>& tensors) {
    std::vector<std::string_view> pending(tensors.begin(), tensors.end());
    while (!pending.empty()) {
      std::string_view name = pending.back();
      pending.pop_back();
      if (name.substr(0, 1) == "^") name.remove_prefix(1);
      const auto node = nodes_.find(name.substr(0, name.find(':')));
      if (node == nodes_.end() || !seen_.insert(node->first).second) continue;
      if (Retains(*node->second)) return true;
      for (const std::string& input : node->second->input()) pending.emplace_back(input);
    }
    while (!pending_functions_.empty()) {
      const tf::FunctionDef& function = *pending_functions_.back();
      pending_functions_.pop_back();
      for (const tf::NodeDef& node : function.node_def()) {
        if (Retains(node)) return true;
      }
    }
    return false;
  }

 private:
  // Leaves the functions that the node calls for later.
  bool Retains(const tf::NodeDef& node) {
    ForEachCallee(node, [this](const std::string& callee) { AddFunction(callee); });
    if (functions_.count(node.op()) != 0) return false;
    const tf::OpDef* op = nullptr;
    if (!tf::OpRegistry::Global()->LookUpOpDef(node.op(), &op).ok()) return true;
    return op->is_stateful() && !IsKnownNotToRetain(node.op());
  }

  void AddFunction(const std::string& name) {
    const auto function = functions_.find(name);
    if (function != functions_.end() && seen_functions_.insert(function->first).second) {
      pending_functions_.push_back(function->second);
    }
  }

  std::unordered_map<std::string_view, const tf::NodeDef*> nodes_;
  std::unordered_map<std::string_view, const tf::FunctionDef*> functions_;
  std::unordered_set<std::string_view> seen_;
  std::unordered_set<std::string_view> seen_functions_;
  std::vector<const tf::FunctionDef*> pending_functions_;
};

}  // namespace

bool MayRetainFeeds(const tf::GraphDef& graph, const std::vector<std::string>& fetches,
                    const std::vector<std::string>& targets) {
  Search search(graph);
  return search.ReachesRetainingOp(fetches) || search.ReachesRetainingOp(targets);
}

}  // namespace savedmodel
