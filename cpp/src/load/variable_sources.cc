#include "load/variable_sources.h"

#include "core/status.h"
#include "savedmodel/error.h"
#include "tensorflow/core/framework/types.h"
#include "tensorflow/core/protobuf/saved_object_graph.pb.h"

namespace savedmodel {

namespace tf = tensorflow;

bool IsVariable(const tf::NodeDef& node) {
  return node.op() == "VarHandleOp" || IsRefVariable(node);
}

bool IsTable(const tf::NodeDef& node) {
  return node.op().find("HashTable") != std::string::npos;
}

bool IsResource(const tf::NodeDef& node) { return IsVariable(node) || IsTable(node); }

tf::DataType TypeAttr(const tf::NodeDef& node, const char* name) {
  const auto found = node.attr().find(name);
  return found == node.attr().end() ? tf::DT_INVALID : found->second.type();
}

std::vector<CheckpointTensor> FindInCheckpoint(const tf::NodeDef& node,
                                               const RestorePlan& plan,
                                               const ObjectBindings& bindings,
                                               const Checkpoint& checkpoint,
                                               const tf::SavedObjectGraph& objects,
                                               std::string* repair) {
  const auto planned = plan.tensors.find(node.name());
  if (planned != plan.tensors.end()) return planned->second;
  if (node.op() != "VarHandleOp") return {};
  // The restore op does not fill this one. What object is it?
  const auto object = bindings.objects.find(node.name());
  if (object == bindings.objects.end()) return {};
  const std::string* key = bindings.VariableKey(object->second);
  if (key == nullptr || !checkpoint.Contains(*key)) return {};
  // Those that no node of the SavedModel stands for are not in need of repair.
  if (node.name().rfind("savedmodel/", 0) != 0)
    *repair = objects.nodes(object->second).variable().name() + " (" + *key + ")";
  return {{*key, ""}};
}

void CheckRestored(const tf::NodeDef& node, const std::string& key, tf::DataType dtype,
                   const tf::TensorShape& shape, const std::string& context) {
  const tf::DataType expected_dtype = TypeAttr(node, "dtype");
  const auto found = node.attr().find("shape");
  tf::PartialTensorShape expected;
  if (found != node.attr().end()) {
    ThrowIfError(
        tf::PartialTensorShape::BuildPartialTensorShape(found->second.shape(), &expected),
        context + ", variable '" + node.name() + "'");
  }
  if (dtype == expected_dtype && expected.IsCompatibleWith(shape)) return;
  throw Error(ErrorCode::kInvalidArgument,
              context + ", variable '" + node.name() + "': expected " +
                  tf::DataTypeString(expected_dtype) + " of shape " +
                  expected.DebugString() + ", the checkpoint's '" + key + "' is " +
                  tf::DataTypeString(dtype) + " of shape " + shape.DebugString());
}

std::unordered_set<const tf::NodeDef*> AssignedBy(
    const std::vector<const tf::NodeDef*>& nodes, const GraphIndex& graph) {
  std::unordered_set<const tf::NodeDef*> assigned;
  for (const tf::NodeDef* node : nodes) {
    bool assigns = node->op() == "Assign" || node->op() == "AssignVariableOp";
    std::unordered_set<const tf::FunctionDef*> ignored;
    for (const tf::FunctionDef* function : graph.ReachFunctions({node}, &ignored)) {
      for (const tf::NodeDef& inner : function->node_def())
        assigns = assigns || inner.op() == "AssignVariableOp";
    }
    if (!assigns) continue;
    for (const std::string& input : node->input())
      assigned.insert(graph.FindNode(NodeOf(input)));
  }
  return assigned;
}

}  // namespace savedmodel
