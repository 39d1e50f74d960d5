#ifndef SAVEDMODEL_LOAD_VARIABLE_SOURCES_H_
#define SAVEDMODEL_LOAD_VARIABLE_SOURCES_H_

#include <string>
#include <unordered_set>
#include <vector>

#include "inspect/checkpoint.h"
#include "inspect/graph_index.h"
#include "load/object_bindings.h"
#include "load/restore_plan.h"
#include "tensorflow/core/framework/tensor_shape.h"

namespace savedmodel {

// A handle, or a TF1 reference variable.
bool IsVariable(const tensorflow::NodeDef& node);
bool IsTable(const tensorflow::NodeDef& node);
// A variable or a table.
bool IsResource(const tensorflow::NodeDef& node);

// DT_INVALID without the attribute.
tensorflow::DataType TypeAttr(const tensorflow::NodeDef& node, const char* name);

// Where a variable's or a table's value is; nothing if nowhere. A key that the restore op
// names need not be in the checkpoint. `repair` says so if the restore op does not know
// it: "name (key in the checkpoint)".
std::vector<CheckpointTensor> FindInCheckpoint(
    const tensorflow::NodeDef& node, const RestorePlan& plan,
    const ObjectBindings& bindings, const Checkpoint& checkpoint,
    const tensorflow::SavedObjectGraph& objects, std::string* repair);

// Throws InvalidArgument, after `context`, if the variable `node` cannot take the value
// that is under `key` in the checkpoint.
void CheckRestored(const tensorflow::NodeDef& node, const std::string& key,
                   tensorflow::DataType dtype, const tensorflow::TensorShape& shape,
                   const std::string& context);

// The inputs of those of these nodes that assign a variable, themselves or in a function
// that they call. Such a variable need not have a value before.
std::unordered_set<const tensorflow::NodeDef*> AssignedBy(
    const std::vector<const tensorflow::NodeDef*>& nodes, const GraphIndex& graph);

}  // namespace savedmodel

#endif  // SAVEDMODEL_LOAD_VARIABLE_SOURCES_H_
