#include "savedmodel/diagnose.h"

#include <algorithm>
#include <filesystem>
#include <set>
#include <tuple>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "core/runtime.h"
#include "core/status.h"
#include "inspect/checkpoint.h"
#include "inspect/graph_index.h"
#include "inspect/meta_graph.h"
#include "inspect/saved_model_dir.h"
#include "inspect/usage.h"
#include "load/load_saved_model.h"
#include "load/object_bindings.h"
#include "load/restore_plan.h"
#include "load/variable_sources.h"
#include "savedmodel/error.h"
#include "savedmodel/version.h"
#include "tensorflow/cc/saved_model/loader_util.h"
#include "tensorflow/core/framework/device_factory.h"
#include "tensorflow/core/framework/kernel_def.pb.h"
#include "tensorflow/core/framework/node_def_util.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/types.h"
#include "tensorflow/core/framework/versions.h"
#include "tensorflow/core/protobuf/saved_object_graph.pb.h"
#include "tensorflow/core/public/version.h"
#include "tensorflow/core/util/device_name_utils.h"
#include "tensorflow/core/util/saved_tensor_slice_util.h"

namespace savedmodel {

namespace {

namespace fs = std::filesystem;
namespace tf = tensorflow;
using ParsedDevice = tf::DeviceNameUtils::ParsedName;

bool EndsWith(const std::string& text, std::string_view end) {
  return text.size() >= end.size() &&
         text.compare(text.size() - end.size(), end.size(), end) == 0;
}

// What TensorFlow's Python keeps in a checkpoint for itself: the object graph, how often
// it was saved, the configuration of Keras objects (trackable/base.py).
bool IsBookkeeping(const std::string& key) {
  return key == "_CHECKPOINTABLE_OBJECT_GRAPH" || key == "save_counter" ||
         key.rfind("save_counter/", 0) == 0 ||
         EndsWith(key, "/.ATTRIBUTES/OBJECT_CONFIG_JSON");
}

std::string OneLine(std::string text) {
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

// "T=qint8, Tperm=int32": the dtypes among which a kernel is chosen.
std::string TypesOf(const tf::NodeDef& node) {
  std::map<std::string, std::string> types;
  for (const auto& [name, value] : node.attr()) {
    if (name.rfind('_', 0) != 0 && value.value_case() == tf::AttrValue::kType)
      types[name] = tf::DataTypeString(value.type());
  }
  std::string text;
  for (const auto& [name, type] : types)
    text += (text.empty() ? "" : ", ") + name + "=" + type;
  return text;
}

// The devices that a session of this machine has.
class Devices {
 public:
  // Throws what TensorFlow reports.
  Devices() {
    static constexpr std::string_view kPrefix = "/physical_device:";
    std::vector<std::string> physical;
    ThrowIfError(tf::DeviceFactory::ListAllPhysicalDevices(&physical),
                 "cannot list the devices of this machine");
    for (const std::string& name : physical) {
      if (name.rfind(kPrefix, 0) != 0) continue;
      names_.push_back(name.substr(kPrefix.size()));
      ParsedDevice device;
      if (tf::DeviceNameUtils::ParseFullName(kProcess + ("/device:" + names_.back()),
                                             &device)) {
        devices_.push_back(std::move(device));
      }
    }
  }

  const std::vector<std::string>& names() const { return names_; }

  // False for a device of another process of a cluster, and for what names no device.
  static bool IsOfThisProcess(const std::string& wanted) {
    ParsedDevice pattern;
    ParsedDevice process;
    if (!tf::DeviceNameUtils::ParseFullName(wanted, &pattern) ||
        !tf::DeviceNameUtils::ParseFullName(kProcess, &process)) {
      return false;
    }
    return tf::DeviceNameUtils::AreCompatibleDevNames(pattern, process);
  }

  // The types of those on which a node with this device can be placed; empty if it
  // cannot.
  std::set<std::string> TypesFor(const std::string& wanted) const {
    std::set<std::string> types;
    ParsedDevice pattern;
    if (!wanted.empty() && !tf::DeviceNameUtils::ParseFullName(wanted, &pattern))
      return types;
    for (const ParsedDevice& device : devices_) {
      if (tf::DeviceNameUtils::IsSpecification(pattern, device))
        types.insert(device.type);
    }
    return types;
  }

 private:
  static constexpr char kProcess[] = "/job:localhost/replica:0/task:0";

  std::vector<std::string> names_;
  std::vector<ParsedDevice> devices_;
};

// Which nodes have a kernel.
class Kernels {
 public:
  // "" if there is one for the node on a device of one of these types; else what the
  // matter is.
  const std::string& WhyNone(const tf::NodeDef& node, const tf::OpDef& op,
                             const std::set<std::string>& types) {
    // What a kernel is chosen by; values, constants among them, are not.
    tf::NodeDef plain;
    plain.set_name("node");
    plain.set_op(node.op());
    std::string key = node.op();
    for (const std::string& type : types) key += "\n" + type;
    std::map<std::string, const tf::AttrValue*> attributes;
    for (const auto& [name, value] : node.attr()) {
      const auto kind = value.value_case();
      if (kind == tf::AttrValue::kType || kind == tf::AttrValue::kPlaceholder ||
          (kind == tf::AttrValue::kList && value.list().type_size() > 0) ||
          name == "_kernel") {
        attributes.emplace(name, &value);
      }
    }
    for (const auto& [name, value] : attributes) {
      key += "\n" + name + "=" + value->SerializeAsString();
      (*plain.mutable_attr())[name] = *value;
    }
    const auto [known, is_new] = reasons_.emplace(std::move(key), std::string());
    if (is_new) {
      tf::AddDefaultsToNodeDef(op, &plain);
      known->second = LookUp(plain, types);
    }
    return known->second;
  }

 private:
  static std::string LookUp(const tf::NodeDef& node, const std::set<std::string>& types) {
    std::string all_types;
    for (const std::string& type : types) {
      const absl::Status found =
          tf::FindKernelDef(tf::DeviceType(type), node, nullptr, nullptr);
      if (found.ok()) return {};
      if (!absl::IsNotFound(found)) return OneLine(std::string(found.message()));
      all_types += (all_types.empty() ? "" : " or ") + type;
    }
    std::set<std::string> elsewhere;
    const tf::KernelList kernels = tf::GetRegisteredKernelsForOp(node.op());
    for (const tf::KernelDef& kernel : kernels.kernel())
      elsewhere.insert(kernel.device_type());
    const bool other_dtype = std::any_of(
        types.begin(), types.end(),
        [&elsewhere](const std::string& type) { return elsewhere.count(type) != 0; });
    const std::string dtypes = TypesOf(node);
    std::string why = "no kernel on " + all_types;
    if (other_dtype && !dtypes.empty()) return why + " for " + dtypes;
    std::string others;
    for (const std::string& type : elsewhere) {
      if (types.count(type) == 0) others += (others.empty() ? "" : ", ") + type;
    }
    return why + (others.empty() ? "" : "; it has some on " + others);
  }

  std::unordered_map<std::string, std::string> reasons_;
};

// Looks at one MetaGraph.
class Doctor {
 public:
  Doctor(const std::string& export_dir, const tf::MetaGraphDef& meta_graph,
         const DiagnoseOptions& options)
      : export_dir_(export_dir),
        context_("model '" + export_dir + "'"),
        meta_graph_(meta_graph),
        options_(options),
        graph_(meta_graph.graph_def()) {}

  Diagnosis Examine() {
    const auto& info = meta_graph_.meta_info_def();
    diagnosis_.path = export_dir_;
    diagnosis_.tags.assign(info.tags().begin(), info.tags().end());
    diagnosis_.tensorflow_version = info.tensorflow_version();
    diagnosis_.runtime_version = SAVEDMODEL_TENSORFLOW_VERSION_STRING;
    diagnosis_.consumer = TF_GRAPH_DEF_VERSION;
    Guarded("version", [this] { ExamineVersions(); });
    Guarded("broken_signature", [this] {
      signatures_ = ReadSignatures(export_dir_, meta_graph_);
      CheckTensors(context_, signatures_, graph_);
    });
    Guarded("broken_graph", [this] {
      ThrowIfError(tf::internal::GetInitOp(export_dir_, meta_graph_, &init_op_),
                   context_ + ", its init op");
      ExamineNodes();
    });
    Guarded("broken_asset", [this] { ExamineAssets(); });
    ExamineVariables();
    std::stable_sort(
        diagnosis_.problems.begin(), diagnosis_.problems.end(),
        [](const Problem& a, const Problem& b) { return a.is_error && !b.is_error; });
    return std::move(diagnosis_);
  }

 private:
  using Nodes = std::vector<const tf::NodeDef*>;
  Nodes ReachFrom(const std::vector<std::string>& tensors) const {
    std::unordered_set<const tf::NodeDef*> seen;
    return graph_.Reach(tensors, &seen, context_);
  }

  void Add(bool is_error, const char* kind, const std::string& subject,
           std::string message) {
    diagnosis_.problems.push_back(
        {is_error, kind, subject, OneLine(std::move(message)), {}});
  }

  // What a part cannot be read for is a problem, and the other parts go on.
  template <typename Part>
  bool Guarded(const char* kind, const Part& part) {
    try {
      part();
      return true;
    } catch (const Error& error) {
      std::string message = error.what();
      for (const char* after :
           {", its variables: ", ", its variables, ", ": ", ", ", " "}) {
        const std::string prefix = context_ + after;
        if (message.rfind(prefix, 0) != 0) continue;
        message.erase(0, prefix.size());
        break;
      }
      // One cause, met by another part again.
      const auto met = [&message](const Problem& problem) {
        return EndsWith(problem.message, message);
      };
      if (std::none_of(diagnosis_.problems.begin(), diagnosis_.problems.end(), met))
        Add(true, kind, "", std::move(message));
      return false;
    }
  }

  void ExamineVersions() {
    const tf::VersionDef& versions = meta_graph_.graph_def().versions();
    diagnosis_.producer = versions.producer();
    diagnosis_.min_consumer = versions.min_consumer();
    ThrowIfError(
        tf::CheckVersions(versions, TF_GRAPH_DEF_VERSION,
                          TF_GRAPH_DEF_VERSION_MIN_PRODUCER, "GraphDef", "graph"),
        context_);
    if (versions.producer() > TF_GRAPH_DEF_VERSION) {
      Add(false, "version", "",
          "saved by a newer TensorFlow (producer " + std::to_string(versions.producer()) +
              ") than " + SAVEDMODEL_TENSORFLOW_VERSION_STRING + " (" +
              std::to_string(TF_GRAPH_DEF_VERSION) + "), which may lack what it uses");
    }
  }

  void ExamineAssets() {
    const Nodes read = init_op_.empty() ? Nodes() : ReachFrom({init_op_});
    for (const Asset& asset : ReadAssets(export_dir_, meta_graph_)) {
      std::error_code ignored;
      if (fs::exists(asset.path, ignored)) continue;
      const bool is_read = std::find(read.begin(), read.end(),
                                     graph_.FindNode(NodeOf(asset.tensor))) != read.end();
      Add(is_read, "missing_asset", asset.name,
          std::string("there is no such file under assets/") +
              (is_read ? ", and the init op reads it" : ""));
    }
  }

  // One problem for all nodes that share it.
  void AddNode(bool is_error, const char* kind, const std::string& subject,
               const std::string& message, NodeInfo node) {
    const auto [known, is_new] = grouped_.try_emplace({is_error, kind, subject, message},
                                                      diagnosis_.problems.size());
    if (is_new) Add(is_error, kind, subject, message);
    diagnosis_.problems[known->second].nodes.push_back(std::move(node));
  }

  void ExamineNodes() {
    const tf::GraphDef& graph = meta_graph_.graph_def();
    diagnosis_.memory.graph = graph.ByteSizeLong();
    const Devices devices;
    diagnosis_.devices = devices.names();
    Usage usage(meta_graph_, graph_, signatures_, init_op_, context_);
    const auto without_kernels = WithoutKernels();
    std::unordered_map<std::string, std::set<std::string>> types_of_device;
    Kernels kernels;
    ForEachNode(graph, [&](const tf::NodeDef& node, const tf::FunctionDef* function) {
      const NodeInfo::Use use = usage.Of(node, function);
      const bool called = use == NodeInfo::Use::kCalled;
      const bool is_error =
          called && (signatures_.empty() || usage.InSignatures(node, function));
      const auto add = [&](const char* kind, const std::string& subject,
                           const std::string& message) {
        AddNode(is_error, kind, subject,
                message +
                    (called && !is_error ? "; in functions that no signature calls" : ""),
                usage.Info(node, function));
      };
      const auto dangerous = options_.dangerous_ops.find(node.op());
      if (dangerous != options_.dangerous_ops.end()) {
        AddNode(false, "dangerous_op", node.op(), dangerous->second,
                usage.Info(node, function));
      }

      const bool is_call = graph_.FindFunction(node.op()) != nullptr;
      const tf::OpRegistrationData* op = is_call ? nullptr : Registered(node.op());
      if (op == nullptr && !is_call) {
        add("unregistered_op", node.op(),
            "not an op of TensorFlow " SAVEDMODEL_TENSORFLOW_VERSION_STRING
            ": one of a custom library, or of another version");
        return;
      }
      if (node.op() == "Const" && !AddConstant(node)) {
        add("broken_graph", node.name(),
            "a constant whose data has not the size that its dtype and shape say");
      }
      if (!called) return;
      ForEachCallee(node, [&](const std::string& callee) {
        if (callee.empty() || callee == node.op() || graph_.FindFunction(callee) ||
            Registered(callee)) {
          return;
        }
        add("missing_function", callee, "called, but not in the function library");
      });
      auto device = types_of_device.find(node.device());
      if (device == types_of_device.end()) {
        device =
            types_of_device.emplace(node.device(), devices.TypesFor(node.device())).first;
      }
      if (device->second.empty()) {
        static constexpr char kAbsent[] = "not a device of this machine; ";
        static constexpr char kRemedy[] =
            "the session option allow_soft_placement lets TensorFlow take another one";
        if (function != nullptr && !IsNeverInlined(*function) &&
            Devices::IsOfThisProcess(node.device())) {
          AddNode(false, "absent_device", node.device(),
                  std::string(kAbsent) +
                      "TensorFlow takes another one where it inlines the function; "
                      "elsewhere " +
                      kRemedy,
                  usage.Info(node, function));
        } else {
          add("absent_device", node.device(), std::string(kAbsent) + kRemedy);
        }
      } else if (op != nullptr && without_kernels.count(function) == 0) {
        const std::string& why = kernels.WhyNone(node, op->op_def, device->second);
        if (!why.empty()) add("no_kernel", node.op(), why);
      }
    });
  }

  static bool IsNeverInlined(const tf::FunctionDef& function) {
    const auto never = function.attr().find("_noinline");
    return never != function.attr().end() && never->second.b();
  }

  // Null if there is none.
  static const tf::OpRegistrationData* Registered(const std::string& op) {
    return tf::OpRegistry::Global()->LookUp(op);
  }

  // Functions whose nodes' kernels cannot be looked up: XLA compiles them by kernels of
  // its own, or they have no dtypes before they are called.
  std::unordered_set<const tf::FunctionDef*> WithoutKernels() const {
    static constexpr char kCompile[] = "_XlaMustCompile";
    std::unordered_set<const tf::FunctionDef*> functions;
    std::vector<const tf::NodeDef*> calls;
    ForEachNode(meta_graph_.graph_def(),
                [&](const tf::NodeDef& node, const tf::FunctionDef*) {
                  const auto compile = node.attr().find(kCompile);
                  if (compile != node.attr().end() && compile->second.b())
                    calls.push_back(&node);
                });
    for (const tf::FunctionDef& function : meta_graph_.graph_def().library().function()) {
      const auto compile = function.attr().find(kCompile);
      if (compile != function.attr().end() && compile->second.b() &&
          functions.insert(&function).second) {
        for (const tf::NodeDef& node : function.node_def()) calls.push_back(&node);
      }
      if (function.signature().attr_size() != 0) functions.insert(&function);
    }
    graph_.ReachFunctions(calls, &functions);
    return functions;
  }

  // False if it contradicts itself.
  bool AddConstant(const tf::NodeDef& node) {
    const auto value = node.attr().find("value");
    if (value == node.attr().end()) return false;
    const tf::TensorProto& tensor = value->second.tensor();
    tf::TensorShape shape;
    if (!tf::TensorShape::BuildTensorShape(tensor.tensor_shape(), &shape).ok())
      return false;
    const auto element = static_cast<std::uint64_t>(tf::DataTypeSize(tensor.dtype()));
    const std::uint64_t bytes =
        element == 0 ? tensor.ByteSizeLong()
                     : static_cast<std::uint64_t>(shape.num_elements()) * element;
    diagnosis_.memory.constants += bytes;
    return element == 0 || tensor.tensor_content().empty() ||
           tensor.tensor_content().size() == bytes;
  }

  void ExamineVariables() {
    std::optional<Checkpoint> checkpoint;
    tf::TrackableObjectGraph objects;
    const bool readable = Guarded("unreadable_checkpoint", [&] {
      CheckVariablesFile(export_dir_, meta_graph_);
      checkpoint = Checkpoint::Open(export_dir_);
      if (!checkpoint) return;
      diagnosis_.memory.checkpoint = checkpoint->total_bytes();
      checkpoint->CheckData();
      objects = checkpoint->ReadObjectGraph();
    });
    if (!readable) return;
    Guarded("broken_graph", [&] {
      const RestorePlan plan = ReadRestorePlan(meta_graph_, graph_);
      const ObjectBindings bindings =
          BindObjects(meta_graph_, objects, plan, export_dir_, &graph_);
      ExamineSources(plan, bindings, checkpoint);
      if (checkpoint) ExamineKeys(plan, bindings, *checkpoint);
    });
  }

  // Where the variables that a load gives values get them from.
  void ExamineSources(const RestorePlan& plan, const ObjectBindings& bindings,
                      const std::optional<Checkpoint>& checkpoint) {
    std::set<std::string> filled;  // by ResourceId
    const auto fill = [&](const std::string& operation) {
      for (const tf::NodeDef* node : ReachFrom({operation})) {
        if (IsResource(*node)) filled.insert(ResourceId(*node));
      }
    };
    if (!init_op_.empty()) fill(init_op_);
    if (checkpoint && !plan.complete) fill(meta_graph_.saver_def().restore_op_name());

    std::set<std::string> restored;  // by ResourceId
    const auto restore = [&](const Nodes& nodes) {
      for (const tf::NodeDef* node : nodes) {
        if (!checkpoint || !IsResource(*node) || restored.count(ResourceId(*node)) != 0)
          continue;
        std::string repair;
        const std::vector<CheckpointTensor> tensors = FindInCheckpoint(
            *node, plan, bindings, *checkpoint, meta_graph_.object_graph_def(), &repair);
        if (tensors.empty()) continue;
        restored.insert(ResourceId(*node));
        if (!repair.empty()) diagnosis_.repairs.push_back(std::move(repair));
        for (const CheckpointTensor& tensor : tensors) {
          diagnosis_.memory.weights += checkpoint->BytesOf(tensor);
          ExamineValue(*node, tensor, *checkpoint);
        }
      }
    };
    // Those of these nodes whose variable has no value when they are run.
    const auto missing = [&](const Nodes& nodes) {
      Nodes without;
      for (const tf::NodeDef* node : nodes) {
        if (IsResource(*node) && !IsTable(*node) &&
            restored.count(ResourceId(*node)) == 0 &&
            filled.count(ResourceId(*node)) == 0)
          without.push_back(node);
      }
      if (without.empty()) return without;
      const auto assigned = AssignedBy(nodes, graph_);
      Nodes needed;
      for (const tf::NodeDef* node : without) {
        if (assigned.count(node) == 0) needed.push_back(node);
      }
      return needed;
    };

    std::map<std::string, Nodes> reached;
    for (const auto& [key, signature] : signatures_) {
      reached[key] = ReachFrom(TensorsOf(signature));
      restore(reached[key]);
    }
    diagnosis_.memory.signature_weights = diagnosis_.memory.weights;
    const Nodes bound =
        ReachFrom(BoundResources(bindings, meta_graph_.object_graph_def()));
    restore(bound);
    std::sort(diagnosis_.repairs.begin(), diagnosis_.repairs.end());

    static constexpr char kNoValue[] =
        "neither the checkpoint nor the init op has a value for it; needed by ";
    std::map<std::string, std::string> needed_by;  // variable -> signatures
    for (const auto& [key, nodes] : reached) {
      for (const tf::NodeDef* node : missing(nodes)) {
        std::string& signatures = needed_by[VariableName(*node, bindings)];
        signatures += (signatures.empty() ? "signature '" : ", '") + key + "'";
      }
    }
    for (const auto& [variable, signatures] : needed_by)
      Add(true, "unrestored_variable", variable, kNoValue + signatures);
    for (const tf::NodeDef* node : missing(bound)) {
      const std::string variable = VariableName(*node, bindings);
      if (needed_by.count(variable) == 0) {
        Add(false, "unrestored_variable", variable,
            std::string(kNoValue) + "functions only");
      }
    }
  }

  // A node of ours that stands for an object is none that a user knows.
  std::string VariableName(const tf::NodeDef& node,
                           const ObjectBindings& bindings) const {
    const auto object = bindings.objects.find(node.name());
    if (object == bindings.objects.end() || node.name().rfind("savedmodel/", 0) != 0)
      return node.name();
    const std::string& name =
        meta_graph_.object_graph_def().nodes(object->second).variable().name();
    return name.empty() ? node.name() : name;
  }

  // Whether a variable can take what it is to be given.
  void ExamineValue(const tf::NodeDef& node, const CheckpointTensor& tensor,
                    const Checkpoint& checkpoint) {
    const auto entry = checkpoint.entries().find(tensor.key);
    if (entry == checkpoint.entries().end()) {
      Add(true, "missing_key", tensor.key,
          "not in the checkpoint, but variable '" + node.name() +
              "' is restored from there");
      return;
    }
    if (IsTable(node)) return;
    Guarded("mismatched_variable", [&] {
      tf::TensorShape shape(entry->second.shape());
      if (!tensor.shape_and_slice.empty()) {
        tf::TensorShape whole;
        tf::TensorSlice slice;
        tf::TensorShape sliced;
        ThrowIfError(tf::checkpoint::ParseShapeAndSlice(tensor.shape_and_slice, &whole,
                                                        &slice, &sliced),
                     context_ + ", variable '" + node.name() + "'");
        shape = sliced;
      }
      CheckRestored(node, tensor.key, entry->second.dtype(), shape, context_);
    });
  }

  void ExamineKeys(const RestorePlan& plan, const ObjectBindings& bindings,
                   const Checkpoint& checkpoint) {
    std::set<std::string> read;
    for (const auto& keys : bindings.keys) {
      for (const auto& [attribute, key] : keys) read.insert(key);
    }
    if (!AddKeys(plan, &read)) return;
    std::vector<std::string> unread;
    for (const auto& [key, entry] : checkpoint.entries()) {
      if (read.count(key) == 0 && !IsBookkeeping(key)) unread.push_back(key);
    }
    if (unread.empty() || !AddKeysOfOthers(&read)) return;
    for (const std::string& key : unread) {
      if (read.count(key) != 0) continue;
      Add(false, "unread_key", key,
          "in the checkpoint (" + std::to_string(checkpoint.BytesOf({key, ""})) +
              " bytes), but no variable is restored from there");
    }
  }

  // The keys that a restore op reads. False if that is not known.
  static bool AddKeys(const RestorePlan& plan, std::set<std::string>* read) {
    for (const auto& [node, tensors] : plan.tensors) {
      for (const CheckpointTensor& tensor : tensors) read->insert(tensor.key);
    }
    return plan.complete;
  }

  // All MetaGraphs of a SavedModel share its checkpoint.
  bool AddKeysOfOthers(std::set<std::string>* read) const {
    tf::SavedModel saved_model;
    ReadSavedModelProto(export_dir_, &saved_model);
    if (saved_model.meta_graphs_size() == 1) return true;
    for (const tf::MetaGraphDef& unchecked : saved_model.meta_graphs()) {
      const auto& tags = unchecked.meta_info_def().tags();
      const tf::MetaGraphDef other =
          ReadMetaGraph(export_dir_, std::vector<std::string>(tags.begin(), tags.end()));
      if (!AddKeys(ReadRestorePlan(other, GraphIndex(other.graph_def())), read))
        return false;
    }
    return true;
  }

  const std::string& export_dir_;
  const std::string context_;
  const tf::MetaGraphDef& meta_graph_;
  const DiagnoseOptions& options_;
  GraphIndex graph_;
  std::map<std::string, SignatureDef> signatures_;
  std::string init_op_;
  std::map<std::tuple<bool, std::string, std::string, std::string>, std::size_t> grouped_;
  Diagnosis diagnosis_;
};

}  // namespace

Diagnosis Diagnose(const std::string& path, const DiagnoseOptions& options) {
  EnsureRuntime();
  const std::string export_dir = ResolveExportDir(path, options.version);
  const tf::MetaGraphDef meta_graph = ReadMetaGraph(export_dir, options.tags);
  return Doctor(export_dir, meta_graph, options).Examine();
}

}  // namespace savedmodel
