#include "optimize/flatten.h"

#include <algorithm>
#include <memory>
#include <unordered_map>
#include <unordered_set>

#include "core/ops.h"
#include "load/variable_sources.h"
#include "optimize/fold.h"
#include "tensorflow/core/common_runtime/device.h"
#include "tensorflow/core/framework/node_def_util.h"
#include "tensorflow/core/framework/shape_inference.h"
#include "tensorflow/core/framework/tensor_util.h"
#include "tensorflow/core/framework/types.h"
#include "tensorflow/core/framework/versions.h"
#include "tensorflow/core/graph/tensor_id.h"
#include "tensorflow/core/public/version.h"
#include "tensorflow/core/util/device_name_utils.h"

namespace savedmodel {

namespace {

namespace tf = tensorflow;

// More ops than these are no longer faster one by one.
constexpr std::size_t kMaxOps = 20'000;
constexpr int kMaxIterations = 1024;
// Nodes, each time that they are evaluated: calls and loops may multiply them without
// end.
constexpr int kMaxEvaluated = 200'000;
// Bytes of all that is computed beforehand, and as many again as there are in variables.
constexpr std::int64_t kMaxFolded = 64 << 20;
// A constant that is computed may be this much larger than what it is computed from.
constexpr std::int64_t kMaxGrowth = 1 << 16;
// Contents of tensors of at most this many integers are followed, as shapes.
constexpr std::int64_t kMaxShapeSize = 64;
constexpr int kMaxDepth = 64;

[[noreturn]] void Refuse(const tf::NodeDef& node, const std::string& why) {
  throw NotFlat("op " + node.op() + " ('" + node.name() + "') " + why);
}

// ----------------------------------------------------------------- bodies of functions

// Where a node of a body has an input from.
struct Source {
  int node = -1;  // of the same body; -1: an argument
  int index = 0;  // its output, or which argument
};

struct BodyNode {
  const tf::NodeDef* def;
  const tf::OpRegistrationData* op;  // null for a call by a function's name
  std::vector<Source> inputs;
};

// A graph or a function: what its results need, in an order in which it can be evaluated.
struct Body {
  std::vector<BodyNode> nodes;
  std::vector<Source> results;
};

// Finds the nodes that some results need. Not recursive: graphs are deep.
class BodyBuilder {
 public:
  using Find = std::function<const tf::NodeDef*(std::string_view)>;
  // The argument that a tensor is ("x:0", or an argument's name), or -1.
  using FindArgument = std::function<int(const std::string&)>;

  // `in_function`: inputs are "node:output:0" rather than "node:0".
  BodyBuilder(Find find, FindArgument find_argument, bool in_function,
              const GraphIndex& index)
      : find_(std::move(find)),
        find_argument_(std::move(find_argument)),
        in_function_(in_function),
        index_(index) {}

  Body Build(const std::vector<std::string>& results,
             const std::vector<std::string>& controls) {
    for (const std::string& control : controls) Visit(Find_(control));
    for (const std::string& result : results) {
      if (find_argument_(result) < 0) Visit(Find_(std::string(NodeOf(result))));
    }
    for (const std::string& result : results) body_.results.push_back(Resolve(result));
    return std::move(body_);
  }

 private:
  static constexpr int kVisiting = -1;

  const tf::NodeDef* Find_(const std::string& name) const {
    const tf::NodeDef* node = find_(name);
    if (node == nullptr) throw NotFlat("there is no node '" + name + "'");
    return node;
  }

  void Visit(const tf::NodeDef* root) {
    struct Pending {
      const tf::NodeDef* node;
      int next = 0;
    };
    if (places_.count(root) != 0) return;
    std::vector<Pending> stack{{root}};
    places_[root] = kVisiting;
    while (!stack.empty()) {
      Pending& top = stack.back();
      if (top.next == top.node->input_size()) {
        Add(top.node);
        stack.pop_back();
        continue;
      }
      const std::string& input = top.node->input(top.next++);
      if (find_argument_(input) >= 0) continue;
      const tf::NodeDef* node = Find_(std::string(NodeOf(input)));
      const auto [place, added] = places_.emplace(node, kVisiting);
      if (added) {
        stack.push_back({node});
      } else if (place->second == kVisiting) {
        Refuse(*node, "is part of a loop");
      }
    }
  }

  void Add(const tf::NodeDef* def) {
    BodyNode node{def, nullptr, {}};
    if (index_.FindFunction(def->op()) == nullptr) {
      node.op = FindOp(def->op());
      if (node.op == nullptr) Refuse(*def, "is not known");
    }
    for (const std::string& input : def->input()) {
      if (input[0] != '^') node.inputs.push_back(Resolve(input));
    }
    places_[def] = static_cast<int>(body_.nodes.size());
    body_.nodes.push_back(std::move(node));
  }

  Source Resolve(const std::string& tensor) const {
    const int argument = find_argument_(tensor);
    if (argument >= 0) return {-1, argument};
    const tf::NodeDef* def = Find_(std::string(NodeOf(tensor)));
    const int place = places_.at(def);
    if (!in_function_) return {place, tf::ParseTensorName(tensor).index()};
    // "node:output" or "node:output:index"
    const std::size_t colon = tensor.find(':');
    if (colon == std::string::npos) return {place, 0};
    const std::size_t second = tensor.find(':', colon + 1);
    const std::string output = tensor.substr(colon + 1, second - colon - 1);
    const int index =
        second == std::string::npos ? 0 : std::atoi(tensor.c_str() + second + 1);
    tf::NameRangeMap outputs;
    const tf::OpRegistrationData* op = body_.nodes[place].op;
    const tf::FunctionDef* function = index_.FindFunction(def->op());
    const tf::OpDef* op_def = op != nullptr ? &op->op_def : &function->signature();
    tf::NodeDef complete = *def;
    tf::AddDefaultsToNodeDef(*op_def, &complete);
    if (!tf::NameRangesForNode(tf::AttrSlice(complete), *op_def, nullptr, &outputs)
             .ok() ||
        outputs.count(output) == 0) {
      Refuse(*def, "has no output '" + output + "'");
    }
    return {place, outputs.at(output).first + index};
  }

  const Find find_;
  const FindArgument find_argument_;
  const bool in_function_;
  const GraphIndex& index_;
  std::unordered_map<const tf::NodeDef*, int> places_;
  Body body_;
};

// ------------------------------------------------------------------------- evaluation

struct Item;
using Items = std::vector<Item>;

struct TensorList {
  tf::DataType dtype;
  tf::PartialTensorShape element_shape;
  std::vector<int> elements;  // values; -1 where none has been set
};

// What stands for a tensor while the graph is evaluated.
struct Item {
  enum Kind { kNothing, kTensor, kVariable, kList, kDead } kind = kNothing;
  int value = -1;                            // kTensor
  const tf::NodeDef* variable = nullptr;     // kVariable
  std::shared_ptr<const TensorList> list{};  // kList

  static Item Tensor(int value) { return {kTensor, value}; }
  static Item List(TensorList list) {
    return {kList, -1, nullptr, std::make_shared<const TensorList>(std::move(list))};
  }
};

// Ops with state that may be run in any order with each other, and as often as one likes.
bool IsHarmless(const std::string& op) {
  static const std::unordered_set<std::string> kOps = {
      "LookupTableFind", "LookupTableFindV2", "LookupTableSize", "LookupTableSizeV2"};
  return kOps.count(op) != 0;
}

// Ops that do nothing but fail.
bool IsCheck(const std::string& op) {
  return op == "Assert" || op == "CheckNumerics" || op == "CheckNumericsV2" ||
         op == "EnsureShape";
}

bool IsTableHandle(const std::string& op) {
  return op == "HashTableV2" || op == "MutableHashTableV2" ||
         op == "MutableDenseHashTableV2";
}

class Flattener {
 public:
  Flattener(const GraphIndex& index, const FrozenValue& frozen_value,
            const KernelHost& host, int producer)
      : index_(index), frozen_value_(frozen_value), host_(host), producer_(producer) {}

  FlatGraph Run(const std::vector<std::string>& feeds,
                const std::vector<std::string>& fetches) {
    std::unordered_map<std::string, int> fed;
    Items arguments;
    for (const std::string& feed : feeds) {
      fed.emplace(feed, static_cast<int>(arguments.size()));
      const tf::TensorId id = tf::ParseTensorName(feed);
      if (id.index() == 0) fed.emplace(std::string(id.node()), arguments.size());
      arguments.push_back(Item::Tensor(AddFeed(feed)));
    }
    BodyBuilder builder([this](std::string_view name) { return index_.FindNode(name); },
                        [&fed](const std::string& tensor) {
                          const auto found = fed.find(tensor);
                          return found == fed.end() ? -1 : found->second;
                        },
                        /*in_function=*/false, index_);
    const Body body = builder.Build(fetches, {});
    for (const Item& item : Evaluate(body, arguments, "")) {
      if (item.kind != Item::kTensor) throw NotFlat("a fetch is not a tensor");
      graph_.fetches.push_back(item.value);
    }
    for (const auto& [node, used] : resources_) graph_.resources.push_back(node);
    // What only a control edge keeps from being run, in a branch not taken, is not known
    // here to be dead.
    const bool checks = std::any_of(graph_.ops.begin(), graph_.ops.end(),
                                    [](const FlatOp& op) { return op.effect; });
    if (switched_ && checks) throw NotFlat("it has checks in branches");
    RemoveUnused(&graph_);
    return std::move(graph_);
  }

 private:
  int AddFeed(const std::string& feed) {
    const tf::TensorId id = tf::ParseTensorName(feed);
    const tf::NodeDef* node = index_.FindNode(id.node());
    if (node == nullptr) throw NotFlat("there is no node '" + feed + "'");
    FlatValue value;
    const auto dtype = node->attr().find("dtype");
    if (node->op().rfind("Placeholder", 0) != 0 || dtype == node->attr().end())
      Refuse(*node, "is fed and no placeholder");
    value.dtype = dtype->second.type();
    const auto shape = node->attr().find("shape");
    // Of a scalar's shape one cannot tell that it was meant: TF1's placeholders have it
    // when nothing is known.
    if (shape != node->attr().end() && shape->second.shape().dim_size() != 0)
      value.shape = ShapeFrom(shape->second.shape());
    graph_.values.push_back(std::move(value));
    graph_.feeds.push_back(static_cast<int>(graph_.values.size()) - 1);
    return graph_.feeds.back();
  }

  Items Evaluate(const Body& body, const Items& arguments, const std::string& prefix) {
    if (++depth_ > kMaxDepth) throw NotFlat("its functions are nested too deep");
    std::vector<Items> outputs(body.nodes.size());
    const auto item = [&](const Source& source) -> const Item& {
      const Items& from = source.node < 0 ? arguments : outputs[source.node];
      if (source.index < 0 || source.index >= static_cast<int>(from.size()))
        throw NotFlat("a node has an input that is no output");
      return from[source.index];
    };
    for (std::size_t i = 0; i < body.nodes.size(); ++i) {
      const BodyNode& node = body.nodes[i];
      Items inputs;
      bool dead = false;
      for (const Source& source : node.inputs) {
        inputs.push_back(item(source));
        dead = dead || inputs.back().kind == Item::kDead;
      }
      outputs[i] = dead && node.def->op() != "Merge" ? DeadOutputs(node)
                                                     : EvaluateNode(node, inputs, prefix);
    }
    --depth_;
    Items results;
    for (const Source& source : body.results) results.push_back(item(source));
    return results;
  }

  static Items DeadOutputs(const BodyNode& node) {
    // As many as there can be; nothing counts them.
    return Items(
        node.op == nullptr ? 64 : std::max(64, node.op->op_def.output_arg_size()),
        Item{Item::kDead});
  }

  Items EvaluateNode(const BodyNode& node, const Items& inputs,
                     const std::string& prefix) {
    const tf::NodeDef& def = *node.def;
    const std::string& op = def.op();
    if (++num_evaluated_ > kMaxEvaluated) throw NotFlat("it takes too long to evaluate");
    if (node.op == nullptr) return Call(op, def, inputs, prefix);
    Validate(node);
    if (IsPartitionedCall(def)) return Call(FunctionAttr(def, "f"), def, inputs, prefix);
    if (op == "Const") return {Constant(def)};
    if (op == "NoOp") return {};
    if (op == "VarHandleOp") return {Item{Item::kVariable, -1, &def}};
    if (op == "Identity" || op == "StopGradient" || op == "PreventGradient" ||
        op == "Snapshot" || op == "PlaceholderWithDefault" || op == "IdentityN" ||
        op == "ReadVariableOp" || op == "DisableCopyOnRead") {
      return PassOn(def, inputs);
    }
    if (op == "Switch" || op == "RefSwitch") return Switch(def, inputs);
    if (op == "Merge") return Merge(inputs);
    if (op == "If" || op == "StatelessIf") {
      const bool taken = Truth(def, Input(def, inputs, 0));
      return Call(FunctionAttr(def, taken ? "then_branch" : "else_branch"), def,
                  Items(inputs.begin() + 1, inputs.end()), prefix);
    }
    if (op == "Case" || op == "StatelessCase") return Case(def, inputs, prefix);
    if (op == "While" || op == "StatelessWhile") return While(def, inputs, prefix);
    for (const Item& input : inputs) {
      if (input.kind == Item::kVariable) return UseVariable(node, inputs, prefix);
    }
    if (op.rfind("TensorList", 0) == 0 || op == "EmptyTensorList")
      return ListOp(node, inputs, prefix);
    if (IsTableHandle(op)) return {Table(def)};
    std::vector<int> values;
    for (const Item& input : inputs) values.push_back(Value(def, input));
    if (op == "Assert") {
      const auto& condition = graph_.values[values.at(0)].constant;
      if (condition && condition->dtype() == tf::DT_BOOL &&
          condition->NumElements() == 1 && condition->flat<bool>()(0))
        return {};
    } else if (node.op->op_def.is_stateful() && !IsHarmless(op) && !IsCheck(op)) {
      Refuse(def, "has state");
    }
    if (op == "Shape") return {ShapeOf(node, values, prefix)};
    Items items;
    for (const int value : Emit(node, std::move(values), prefix))
      items.push_back(Item::Tensor(value));
    return items;
  }

  // Whatever follows may rely on a node's attributes and its number of inputs.
  void Validate(const BodyNode& node) {
    if (!validated_.insert(node.def).second) return;
    tf::NodeDef complete = *node.def;
    tf::AddDefaultsToNodeDef(node.op->op_def, &complete);
    const absl::Status status = tf::ValidateNodeDef(complete, node.op->op_def);
    if (!status.ok()) Refuse(*node.def, "is not sound: " + std::string(status.message()));
    tf::DeviceNameUtils::ParsedName device;
    if (!node.def->device().empty() &&
        (!tf::DeviceNameUtils::ParseFullName(node.def->device(), &device) ||
         !tf::DeviceNameUtils::IsCompleteSpecification(
             device, host_.native_device()->parsed_name()))) {
      Refuse(*node.def, "is placed on device '" + node.def->device() + "'");
    }
  }

  // ---------------------------------------------------------------- functions, branches

  static std::string FunctionAttr(const tf::NodeDef& node, const char* name) {
    const auto attr = node.attr().find(name);
    return attr == node.attr().end() ? "" : attr->second.func().name();
  }

  const Body& BodyOf(const std::string& name, const tf::NodeDef& caller) {
    auto& made = bodies_[name];
    if (made != nullptr) return *made;
    const tf::FunctionDef* function = index_.FindFunction(name);
    if (function == nullptr) Refuse(caller, "calls '" + name + "', which there is not");
    std::unordered_map<std::string_view, const tf::NodeDef*> nodes;
    for (const tf::NodeDef& node : function->node_def())
      nodes.emplace(node.name(), &node);
    std::unordered_map<std::string, int> arguments;
    for (const tf::OpDef::ArgDef& argument : function->signature().input_arg()) {
      if (argument.type() == tf::DT_INVALID || !argument.number_attr().empty())
        Refuse(caller, "calls '" + name + "', whose arguments have no fixed types");
      arguments.emplace(argument.name(), static_cast<int>(arguments.size()));
    }
    BodyBuilder builder(
        [&nodes](std::string_view node) {
          const auto found = nodes.find(node);
          return found == nodes.end() ? nullptr : found->second;
        },
        [&arguments](const std::string& tensor) {
          const auto found = arguments.find(tensor);
          return found == arguments.end() ? -1 : found->second;
        },
        /*in_function=*/true, index_);
    std::vector<std::string> results;
    for (const tf::OpDef::ArgDef& result : function->signature().output_arg()) {
      const auto found = function->ret().find(result.name());
      if (found == function->ret().end())
        Refuse(caller, "calls '" + name + "', which does not return what it says");
      results.push_back(found->second);
    }
    std::vector<std::string> controls;
    for (const auto& [output, node] : function->control_ret()) controls.push_back(node);
    std::sort(controls.begin(), controls.end());
    // Functions of TF1 name no control outputs; their side effects are run all the same.
    for (const tf::NodeDef& node : function->node_def()) {
      if (IsPartitionedCall(node) || IsVariable(node) ||
          index_.FindFunction(node.op()) != nullptr) {
        continue;
      }
      const tf::OpRegistrationData* op = FindOp(node.op());
      if (op != nullptr && op->op_def.is_stateful()) controls.push_back(node.name());
    }
    made = std::make_unique<Body>(builder.Build(results, controls));
    return *made;
  }

  Items Call(const std::string& name, const tf::NodeDef& caller, const Items& inputs,
             const std::string& prefix) {
    const Body& body = BodyOf(name, caller);
    const tf::FunctionDef* function = index_.FindFunction(name);
    if (static_cast<int>(inputs.size()) != function->signature().input_arg_size())
      Refuse(caller, "calls '" + name + "' with another number of arguments");
    return Evaluate(body, inputs, prefix + caller.name() + "/");
  }

  static const Item& Input(const tf::NodeDef& node, const Items& inputs, int index) {
    if (index >= static_cast<int>(inputs.size())) Refuse(node, "has too few inputs");
    return inputs[index];
  }

  const tf::Tensor* ConstantOf(const Item& item) const {
    if (item.kind != Item::kTensor) return nullptr;
    const auto& constant = graph_.values[item.value].constant;
    return constant ? &*constant : nullptr;
  }

  std::int64_t Number(const tf::NodeDef& node, const Item& item) const {
    const tf::Tensor* tensor = ConstantOf(item);
    if (tensor != nullptr && tensor->NumElements() == 1) {
      if (tensor->dtype() == tf::DT_INT32) return tensor->flat<std::int32_t>()(0);
      if (tensor->dtype() == tf::DT_INT64) return tensor->flat<std::int64_t>()(0);
      if (tensor->dtype() == tf::DT_BOOL) return tensor->flat<bool>()(0) ? 1 : 0;
    }
    Refuse(node, "depends on the inputs");
  }

  bool Truth(const tf::NodeDef& node, const Item& item) const {
    return Number(node, item) != 0;
  }

  Items Case(const tf::NodeDef& node, const Items& inputs, const std::string& prefix) {
    const auto branches = node.attr().find("branches");
    if (branches == node.attr().end() || branches->second.list().func_size() == 0)
      Refuse(node, "has no branches");
    const auto& functions = branches->second.list().func();
    std::int64_t index = Number(node, Input(node, inputs, 0));
    if (index < 0 || index >= functions.size()) index = functions.size() - 1;
    return Call(functions[static_cast<int>(index)].name(), node,
                Items(inputs.begin() + 1, inputs.end()), prefix);
  }

  Items While(const tf::NodeDef& node, Items state, const std::string& prefix) {
    const std::string condition = FunctionAttr(node, "cond");
    const std::string body = FunctionAttr(node, "body");
    for (int i = 0; i <= kMaxIterations; ++i) {
      const Items go_on = Call(condition, node, state, prefix);
      if (!Truth(node, Input(node, go_on, 0))) return state;
      state = Call(body, node, state, prefix);
    }
    Refuse(node, "repeats too often");
  }

  Items Switch(const tf::NodeDef& node, const Items& inputs) {
    switched_ = true;
    const bool taken = Truth(node, Input(node, inputs, 1));
    Items outputs(2, Item{Item::kDead});
    outputs[taken ? 1 : 0] = inputs[0];
    return outputs;
  }

  Items Merge(const Items& inputs) {
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      if (inputs[i].kind == Item::kDead) continue;
      tf::Tensor index(static_cast<std::int32_t>(i));
      return {inputs[i], Item::Tensor(graph_.AddConstant(std::move(index)))};
    }
    return Items(2, Item{Item::kDead});
  }

  // ----------------------------------------------------------------- values, variables

  // The value of an item that is a tensor, or can be made one.
  int Value(const tf::NodeDef& node, const Item& item) {
    if (item.kind == Item::kTensor) return item.value;
    Refuse(node, item.kind == Item::kList ? "takes a TensorList" : "takes no tensor");
  }

  Item Constant(const tf::NodeDef& node) {
    auto& made = constants_[&node];
    if (made.kind == Item::kTensor) return made;
    const auto value = node.attr().find("value");
    tf::Tensor tensor;
    if (value == node.attr().end() || !tensor.FromProto(value->second.tensor()))
      Refuse(node, "has no value");
    made = Item::Tensor(graph_.AddConstant(std::move(tensor)));
    return made;
  }

  Items PassOn(const tf::NodeDef& node, const Items& inputs) {
    Items outputs = inputs;
    if (inputs.empty()) Refuse(node, "has no input");
    for (const Item& input : inputs) {
      if (input.kind == Item::kTensor &&
          tf::IsRefType(graph_.values[input.value].dtype)) {
        Refuse(node, "reads a variable of TF1");
      }
    }
    if (node.op() == "ReadVariableOp") outputs = {Read(node, inputs[0])};
    return outputs;
  }

  Item Read(const tf::NodeDef& node, const Item& handle) {
    if (handle.kind != Item::kVariable) Refuse(node, "takes no variable");
    const tf::NodeDef& variable = *handle.variable;
    auto& made = reads_[ResourceId(variable)];
    if (made.kind != Item::kNothing) return made;
    std::optional<tf::Tensor> value = frozen_value_(variable);
    if (value) {
      graph_.frozen.push_back(variable.name());
      frozen_bytes_ += static_cast<std::int64_t>(value->TotalBytes());
      return made = Item::Tensor(graph_.AddConstant(std::move(*value)));
    }
    tf::NodeDef read;
    read.set_name(variable.name() + "/Read");
    read.set_op("ReadVariableOp");
    const tf::DataType dtype = TypeAttr(variable, "dtype");
    (*read.mutable_attr())["dtype"].set_type(dtype);
    const int op = graph_.AddOp(std::move(read), {Handle(variable)}, {dtype});
    const int output = graph_.ops[op].outputs[0];
    const auto shape = variable.attr().find("shape");
    if (shape != variable.attr().end())
      graph_.values[output].shape = ShapeFrom(shape->second.shape());
    return made = Item::Tensor(output);
  }

  // The handle of a variable or a table, as a constant.
  int Handle(const tf::NodeDef& node) {
    const auto found = resources_.find(node.name());
    if (found != resources_.end()) return found->second;
    // Without a name of its own it would be another one than the session's.
    if (StringAttr(node, "shared_name").empty()) Refuse(node, "is not shared");
    tf::NodeDef complete = Complete(node, node.name());
    std::vector<tf::Tensor> outputs;
    const absl::Status status = host_.Run(complete, {}, &outputs);
    if (!status.ok()) Refuse(node, std::string(status.message()));
    const int value = graph_.AddConstant(std::move(outputs.at(0)));
    resources_.emplace(node.name(), value);
    return value;
  }

  Item Table(const tf::NodeDef& node) { return Item::Tensor(Handle(node)); }

  Items UseVariable(const BodyNode& node, const Items& inputs,
                    const std::string& prefix) {
    const tf::NodeDef& def = *node.def;
    const std::string& op = def.op();
    if (op == "VarIsInitializedOp" && graph_.IsConstant(Read(def, inputs[0]).value)) {
      return {Item::Tensor(graph_.AddConstant(tf::Tensor(true)))};
    }
    if (op == "VariableShape") {
      const Item value = Read(def, inputs[0]);
      BodyNode shape = node;
      tf::NodeDef shape_def = def;
      shape_def.set_op("Shape");
      (*shape_def.mutable_attr())["T"].set_type(graph_.values[value.value].dtype);
      shape.def = &shape_def;
      shape.op = FindOp("Shape");
      return {ShapeOf(shape, {value.value}, prefix)};
    }
    if (op == "ResourceGather" || op == "ResourceGatherNd") {
      const Item value = Read(def, inputs[0]);
      std::vector<int> values{value.value, Value(def, Input(def, inputs, 1))};
      BodyNode gather = node;
      tf::NodeDef gather_def;
      gather_def.set_name(def.name());
      auto& attr = *gather_def.mutable_attr();
      attr["Tparams"].set_type(graph_.values[value.value].dtype);
      attr["Tindices"].set_type(graph_.values[values[1]].dtype);
      if (op == "ResourceGather") {
        gather_def.set_op("GatherV2");
        attr["Taxis"].set_type(tf::DT_INT32);
        const auto batch_dims = def.attr().find("batch_dims");
        const std::int64_t dims =
            batch_dims == def.attr().end() ? 0 : batch_dims->second.i();
        attr["batch_dims"].set_i(dims);
        values.push_back(graph_.AddConstant(tf::Tensor(static_cast<std::int32_t>(dims))));
      } else {
        gather_def.set_op("GatherNd");
      }
      gather.def = &gather_def;
      gather.op = FindOp(gather_def.op());
      return {Item::Tensor(Emit(gather, std::move(values), prefix).at(0))};
    }
    Refuse(def, "changes or inspects a variable");
  }

  // ------------------------------------------------------------------------------- ops

  // A node with all of its attributes, without inputs and what only other passes read.
  tf::NodeDef Complete(const tf::NodeDef& node, std::string name) const {
    tf::NodeDef complete;
    complete.set_name(std::move(name));
    complete.set_op(node.op());
    for (const auto& [key, value] : node.attr()) {
      if (!value.placeholder().empty()) Refuse(node, "is in a function of types");
      if (key.empty() || key[0] == '_') continue;
      (*complete.mutable_attr())[key] = value;
    }
    const tf::OpRegistrationData* op = FindOp(node.op());
    if (op != nullptr) tf::AddDefaultsToNodeDef(op->op_def, &complete);
    return complete;
  }

  // The outputs of an op on these values: constants where it can be computed now.
  std::vector<int> Emit(const BodyNode& node, std::vector<int> inputs,
                        const std::string& prefix) {
    if (graph_.ops.size() >= kMaxOps) throw NotFlat("it has too many ops");
    const tf::NodeDef& original = *node.def;
    tf::NodeDef def = Complete(original, prefix + original.name());
    const tf::OpDef& op = node.op->op_def;
    tf::DataTypeVector input_types;
    tf::DataTypeVector output_types;
    if (!tf::InOutTypesForNode(def, op, &input_types, &output_types).ok() ||
        input_types.size() != inputs.size()) {
      Refuse(original, "is not sound");
    }
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      if (tf::IsRefType(input_types[i]) ||
          graph_.values[inputs[i]].dtype != input_types[i]) {
        Refuse(original, tf::IsRefType(input_types[i]) ? "takes a reference"
                                                       : "is given another dtype");
      }
    }
    for (const tf::DataType type : output_types) {
      if (tf::IsRefType(type)) Refuse(original, "gives a reference");
    }
    const std::vector<tf::PartialTensorShape> shapes =
        InferShapes(node, def, inputs, output_types.size());
    std::vector<int> outputs;
    if (!op.is_stateful() && Fold(def, inputs, output_types, shapes, &outputs))
      return outputs;
    const bool check = IsCheck(def.op());
    if (def.op() == "EnsureShape" && EnsuredAlready(def, inputs)) return inputs;
    if (def.op() == "Transpose" && KeepsOrder(inputs)) return {inputs[0]};
    const int index = graph_.AddOp(std::move(def), std::move(inputs), output_types);
    graph_.ops[index].effect = check;
    for (std::size_t i = 0; i < shapes.size(); ++i)
      graph_.values[graph_.ops[index].outputs[i]].shape = shapes[i];
    FollowContents(graph_.ops[index]);
    return graph_.ops[index].outputs;
  }

  // True for a transposition that leaves all axes where they are.
  bool KeepsOrder(const std::vector<int>& inputs) const {
    const auto axes = ContentsOf(inputs[1]);
    if (!axes || graph_.values[inputs[0]].shape.dims() != static_cast<int>(axes->size()))
      return false;
    for (std::size_t i = 0; i < axes->size(); ++i) {
      if ((*axes)[i] != static_cast<std::int64_t>(i)) return false;
    }
    return true;
  }

  bool EnsuredAlready(const tf::NodeDef& def, const std::vector<int>& inputs) const {
    const tf::PartialTensorShape wanted = ShapeFrom(def.attr().at("shape").shape());
    const tf::PartialTensorShape& known = graph_.values[inputs[0]].shape;
    if (wanted.unknown_rank()) return true;
    if (known.unknown_rank() || known.dims() != wanted.dims()) return false;
    for (int i = 0; i < wanted.dims(); ++i) {
      if (wanted.dim_size(i) >= 0 && wanted.dim_size(i) != known.dim_size(i))
        return false;
    }
    return true;
  }

  bool Fold(const tf::NodeDef& def, const std::vector<int>& inputs,
            const tf::DataTypeVector& output_types,
            const std::vector<tf::PartialTensorShape>& shapes,
            std::vector<int>* outputs) {
    if (inputs.empty() || output_types.empty()) return false;
    std::vector<tf::Tensor> tensors;
    std::int64_t bytes = 0;
    for (const int input : inputs) {
      const auto& constant = graph_.values[input].constant;
      if (!constant || constant->dtype() == tf::DT_RESOURCE ||
          constant->dtype() == tf::DT_VARIANT) {
        return false;
      }
      tensors.push_back(*constant);
      bytes += static_cast<std::int64_t>(constant->TotalBytes());
    }
    std::int64_t size = 0;
    for (std::size_t i = 0; i < output_types.size(); ++i) {
      if (output_types[i] == tf::DT_RESOURCE || output_types[i] == tf::DT_VARIANT)
        return false;
      const std::int64_t elements = shapes[i].num_elements();
      if (elements < 0 && bytes > kMaxGrowth) return false;
      if (elements > 0) size += elements * tf::DataTypeSize(output_types[i]);
    }
    if (size > 2 * bytes + kMaxGrowth) return false;
    if (folded_bytes_ > kMaxFolded + frozen_bytes_) return false;
    std::vector<tf::Tensor> results;
    if (auto result = FoldSimply(def, tensors, shapes.front())) {
      results.push_back(std::move(*result));
    } else if (!host_.Run(def, tensors, &results).ok()) {
      return false;  // what fails here is left to fail in the run
    }
    for (const tf::Tensor& result : results)
      folded_bytes_ += static_cast<std::int64_t>(result.TotalBytes());
    for (tf::Tensor& result : results)
      outputs->push_back(graph_.AddConstant(std::move(result)));
    return true;
  }

  std::vector<tf::PartialTensorShape> InferShapes(const BodyNode& node,
                                                  const tf::NodeDef& def,
                                                  const std::vector<int>& inputs,
                                                  std::size_t num_outputs) {
    namespace si = tf::shape_inference;
    std::vector<tf::PartialTensorShape> shapes(num_outputs);
    if (node.op->shape_inference_fn == nullptr || num_outputs == 0) return shapes;
    si::InferenceContext context(producer_, tf::AttrSlice(def), node.op->op_def,
                                 std::vector<si::ShapeHandle>(inputs.size()), {}, {}, {});
    std::vector<const tf::Tensor*> tensors;
    std::vector<si::ShapeHandle> contents;
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      const FlatValue& value = graph_.values[inputs[i]];
      si::ShapeHandle shape;
      if (!context.MakeShapeFromPartialTensorShape(value.shape, &shape).ok())
        shape = context.UnknownShape();
      context.SetInput(static_cast<int>(i), shape);
      tensors.push_back(value.constant ? &*value.constant : nullptr);
      si::ShapeHandle content;
      const auto known = contents_.find(inputs[i]);
      if (known != contents_.end()) {
        std::vector<si::DimensionHandle> dims;
        for (const std::int64_t dim : known->second)
          dims.push_back(dim < 0 ? context.UnknownDim() : context.MakeDim(dim));
        content = context.MakeShape(dims);
      }
      contents.push_back(content);
    }
    context.set_input_tensors(tensors);
    context.set_input_tensors_as_shapes(contents);
    if (!context.construction_status().ok() ||
        !context.Run(node.op->shape_inference_fn).ok()) {
      return shapes;  // the kernel will say what is wrong
    }
    for (std::size_t i = 0; i < num_outputs; ++i) {
      tf::TensorShapeProto proto;
      context.ShapeHandleToProto(context.output(static_cast<int>(i)), &proto);
      shapes[i] = ShapeFrom(proto);
    }
    return shapes;
  }

  // Unknown for a shape that is none.
  static tf::PartialTensorShape ShapeFrom(const tf::TensorShapeProto& proto) {
    tf::PartialTensorShape shape;
    if (!tf::PartialTensorShape::BuildPartialTensorShape(proto, &shape).ok()) return {};
    return shape;
  }

  // ---------------------------------------------- shapes that are computed in the graph

  Item ShapeOf(const BodyNode& node, const std::vector<int>& inputs,
               const std::string& prefix) {
    const tf::PartialTensorShape shape = graph_.values[inputs.at(0)].shape;
    const tf::NodeDef def = Complete(*node.def, "");
    if (!shape.IsFullyDefined()) {
      const int value = Emit(node, inputs, prefix).at(0);
      if (!shape.unknown_rank()) {
        std::vector<std::int64_t> dims;
        for (int i = 0; i < shape.dims(); ++i) dims.push_back(shape.dim_size(i));
        contents_[value] = std::move(dims);
      }
      return Item::Tensor(value);
    }
    std::vector<std::int64_t> dims;
    for (int i = 0; i < shape.dims(); ++i) dims.push_back(shape.dim_size(i));
    return Item::Tensor(ConstantVector(dims, def.attr().at("out_type").type()));
  }

  int ConstantVector(const std::vector<std::int64_t>& numbers, tf::DataType dtype) {
    tf::Tensor tensor(dtype,
                      tf::TensorShape({static_cast<std::int64_t>(numbers.size())}));
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      if (dtype == tf::DT_INT32) {
        tensor.flat<std::int32_t>()(static_cast<int>(i)) =
            static_cast<std::int32_t>(numbers[i]);
      } else {
        tensor.flat<std::int64_t>()(static_cast<int>(i)) = numbers[i];
      }
    }
    return graph_.AddConstant(std::move(tensor));
  }

  // The integers in a vector or scalar, -1 where one is not known.
  std::optional<std::vector<std::int64_t>> ContentsOf(int value) const {
    const auto known = contents_.find(value);
    if (known != contents_.end()) return known->second;
    const auto& constant = graph_.values[value].constant;
    if (!constant || constant->dims() > 1 || constant->NumElements() > kMaxShapeSize)
      return std::nullopt;
    std::vector<std::int64_t> numbers;
    for (int i = 0; i < constant->NumElements(); ++i) {
      if (constant->dtype() == tf::DT_INT32) {
        numbers.push_back(constant->flat<std::int32_t>()(i));
      } else if (constant->dtype() == tf::DT_INT64) {
        numbers.push_back(constant->flat<std::int64_t>()(i));
      } else {
        return std::nullopt;
      }
    }
    return numbers;
  }

  // What is known of the integers that an op gives. All of them known, its output becomes
  // a constant.
  void FollowContents(FlatOp& op) {
    if (op.outputs.size() != 1) return;
    FlatValue& output = graph_.values[op.outputs[0]];
    if (output.dtype != tf::DT_INT32 && output.dtype != tf::DT_INT64) return;
    std::optional<std::vector<std::int64_t>> contents;
    const std::string& kind = op.def.op();
    if (kind == "StridedSlice") {
      contents = SliceContents(op);
    } else if (kind == "Pack" && op.def.attr().at("axis").i() == 0) {
      contents.emplace();
      for (const int input : op.inputs) {
        const auto number = ContentsOf(input);
        const bool scalar = graph_.values[input].shape.dims() == 0;
        if (!scalar) return;
        contents->push_back(number && number->size() == 1 ? number->front() : -1);
      }
    } else if (kind == "ConcatV2") {
      contents.emplace();
      for (std::size_t i = 0; i + 1 < op.inputs.size(); ++i) {
        const auto part = ContentsOf(op.inputs[i]);
        if (!part || graph_.values[op.inputs[i]].shape.dims() != 1) return;
        contents->insert(contents->end(), part->begin(), part->end());
      }
    } else if (kind == "GatherV2") {
      const auto numbers = ContentsOf(op.inputs[0]);
      const auto indices = ContentsOf(op.inputs[1]);
      if (!numbers || !indices || ConstantNumber(op.inputs[2]) != 0 ||
          graph_.values[op.inputs[0]].shape.dims() != 1 ||
          op.def.attr().at("batch_dims").i() != 0) {
        return;
      }
      contents.emplace();
      for (const std::int64_t index : *indices) {
        if (index < 0 || index >= static_cast<std::int64_t>(numbers->size())) return;
        contents->push_back((*numbers)[index]);
      }
    } else if (kind == "Cast" || kind == "Reshape" || kind == "Squeeze" ||
               kind == "ExpandDims") {
      if (output.shape.dims() != 0 && output.shape.dims() != 1) return;
      contents = ContentsOf(op.inputs[0]);
    }
    if (!contents || static_cast<std::int64_t>(contents->size()) > kMaxShapeSize) return;
    const bool known = std::all_of(contents->begin(), contents->end(),
                                   [](std::int64_t number) { return number >= 0; });
    if (known && output.shape.dims() == 0 && contents->size() == 1) {
      tf::Tensor tensor(output.dtype, tf::TensorShape({}));
      if (output.dtype == tf::DT_INT32) {
        tensor.scalar<std::int32_t>()() = static_cast<std::int32_t>(contents->front());
      } else {
        tensor.scalar<std::int64_t>()() = contents->front();
      }
      output.constant = std::move(tensor);
    } else if (known && output.shape.dims() == 1) {
      const int constant = ConstantVector(*contents, output.dtype);
      FlatValue& value = graph_.values[op.outputs[0]];
      value.constant = graph_.values[constant].constant;
      value.shape = graph_.values[constant].shape;
    } else {
      contents_[op.outputs[0]] = std::move(*contents);
    }
  }

  // The only element of a constant.
  std::optional<std::int64_t> ConstantNumber(int value) const {
    if (!graph_.IsConstant(value)) return std::nullopt;
    const auto numbers = ContentsOf(value);
    if (!numbers || numbers->size() != 1) return std::nullopt;
    return numbers->front();
  }

  std::optional<std::vector<std::int64_t>> SliceContents(const FlatOp& op) const {
    const auto contents = ContentsOf(op.inputs[0]);
    const auto begin = ConstantNumber(op.inputs[1]);
    const auto end = ConstantNumber(op.inputs[2]);
    const auto stride = ConstantNumber(op.inputs[3]);
    const auto& attr = op.def.attr();
    if (!contents || graph_.values[op.inputs[0]].shape.dims() != 1 || !begin || !end ||
        !stride || *stride != 1 || attr.at("ellipsis_mask").i() != 0 ||
        attr.at("new_axis_mask").i() != 0) {
      return std::nullopt;
    }
    const auto size = static_cast<std::int64_t>(contents->size());
    const auto place = [size](std::int64_t index) {
      return std::clamp<std::int64_t>(index < 0 ? index + size : index, 0, size);
    };
    const std::int64_t first = attr.at("begin_mask").i() != 0 ? 0 : place(*begin);
    if (attr.at("shrink_axis_mask").i() != 0) {
      if (first >= size) return std::nullopt;
      return std::vector<std::int64_t>{(*contents)[first]};
    }
    const std::int64_t last = attr.at("end_mask").i() != 0 ? size : place(*end);
    if (first > last) return std::nullopt;
    return std::vector<std::int64_t>(contents->begin() + first, contents->begin() + last);
  }

  // ----------------------------------------------------------------------- TensorLists

  const TensorList& ListOf(const tf::NodeDef& node, const Item& item) const {
    if (item.kind != Item::kList) Refuse(node, "takes a TensorList that is not known");
    return *item.list;
  }

  // The shape that a TensorList op is given for its elements.
  tf::PartialTensorShape ElementShape(const Item& item) const {
    if (item.kind != Item::kTensor) return {};
    const auto contents = ContentsOf(item.value);
    // -1 as a scalar: any rank.
    if (!contents || graph_.values[item.value].shape.dims() != 1) return {};
    tf::PartialTensorShape shape;
    if (!tf::PartialTensorShape::MakePartialShape(
             contents->data(), static_cast<int>(contents->size()), &shape)
             .ok()) {
      return {};
    }
    return shape;
  }

  Items ListOp(const BodyNode& node, const Items& inputs, const std::string& prefix) {
    const tf::NodeDef& def = *node.def;
    const std::string& op = def.op();
    const tf::DataType dtype = TypeAttr(def, "element_dtype");
    if (op == "EmptyTensorList" || op == "TensorListReserve") {
      TensorList list{dtype, ElementShape(Input(def, inputs, 0)), {}};
      if (op == "TensorListReserve") {
        const std::int64_t size = Number(def, Input(def, inputs, 1));
        if (size < 0 || size > kMaxIterations) Refuse(def, "makes a list too long");
        list.elements.assign(static_cast<std::size_t>(size), -1);
      }
      return {Item::List(std::move(list))};
    }
    if (op == "TensorListFromTensor") {
      const int tensor = Value(def, Input(def, inputs, 0));
      const tf::PartialTensorShape shape = graph_.values[tensor].shape;
      if (shape.dims() < 1 || shape.dim_size(0) < 0 ||
          shape.dim_size(0) > kMaxIterations) {
        Refuse(def, "makes a list whose length depends on the inputs");
      }
      TensorList list{dtype, ElementShape(Input(def, inputs, 1)), {}};
      if (shape.dim_size(0) != 0) {
        tf::NodeDef unpack;
        unpack.set_name(def.name());
        unpack.set_op("Unpack");
        (*unpack.mutable_attr())["T"].set_type(dtype);
        (*unpack.mutable_attr())["num"].set_i(shape.dim_size(0));
        (*unpack.mutable_attr())["axis"].set_i(0);
        list.elements = EmitOwn(unpack, {tensor}, prefix);
      }
      return {Item::List(std::move(list))};
    }
    const TensorList& list = ListOf(def, Input(def, inputs, 0));
    const auto size = static_cast<std::int64_t>(list.elements.size());
    const auto element = [&](const Item& item) {
      const std::int64_t index = Number(def, item);
      if (index < 0 || index >= size) Refuse(def, "is out of the list's range");
      return static_cast<std::size_t>(index);
    };
    if (op == "TensorListLength") {
      return {
          Item::Tensor(graph_.AddConstant(tf::Tensor(static_cast<std::int32_t>(size))))};
    }
    if (op == "TensorListSetItem") {
      TensorList changed = list;
      changed.elements[element(Input(def, inputs, 1))] =
          Value(def, Input(def, inputs, 2));
      return {Item::List(std::move(changed))};
    }
    if (op == "TensorListPushBack") {
      TensorList changed = list;
      changed.elements.push_back(Value(def, Input(def, inputs, 1)));
      return {Item::List(std::move(changed))};
    }
    if (op == "TensorListGetItem") {
      const int value = list.elements[element(Input(def, inputs, 1))];
      if (value < 0) Refuse(def, "reads an element that has not been set");
      return {Item::Tensor(value)};
    }
    if (op == "TensorListStack") {
      if (size == 0) Refuse(def, "stacks an empty list");
      for (const int value : list.elements) {
        if (value < 0) Refuse(def, "reads an element that has not been set");
      }
      tf::NodeDef pack;
      pack.set_name(def.name());
      pack.set_op("Pack");
      (*pack.mutable_attr())["T"].set_type(dtype);
      (*pack.mutable_attr())["N"].set_i(size);
      (*pack.mutable_attr())["axis"].set_i(0);
      return {Item::Tensor(EmitOwn(pack, list.elements, prefix).at(0))};
    }
    Refuse(def, "is a TensorList op that is not followed");
  }

  std::vector<int> EmitOwn(const tf::NodeDef& def, std::vector<int> inputs,
                           const std::string& prefix) {
    const BodyNode node{&def, FindOp(def.op()), {}};
    return Emit(node, std::move(inputs), prefix);
  }

  const GraphIndex& index_;
  const FrozenValue& frozen_value_;
  const KernelHost& host_;
  const int producer_;
  FlatGraph graph_;
  int depth_ = 0;
  int num_evaluated_ = 0;
  std::int64_t folded_bytes_ = 0;
  std::int64_t frozen_bytes_ = 0;
  std::unordered_set<const tf::NodeDef*> validated_;
  bool switched_ = false;
  std::unordered_map<std::string, std::unique_ptr<Body>> bodies_;
  std::unordered_map<const tf::NodeDef*, Item> constants_;
  std::unordered_map<std::string, Item> reads_;     // by ResourceId
  std::unordered_map<std::string, int> resources_;  // node -> its handle's value
  // Values whose integers are known in part.
  std::unordered_map<int, std::vector<std::int64_t>> contents_;
};

}  // namespace

FlatGraph Flatten(const GraphIndex& index, const std::vector<std::string>& feeds,
                  const std::vector<std::string>& fetches,
                  const FrozenValue& frozen_value, const KernelHost& host,
                  const tf::VersionDef& versions) {
  const absl::Status status =
      tf::CheckVersions(versions, TF_GRAPH_DEF_VERSION, TF_GRAPH_DEF_VERSION_MIN_PRODUCER,
                        "GraphDef", "graph");
  if (!status.ok()) throw NotFlat(std::string(status.message()));
  return Flattener(index, frozen_value, host, versions.producer()).Run(feeds, fetches);
}

}  // namespace savedmodel
