#ifndef SAVEDMODEL_INSPECT_GRAPH_INDEX_H_
#define SAVEDMODEL_INSPECT_GRAPH_INDEX_H_

#include <deque>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "tensorflow/core/framework/graph.pb.h"

namespace savedmodel {

// The node that an input, a fetch or a target names: "x:0", "x" and "^x" are all of "x".
std::string_view NodeOf(std::string_view tensor);

// A function's name as (part of) the name of a node, which may hold fewer characters
// ("<lambda>"). Another name for each name.
std::string NodeName(std::string_view function);

// The string attribute of a node, or "". SavedModels leave out attributes that have their
// default value.
const std::string& StringAttr(const tensorflow::NodeDef& node, const char* name);

// True for a call of the function that its attribute "f" names.
bool IsPartitionedCall(const tensorflow::NodeDef& node);

// True for TF1's reference variables, as a SavedModel keeps them.
bool IsRefVariable(const tensorflow::NodeDef& node);

// Nodes with the same container and shared name stand for the same variable or table.
std::string ResourceId(const tensorflow::NodeDef& node);

// The nodes and functions of a graph by name. Thread-safe; pointers stay valid while the
// index and the graph live.
class GraphIndex {
 public:
  // The graph must outlive the index, unchanged.
  explicit GraphIndex(const tensorflow::GraphDef& graph);

  // Null if there is none.
  const tensorflow::NodeDef* FindNode(std::string_view name) const;
  const tensorflow::FunctionDef* FindFunction(std::string_view name) const;
  std::vector<std::string> NodeNames() const;

  // Adds a node or a function that the SavedModel does not hold; one of that name stays
  // as it is.
  void Add(tensorflow::NodeDef node);
  void Add(tensorflow::FunctionDef function);

  // The nodes that these tensors and operations need, themselves included, without those
  // in `seen` (to which they are added). Throws InvalidArgument, after `context`, for an
  // input that is in no node.
  std::vector<const tensorflow::NodeDef*> Reach(
      const std::vector<std::string>& names,
      std::unordered_set<const tensorflow::NodeDef*>* seen,
      const std::string& context) const;
  // The functions that these nodes call, and those that they call, without those in
  // `seen` (to which they are added).
  std::vector<const tensorflow::FunctionDef*> ReachFunctions(
      const std::vector<const tensorflow::NodeDef*>& nodes,
      std::unordered_set<const tensorflow::FunctionDef*>* seen) const;

 private:
  mutable std::shared_mutex mutex_;
  std::unordered_map<std::string_view, const tensorflow::NodeDef*> nodes_;
  std::unordered_map<std::string_view, const tensorflow::FunctionDef*> functions_;
  std::deque<tensorflow::NodeDef> added_nodes_;
  std::deque<tensorflow::FunctionDef> added_functions_;
};

}  // namespace savedmodel

#endif  // SAVEDMODEL_INSPECT_GRAPH_INDEX_H_
