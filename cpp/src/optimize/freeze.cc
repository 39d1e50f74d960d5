#include "optimize/freeze.h"

#include <algorithm>
#include <cstdlib>
#include <deque>
#include <optional>
#include <set>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "core/ops.h"
#include "inspect/meta_graph.h"
#include "load/variable_sources.h"
#include "tensorflow/core/framework/function.pb.h"
#include "tensorflow/core/framework/node_def_util.h"
#include "tensorflow/core/graph/tensor_id.h"

namespace savedmodel {

namespace {

namespace tf = tensorflow;

// How a node takes a handle, by the position of the input.
enum class Use {
  kRead,   // takes the variable's value or its properties
  kPass,   // hands the handle on as its one output
  kCall,   // hands it to functions
  kLoop,   // a While: hands it to functions, and on as an output of its own
  kOther,  // does something that only a variable can take
};

bool Is(const tf::NodeDef& node, std::initializer_list<std::string_view> ops) {
  return std::find(ops.begin(), ops.end(), node.op()) != ops.end();
}

// The functions of a conditional or a call that take the node's inputs from number
// `first` on.
struct Callees {
  std::vector<const char*> attributes;  // "" for the node's op itself
  int first = 0;
  const char* types = nullptr;  // the attribute that lists the types of these inputs
};

std::optional<Callees> CalleesOf(const tf::NodeDef& node, const GraphIndex& index) {
  if (IsPartitionedCall(node)) return Callees{{"f"}, 0, "Tin"};
  if (Is(node, {"If", "StatelessIf"}))
    return Callees{{"then_branch", "else_branch"}, 1, "Tin"};
  if (Is(node, {"Case", "StatelessCase"})) return Callees{{"branches"}, 1, "Tin"};
  if (Is(node, {"While", "StatelessWhile"})) return Callees{{"cond", "body"}, 0, "T"};
  if (index.FindFunction(node.op()) != nullptr) return Callees{{""}, 0, nullptr};
  return std::nullopt;
}

std::vector<std::string> NamesOf(const tf::NodeDef& node, const char* attribute) {
  if (*attribute == '\0') return {node.op()};
  const auto found = node.attr().find(attribute);
  if (found == node.attr().end()) return {};
  if (found->second.has_func()) return {found->second.func().name()};
  std::vector<std::string> names;
  for (const tf::NameAttrList& function : found->second.list().func())
    names.push_back(function.name());
  return names;
}

Use UseOf(const tf::NodeDef& node, int input, const GraphIndex& index) {
  if (input == 0 && Is(node, {"ReadVariableOp", "ResourceGather", "ResourceGatherNd",
                              "VariableShape", "VarIsInitializedOp"})) {
    return Use::kRead;
  }
  if (input == 0 && Is(node, {"Identity", "Enter"})) return Use::kPass;
  if (Is(node, {"While", "StatelessWhile"})) return Use::kLoop;
  const std::optional<Callees> callees = CalleesOf(node, index);
  return callees && input >= callees->first ? Use::kCall : Use::kOther;
}

// Where nodes stand and how they name tensors: the graph, or the body of a function.
class Scope {
 public:
  explicit Scope(const tf::FunctionDef* function) : function_(function) {
    if (function == nullptr) return;
    for (const auto& argument : function->signature().input_arg())
      arguments_.insert(argument.name());
  }

  // The name of a node's output: number `i` of its output argument `name`, of which the
  // ones before have one tensor each.
  std::string Output(const tf::NodeDef& node, const char* name, int i) const {
    return node.name() + (function_ ? ":" + std::string(name) : "") + ":" +
           std::to_string(i);
  }

  // One name for each tensor. Empty for a control input.
  std::string Normal(const std::string& input) const {
    if (input.empty() || input[0] == '^') return "";
    if (function_ == nullptr) {
      const tf::TensorId id = tf::ParseTensorName(input);
      return std::string(id.node()) + ":" + std::to_string(id.index());
    }
    const auto colon = input.find(':');
    if (colon == std::string::npos) return input;
    const std::string node = input.substr(0, colon);
    if (arguments_.count(node) != 0) return input == node + ":0" ? node : input;
    // "node:output" is the output's first tensor.
    return input.find(':', colon + 1) == std::string::npos ? input + ":0" : input;
  }

 private:
  const tf::FunctionDef* const function_;
  std::unordered_set<std::string> arguments_;
};

// Who takes which tensor.
struct Consumer {
  int node;
  int input;
};
using Consumers = std::unordered_map<std::string, std::vector<Consumer>>;

template <typename Nodes>
Consumers FindConsumers(const Nodes& nodes, const Scope& scope) {
  Consumers consumers;
  int number = 0;
  for (const tf::NodeDef& node : nodes) {
    for (int i = 0; i < node.input_size(); ++i) {
      std::string tensor = scope.Normal(node.input(i));
      if (!tensor.empty()) consumers[std::move(tensor)].push_back({number, i});
    }
    ++number;
  }
  return consumers;
}

std::string InFunction(const tf::FunctionDef* function) {
  return function ? " of function '" + function->signature().name() + "'" : "";
}

// Tells why variables cannot become constants.
class Judge {
 public:
  Judge(const GraphIndex& index, const std::vector<const tf::NodeDef*>& nodes)
      : index_(index) {
    graph_.scope.emplace(nullptr);
    graph_.nodes = nodes;
    Connect(&graph_);
  }

  // Empty if what takes the variable only reads it.
  std::string WhyNot(const tf::NodeDef& variable) {
    if (!IsRefVariable(variable)) return WhyNotTensor(graph_, variable.name() + ":0", -1);
    const auto found = graph_.consumers.find(variable.name() + ":0");
    if (found == graph_.consumers.end()) return "";
    for (const Consumer& consumer : found->second) {
      const tf::NodeDef& node = *graph_.nodes[static_cast<std::size_t>(consumer.node)];
      if (TakesRef(node, consumer.input)) return Describe(node, nullptr);
    }
    return "";
  }

 private:
  struct Body {
    const tf::FunctionDef* function = nullptr;  // null: the graph
    std::optional<Scope> scope;
    std::vector<const tf::NodeDef*> nodes;
    Consumers consumers;
  };

  static void Connect(Body* body) {
    struct Deref {
      const std::vector<const tf::NodeDef*>& nodes;
      struct Iterator {
        std::vector<const tf::NodeDef*>::const_iterator it;
        const tf::NodeDef& operator*() const { return **it; }
        Iterator& operator++() {
          ++it;
          return *this;
        }
        bool operator!=(const Iterator& other) const { return it != other.it; }
      };
      Iterator begin() const { return {nodes.begin()}; }
      Iterator end() const { return {nodes.end()}; }
    };
    body->consumers = FindConsumers(Deref{body->nodes}, *body->scope);
  }

  const Body& BodyOf(const tf::FunctionDef& function) {
    auto [found, inserted] = bodies_.try_emplace(&function);
    if (inserted) {
      Body& body = found->second;
      body.function = &function;
      body.scope.emplace(&function);
      for (const tf::NodeDef& node : function.node_def()) body.nodes.push_back(&node);
      Connect(&body);
    }
    return found->second;
  }

  static std::string Describe(const tf::NodeDef& node, const tf::FunctionDef* function) {
    return "used by " + node.op() + " '" + node.name() + "'" + InFunction(function);
  }

  // `result`: the number of the function's result that may be this handle: that of the
  // same loop variable. -1 for none.
  std::string WhyNotTensor(const Body& body, const std::string& tensor, int result) {
    // All tensors of this body that are the handle. There may be any number.
    std::vector<std::string> open{tensor};
    std::unordered_set<std::string> seen{tensor};
    const auto add = [&](std::string output) {
      if (seen.insert(output).second) open.push_back(std::move(output));
    };
    while (!open.empty()) {
      const std::string handle = std::move(open.back());
      open.pop_back();
      if (IsReturned(body, handle, result)) {
        return "returned by function '" + body.function->signature().name() + "'";
      }
      const auto found = body.consumers.find(handle);
      if (found == body.consumers.end()) continue;
      for (const Consumer& consumer : found->second) {
        const tf::NodeDef& node = *body.nodes[static_cast<std::size_t>(consumer.node)];
        std::string why;
        switch (UseOf(node, consumer.input, index_)) {
          case Use::kRead: break;
          case Use::kPass: add(body.scope->Output(node, "output", 0)); break;
          case Use::kCall: why = WhyNotCall(node, consumer.input, /*loop=*/false); break;
          case Use::kLoop:
            why = WhyNotCall(node, consumer.input, /*loop=*/true);
            add(body.scope->Output(node, "output", consumer.input));
            break;
          case Use::kOther: why = Describe(node, body.function); break;
        }
        if (!why.empty()) return why;
      }
    }
    return "";
  }

  // True if a result other than that number is this tensor.
  static bool IsReturned(const Body& body, const std::string& tensor, int number) {
    if (body.function == nullptr) return false;
    const auto& results = body.function->signature().output_arg();
    for (int i = 0; i < results.size(); ++i) {
      const auto returned = body.function->ret().find(results[i].name());
      if (returned != body.function->ret().end() && i != number &&
          body.scope->Normal(returned->second) == tensor) {
        return true;
      }
    }
    return false;
  }

  std::string WhyNotCall(const tf::NodeDef& node, int input, bool loop) {
    const Callees callees = *CalleesOf(node, index_);
    const int argument = input - callees.first;
    for (const char* attribute : callees.attributes) {
      for (const std::string& name : NamesOf(node, attribute)) {
        const tf::FunctionDef* function = index_.FindFunction(name);
        if (function == nullptr || argument >= function->signature().input_arg_size())
          return Describe(node, nullptr);
        const bool returns = loop && std::string_view(attribute) == "body";
        const auto key = std::make_tuple(function, argument, returns);
        // While a function is looked at, what calls it again adds nothing.
        const auto [known, inserted] = known_.try_emplace(key);
        if (inserted) {
          std::string why = WhyNotTensor(BodyOf(*function),
                                         function->signature().input_arg(argument).name(),
                                         returns ? argument : -1);
          if (why.empty() && returns && !ReturnsArgument(BodyOf(*function), argument))
            why = "changed by the loop of " + Describe(node, nullptr).substr(8);
          known_[key] = std::move(why);
        }
        if (!known_[key].empty()) return known_[key];
      }
    }
    return "";
  }

  // True if the result of that number is the argument itself.
  static bool ReturnsArgument(const Body& body, int argument) {
    const tf::OpDef& signature = body.function->signature();
    if (argument >= signature.output_arg_size()) return false;
    const auto returned =
        body.function->ret().find(signature.output_arg(argument).name());
    if (returned == body.function->ret().end()) return false;
    std::unordered_map<std::string_view, const tf::NodeDef*> nodes;
    for (const tf::NodeDef* node : body.nodes) nodes.emplace(node->name(), node);
    std::string tensor = body.scope->Normal(returned->second);
    for (std::size_t steps = 0; steps <= body.nodes.size(); ++steps) {
      if (tensor == signature.input_arg(argument).name()) return true;
      const auto found = nodes.find(NodeOf(tensor));
      if (found == nodes.end()) return false;
      const tf::NodeDef& node = *found->second;
      int input = 0;
      if (Is(node, {"While", "StatelessWhile"})) {
        input = std::atoi(tensor.c_str() + tensor.rfind(':') + 1);
      } else if (!Is(node, {"Identity", "Enter"})) {
        return false;
      }
      if (input < 0 || input >= node.input_size()) return false;
      tensor = body.scope->Normal(node.input(input));
    }
    return false;
  }

  bool TakesRef(const tf::NodeDef& node, int input) const {
    tf::NameRangeMap inputs;
    if (index_.FindFunction(node.op()) != nullptr) return false;
    const tf::OpRegistrationData* op = FindOp(node.op());
    if (op == nullptr ||
        !tf::NameRangesForNode(tf::AttrSlice(node), op->op_def, &inputs, nullptr).ok()) {
      return true;  // who knows
    }
    for (const tf::OpDef::ArgDef& argument : op->op_def.input_arg()) {
      if (inputs.count(argument.name()) == 0) continue;
      const auto [first, end] = inputs.at(argument.name());
      if (input >= first && input < end) return argument.is_ref();
    }
    return true;
  }

  const GraphIndex& index_;
  Body graph_;
  std::unordered_map<const tf::FunctionDef*, Body> bodies_;
  std::map<std::tuple<const tf::FunctionDef*, int, bool>, std::string> known_;
};

// Puts values in the place of handles.
class Rewriter {
 public:
  Rewriter(const GraphIndex& index, tf::GraphDef* graph) : index_(index), graph_(graph) {}

  // `variables`: tensors of the graph that are no handles any more -> their type.
  void Rewrite(std::map<std::string, tf::DataType> variables) {
    Body body{Scope(nullptr), graph_->mutable_node(), std::move(variables), {}};
    RewriteBody(&body);
    AddFunctions();
  }

 private:
  // Types by number of an argument.
  using Types = std::map<int, tf::DataType>;
  struct Body {
    Scope scope;
    google::protobuf::RepeatedPtrField<tf::NodeDef>* nodes;
    std::map<std::string, tf::DataType> values;    // tensors that were handles
    std::map<std::string, std::string> new_names;  // of outputs
  };

  void RewriteBody(Body* body) {
    const Consumers consumers = FindConsumers(*body->nodes, body->scope);
    std::vector<std::string> open;
    for (const auto& [tensor, type] : body->values) open.push_back(tensor);
    std::map<int, Types> calls;  // node -> its inputs that are values now
    while (!open.empty()) {
      const std::string tensor = std::move(open.back());
      open.pop_back();
      const tf::DataType type = body->values.at(tensor);
      const auto found = consumers.find(tensor);
      if (found == consumers.end()) continue;
      const auto becomes_value = [&](std::string output) {
        if (body->values.emplace(output, type).second) open.push_back(std::move(output));
      };
      for (const auto& [number, input] : found->second) {
        tf::NodeDef* node = body->nodes->Mutable(number);
        switch (UseOf(*node, input, index_)) {
          case Use::kRead: RewriteRead(node, type, body); break;
          case Use::kPass:
            (*node->mutable_attr())["T"].set_type(type);
            DropHints(node);
            becomes_value(body->scope.Output(*node, "output", 0));
            break;
          case Use::kLoop:
            becomes_value(body->scope.Output(*node, "output", input));
            calls[number][input] = type;
            break;
          case Use::kCall: calls[number][input] = type; break;
          case Use::kOther: break;  // the value of a TF1 variable
        }
      }
    }
    for (const auto& [number, types] : calls)
      RewriteCall(body->nodes->Mutable(number), types);
  }

  // What TensorFlow noted about a node's inputs and outputs.
  static void DropHints(tf::NodeDef* node) {
    for (const char* hint : {"_output_shapes", "_class"})
      node->mutable_attr()->erase(hint);
  }

  // Makes the node `op` with just these attributes; its output `from` gets the name
  // `output`.
  static void Replace(tf::NodeDef* node, const char* op,
                      std::map<std::string, tf::AttrValue> attributes, const char* from,
                      Body* body) {
    node->set_op(op);
    node->clear_attr();
    for (auto& [name, value] : attributes)
      (*node->mutable_attr())[name] = std::move(value);
    body->new_names[body->scope.Output(*node, from, 0)] =
        body->scope.Output(*node, "output", 0);
  }

  void RewriteRead(tf::NodeDef* node, tf::DataType type, Body* body) {
    tf::AttrValue dtype;
    dtype.set_type(type);
    const auto attribute = [node](const char* name, tf::DataType otherwise) {
      const auto found = node->attr().find(name);
      tf::AttrValue value;
      value.set_type(otherwise);
      return found == node->attr().end() ? value : found->second;
    };
    if (node->op() == "ReadVariableOp") {
      Replace(node, "Identity", {{"T", dtype}}, "value", body);
    } else if (node->op() == "VariableShape") {
      Replace(node, "Shape",
              {{"T", dtype}, {"out_type", attribute("out_type", tf::DT_INT32)}}, "output",
              body);
    } else if (node->op() == "ResourceGatherNd") {
      Replace(node, "GatherNd",
              {{"Tparams", dtype}, {"Tindices", attribute("Tindices", tf::DT_INT32)}},
              "output", body);
    } else if (node->op() == "ResourceGather") {
      // It gathers along the first dimension after the batch's.
      const auto found = node->attr().find("batch_dims");
      tf::AttrValue batch_dims;
      batch_dims.set_i(found == node->attr().end() ? 0 : found->second.i());
      tf::NodeDef* axis = body->nodes->Add();
      axis->set_name(node->name() + "/savedmodel_axis");
      axis->set_op("Const");
      axis->set_device(node->device());
      (*axis->mutable_attr())["dtype"].set_type(tf::DT_INT32);
      tf::TensorProto* value = (*axis->mutable_attr())["value"].mutable_tensor();
      value->set_dtype(tf::DT_INT32);
      value->mutable_tensor_shape();
      value->add_int_val(static_cast<int>(batch_dims.i()));
      tf::AttrValue index_type;
      index_type.set_type(tf::DT_INT32);
      Replace(node, "GatherV2",
              {{"Tparams", dtype},
               {"Tindices", attribute("Tindices", tf::DT_INT32)},
               {"Taxis", index_type},
               {"batch_dims", batch_dims}},
              "output", body);
      // Before the control inputs.
      google::protobuf::RepeatedPtrField<std::string> inputs;
      inputs.Swap(node->mutable_input());
      for (int i = 0; i < inputs.size(); ++i) {
        if (i == 2) node->add_input(body->scope.Output(*axis, "output", 0));
        node->add_input(inputs[i]);
      }
      if (inputs.size() == 2) node->add_input(body->scope.Output(*axis, "output", 0));
    } else {  // VarIsInitializedOp
      tf::AttrValue boolean;
      boolean.set_type(tf::DT_BOOL);
      tf::AttrValue is;
      is.mutable_tensor()->set_dtype(tf::DT_BOOL);
      is.mutable_tensor()->mutable_tensor_shape();
      is.mutable_tensor()->add_bool_val(true);
      node->mutable_input()->DeleteSubrange(0, 1);
      Replace(node, "Const", {{"dtype", boolean}, {"value", is}}, "is_initialized", body);
    }
  }

  void RewriteCall(tf::NodeDef* node, const Types& inputs) {
    const Callees callees = *CalleesOf(*node, index_);
    Types arguments;
    for (const auto& [input, type] : inputs) {
      const int argument = input - callees.first;
      arguments[argument] = type;
      if (callees.types == nullptr) continue;
      auto* types = (*node->mutable_attr())[callees.types].mutable_list();
      if (argument < types->type_size()) types->set_type(argument, type);
      // Of a loop: the shapes of its variables.
      const auto shapes = node->mutable_attr()->find("output_shapes");
      if (Is(*node, {"While", "StatelessWhile"}) &&
          shapes != node->mutable_attr()->end() &&
          argument < shapes->second.list().shape_size()) {
        auto* shape = shapes->second.mutable_list()->mutable_shape(argument);
        shape->Clear();
        shape->set_unknown_rank(true);
      }
    }
    DropHints(node);
    for (const char* attribute : callees.attributes) {
      if (*attribute == '\0') {
        node->set_op(Specialize(node->op(), arguments));
        continue;
      }
      tf::AttrValue& value = (*node->mutable_attr())[attribute];
      if (value.has_func()) {
        value.mutable_func()->set_name(Specialize(value.func().name(), arguments));
        continue;
      }
      for (tf::NameAttrList& function : *value.mutable_list()->mutable_func())
        function.set_name(Specialize(function.name(), arguments));
    }
  }

  // The name of the function that takes values for these arguments.
  std::string Specialize(const std::string& name, const Types& arguments) {
    const auto [known, inserted] = specialized_.try_emplace({name, arguments});
    if (!inserted) return known->second;
    std::string new_name = name + "_frozen";
    while (index_.FindFunction(new_name) != nullptr || functions_.count(new_name) != 0)
      new_name += "_";
    known->second = new_name;
    tf::FunctionDef function = *index_.FindFunction(name);
    functions_[new_name];  // the name is taken
    function.mutable_signature()->set_name(new_name);
    function.mutable_attr()->erase("_input_shapes");
    Body body{Scope(&function), function.mutable_node_def(), {}, {}};
    for (const auto& [argument, type] : arguments) {
      tf::OpDef::ArgDef* definition =
          function.mutable_signature()->mutable_input_arg(argument);
      definition->set_type(type);
      definition->clear_handle_data();
      body.values[definition->name()] = type;
      const auto number = static_cast<std::uint32_t>(argument);
      function.mutable_resource_arg_unique_id()->erase(number);
      const auto hints = function.mutable_arg_attr()->find(number);
      if (hints == function.mutable_arg_attr()->end()) continue;
      for (const char* hint : {"_output_shapes", "_handle_dtypes", "_handle_shapes"})
        hints->second.mutable_attr()->erase(hint);
    }
    RewriteBody(&body);
    for (tf::OpDef::ArgDef& result :
         *function.mutable_signature()->mutable_output_arg()) {
      const auto returned = function.mutable_ret()->find(result.name());
      if (returned == function.mutable_ret()->end()) continue;
      const auto value = body.values.find(body.scope.Normal(returned->second));
      if (value != body.values.end()) {
        result.set_type(value->second);
        result.clear_handle_data();
      }
      const auto renamed = body.new_names.find(body.scope.Normal(returned->second));
      if (renamed != body.new_names.end()) returned->second = renamed->second;
    }
    for (tf::NodeDef& node : *function.mutable_node_def()) {
      for (std::string& input : *node.mutable_input()) {
        const auto renamed = body.new_names.find(body.scope.Normal(input));
        if (renamed != body.new_names.end()) input = renamed->second;
      }
    }
    functions_[new_name] = std::move(function);
    return new_name;
  }

  // The functions that the rewritten graph reaches.
  void AddFunctions() {
    std::set<std::string> seen;
    std::deque<const tf::NodeDef*> open;
    for (const tf::NodeDef& node : graph_->node()) open.push_back(&node);
    for (; !open.empty(); open.pop_front()) {
      ForEachCallee(*open.front(), [&](const std::string& name) {
        const auto ours = functions_.find(name);
        const tf::FunctionDef* function =
            ours != functions_.end() ? &ours->second : index_.FindFunction(name);
        if (function == nullptr || !seen.insert(name).second) return;
        for (const tf::NodeDef& node : function->node_def()) open.push_back(&node);
        *graph_->mutable_library()->add_function() = *function;
      });
    }
  }

  const GraphIndex& index_;
  tf::GraphDef* const graph_;
  std::map<std::pair<std::string, Types>, std::string> specialized_;
  std::map<std::string, tf::FunctionDef> functions_;  // by their new names
};

}  // namespace

FrozenGraph FreezeVariables(const GraphIndex& index,
                            const std::vector<std::string>& roots,
                            const std::unordered_map<std::string, std::string>& keep,
                            const std::string& context) {
  std::unordered_set<const tf::NodeDef*> seen;
  const std::vector<const tf::NodeDef*> nodes = index.Reach(roots, &seen, context);
  std::unordered_set<const tf::FunctionDef*> functions;
  // A variable can have several nodes, also in functions.
  std::map<std::string, std::string> reasons;  // by ResourceId
  for (const tf::FunctionDef* function : index.ReachFunctions(nodes, &functions)) {
    for (const tf::NodeDef& node : function->node_def()) {
      if (IsVariable(node)) {
        reasons[ResourceId(node)] =
            "function '" + function->signature().name() + "' has a handle of its own";
      }
    }
  }
  Judge judge(index, nodes);
  for (const tf::NodeDef* node : nodes) {
    if (!IsVariable(*node)) continue;
    const auto kept = keep.find(node->name());
    const std::string why = kept != keep.end() ? kept->second : judge.WhyNot(*node);
    if (!why.empty()) reasons.emplace(ResourceId(*node), why);
  }

  FrozenGraph frozen;
  std::map<std::string, tf::DataType> values;
  for (const tf::NodeDef* node : nodes) {
    tf::NodeDef* copy = frozen.graph.add_node();
    *copy = *node;
    if (!IsVariable(*node)) continue;
    const auto reason = reasons.find(ResourceId(*node));
    if (reason != reasons.end()) {
      frozen.kept[node->name()] = reason->second;
      continue;
    }
    const tf::DataType dtype = TypeAttr(*node, "dtype");
    copy->set_op("Const");
    copy->clear_attr();
    (*copy->mutable_attr())["dtype"].set_type(dtype);
    frozen.frozen.push_back(node->name());
    // A TF1 variable's readers take its value already.
    if (!IsRefVariable(*node)) values[node->name() + ":0"] = dtype;
  }
  Rewriter(index, &frozen.graph).Rewrite(std::move(values));
  return frozen;
}

}  // namespace savedmodel
