#ifndef SAVEDMODEL_RUN_INLINER_H_
#define SAVEDMODEL_RUN_INLINER_H_

#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "tensorflow/core/framework/function.h"
#include "tensorflow/core/framework/graph.pb.h"

namespace savedmodel {

// Puts the bodies of functions in place of their calls, however deep they are nested.
//
// TensorFlow's own InlineFunctionBody loses what gradients need: which tensor of the
// graph a name inside a function stands for. Tensors are "node:output" here. A body's
// node is "call/node". Not thread-safe.
class Inliner {
 public:
  // Both must outlive the inliner. `context` goes before messages.
  Inliner(const tensorflow::FunctionDefLibrary& library, std::string context);

  struct Called {
    std::vector<std::string> outputs;
    tensorflow::DataTypeVector input_types;
    tensorflow::DataTypeVector output_types;
  };
  // Adds the body of a function that is called under the name `call`. Its side effects
  // wait for the nodes in `controls`; what waits for "^call" waits for them. Throws
  // NotFound without such a function, InvalidArgument for a body that is not sound or not
  // called with its number of inputs, ResourceExhausted for too many nodes.
  using Attributes = google::protobuf::Map<std::string, tensorflow::AttrValue>;
  Called Call(const std::string& function, const Attributes& attributes,
              const std::string& call, const std::vector<std::string>& inputs,
              const std::vector<std::string>& controls);

  // Whether a node calls a function, in its attribute or by its op's name.
  bool IsCall(const tensorflow::NodeDef& node) const;
  // Calls the function that such a node calls, under another name and with other inputs;
  // "name:i" stands for its output i.
  void AddCall(const tensorflow::NodeDef& node, const std::string& name,
               const std::vector<std::string>& inputs,
               const std::vector<std::string>& controls);

  // Adds a node as it is.
  void Add(tensorflow::NodeDef node) { nodes_.push_back(std::move(node)); }
  // Makes a tensor stand for another one.
  void Alias(const std::string& tensor, const std::string& target) {
    aliases_[tensor] = target;
  }
  // The tensor of an added node that this one stands for. Throws InvalidArgument for one
  // that stands for itself.
  std::string Resolve(std::string tensor) const;
  // Takes the nodes, with all inputs resolved. IdentityN has become a row of Identity,
  // which has a gradient, except where it carries a gradient of its own.
  std::vector<tensorflow::NodeDef> Take();

  // Where a node came from: the calls around it, from within. Empty for one that was
  // added as it is.
  struct Scope {
    std::string function;
    std::string call;
  };
  std::vector<Scope> ScopesOf(const std::string& node) const;

  const tensorflow::FunctionLibraryDefinition& library() const { return library_; }

 private:
  void AddBodyNode(tensorflow::NodeDef node);
  void ResolveControl(const std::string& node, std::set<std::string>* found) const;

  const std::string context_;
  const tensorflow::FunctionLibraryDefinition library_;
  std::vector<tensorflow::NodeDef> nodes_;
  std::unordered_map<std::string, std::string> aliases_;
  // Of names that are no node: the nodes that "^name" waits for.
  std::unordered_map<std::string, std::vector<std::string>> controls_;
  std::unordered_map<std::string, std::string> functions_;  // call -> function
  std::size_t depth_ = 0;
};

// "node", 1 of "node:1"; "node", 0 of "node"; "node", -1 of "^node".
std::pair<std::string, int> ParseInput(const std::string& input);

}  // namespace savedmodel

#endif  // SAVEDMODEL_RUN_INLINER_H_
