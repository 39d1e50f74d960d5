#ifndef SAVEDMODEL_INSPECT_TEXT_ORIGINS_H_
#define SAVEDMODEL_INSPECT_TEXT_ORIGINS_H_

#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "inspect/graph_index.h"
#include "tensorflow/core/protobuf/meta_graph.pb.h"
#include "tensorflow/core/protobuf/saved_object_graph.pb.h"

namespace savedmodel {

// Where strings that nodes take come from: which are constants, and which are what the
// loader hands over. What cannot be told is unknown, so that only what is proven to be
// the loader's is called so.
class TextOrigins {
 public:
  struct Origin {
    enum class Kind {
      kUnknown,
      kConstant,
      kAsset,      // the path of an asset, which the loader feeds
      kVariables,  // the path of the variables files, or one made of it that stays beside
                   // it
    };
    Kind kind = Kind::kUnknown;
    // Of a constant; of an asset, what stands in the graph in its place, if that is one.
    const std::string* text = nullptr;
  };

  // `saving`: the functions of the object graph that are called with the path of the
  // variables files. `is_fed`: whether assets are fed where this node of the graph runs.
  // Keeps references to the first two.
  TextOrigins(const tensorflow::MetaGraphDef& meta_graph, const GraphIndex& graph,
              std::set<std::string> saving,
              std::function<bool(const tensorflow::NodeDef&)> is_fed);

  // Of an input of `node`, which is in `function`, or in the graph where that is null.
  // What it takes altogether is bounded by the size of the graph, whatever is asked.
  Origin Of(const tensorflow::NodeDef& node, const tensorflow::FunctionDef* function,
            const std::string& input);

 private:
  using Nodes = std::unordered_map<std::string_view, const tensorflow::NodeDef*>;
  // A node that calls a function.
  struct Call {
    const tensorflow::NodeDef* node;
    const tensorflow::FunctionDef* caller;  // null: the graph
    int offset;                             // of the first argument among its inputs
    bool passes_inputs;  // and nothing else: no loop, no elements of a dataset
  };

  Origin OfInput(const tensorflow::NodeDef& node, const tensorflow::FunctionDef* function,
                 const std::string& input, int depth);
  Origin OfNode(const tensorflow::NodeDef& node, const tensorflow::FunctionDef* function,
                int depth);
  Origin OfOutput(const tensorflow::NodeDef& node,
                  const tensorflow::FunctionDef* function, int depth);
  Origin OfArgument(const tensorflow::FunctionDef& function, std::string_view name,
                    int depth);
  // As the object graph has the function called.
  Origin OfRootArgument(const tensorflow::FunctionDef& function, int argument) const;
  // Of a variable that the graph assigns nothing but the path of an asset: how
  // TensorFlow's Python keeps these.
  Origin OfVariable(const tensorflow::NodeDef& handle, int depth);
  // True for a constant, or a choice of two, that makes a path longer and no other path.
  bool StaysBeside(const tensorflow::FunctionDef* function, const std::string& input);
  // A function of the name goes before an op of TensorFlow.
  bool IsOp(const tensorflow::NodeDef& node) const {
    return graph_.FindFunction(node.op()) == nullptr;
  }
  const tensorflow::NodeDef* Find(const tensorflow::FunctionDef* function,
                                  std::string_view input);
  void ListCalls();
  void ListVariables();

  const tensorflow::MetaGraphDef& meta_graph_;
  const GraphIndex& graph_;
  const std::set<std::string> saving_;
  const std::function<bool(const tensorflow::NodeDef&)> is_fed_;
  std::unordered_set<std::string> assets_;  // nodes of the graph
  std::unordered_map<const tensorflow::FunctionDef*, Nodes>
      bodies_;                                                     // as they are needed
  std::unordered_map<std::string_view, std::vector<Call>> calls_;  // by callee
  bool has_calls_ = false;
  // Nodes of the graph that take the handle of a variable, by that; without any where
  // other handles may stand for the same variable.
  std::unordered_map<const tensorflow::NodeDef*, std::vector<const tensorflow::NodeDef*>>
      variable_users_;
  bool has_variables_ = false;
  std::unordered_map<const tensorflow::NodeDef*, Origin> nodes_;
  std::unordered_map<const tensorflow::OpDef::ArgDef*, Origin> arguments_;
};

}  // namespace savedmodel

#endif  // SAVEDMODEL_INSPECT_TEXT_ORIGINS_H_
