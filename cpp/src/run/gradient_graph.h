#ifndef SAVEDMODEL_RUN_GRADIENT_GRAPH_H_
#define SAVEDMODEL_RUN_GRADIENT_GRAPH_H_

#include <string>
#include <vector>

#include "tensorflow/core/framework/graph.pb.h"
#include "tensorflow/core/framework/node_def.pb.h"
#include "tensorflow/core/protobuf/saved_object_graph.pb.h"

namespace savedmodel {

// Of what the gradients are wanted. References must outlive the call.
struct GradientRequest {
  const tensorflow::FunctionDefLibrary& library;
  // Where to find what custom gradients capture.
  const tensorflow::SavedObjectGraph& objects;
  // Of the session's graph, which the nodes are added to.
  const tensorflow::VersionDef& versions;
  // A function of the library, its last inputs being the captures: tensors of the
  // session's graph, and all nodes of that graph that make them (VarHandleOp, Const,
  // ...).
  std::string function;
  std::vector<std::string> captures;
  std::vector<tensorflow::NodeDef> capture_nodes;
  // Names of VarHandleOp nodes among them.
  std::vector<std::string> variables;
  std::string prefix;   // of the names of all new nodes; not used in the session's graph
  std::string context;  // goes before messages
};

struct GradientGraph {
  // Nodes to add to the session's graph, and the functions that they need.
  tensorflow::GraphDef graph;
  // Tensors to feed: the function's inputs before the captures ...
  std::vector<std::string> feeds;
  // ... and, in the order of the outputs, the gradient of the result with respect to
  // each; empty for an output that is no float or complex number, or that no variable
  // leads to.
  std::vector<std::string> output_gradient_feeds;
  // Tensors to fetch: the function's outputs. Fetching one runs all of the function's
  // side effects, as a call does; fetching a gradient alone need not.
  std::vector<std::string> outputs;
  // The gradient with respect to each variable, of the variable's dtype and shape (dense
  // also where TensorFlow's own would be IndexedSlices); empty where there is none.
  std::vector<std::string> gradients;
};

// The nodes of a call of the function and, by TensorFlow's own C++ symbolic gradients, of
// the gradients with respect to variables that it reads. Loads TensorFlow's runtime; uses
// no session. Throws Unimplemented, with the node and its op, where an op on the way has
// no gradient in C++ (control flow for one) or a custom gradient that was not saved; and
// InvalidArgument or NotFound for a function or captures that do not fit.
GradientGraph BuildGradientGraph(const GradientRequest& request);

}  // namespace savedmodel

#endif  // SAVEDMODEL_RUN_GRADIENT_GRAPH_H_
