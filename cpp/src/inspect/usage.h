#ifndef SAVEDMODEL_INSPECT_USAGE_H_
#define SAVEDMODEL_INSPECT_USAGE_H_

#include <map>
#include <set>
#include <string>
#include <unordered_set>
#include <vector>

#include "inspect/graph_index.h"
#include "inspect/text_origins.h"
#include "savedmodel/inspect.h"
#include "savedmodel/saved_model.h"
#include "tensorflow/core/protobuf/meta_graph.pb.h"

namespace savedmodel {

// What can run each node and each function of a MetaGraph.
class Usage {
 public:
  // `signatures`: as ReadSignatures gives them. `init_op`: "" if there is none. Throws
  // InvalidArgument, after `context`, for inputs that are in no node. Keeps references to
  // the first two.
  Usage(const tensorflow::MetaGraphDef& meta_graph, const GraphIndex& graph,
        const std::map<std::string, SignatureDef>& signatures, const std::string& init_op,
        const std::string& context);

  Usage(const Usage&) = delete;
  Usage& operator=(const Usage&) = delete;

  // Of a node of the graph, where `function` is null, or of a function.
  NodeInfo::Use Of(const tensorflow::NodeDef& node,
                   const tensorflow::FunctionDef* function) const;
  // True if a signature or the init op can run it: more than functions of the object
  // graph can.
  bool InSignatures(const tensorflow::NodeDef& node,
                    const tensorflow::FunctionDef* function) const {
    return signatures_.Holds(node, function) || init_.Holds(node, function);
  }
  // Throws ResourceExhausted when the texts of all those asked for are too long.
  NodeInfo Info(const tensorflow::NodeDef& node, const tensorflow::FunctionDef* function);

 private:
  struct Reached {
    // What is run for some nodes of the graph and some functions.
    Reached(const GraphIndex& graph, const std::vector<std::string>& tensors,
            const std::set<std::string>& functions, const std::string& context);

    bool Holds(const tensorflow::NodeDef& node,
               const tensorflow::FunctionDef* function) const;

    std::unordered_set<const tensorflow::NodeDef*> nodes;
    std::unordered_set<const tensorflow::FunctionDef*> functions;
  };

  Reached signatures_;
  Reached init_;
  Reached functions_;
  Reached restore_;
  Reached save_;
  TextOrigins origins_;
  const std::string context_;
  std::size_t text_size_ = 0;
};

}  // namespace savedmodel

#endif  // SAVEDMODEL_INSPECT_USAGE_H_
