#include "run/gradient_graph.h"

#include <algorithm>
#include <map>
#include <memory>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "core/runtime.h"
#include "core/status.h"
#include "run/inliner.h"
#include "tensorflow/c/c_api.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/protobuf/struct.pb.h"

namespace savedmodel {

namespace {

namespace tf = tensorflow;

using Nodes = std::vector<tf::NodeDef>;
using NodeSet = std::unordered_set<std::string>;

constexpr char kGradientOpType[] = "_gradient_op_type";

// Gradients flow through these only, as in TensorFlow's backprop_util.IsTrainable.
bool IsTrainable(tf::DataType dtype) {
  switch (dtype) {
    case tf::DT_HALF:
    case tf::DT_BFLOAT16:
    case tf::DT_FLOAT:
    case tf::DT_DOUBLE:
    case tf::DT_COMPLEX64:
    case tf::DT_COMPLEX128: return true;
    default: return false;
  }
}

tf::DataType TypeOf(const tf::NodeDef& node, const char* attribute) {
  const auto found = node.attr().find(attribute);
  return found == node.attr().end() ? tf::DT_INVALID : found->second.type();
}

tf::NodeDef MakeNode(const std::string& name, const char* op,
                     const std::vector<std::string>& inputs) {
  tf::NodeDef node;
  node.set_name(name);
  node.set_op(op);
  for (const std::string& input : inputs) node.add_input(input);
  return node;
}

tf::NodeDef MakeNode(const std::string& name, const char* op,
                     const std::vector<std::string>& inputs, const char* type_attribute,
                     tf::DataType type) {
  tf::NodeDef node = MakeNode(name, op, inputs);
  (*node.mutable_attr())[type_attribute].set_type(type);
  return node;
}

// A graph of TensorFlow's C API, which is the one stable way to the symbolic gradients.
class Graph {
 public:
  explicit Graph(std::string context)
      : context_(std::move(context)),
        status_(TF_NewStatus(), TF_DeleteStatus),
        graph_(RuntimeFunction<decltype(TF_NewGraph)>("TF_NewGraph")(),
               RuntimeFunction<decltype(TF_DeleteGraph)>("TF_DeleteGraph")) {}

  void Import(const tf::GraphDef& graph) {
    const std::string bytes = graph.SerializeAsString();
    const std::unique_ptr<TF_Buffer, decltype(&TF_DeleteBuffer)> buffer(
        TF_NewBufferFromString(bytes.data(), bytes.size()), TF_DeleteBuffer);
    using Options = TF_ImportGraphDefOptions;
    const std::unique_ptr<Options, void (*)(Options*)> options(
        RuntimeFunction<decltype(TF_NewImportGraphDefOptions)>(
            "TF_NewImportGraphDefOptions")(),
        RuntimeFunction<decltype(TF_DeleteImportGraphDefOptions)>(
            "TF_DeleteImportGraphDefOptions"));
    RuntimeFunction<decltype(TF_GraphImportGraphDef)>("TF_GraphImportGraphDef")(
        graph_.get(), buffer.get(), options.get(), status_.get());
    Check();
  }

  TF_Output Find(const std::string& tensor) {
    const auto [name, index] = ParseInput(tensor);
    TF_Operation* found = RuntimeFunction<decltype(TF_GraphOperationByName)>(
        "TF_GraphOperationByName")(graph_.get(), name.c_str());
    if (found == nullptr) {
      throw Error(ErrorCode::kInternal, context_ + ": lost tensor '" + tensor + "'");
    }
    return {found, index};
  }

  // The gradients of the sum of ys * dys; an empty name where there is none.
  std::vector<std::string> AddGradients(const std::string& prefix,
                                        std::vector<TF_Output> ys,
                                        std::vector<TF_Output> xs,
                                        std::vector<TF_Output> dys) {
    std::vector<TF_Output> dxs(xs.size());
    RuntimeFunction<decltype(TF_AddGradientsWithPrefix)>("TF_AddGradientsWithPrefix")(
        graph_.get(), prefix.c_str(), ys.data(), static_cast<int>(ys.size()), xs.data(),
        static_cast<int>(xs.size()), dys.data(), status_.get(), dxs.data());
    Check();
    auto* name_of = RuntimeFunction<decltype(TF_OperationName)>("TF_OperationName");
    std::vector<std::string> names;
    for (const TF_Output& dx : dxs) {
      names.push_back(dx.oper == nullptr ? std::string()
                                         : std::string(name_of(dx.oper)) + ":" +
                                               std::to_string(dx.index));
    }
    return names;
  }

  tf::GraphDef Export() {
    const std::unique_ptr<TF_Buffer, decltype(&TF_DeleteBuffer)> buffer(TF_NewBuffer(),
                                                                        TF_DeleteBuffer);
    RuntimeFunction<decltype(TF_GraphToGraphDef)>("TF_GraphToGraphDef")(
        graph_.get(), buffer.get(), status_.get());
    Check();
    tf::GraphDef graph;
    if (!graph.ParseFromArray(buffer->data, static_cast<int>(buffer->length))) {
      throw Error(ErrorCode::kInternal, context_ + ": the graph is too large");
    }
    return graph;
  }

 private:
  void Check() {
    if (TF_GetCode(status_.get()) != TF_OK) {
      throw Error(static_cast<ErrorCode>(TF_GetCode(status_.get())),
                  context_ + ": " + TF_Message(status_.get()));
    }
  }

  const std::string context_;
  const std::unique_ptr<TF_Status, decltype(&TF_DeleteStatus)> status_;
  const std::unique_ptr<TF_Graph, void (*)(TF_Graph*)> graph_;
};

// A custom gradient of Python's (tf.custom_gradient): an IdentityN over results and
// arguments, whose gradient is a function of the gradients of its outputs and of tensors
// that it captures. In the graph that the symbolic gradients see, a call of a function
// with a name of its own stands in its place, because their gradient of a call is one
// node with all the tensors at hand: SymbolicGradient, whose place the function takes.
struct CustomGradient {
  tf::NodeDef node;
  std::string function;
  std::vector<std::string> captures;
  std::vector<int> outputs;  // of the function, for each input; -1 for none
};

class Builder {
 public:
  explicit Builder(const GradientRequest& request)
      : request_(request), inliner_(request.library, request.context) {}

  GradientGraph Build() {
    CallFunction();
    RewriteGathers();
    FindWay();
    const std::vector<std::string> gradients = AddGradients();
    return Finish(gradients);
  }

 private:
  [[noreturn]] void Fail(ErrorCode code, const std::string& what) const {
    throw Error(code, request_.context + ": " + what);
  }
  std::string Describe(const tf::NodeDef& node) const {
    const auto scopes = inliner_.ScopesOf(node.name());
    return "node '" + node.name() + "' (op " + node.op() +
           (scopes.empty() ? "" : " in function '" + scopes.front().function + "'") + ")";
  }
  std::string Named(const std::string& name) const {
    return request_.prefix + "/" + name;
  }
  static std::string Indexed(const std::string& name, std::size_t index) {
    return name + "_" + std::to_string(index);
  }
  const tf::NodeDef* Find(const std::string& name) const {
    const auto found = index_.find(name);
    return found == index_.end() ? nullptr : &nodes_[found->second];
  }
  void Index() {
    index_.clear();
    for (std::size_t i = 0; i < nodes_.size(); ++i) index_.emplace(nodes_[i].name(), i);
  }

  // The names of the nodes that lead to `ends`, themselves included.
  NodeSet LeadingTo(const std::vector<std::string>& ends, bool controls) const {
    NodeSet found(ends.begin(), ends.end());
    std::vector<std::string> open(ends);
    while (!open.empty()) {
      const tf::NodeDef* node = Find(open.back());
      open.pop_back();
      if (node == nullptr) continue;
      for (const std::string& input : node->input()) {
        const auto [name, index] = ParseInput(input);
        if ((index >= 0 || controls) && found.insert(name).second) open.push_back(name);
      }
    }
    return found;
  }
  // The name of the VarHandleOp, or of whatever makes the handle.
  std::string HandleOf(const std::string& input) const {
    std::string name = ParseInput(input).first;
    for (std::size_t steps = 0; steps <= nodes_.size(); ++steps) {
      const tf::NodeDef* node = Find(name);
      if (node == nullptr || node->op() != "Identity" || node->input_size() == 0) break;
      name = ParseInput(node->input(0)).first;
    }
    return name;
  }
  bool IsWanted(const std::string& handle) const {
    return std::find(request_.variables.begin(), request_.variables.end(), handle) !=
           request_.variables.end();
  }

  // The nodes of a call of the function, with feeds and outputs.
  void CallFunction() {
    const tf::FunctionDef* function = inliner_.library().Find(request_.function);
    if (function == nullptr)
      Fail(ErrorCode::kNotFound, "no function '" + request_.function + "'");
    const auto count = static_cast<std::size_t>(function->signature().input_arg_size());
    if (count < request_.captures.size()) {
      Fail(ErrorCode::kInvalidArgument,
           "function '" + request_.function + "' has " + std::to_string(count) +
               " inputs, fewer than its " + std::to_string(request_.captures.size()) +
               " captures");
    }
    const std::size_t fed = count - request_.captures.size();
    std::vector<std::string> inputs;
    for (std::size_t i = 0; i < fed; ++i)
      inputs.push_back(Indexed(Named("input"), i) + ":0");
    result_.feeds = inputs;
    for (const std::string& capture : request_.captures) {
      const auto [name, index] = ParseInput(capture);
      inputs.push_back(name + ":" + std::to_string(index));
    }
    const std::string call = Named("call");
    const Inliner::Called called = inliner_.Call(request_.function, {}, call, inputs, {});
    for (const tf::NodeDef& node : request_.capture_nodes) inliner_.Add(node);
    for (std::size_t i = 0; i < fed; ++i) {
      tf::NodeDef placeholder = MakeNode(Indexed(Named("input"), i), "Placeholder", {},
                                         "dtype", called.input_types[i]);
      // Some gradients are simpler for a known shape.
      const auto attributes = function->arg_attr().find(static_cast<std::uint32_t>(i));
      if (attributes != function->arg_attr().end()) {
        const auto shapes = attributes->second.attr().find("_output_shapes");
        if (shapes != attributes->second.attr().end() &&
            shapes->second.list().shape_size() == 1) {
          *(*placeholder.mutable_attr())["shape"].mutable_shape() =
              shapes->second.list().shape(0);
        }
      }
      inliner_.Add(std::move(placeholder));
    }
    // Nothing but a fetch follows these: a symbolic gradient takes an output for an end.
    for (std::size_t i = 0; i < called.outputs.size(); ++i) {
      const std::string name = Indexed(Named("output"), i);
      inliner_.Add(MakeNode(name, "Identity", {called.outputs[i], "^" + call}, "T",
                            called.output_types[i]));
      result_.outputs.push_back(name + ":0");
      if (IsTrainable(called.output_types[i])) ends_.push_back(name);
    }
    nodes_ = inliner_.Take();
    Index();
  }

  void Keep(const NodeSet& names) {
    Nodes kept;
    for (tf::NodeDef& node : nodes_) {
      if (names.count(node.name()) != 0) kept.push_back(std::move(node));
    }
    nodes_ = std::move(kept);
    Index();
  }

  // A read of the rows of a variable has no gradient in C++; rows of a read have.
  void RewriteGathers() {
    Nodes added;
    for (tf::NodeDef& node : nodes_) {
      const bool rows = node.op() == "ResourceGather";
      if ((!rows && node.op() != "ResourceGatherNd") || node.input_size() < 2 ||
          !IsWanted(HandleOf(node.input(0)))) {
        continue;
      }
      const tf::DataType dtype = TypeOf(node, "dtype");
      tf::NodeDef read = MakeNode(node.name() + "/read", "ReadVariableOp",
                                  {node.input(0)}, "dtype", dtype);
      tf::NodeDef gather =
          MakeNode(node.name(), rows ? "GatherV2" : "GatherNd",
                   {read.name() + ":0", node.input(1)}, "Tparams", dtype);
      (*gather.mutable_attr())["Tindices"].set_type(TypeOf(node, "Tindices"));
      if (rows) {
        const auto batch = node.attr().find("batch_dims");
        const std::int64_t axis = batch == node.attr().end() ? 0 : batch->second.i();
        tf::NodeDef constant =
            MakeNode(node.name() + "/axis", "Const", {}, "dtype", tf::DT_INT32);
        tf::Tensor(static_cast<std::int32_t>(axis))
            .AsProtoTensorContent((*constant.mutable_attr())["value"].mutable_tensor());
        gather.add_input(constant.name() + ":0");
        (*gather.mutable_attr())["Taxis"].set_type(tf::DT_INT32);
        (*gather.mutable_attr())["batch_dims"].set_i(axis);
        added.push_back(std::move(constant));
      }
      for (int i = 2; i < node.input_size(); ++i) {
        read.add_input(node.input(i));
        gather.add_input(node.input(i));
      }
      added.push_back(std::move(read));
      node = std::move(gather);
    }
    std::move(added.begin(), added.end(), std::back_inserter(nodes_));
    Index();
  }

  // What lies between the variables' reads and the outputs. All of it is prepared for, or
  // refused, here: the symbolic gradients crash on some of it.
  void FindWay() {
    const NodeSet to_ends = LeadingTo(ends_, /*controls=*/false);
    std::unordered_map<std::string, std::vector<std::string>> followers;
    std::vector<std::string> open;
    for (const tf::NodeDef& node : nodes_) {
      if (to_ends.count(node.name()) == 0) continue;
      for (const std::string& input : node.input()) {
        const auto [name, index] = ParseInput(input);
        if (index < 0) continue;
        followers[name].push_back(node.name());
        // An argument of control flow, say, which reads it where we do not look.
        const tf::NodeDef* source = Find(name);
        if (source != nullptr && IsHandle(*source) && node.op() != "Identity" &&
            node.op() != "ReadVariableOp" && node.op() != "VariableShape" &&
            IsWanted(HandleOf(input))) {
          NoGradient(node);
        }
      }
      const tf::DataType dtype = TypeOf(node, "dtype");
      if (node.op() == "ReadVariableOp" && node.input_size() > 0 &&
          IsWanted(HandleOf(node.input(0))) && IsTrainable(dtype)) {
        reads_.push_back({node.name(), HandleOf(node.input(0)), dtype});
        if (way_.insert(node.name()).second) open.push_back(node.name());
      }
    }
    while (!open.empty()) {
      const std::string name = std::move(open.back());
      open.pop_back();
      for (const std::string& follower : followers[name]) {
        if (way_.insert(follower).second) open.push_back(follower);
      }
    }
    static const NodeSet& kLoops =
        *new NodeSet{"Enter",         "RefEnter",        "Exit", "RefExit", "LoopCond",
                     "NextIteration", "RefNextIteration"};
    Nodes added;
    for (tf::NodeDef& node : nodes_) {
      if (way_.count(node.name()) == 0) continue;
      if (kLoops.count(node.op()) != 0) NoGradient(node);
      if (node.op() == "Cast" && node.input_size() > 0 &&
          !(IsTrainable(TypeOf(node, "SrcT")) && IsTrainable(TypeOf(node, "DstT")))) {
        // TensorFlow's own has no gradient, its C++ sibling that of a number.
        Stop(&node, 0, TypeOf(node, "SrcT"), &added);
      }
      if (node.attr().count(kGradientOpType) != 0) {
        TakeCustom(&node, &added);
      } else if (node.input_size() > 0) {
        StandIn(&node, &added);
      }
    }
    std::move(added.begin(), added.end(), std::back_inserter(nodes_));
    Index();
  }
  static bool IsHandle(const tf::NodeDef& node) {
    return node.op() == "VarHandleOp" ||
           (node.op() == "Identity" && TypeOf(node, "T") == tf::DT_RESOURCE);
  }
  [[noreturn]] void NoGradient(const tf::NodeDef& node) const {
    Fail(ErrorCode::kUnimplemented,
         "TensorFlow's C++ library has no gradient through " + Describe(node));
  }
  static void Stop(tf::NodeDef* node, int input, tf::DataType type, Nodes* added) {
    added->push_back(MakeNode(node->name() + "/stop_" + std::to_string(input),
                              "StopGradient", {node->input(input)}, "T", type));
    node->set_input(input, added->back().name() + ":0");
  }

  // Some ops without a gradient in C++ have the gradient of others, which stand in their
  // places for as long as the symbolic gradients look.
  void StandIn(tf::NodeDef* node, Nodes* added) {
    const tf::NodeDef original = *node;
    const std::string& name = original.name();
    const std::string& input = original.input(0);
    const tf::DataType type = TypeOf(original, "T");
    if (original.op() == "Erfc") {
      added->push_back(MakeNode(name + "/erf", "Erf", {input}, "T", type));
      *node = MakeNode(name, "Neg", {name + "/erf:0"}, "T", type);
    } else if (original.op() == "Round" || original.op() == "Rint" ||
               original.op() == "Ceil") {
      *node = MakeNode(name, "Floor", {input}, "T", type);
    } else if (original.op() == "SparseSoftmaxCrossEntropyWithLogits") {
      // Their gradient is in their second output; it takes no part in it what the labels
      // are.
      added->push_back(MakeNode(name + "/labels", "StopGradient", {input}, "T", type));
      *node = MakeNode(name, "SoftmaxCrossEntropyWithLogits", {input, name + "/labels:0"},
                       "T", type);
    } else {
      return;
    }
    originals_.emplace(name, original);
  }

  // Puts a call in the place of a node with a custom gradient.
  void TakeCustom(tf::NodeDef* node, Nodes* added) {
    CustomGradient custom{*node, {}, {}, {}};
    const std::string& type = node->attr().at(kGradientOpType).s();
    for (const auto& registered : request_.library.registered_gradients()) {
      if (registered.registered_op_type() == type)
        custom.function = registered.gradient_func();
    }
    const auto types = node->attr().find("T");
    if (custom.function.empty() || node->op() != "IdentityN" ||
        types == node->attr().end()) {
      Fail(ErrorCode::kUnimplemented, "the custom gradient '" + type + "' of " +
                                          Describe(*node) +
                                          " is not saved with the model");
    }
    const auto count = static_cast<std::size_t>(types->second.list().type_size());
    custom.outputs = OutputsOf(custom, count);
    custom.captures = CapturesOf(custom);
    const std::string marker = Indexed(Named("custom_gradient"), customs_.size());
    tf::NodeDef call = MakeNode(node->name(), "PartitionedCall",
                                {node->input().begin(), node->input().end()});
    for (const char* list : {"Tin", "Tout"})
      *(*call.mutable_attr())[list].mutable_list() = types->second.list();
    (*call.mutable_attr())["f"].mutable_func()->set_name(marker);
    for (std::size_t i = 0; i < count; ++i) {
      if (custom.outputs[i] < 0)
        Stop(&call, static_cast<int>(i), types->second.list().type(static_cast<int>(i)),
             added);
    }
    originals_.emplace(node->name(), *node);
    *node = std::move(call);
    customs_.emplace(marker, std::move(custom));
  }

  const tf::SavedConcreteFunction* Saved(const std::string& function) const {
    const auto found = request_.objects.concrete_functions().find(function);
    return found == request_.objects.concrete_functions().end() ? nullptr
                                                                : &found->second;
  }

  // The gradient function gives a list with None where there is no gradient.
  std::vector<int> OutputsOf(const CustomGradient& custom, std::size_t count) const {
    const tf::SavedConcreteFunction* saved = Saved(custom.function);
    std::vector<int> outputs;
    int next = 0;
    if (saved != nullptr) {
      const tf::StructuredValue& signature = saved->output_signature();
      const auto& values = signature.has_tuple_value() ? signature.tuple_value().values()
                                                       : signature.list_value().values();
      for (const tf::StructuredValue& value : values)
        outputs.push_back(value.has_none_value() ? -1 : next++);
      // One that is no list of tensors is not understood.
      for (const tf::StructuredValue& value : values) {
        if (!value.has_none_value() && !value.has_tensor_spec_value()) outputs.clear();
      }
    }
    if (saved == nullptr || outputs.size() != count) {
      Fail(ErrorCode::kUnimplemented, "the custom gradient of " + Describe(custom.node) +
                                          ", function '" + custom.function +
                                          "', does not give one gradient for each input");
    }
    return outputs;
  }

  std::vector<std::string> CapturesOf(const CustomGradient& custom) const {
    std::vector<std::string> captures;
    const auto scopes = inliner_.ScopesOf(custom.node.name());
    for (const int id : Saved(custom.function)->bound_inputs()) {
      std::string capture;
      if (id >= 0 && id < request_.objects.nodes_size() &&
          request_.objects.nodes(id).has_captured_tensor()) {
        const tf::CapturedTensor& tensor = request_.objects.nodes(id).captured_tensor();
        for (const Inliner::Scope& scope : scopes) {
          if (scope.function != tensor.concrete_function()) continue;
          const auto [name, index] = ParseInput(scope.call + "/" + tensor.name());
          capture = inliner_.Resolve(name + ":" + std::to_string(index));
          break;
        }
      } else if (const tf::SavedConcreteFunction* outer = Saved(request_.function)) {
        // A variable or the like, which the function itself captures, too.
        const auto& bound = outer->bound_inputs();
        const auto found = std::find(bound.begin(), bound.end(), id);
        const auto position = static_cast<std::size_t>(found - bound.begin());
        if (position < request_.captures.size()) capture = request_.captures[position];
      }
      if (capture.empty() || Find(ParseInput(capture).first) == nullptr) {
        Fail(ErrorCode::kUnimplemented,
             "the custom gradient of " + Describe(custom.node) + ", function '" +
                 custom.function + "', uses a tensor that is not in the graph");
      }
      captures.push_back(std::move(capture));
    }
    return captures;
  }

  // The gradient of each read.
  std::vector<std::string> AddGradients() {
    result_.output_gradient_feeds.resize(result_.outputs.size());
    for (std::size_t i = 0; i < result_.outputs.size(); ++i) {
      const std::string output = ParseInput(result_.outputs[i]).first;
      if (way_.count(output) == 0) continue;
      const std::string name = Indexed(Named("output_gradient"), i);
      result_.output_gradient_feeds[i] = name + ":0";
      nodes_.push_back(MakeNode(name, "Placeholder", {}, "dtype",
                                TypeOf(nodes_[index_.at(output)], "T")));
    }
    Index();
    if (reads_.empty()) return {};
    tf::GraphDef forward;
    *forward.mutable_versions() = request_.versions;
    for (const tf::NodeDef& node : nodes_) *forward.add_node() = node;
    *forward.mutable_library() =
        inliner_.library().ReachableDefinitions(forward).ToProto();
    Graph graph(request_.context);
    graph.Import(forward);
    std::vector<TF_Output> ys;
    std::vector<TF_Output> dys;
    std::vector<TF_Output> xs;
    for (std::size_t i = 0; i < result_.outputs.size(); ++i) {
      if (result_.output_gradient_feeds[i].empty()) continue;
      ys.push_back(graph.Find(result_.outputs[i]));
      dys.push_back(graph.Find(result_.output_gradient_feeds[i]));
    }
    for (const Read& read : reads_) xs.push_back(graph.Find(read.node));
    std::vector<std::string> gradients;
    try {
      gradients = graph.AddGradients(Named("gradients"), ys, xs, dys);
    } catch (const Error& error) {
      // "No gradient defined for op: Foo. Please see ..." names no node.
      for (const tf::NodeDef& node : nodes_) {
        if (way_.count(node.name()) != 0 &&
            std::string(error.what()).find("for op: " + node.op() + ".") !=
                std::string::npos) {
          NoGradient(node);
        }
      }
      throw;
    }
    const tf::GraphDef exported = graph.Export();
    nodes_.assign(exported.node().begin(), exported.node().end());
    return gradients;
  }

  // The custom gradients take their places, and each variable gets its gradient.
  GradientGraph Finish(const std::vector<std::string>& gradients) {
    for (tf::NodeDef& node : nodes_) {
      const auto original = originals_.find(node.name());
      const auto f = node.attr().find("f");
      const auto custom = node.op() == "SymbolicGradient" && f != node.attr().end()
                              ? customs_.find(f->second.func().name())
                              : customs_.end();
      if (custom != customs_.end()) {
        CallCustom(custom->second, node);
      } else {
        inliner_.Add(original != originals_.end() ? original->second : node);
      }
    }
    for (const std::string& variable : request_.variables) {
      std::vector<std::string> parts;
      tf::DataType dtype = tf::DT_INVALID;
      for (std::size_t i = 0; i < gradients.size(); ++i) {
        if (gradients[i].empty() || reads_[i].variable != variable) continue;
        parts.push_back(gradients[i]);
        dtype = reads_[i].dtype;
      }
      if (parts.empty()) {
        result_.gradients.emplace_back();
        continue;
      }
      tf::NodeDef sum = MakeNode(Indexed(Named("gradient"), result_.gradients.size()),
                                 "AddN", parts, "T", dtype);
      (*sum.mutable_attr())["N"].set_i(static_cast<std::int64_t>(parts.size()));
      result_.gradients.push_back(sum.name() + ":0");
      inliner_.Add(std::move(sum));
    }
    nodes_ = inliner_.Take();
    Index();
    std::vector<std::string> wanted;
    for (const auto* tensors : {&result_.feeds, &result_.output_gradient_feeds,
                                &result_.outputs, &result_.gradients}) {
      for (const std::string& tensor : *tensors) {
        if (!tensor.empty()) wanted.push_back(ParseInput(tensor).first);
      }
    }
    Keep(LeadingTo(wanted, /*controls=*/true));
    NodeSet there;
    for (const tf::NodeDef& node : request_.capture_nodes) there.insert(node.name());
    for (tf::NodeDef& node : nodes_) {
      if (there.count(node.name()) == 0) *result_.graph.add_node() = std::move(node);
    }
    *result_.graph.mutable_versions() = request_.versions;
    *result_.graph.mutable_library() =
        inliner_.library().ReachableDefinitions(result_.graph).ToProto();
    return std::move(result_);
  }

  // In place of a SymbolicGradient, whose inputs are those of the node and the gradients
  // of its outputs.
  void CallCustom(const CustomGradient& custom, const tf::NodeDef& symbolic) {
    std::vector<std::string> inputs;
    for (int i = static_cast<int>(custom.outputs.size()); i < symbolic.input_size();
         ++i) {
      const auto [name, index] = ParseInput(symbolic.input(i));
      if (index >= 0) inputs.push_back(name + ":" + std::to_string(index));
    }
    inputs.insert(inputs.end(), custom.captures.begin(), custom.captures.end());
    const Inliner::Called called =
        inliner_.Call(custom.function, {}, symbolic.name(), inputs, {});
    for (std::size_t i = 0; i < custom.outputs.size(); ++i) {
      const int output = custom.outputs[i];
      if (output < 0) continue;
      if (static_cast<std::size_t>(output) >= called.outputs.size()) {
        Fail(ErrorCode::kInvalidArgument, "function '" + custom.function + "' has " +
                                              std::to_string(called.outputs.size()) +
                                              " outputs, fewer than were saved");
      }
      inliner_.Alias(symbolic.name() + ":" + std::to_string(i),
                     called.outputs[static_cast<std::size_t>(output)]);
    }
  }

  // A read of a wanted variable that leads to an output.
  struct Read {
    std::string node;
    std::string variable;
    tf::DataType dtype;
  };

  const GradientRequest& request_;
  Inliner inliner_;
  GradientGraph result_;
  Nodes nodes_;
  std::unordered_map<std::string, std::size_t> index_;  // into nodes_, by name
  std::vector<std::string> ends_;                       // outputs that have a gradient
  std::vector<Read> reads_;
  NodeSet way_;  // nodes from the reads to the ends
  std::unordered_map<std::string, tf::NodeDef> originals_;  // what others stand in for
  std::map<std::string, CustomGradient> customs_;  // by the function that stands for it
};

}  // namespace

GradientGraph BuildGradientGraph(const GradientRequest& request) {
  return Builder(request).Build();
}

}  // namespace savedmodel
