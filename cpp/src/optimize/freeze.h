#ifndef SAVEDMODEL_OPTIMIZE_FREEZE_H_
#define SAVEDMODEL_OPTIMIZE_FREEZE_H_

#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "inspect/graph_index.h"
#include "tensorflow/core/framework/graph.pb.h"
#include "tensorflow/core/framework/tensor.h"

namespace savedmodel {

// A part of a graph in which variables have become constants.
struct FrozenGraph {
  tensorflow::GraphDef graph;               // nodes and functions; no versions
  std::vector<std::string> frozen;          // nodes that were variables
  std::map<std::string, std::string> kept;  // nodes that still are -> why
};

// Takes what `roots` need out of a graph, and looks for variables that this part only
// reads: through functions, conditionals and loops, wherever their handles go. Each
// becomes a Const node of the same name and without a value yet: what a handle was passed
// to takes the value instead, and what read it passes it on.
//
// A variable that is used in any other way stays one, and so does one that `keep` has a
// reason for. Throws InvalidArgument, after `context`, for an input that is in no node.
FrozenGraph FreezeVariables(const GraphIndex& index,
                            const std::vector<std::string>& roots,
                            const std::unordered_map<std::string, std::string>& keep,
                            const std::string& context);

}  // namespace savedmodel

#endif  // SAVEDMODEL_OPTIMIZE_FREEZE_H_
