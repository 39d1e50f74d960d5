#include "load/object_bindings.h"

#include <set>
#include <utility>

#include "savedmodel/error.h"
#include "tensorflow/core/protobuf/saved_object_graph.pb.h"

namespace savedmodel {

namespace {

namespace tf = tensorflow;

// What TensorFlow's checkpoints call the value of a variable (trackable/base.py).
constexpr char kVariableValue[] = "VARIABLE_VALUE";

[[noreturn]] void Fail(const std::string& export_dir, const std::string& what) {
  throw Error(ErrorCode::kInvalidArgument,
              "model '" + export_dir + "', object graph: " + what);
}

// Every index that the object graph holds, once, so that nobody after has to.
void CheckObjects(const tf::SavedObjectGraph& objects, const tf::MetaGraphDef& meta_graph,
                  const std::string& export_dir) {
  const int count = objects.nodes_size();
  const auto check = [&](int id, const std::string& of) {
    if (id < 0 || id >= count) {
      Fail(export_dir,
           of + " is object " + std::to_string(id) + " of " + std::to_string(count));
    }
  };
  for (int i = 0; i < count; ++i) {
    const tf::SavedObject& object = objects.nodes(i);
    const std::string name = "object " + std::to_string(i);
    for (const auto& child : object.children())
      check(child.node_id(), name + ", child '" + child.local_name() + "',");
    for (const auto& slot : object.slot_variables())
      check(slot.slot_variable_node_id(), name + ", slot '" + slot.slot_name() + "',");
    if (object.has_variable() && !tf::DataType_IsValid(object.variable().dtype())) {
      Fail(export_dir, name + " is a variable of dtype " +
                           std::to_string(object.variable().dtype()) +
                           ", which is none of TensorFlow's");
    }
    if (object.has_asset()) {
      const int index = object.asset().asset_file_def_index();
      if (index < 0 || index >= meta_graph.asset_file_def_size()) {
        Fail(export_dir, name + " is asset " + std::to_string(index) + " of " +
                             std::to_string(meta_graph.asset_file_def_size()));
      }
    }
    std::vector<std::string> functions;
    if (object.has_function()) {
      functions.assign(object.function().concrete_functions().begin(),
                       object.function().concrete_functions().end());
    } else if (object.has_bare_concrete_function()) {
      functions.push_back(object.bare_concrete_function().concrete_function_name());
    }
    for (const std::string& function : functions) {
      if (objects.concrete_functions().count(function) == 0) {
        Fail(export_dir, name + " lists the function '" + function +
                             "', which is not among the concrete functions");
      }
    }
  }
  for (const auto& [function, concrete] : objects.concrete_functions()) {
    for (const int id : concrete.bound_inputs())
      check(id, "a bound input of function '" + function + "'");
  }
}

// Walks both object graphs from their roots by the names of children, and lists the
// checkpoint's keys for each object.
void AlignCheckpoint(const tf::SavedObjectGraph& objects,
                     const tf::TrackableObjectGraph& checkpoint,
                     ObjectBindings* bindings) {
  if (checkpoint.nodes_size() == 0 || objects.nodes_size() == 0) return;
  std::vector<int> aligned(static_cast<std::size_t>(objects.nodes_size()), -1);
  std::vector<std::pair<int, int>> pending{{0, 0}};
  const auto add = [&](int object, int node) {
    if (node >= 0 && node < checkpoint.nodes_size()) pending.emplace_back(object, node);
  };
  while (!pending.empty()) {
    const auto [object, node] = pending.back();
    pending.pop_back();
    if (aligned[static_cast<std::size_t>(object)] != -1) continue;
    aligned[static_cast<std::size_t>(object)] = node;
    const auto& theirs = checkpoint.nodes(node);
    std::unordered_map<std::string_view, int> children;
    for (const auto& child : theirs.children())
      children.emplace(child.local_name(), child.node_id());
    for (const auto& child : objects.nodes(object).children()) {
      const auto found = children.find(child.local_name());
      if (found != children.end()) add(child.node_id(), found->second);
    }
    // An optimizer's slots have no names of their own, but are listed in one order.
    const auto& slots = objects.nodes(object).slot_variables();
    if (slots.size() == theirs.slot_variables_size()) {
      for (int i = 0; i < slots.size(); ++i) {
        if (slots[i].slot_name() == theirs.slot_variables(i).slot_name()) {
          add(slots[i].slot_variable_node_id(),
              theirs.slot_variables(i).slot_variable_node_id());
        }
      }
    }
    auto& keys = bindings->keys[static_cast<std::size_t>(object)];
    for (const auto& attribute : theirs.attributes())
      keys[attribute.name()] = attribute.checkpoint_key();
  }
}

bool IsHandle(const tf::NodeDef& node, const tf::SavedObject& object) {
  return object.has_variable() ? node.op() == "VarHandleOp" : object.has_resource();
}

// At a call of a function whose bound inputs the object graph lists, these are the last
// inputs, in order.
void BindAtCalls(const tf::MetaGraphDef& meta_graph, const GraphIndex& graph,
                 ObjectBindings* bindings) {
  const tf::SavedObjectGraph& objects = meta_graph.object_graph_def();
  for (const tf::NodeDef& node : meta_graph.graph_def().node()) {
    const auto callee = node.attr().find("f");
    if (callee == node.attr().end()) continue;
    const auto function = objects.concrete_functions().find(callee->second.func().name());
    if (function == objects.concrete_functions().end()) continue;
    const auto& bound = function->second.bound_inputs();
    std::vector<const std::string*> inputs;
    for (const std::string& input : node.input()) {
      if (input.front() != '^') inputs.push_back(&input);
    }
    if (static_cast<std::size_t>(bound.size()) > inputs.size()) continue;
    const std::size_t first = inputs.size() - static_cast<std::size_t>(bound.size());
    for (int i = 0; i < bound.size(); ++i) {
      const std::string& input = *inputs[first + static_cast<std::size_t>(i)];
      const tf::NodeDef* source = graph.FindNode(NodeOf(input));
      if (source == nullptr || !IsHandle(*source, objects.nodes(bound[i]))) continue;
      std::string& tensor = bindings->tensors[static_cast<std::size_t>(bound[i])];
      if (tensor.empty()) tensor = input;
      bindings->objects.emplace(source->name(), bound[i]);
    }
  }
}

tf::NodeDef StringConst(const std::string& name, const std::string& value) {
  tf::NodeDef node;
  node.set_name(name);
  node.set_op("Const");
  (*node.mutable_attr())["dtype"].set_type(tf::DT_STRING);
  tf::TensorProto& tensor = *(*node.mutable_attr())["value"].mutable_tensor();
  tensor.set_dtype(tf::DT_STRING);
  tensor.mutable_tensor_shape();
  tensor.add_string_val(value);
  return node;
}

tf::NodeDef VariableHandle(const std::string& name, const tf::SavedVariable& variable) {
  tf::NodeDef node;
  node.set_name(name);
  node.set_op("VarHandleOp");
  (*node.mutable_attr())["dtype"].set_type(variable.dtype());
  *(*node.mutable_attr())["shape"].mutable_shape() = variable.shape();
  (*node.mutable_attr())["shared_name"].set_s(name);
  return node;
}

// The node of the object's `_create_resource` function that makes the table, under a name
// in the graph.
bool ResourceHandle(const tf::SavedObjectGraph& objects, int id, const GraphIndex& graph,
                    const std::string& name, tf::NodeDef* handle) {
  for (const auto& child : objects.nodes(id).children()) {
    if (child.local_name() != "_create_resource") continue;
    const tf::SavedObject& creator = objects.nodes(child.node_id());
    if (!creator.has_function() || creator.function().concrete_functions_size() == 0)
      return false;
    const tf::FunctionDef* function =
        graph.FindFunction(creator.function().concrete_functions(0));
    if (function == nullptr) return false;
    for (const tf::NodeDef& node : function->node_def()) {
      if (node.input_size() != 0 || node.op().find("Table") == std::string::npos)
        continue;
      *handle = node;
      handle->set_name(name);
      if (StringAttr(node, "shared_name").empty())
        (*handle->mutable_attr())["shared_name"].set_s(name);
      return true;
    }
  }
  return false;
}

}  // namespace

const std::string* ObjectBindings::VariableKey(int object) const {
  const auto& attributes = keys[static_cast<std::size_t>(object)];
  const auto key = attributes.find(kVariableValue);
  return key == attributes.end() ? nullptr : &key->second;
}

ObjectBindings BindObjects(const tf::MetaGraphDef& meta_graph,
                           const tf::TrackableObjectGraph& checkpoint_graph,
                           const RestorePlan& plan, const std::string& export_dir,
                           GraphIndex* graph) {
  const tf::SavedObjectGraph& objects = meta_graph.object_graph_def();
  CheckObjects(objects, meta_graph, export_dir);
  ObjectBindings bindings;
  bindings.tensors.resize(static_cast<std::size_t>(objects.nodes_size()));
  bindings.keys.resize(static_cast<std::size_t>(objects.nodes_size()));
  AlignCheckpoint(objects, checkpoint_graph, &bindings);
  BindAtCalls(meta_graph, *graph, &bindings);

  std::unordered_map<std::string_view, std::string_view> by_key;
  for (const auto& [node, tensors] : plan.tensors)
    by_key.emplace(tensors.front().key, node);
  for (int i = 0; i < objects.nodes_size(); ++i) {
    const tf::SavedObject& object = objects.nodes(i);
    std::string& tensor = bindings.tensors[static_cast<std::size_t>(i)];
    const std::string own_name = "savedmodel/object_" + std::to_string(i);
    if (object.has_constant()) {
      tensor = object.constant().operation();
    } else if (object.has_asset()) {
      // The graph's own tensor is only fed while the tables are initialised.
      const int index = object.asset().asset_file_def_index();
      graph->Add(StringConst(own_name, AssetPath(export_dir, meta_graph, index)));
      tensor = own_name;
    } else if (tensor.empty() && (object.has_variable() || object.has_resource())) {
      const auto& keys = bindings.keys[static_cast<std::size_t>(i)];
      const auto key = keys.find(object.has_variable() ? kVariableValue : "table-keys");
      const auto planned = key == keys.end() ? by_key.end() : by_key.find(key->second);
      tf::NodeDef handle;
      if (planned != by_key.end()) {
        tensor = std::string(planned->second);
      } else if (object.has_variable()) {
        graph->Add(VariableHandle(own_name, object.variable()));
        tensor = own_name;
      } else if (ResourceHandle(objects, i, *graph, own_name, &handle)) {
        graph->Add(std::move(handle));
        tensor = own_name;
      }
      if (!tensor.empty()) bindings.objects.emplace(std::string(NodeOf(tensor)), i);
    }
  }
  return bindings;
}

std::vector<std::string> BoundResources(const ObjectBindings& bindings,
                                        const tf::SavedObjectGraph& objects) {
  std::set<int> ids;
  for (const auto& [name, function] : objects.concrete_functions())
    ids.insert(function.bound_inputs().begin(), function.bound_inputs().end());
  std::vector<std::string> tensors;
  for (const int id : ids) {
    const std::string& tensor = bindings.tensors[static_cast<std::size_t>(id)];
    const tf::SavedObject& object = objects.nodes(id);
    if ((object.has_variable() || object.has_resource()) && !tensor.empty())
      tensors.push_back(tensor);
  }
  return tensors;
}

}  // namespace savedmodel
