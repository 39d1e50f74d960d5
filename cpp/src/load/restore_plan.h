#ifndef SAVEDMODEL_LOAD_RESTORE_PLAN_H_
#define SAVEDMODEL_LOAD_RESTORE_PLAN_H_

#include <map>
#include <string>
#include <vector>

#include "inspect/checkpoint.h"
#include "inspect/graph_index.h"
#include "tensorflow/core/protobuf/meta_graph.pb.h"

namespace savedmodel {

// What the restore op of a MetaGraph does, so that each variable can be restored by
// itself.
struct RestorePlan {
  // Node of a VarHandleOp or a VariableV2 -> one tensor; node of a table -> its keys and
  // its values.
  std::map<std::string, std::vector<CheckpointTensor>> tensors;
  // False if the restore op does something else, too: then it has to be run as it is.
  bool complete = true;
};

// Reads the function that the restore op calls (TF2), or the nodes that it waits for
// (TF1): RestoreV2, whose outputs go to AssignVariableOp, Assign or LookupTableImportV2.
RestorePlan ReadRestorePlan(const tensorflow::MetaGraphDef& meta_graph,
                            const GraphIndex& graph);

}  // namespace savedmodel

#endif  // SAVEDMODEL_LOAD_RESTORE_PLAN_H_
