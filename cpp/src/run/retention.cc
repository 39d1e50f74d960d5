#include "run/retention.h"

#include <string_view>
#include <unordered_set>

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

bool Retains(const GraphIndex& graph, const tf::NodeDef& node) {
  if (graph.FindFunction(node.op()) != nullptr) return false;
  const tf::OpDef* op = nullptr;
  if (!tf::OpRegistry::Global()->LookUpOpDef(node.op(), &op).ok()) return true;
  return op->is_stateful() && !IsKnownNotToRetain(node.op());
}

}  // namespace

bool MayRetainFeeds(const GraphIndex& graph, const std::vector<std::string>& fetches,
                    const std::vector<std::string>& targets) {
  std::vector<std::string> names = fetches;
  names.insert(names.end(), targets.begin(), targets.end());
  std::unordered_set<const tf::NodeDef*> seen_nodes;
  const std::vector<const tf::NodeDef*> nodes = graph.Reach(names, &seen_nodes, "graph");
  for (const tf::NodeDef* node : nodes) {
    if (Retains(graph, *node)) return true;
  }
  std::unordered_set<const tf::FunctionDef*> seen_functions;
  for (const tf::FunctionDef* function : graph.ReachFunctions(nodes, &seen_functions)) {
    for (const tf::NodeDef& node : function->node_def()) {
      if (Retains(graph, node)) return true;
    }
  }
  return false;
}

}  // namespace savedmodel
