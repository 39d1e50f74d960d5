#include "run/retention.h"

#include <string_view>
#include <unordered_set>

#include "core/ops.h"

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

// Those among them that change a variable.
bool IsKnownToChange(std::string_view op) {
  return op == "AssignAddVariableOp" || op == "AssignSubVariableOp" ||
         op.rfind("Rng", 0) == 0 || op.rfind("Stateful", 0) == 0;
}

// What a run may do to what outlives it.
RunEffects EffectsOf(const GraphIndex& graph, const tf::NodeDef& node) {
  RunEffects effects;
  if (graph.FindFunction(node.op()) != nullptr) return effects;
  const tf::OpRegistrationData* op = FindOp(node.op());
  if (op == nullptr) return {true, true};
  if (!op->op_def.is_stateful()) return effects;
  effects.retains_feeds = !IsKnownNotToRetain(node.op());
  effects.changes_variables =
      effects.retains_feeds ||
      (IsKnownToChange(node.op()) && node.op() != "StatefulPartitionedCall");
  return effects;
}

}  // namespace

RunEffects FindEffects(const GraphIndex& graph, const std::vector<std::string>& fetches,
                       const std::vector<std::string>& targets,
                       const std::string& context) {
  std::vector<std::string> names = fetches;
  names.insert(names.end(), targets.begin(), targets.end());
  std::unordered_set<const tf::NodeDef*> seen_nodes;
  const std::vector<const tf::NodeDef*> nodes = graph.Reach(names, &seen_nodes, context);
  RunEffects effects;
  const auto add = [&](const tf::NodeDef& node) {
    const RunEffects more = EffectsOf(graph, node);
    effects.retains_feeds |= more.retains_feeds;
    effects.changes_variables |= more.changes_variables;
  };
  for (const tf::NodeDef* node : nodes) add(*node);
  std::unordered_set<const tf::FunctionDef*> seen_functions;
  for (const tf::FunctionDef* function : graph.ReachFunctions(nodes, &seen_functions)) {
    for (const tf::NodeDef& node : function->node_def()) add(node);
  }
  return effects;
}

}  // namespace savedmodel
