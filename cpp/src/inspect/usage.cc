#include "inspect/usage.h"

#include <initializer_list>

#include "savedmodel/error.h"
#include "tensorflow/cc/saved_model/constants.h"
#include "tensorflow/core/protobuf/saved_object_graph.pb.h"

namespace savedmodel {

namespace {

namespace tf = tensorflow;

// A file can hold a long constant once, and use it in any number of nodes.
constexpr std::size_t kMaxConstant = 1024;
constexpr std::size_t kMaxText = std::size_t{1} << 28;

std::vector<std::string> Listed(std::initializer_list<const std::string*> names) {
  std::vector<std::string> tensors;
  for (const std::string* name : names) {
    if (!name->empty()) tensors.push_back(*name);
  }
  return tensors;
}

// Of the signatures, or of the init op, which may be saved as one of them.
std::vector<std::string> CalledTensors(
    const tf::MetaGraphDef& meta_graph,
    const std::map<std::string, SignatureDef>& signatures, bool init) {
  std::vector<std::string> tensors;
  for (const auto& [key, signature] : meta_graph.signature_def()) {
    if ((key == tf::kSavedModelInitOpSignatureKey) != init) continue;
    for (const auto* infos : {&signature.inputs(), &signature.outputs()}) {
      for (const auto& [name, tensor] : *infos) {
        if (!tensor.name().empty()) tensors.push_back(tensor.name());
      }
    }
  }
  if (init) return tensors;
  // The parts of composite tensors.
  for (const auto& [key, signature] : signatures) {
    for (const auto& [name, tensor] : signature.outputs) tensors.push_back(tensor.name);
  }
  return tensors;
}

std::vector<std::string> InitTensors(const tf::MetaGraphDef& meta_graph,
                                     const std::string& init_op) {
  std::vector<std::string> tensors = CalledTensors(meta_graph, {}, true);
  if (!init_op.empty()) tensors.push_back(init_op);
  return tensors;
}

// What restores variables, or what saves them.
std::set<std::string> SaverFunctions(const tf::SavedObjectGraph& objects, bool save) {
  std::set<std::string> functions;
  for (const tf::SavedObject& object : objects.nodes()) {
    for (const auto& [name, saveable] : object.saveable_objects()) {
      const int id = save ? saveable.save_function() : saveable.restore_function();
      if (id <= 0 || id >= objects.nodes_size()) continue;
      const auto& names = objects.nodes(id).function().concrete_functions();
      functions.insert(names.begin(), names.end());
    }
  }
  return functions;
}

std::set<std::string> SaverFunctions(const tf::SavedObjectGraph& objects) {
  std::set<std::string> functions = SaverFunctions(objects, true);
  functions.merge(SaverFunctions(objects, false));
  return functions;
}

std::set<std::string> CallableFunctions(const tf::SavedObjectGraph& objects) {
  const std::set<std::string> saving = SaverFunctions(objects);
  std::set<std::string> callable;
  for (const auto& [name, function] : objects.concrete_functions()) {
    if (saving.count(name) == 0) callable.insert(name);
  }
  return callable;
}

}  // namespace

Usage::Reached::Reached(const GraphIndex& graph, const std::vector<std::string>& tensors,
                        const std::set<std::string>& names, const std::string& context) {
  std::vector<const tf::NodeDef*> calls = graph.Reach(tensors, &nodes, context);
  for (const std::string& name : names) {
    const tf::FunctionDef* function = graph.FindFunction(name);
    if (function == nullptr || !functions.insert(function).second) continue;
    for (const tf::NodeDef& node : function->node_def()) calls.push_back(&node);
  }
  graph.ReachFunctions(calls, &functions);
}

bool Usage::Reached::Holds(const tf::NodeDef& node,
                           const tf::FunctionDef* function) const {
  return function ? functions.count(function) != 0 : nodes.count(&node) != 0;
}

Usage::Usage(const tf::MetaGraphDef& meta_graph, const GraphIndex& graph,
             const std::map<std::string, SignatureDef>& signatures,
             const std::string& init_op, const std::string& context)
    : signatures_(graph, CalledTensors(meta_graph, signatures, false), {}, context),
      init_(graph, InitTensors(meta_graph, init_op), {}, context),
      functions_(graph, {}, CallableFunctions(meta_graph.object_graph_def()), context),
      restore_(graph,
               Listed({&meta_graph.saver_def().filename_tensor_name(),
                       &meta_graph.saver_def().restore_op_name()}),
               SaverFunctions(meta_graph.object_graph_def(), false), context),
      save_(graph, Listed({&meta_graph.saver_def().save_tensor_name()}),
            SaverFunctions(meta_graph.object_graph_def(), true), context),
      // Assets are fed to the init op and to the saver.
      origins_(
          meta_graph, graph, SaverFunctions(meta_graph.object_graph_def()),
          [this](const tf::NodeDef& node) { return !signatures_.Holds(node, nullptr); }),
      context_(context) {}

NodeInfo::Use Usage::Of(const tf::NodeDef& node, const tf::FunctionDef* function) const {
  if (InSignatures(node, function) || functions_.Holds(node, function))
    return NodeInfo::Use::kCalled;
  if (restore_.Holds(node, function)) return NodeInfo::Use::kRestore;
  return save_.Holds(node, function) ? NodeInfo::Use::kSave : NodeInfo::Use::kDead;
}

NodeInfo Usage::Info(const tf::NodeDef& node, const tf::FunctionDef* function) {
  using Kind = TextOrigins::Origin::Kind;
  NodeInfo info;
  info.name = node.name();
  info.op = node.op();
  if (function != nullptr) info.function = function->signature().name();
  info.use = Of(node, function);
  text_size_ += info.name.size() + info.op.size() + info.function.size();
  for (int i = 0; i < node.input_size(); ++i) {
    const TextOrigins::Origin origin = origins_.Of(node, function, node.input(i));
    switch (origin.kind) {
      case Kind::kUnknown: break;
      case Kind::kConstant:
        info.constants.emplace(i, origin.text->substr(0, kMaxConstant));
        text_size_ += info.constants.at(i).size();
        break;
      case Kind::kAsset: info.fed.emplace(i, NodeInfo::Fed::kAsset); break;
      case Kind::kVariables: info.fed.emplace(i, NodeInfo::Fed::kVariables); break;
    }
  }
  if (text_size_ > kMaxText) {
    throw Error(ErrorCode::kResourceExhausted,
                context_ + ": the names of its nodes are too long");
  }
  return info;
}

}  // namespace savedmodel
