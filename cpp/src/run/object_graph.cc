#include "run/object_graph.h"

#include <algorithm>
#include <charconv>
#include <tuple>
#include <unordered_set>

#include "core/nearest.h"
#include "core/tensor_access.h"
#include "inspect/meta_graph.h"
#include "savedmodel/error.h"
#include "tensorflow/core/framework/variable.pb.h"
#include "tensorflow/core/protobuf/saved_object_graph.pb.h"

namespace savedmodel {

namespace {

namespace tf = tensorflow;

// What TensorFlow writes into user_object.identifier (trackable/data_structures.py).
Object::Kind UserObjectKind(const std::string& identifier) {
  if (identifier == "trackable_list_wrapper") return Object::Kind::kList;
  if (identifier == "trackable_tuple_wrapper") return Object::Kind::kTuple;
  if (identifier == "trackable_dict_wrapper" || identifier == "signature_map")
    return Object::Kind::kDict;
  return Object::Kind::kObject;
}

const char* KindName(Object::Kind kind) {
  switch (kind) {
    case Object::Kind::kObject: return "an object";
    case Object::Kind::kList: return "a list";
    case Object::Kind::kTuple: return "a tuple";
    case Object::Kind::kDict: return "a dict";
    case Object::Kind::kFunction: return "a function";
    case Object::Kind::kConcreteFunction: return "a concrete function";
    case Object::Kind::kVariable: return "a variable";
    case Object::Kind::kConstant: return "a constant";
    case Object::Kind::kAsset: return "an asset";
    case Object::Kind::kResource: return "a resource";
    case Object::Kind::kOther: break;
  }
  return "an object of another kind";
}

const tf::SavedObjectGraph& Objects(const LoadedBundle& bundle) {
  return bundle.meta_graph_def.object_graph_def();
}

PartialShape ShapeOf(const tf::NodeDef& node, const std::string& context) {
  const auto shape = node.attr().find("shape");
  if (shape == node.attr().end()) return PartialShape();
  return ToPartialShape(shape->second.shape(), context);
}

}  // namespace

ObjectGraph::ObjectGraph(std::shared_ptr<BundleHandle> handle, Session session)
    : handle_(std::move(handle)), session_(std::move(session)) {
  // In breadth: one of the shortest paths to each object.
  const auto bundle = handle_->Acquire();
  const tf::SavedObjectGraph& objects = Objects(*bundle);
  parents_.resize(static_cast<std::size_t>(std::max(objects.nodes_size(), 1)), {-1, 0});
  std::vector<bool> seen(parents_.size());
  std::vector<int> order{0};
  seen[0] = true;
  for (std::size_t next = 0; next < order.size() && objects.nodes_size() != 0; ++next) {
    const auto& children = objects.nodes(order[next]).children();
    for (int i = 0; i < children.size(); ++i) {
      const auto id = static_cast<std::size_t>(children[i].node_id());
      if (seen[id]) continue;
      seen[id] = true;
      parents_[id] = {order[next], i};
      order.push_back(children[i].node_id());
    }
  }
}

std::string ObjectGraph::PathOf(int id) const {
  constexpr std::size_t kLongest = 1000;
  const auto bundle = handle_->Acquire();
  const tf::SavedObjectGraph& objects = Objects(*bundle);
  std::string path;
  for (auto [parent, child] = parents_[static_cast<std::size_t>(id)]; parent >= 0;
       std::tie(parent, child) = parents_[static_cast<std::size_t>(parent)]) {
    const std::string& name = objects.nodes(parent).children(child).local_name();
    if (path.size() + name.size() > kLongest) return "..." + path;
    path = name + (path.empty() ? "" : "." + path);
  }
  return path;
}

std::string ObjectGraph::Describe(int id) const {
  return "model '" + handle_->export_dir() + "', object '" + PathOf(id) + "'";
}

Object::Kind ObjectGraph::KindOf(int id) const {
  const auto bundle = handle_->Acquire();
  if (Objects(*bundle).nodes_size() == 0) return Object::Kind::kObject;
  const tf::SavedObject& object = Objects(*bundle).nodes(id);
  switch (object.kind_case()) {
    case tf::SavedObject::kUserObject:
      return UserObjectKind(object.user_object().identifier());
    case tf::SavedObject::kAsset: return Object::Kind::kAsset;
    case tf::SavedObject::kFunction: return Object::Kind::kFunction;
    case tf::SavedObject::kVariable: return Object::Kind::kVariable;
    case tf::SavedObject::kBareConcreteFunction: return Object::Kind::kConcreteFunction;
    case tf::SavedObject::kConstant: return Object::Kind::kConstant;
    case tf::SavedObject::kResource: return Object::Kind::kResource;
    default: return Object::Kind::kOther;
  }
}

std::vector<std::pair<std::string, int>> ObjectGraph::Children(int id) const {
  const auto bundle = handle_->Acquire();
  std::vector<std::pair<std::string, int>> children;
  if (Objects(*bundle).nodes_size() == 0) return children;
  for (const auto& child : Objects(*bundle).nodes(id).children())
    children.emplace_back(child.local_name(), child.node_id());
  return children;
}

int ObjectGraph::Child(int id, std::string_view name) const {
  for (const auto& [child, child_id] : Children(id)) {
    if (child == name) return child_id;
  }
  return -1;
}

std::vector<int> ObjectGraph::Walk() const {
  std::vector<int> order{0};
  std::unordered_set<int> seen{0};
  for (std::size_t next = 0; next < order.size(); ++next) {
    for (const auto& [name, id] : Children(order[next])) {
      if (seen.insert(id).second) order.push_back(id);
    }
  }
  return order;
}

std::vector<Variable> ObjectGraph::Variables(bool trainable_only) {
  const auto bundle = handle_->Acquire();
  if (Objects(*bundle).nodes_size() == 0)
    return CollectionVariables(*bundle, trainable_only);
  const int list = Child(0, trainable_only ? "trainable_variables" : "variables");
  std::vector<Variable> variables;
  const auto add = [&](int id, bool all) {
    if (KindOf(id) != Object::Kind::kVariable) return;
    Variable variable = GetVariable(id);
    if (all || variable.trainable()) variables.push_back(std::move(variable));
  };
  if (list >= 0) {
    for (const auto& [name, id] : Children(list)) add(id, true);
  } else {
    for (const int id : Walk()) add(id, !trainable_only);
  }
  return variables;
}

// TF1: the variables of the graph's collections.
std::vector<Variable> ObjectGraph::CollectionVariables(const LoadedBundle& bundle,
                                                       bool trainable_only) const {
  std::vector<Variable> variables;
  std::unordered_set<std::string> trainable;
  const auto& collections = bundle.meta_graph_def.collection_def();
  const auto visit = [&](const char* collection, const auto& each) {
    const auto found = collections.find(collection);
    if (found == collections.end()) return;
    for (const std::string& bytes : found->second.bytes_list().value()) {
      tf::VariableDef definition;
      if (!definition.ParseFromString(bytes)) {
        throw Error(ErrorCode::kDataLoss, "model '" + handle_->export_dir() +
                                              "', collection '" + collection +
                                              "': a variable that cannot be parsed");
      }
      each(definition);
    }
  };
  visit("trainable_variables", [&](const tf::VariableDef& definition) {
    trainable.insert(definition.variable_name());
  });
  std::unordered_set<std::string> listed;
  visit("variables", [&](const tf::VariableDef& definition) {
    const std::string& name = definition.variable_name();
    const bool is_trainable = trainable.count(name) != 0;
    if ((trainable_only && !is_trainable) || !listed.insert(name).second) return;
    const tf::NodeDef* node = bundle.index->FindNode(NodeOf(name));
    const std::string context =
        "model '" + handle_->export_dir() + "', variable '" + name + "'";
    if (node == nullptr) {
      throw Error(ErrorCode::kInvalidArgument, context + " is not in the graph");
    }
    const auto dtype = node->attr().find("dtype");
    TensorSpec spec{name,
                    dtype == node->attr().end()
                        ? DataType::kInvalid
                        : static_cast<DataType>(dtype->second.type()),
                    ShapeOf(*node, context)};
    variables.push_back(
        VariableAccess::Make(handle_, node->name(), name, std::move(spec), is_trainable));
  });
  return variables;
}

std::vector<Function> ObjectGraph::RegularizationLosses() {
  std::vector<Function> losses;
  const int list = Child(0, "regularization_losses");
  if (list < 0) return losses;
  for (const auto& [name, id] : Children(list)) {
    if (KindOf(id) == Object::Kind::kFunction) losses.push_back(GetFunction(id));
  }
  return losses;
}

std::shared_ptr<ConcreteFunctionState> ObjectGraph::Concrete(const LoadedBundle& bundle,
                                                             const std::string& name) {
  const auto known = concrete_functions_.find(name);
  if (known != concrete_functions_.end()) return known->second;
  const tf::SavedObjectGraph& objects = Objects(bundle);
  const std::string description =
      "model '" + handle_->export_dir() + "', function '" + name + "'";
  const auto saved = objects.concrete_functions().find(name);
  if (saved == objects.concrete_functions().end()) {
    throw Error(ErrorCode::kInvalidArgument, description + " is not in the object graph");
  }
  ConcreteFunctionSignature signature(name, saved->second, description);
  // How it is called with plain tensors stands in an object of its own, if it was saved.
  tf::SavedBareConcreteFunction bare;
  bare.set_concrete_function_name(name);
  bare.set_allowed_positional_arguments(static_cast<int>(signature.flat_inputs().size()));
  for (const tf::SavedObject& object : objects.nodes()) {
    if (object.has_bare_concrete_function() &&
        object.bare_concrete_function().concrete_function_name() == name) {
      bare = object.bare_concrete_function();
      break;
    }
  }
  auto state = std::make_shared<ConcreteFunctionState>(
      handle_, session_, BareFunctionSignature(bare, std::move(signature), description),
      description);
  concrete_functions_.emplace(name, state);
  return state;
}

Function ObjectGraph::GetFunction(int id) {
  const auto bundle = handle_->Acquire();
  const std::lock_guard<std::mutex> lock(mutex_);
  auto known = functions_.find(id);
  if (known == functions_.end()) {
    const tf::SavedFunction& saved = Objects(*bundle).nodes(id).function();
    std::vector<ConcreteFunctionSignature> signatures;
    std::vector<std::shared_ptr<ConcreteFunctionState>> states;
    for (const std::string& name : saved.concrete_functions()) {
      states.push_back(Concrete(*bundle, name));
      signatures.push_back(states.back()->signature());
    }
    FunctionSignature signature(
        saved.function_spec(), std::move(signatures),
        "model '" + handle_->export_dir() + "', function '" + PathOf(id) + "'");
    known = functions_
                .emplace(id, std::make_shared<FunctionState>(
                                 PathOf(id), std::move(signature), std::move(states)))
                .first;
  }
  return FunctionAccess::Make(known->second);
}

ConcreteFunction ObjectGraph::GetConcreteFunction(int id) {
  const auto bundle = handle_->Acquire();
  const std::lock_guard<std::mutex> lock(mutex_);
  return FunctionAccess::Make(Concrete(
      *bundle,
      Objects(*bundle).nodes(id).bare_concrete_function().concrete_function_name()));
}

Variable ObjectGraph::GetVariable(int id) const {
  const auto bundle = handle_->Acquire();
  const tf::SavedVariable& saved = Objects(*bundle).nodes(id).variable();
  const std::string name = (saved.name().empty() ? "Variable" : saved.name()) + ":0";
  TensorSpec spec{name, static_cast<DataType>(saved.dtype()),
                  ToPartialShape(saved.shape(), Describe(id))};
  return VariableAccess::Make(
      handle_,
      std::string(
          NodeOf(bundle->graph->bindings().tensors[static_cast<std::size_t>(id)])),
      name, std::move(spec), saved.trainable());
}

Tensor ObjectGraph::Constant(int id) const {
  const auto bundle = handle_->Acquire();
  const std::string& operation = Objects(*bundle).nodes(id).constant().operation();
  const tf::NodeDef* node = bundle->index->FindNode(operation);
  const auto value =
      node == nullptr ? decltype(node->attr().find(""))() : node->attr().find("value");
  tf::Tensor tensor;
  if (node == nullptr || value == node->attr().end() ||
      !tensor.FromProto(value->second.tensor())) {
    throw Error(ErrorCode::kDataLoss,
                Describe(id) + ": its constant '" + operation + "' cannot be read");
  }
  return TensorAccess::Wrap(std::move(tensor));
}

std::string ObjectGraph::AssetPath(int id) const {
  const auto bundle = handle_->Acquire();
  const int index = Objects(*bundle).nodes(id).asset().asset_file_def_index();
  return savedmodel::AssetPath(handle_->export_dir(), bundle->meta_graph_def, index);
}

namespace {

void Expect(const ObjectGraph& graph, int id, Object::Kind expected) {
  const Object::Kind kind = graph.KindOf(id);
  if (kind == expected) return;
  throw Error(ErrorCode::kInvalidArgument, graph.Describe(id) + ": expected " +
                                               KindName(expected) + ", it is " +
                                               KindName(kind));
}

}  // namespace

Object::Kind Object::kind() const { return graph_->KindOf(id_); }

std::vector<std::pair<std::string, Object>> Object::children() const {
  std::vector<std::pair<std::string, Object>> objects;
  for (const auto& [name, id] : graph_->Children(id_))
    objects.emplace_back(name, Object(graph_, id));
  return objects;
}

Object Object::child(std::string_view name) const {
  const int id = graph_->Child(id_, name);
  if (id < 0) {
    std::vector<std::string> names;
    for (const auto& [child, child_id] : graph_->Children(id_)) names.push_back(child);
    throw Error(ErrorCode::kNotFound,
                graph_->Describe(id_) + " has no child '" + std::string(name) + "'" +
                    DidYouMean(name, names) + " Children: " + QuotedList(names));
  }
  return Object(graph_, id);
}

std::string Object::path() const { return graph_->PathOf(id_); }

Function Object::function() const {
  Expect(*graph_, id_, Kind::kFunction);
  return graph_->GetFunction(id_);
}
ConcreteFunction Object::concrete_function() const {
  Expect(*graph_, id_, Kind::kConcreteFunction);
  return graph_->GetConcreteFunction(id_);
}
Variable Object::variable() const {
  Expect(*graph_, id_, Kind::kVariable);
  return graph_->GetVariable(id_);
}
Tensor Object::constant() const {
  Expect(*graph_, id_, Kind::kConstant);
  return graph_->Constant(id_);
}
std::string Object::asset_path() const {
  Expect(*graph_, id_, Kind::kAsset);
  return graph_->AssetPath(id_);
}

}  // namespace savedmodel
