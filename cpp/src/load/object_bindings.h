#ifndef SAVEDMODEL_LOAD_OBJECT_BINDINGS_H_
#define SAVEDMODEL_LOAD_OBJECT_BINDINGS_H_

#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "inspect/graph_index.h"
#include "inspect/meta_graph.h"
#include "load/restore_plan.h"
#include "tensorflow/core/protobuf/meta_graph.pb.h"
#include "tensorflow/core/protobuf/trackable_object_graph.pb.h"

namespace savedmodel {

// How the objects of a SavedObjectGraph, by their index in it, lie in the graph and in
// the checkpoint. Names say nothing about that: they repeat, and differ between the two.
struct ObjectBindings {
  // The graph's tensor for the object: the handle of a variable or a table, a constant,
  // the path of an asset. "" for objects that are none, and where none was found.
  std::vector<std::string> tensors;
  // Attribute ("VARIABLE_VALUE", "table-keys") -> key in the checkpoint.
  std::vector<std::map<std::string, std::string>> keys;
  // The key of a variable's value; null if the checkpoint has none.
  const std::string* VariableKey(int object) const;
  // Node of a handle -> the object it was found for at a call of a function.
  std::unordered_map<std::string, int> objects;
};

// Looks in turn at: what the object graph says of constants and assets; the calls of
// functions whose bound inputs it lists; the restore op's plan, by the checkpoint's own
// object graph. Variables and tables that none of these knows get a node of their own,
// added to `graph`. `assets`: by their index in asset_file_def. Throws InvalidArgument
// for an object graph that contradicts itself.
ObjectBindings BindObjects(const tensorflow::MetaGraphDef& meta_graph,
                           const tensorflow::TrackableObjectGraph& checkpoint_graph,
                           const RestorePlan& plan, const std::string& export_dir,
                           GraphIndex* graph);

// The variables and tables that the functions of the object graph take along.
std::vector<std::string> BoundResources(const ObjectBindings& bindings,
                                        const tensorflow::SavedObjectGraph& objects);

}  // namespace savedmodel

#endif  // SAVEDMODEL_LOAD_OBJECT_BINDINGS_H_
