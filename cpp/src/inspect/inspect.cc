#include "savedmodel/inspect.h"

#include <algorithm>
#include <filesystem>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

#include "core/runtime.h"
#include "core/status.h"
#include "inspect/graph_index.h"
#include "inspect/meta_graph.h"
#include "inspect/saved_model_dir.h"
#include "inspect/structured_value.h"
#include "inspect/usage.h"
#include "tensorflow/cc/saved_model/constants.h"
#include "tensorflow/cc/saved_model/loader_util.h"
#include "tensorflow/core/framework/variable.pb.h"
#include "tensorflow/core/platform/env.h"
#include "tensorflow/core/protobuf/saved_object_graph.pb.h"
#include "tensorflow/core/protobuf/tensor_bundle.pb.h"
#include "tensorflow/core/util/tensor_bundle/tensor_bundle.h"

namespace savedmodel {

namespace {

namespace fs = std::filesystem;
namespace tf = tensorflow;

template <typename Records>
void SortByPath(Records* records) {
  std::sort(records->begin(), records->end(),
            [](const auto& a, const auto& b) { return a.path < b.path; });
}

std::uint64_t ToSize(int size) { return static_cast<std::uint64_t>(size); }

// A dtype of the table, reference types as what they refer to. Throws DataLoss.
DataType ToDataType(int number, const std::string& where) {
  const auto dtype = static_cast<DataType>(number > 100 ? number - 100 : number);
  if (!IsValid(dtype)) {
    throw Error(ErrorCode::kDataLoss,
                where + ": dtype " + std::to_string(number) + " is none of TensorFlow's");
  }
  return dtype;
}

// The attributes by which the nodes of the object graph are reached from its root; of
// several ways the shortest.
class ObjectPaths {
 public:
  // Throws DataLoss for a child that does not exist.
  ObjectPaths(const tf::SavedObjectGraph& graph, const std::string& context)
      : ways_(ToSize(graph.nodes_size())) {
    for (const tf::SavedObject& object : graph.nodes()) {
      for (const auto& child : object.children()) {
        if (child.node_id() >= 0 && child.node_id() < graph.nodes_size()) continue;
        throw Error(ErrorCode::kDataLoss,
                    context + ", object graph: child '" + child.local_name() +
                        "' is node " + std::to_string(child.node_id()) +
                        ", and there are " + std::to_string(graph.nodes_size()));
      }
    }
    std::vector<int> queue;
    if (graph.nodes_size() > 0) queue.push_back(0);
    for (std::size_t next = 0; next < queue.size(); ++next) {
      for (const auto& child : graph.nodes(queue[next]).children()) {
        Way& way = ways_[ToSize(child.node_id())];
        if (child.node_id() == 0 || way.name != nullptr) continue;
        way = {queue[next], &child.local_name()};
        queue.push_back(child.node_id());
      }
    }
  }

  // "layers.0.call"; empty for the root and for what nothing leads to.
  std::string operator[](int node) const {
    std::vector<const std::string*> names;
    for (; ways_[ToSize(node)].name != nullptr; node = ways_[ToSize(node)].parent)
      names.push_back(ways_[ToSize(node)].name);
    std::string path;
    for (auto name = names.rbegin(); name != names.rend(); ++name)
      path += (path.empty() ? "" : ".") + **name;
    return path;
  }

 private:
  struct Way {
    int parent = 0;
    const std::string* name = nullptr;
  };
  std::vector<Way> ways_;
};

class MetaGraphReader {
 public:
  MetaGraphReader(const tf::MetaGraphDef& proto, const std::string& export_dir,
                  const InspectOptions& options)
      : proto_(proto),
        export_dir_(export_dir),
        context_("model '" + export_dir + "'"),
        options_(options),
        index_(proto.graph_def()) {}

  MetaGraphInfo Read() {
    const auto& meta_info = proto_.meta_info_def();
    info_.tags.assign(meta_info.tags().begin(), meta_info.tags().end());
    info_.tensorflow_version = meta_info.tensorflow_version();
    info_.tensorflow_git_version = meta_info.tensorflow_git_version();
    info_.producer = proto_.graph_def().versions().producer();
    info_.min_consumer = proto_.graph_def().versions().min_consumer();
    info_.signatures = ReadSignatures(export_dir_, proto_);
    ReadSignatureDefs();
    for (const Asset& asset : ReadAssets(export_dir_, proto_))
      info_.assets.push_back({asset.name, asset.tensor});
    ThrowIfError(tf::internal::GetInitOp(export_dir_, proto_, &info_.init_op), context_);
    CountOps();
    FindCalledOps();
    if (!options_.list_nodes.empty()) ListNodes();
    ReadCollections();
    if (proto_.has_saver_def()) {
      const tf::SaverDef& saver = proto_.saver_def();
      info_.saver = {saver.filename_tensor_name(), saver.save_tensor_name(),
                     saver.restore_op_name(),      saver.sharded(),
                     saver.max_to_keep(),          static_cast<int>(saver.version())};
    }
    if (proto_.has_object_graph_def()) {
      ReadObjectGraph();
    } else {
      ReadGraphObjects();
    }
    SortByPath(&info_.functions);
    SortByPath(&info_.variables);
    SortByPath(&info_.tables);
    return std::move(info_);
  }

 private:
  void ReadSignatureDefs() {
    for (const auto& [key, proto] : proto_.signature_def()) {
      SignatureDefInfo& info = info_.signature_defs[key];
      const std::string context = context_ + ", signature '" + key + "'";
      info.method_name = proto.method_name();
      for (const auto& [input, tensor] : proto.inputs())
        info.inputs[input] = ToTensorInfo(tensor, context + ", input '" + input + "'");
      for (const auto& [output, tensor] : proto.outputs())
        info.outputs[output] =
            ToTensorInfo(tensor, context + ", output '" + output + "'");
    }
  }

  static TensorInfo ToTensorInfo(const tf::TensorInfo& proto,
                                 const std::string& context) {
    const std::string dtype = tf::DataType_Name(proto.dtype());
    return {proto.name(), dtype.empty() ? std::to_string(proto.dtype()) : dtype,
            ToPartialShape(proto.tensor_shape(), context)};
  }

  void FindCalledOps() {
    std::set<std::string_view> ops;
    std::unordered_set<const tf::FunctionDef*> seen;
    std::vector<const tf::FunctionDef*> queue;
    const auto call = [&](std::string_view name) {
      const tf::FunctionDef* function = index_.FindFunction(name);
      if (function != nullptr && seen.insert(function).second) queue.push_back(function);
      return function != nullptr;
    };
    const auto visit = [&](const tf::NodeDef& node) {
      if (!call(node.op())) ops.insert(node.op());
      if (!IsPartitionedCall(node)) return;
      const auto f = node.attr().find("f");
      // TensorFlow counts the name of a function that there is not as an op.
      const std::string_view name =
          f == node.attr().end() ? "" : std::string_view(f->second.func().name());
      if (!call(name)) ops.insert(name);
    };
    for (const tf::NodeDef& node : proto_.graph_def().node()) visit(node);
    while (!queue.empty()) {
      const tf::FunctionDef* function = queue.back();
      queue.pop_back();
      for (const tf::NodeDef& node : function->node_def()) visit(node);
    }
    info_.called_ops.assign(ops.begin(), ops.end());
  }

  void ListNodes() {
    Usage usage(proto_, index_, info_.signatures, info_.init_op, context_);
    ForEachNode(proto_.graph_def(),
                [&](const tf::NodeDef& node, const tf::FunctionDef* function) {
                  if (options_.list_nodes.count(node.op()) == 0) return;
                  info_.nodes.push_back(usage.Info(node, function));
                });
  }

  void CountOps() {
    std::unordered_map<std::string_view, std::uint64_t> counts;
    ForEachNode(proto_.graph_def(),
                [&counts](const tf::NodeDef& node, const tf::FunctionDef*) {
                  ++counts[node.op()];
                });
    for (const auto& [op, count] : counts) info_.ops.emplace(op, count);
    info_.num_nodes = ToSize(proto_.graph_def().node_size());
    info_.num_functions = ToSize(proto_.graph_def().library().function_size());
  }

  void ReadCollections() {
    for (const auto& [name, collection] : proto_.collection_def()) {
      CollectionInfo& info = info_.collections[name];
      switch (collection.kind_case()) {
        case tf::CollectionDef::kNodeList: {
          const auto& nodes = collection.node_list().value();
          info.nodes.assign(nodes.begin(), nodes.end());
          info.kind = "node_list";
          info.size = info.nodes.size();
          break;
        }
        case tf::CollectionDef::kBytesList:
          info.kind = "bytes_list";
          info.size = ToSize(collection.bytes_list().value_size());
          break;
        case tf::CollectionDef::kInt64List:
          info.kind = "int64_list";
          info.size = ToSize(collection.int64_list().value_size());
          break;
        case tf::CollectionDef::kFloatList:
          info.kind = "float_list";
          info.size = ToSize(collection.float_list().value_size());
          break;
        case tf::CollectionDef::kAnyList:
          info.kind = "any_list";
          info.size = ToSize(collection.any_list().value_size());
          break;
        case tf::CollectionDef::KIND_NOT_SET: break;
      }
    }
  }

  void ReadObjectGraph() {
    const tf::SavedObjectGraph& graph = proto_.object_graph_def();
    const ObjectPaths paths(graph, context_);
    info_.num_objects = ToSize(graph.nodes_size());
    // A tf.function's traces are its children, too.
    std::unordered_set<int> traces;
    for (const tf::SavedObject& object : graph.nodes()) {
      if (!object.has_function()) continue;
      for (const auto& child : object.children()) traces.insert(child.node_id());
    }
    std::vector<std::vector<std::string>> root_names(ToSize(graph.nodes_size()));
    if (graph.nodes_size() > 0) {
      for (const auto& child : graph.nodes(0).children())
        root_names[ToSize(child.node_id())].push_back(child.local_name());
    }
    for (int id = 0; id < graph.nodes_size(); ++id) {
      const tf::SavedObject& object = graph.nodes(id);
      std::vector<std::string>& names = root_names[ToSize(id)];
      std::sort(names.begin(), names.end());
      switch (object.kind_case()) {
        case tf::SavedObject::kFunction: {
          FunctionInfo& function = info_.functions.emplace_back();
          function.path = Counted(paths[id]);
          function.root_names = std::move(names);
          std::vector<std::string> names_of_traces(
              object.function().concrete_functions().begin(),
              object.function().concrete_functions().end());
          if (names_of_traces.size() > 1) SortAsLoaded(&names_of_traces);
          for (const std::string& name : names_of_traces)
            function.concrete_functions.push_back(ConcreteFunction(name));
          break;
        }
        case tf::SavedObject::kBareConcreteFunction: {
          if (traces.count(id) != 0) break;
          FunctionInfo& function = info_.functions.emplace_back();
          function.path = Counted(paths[id]);
          function.root_names = std::move(names);
          function.concrete_functions.push_back(
              ConcreteFunction(object.bare_concrete_function().concrete_function_name()));
          break;
        }
        case tf::SavedObject::kVariable: {
          const tf::SavedVariable& variable = object.variable();
          const std::string path = Counted(paths[id]);
          const std::string where = context_ + ", variable '" + path + "'";
          info_.variables.push_back({path, variable.name(),
                                     ToDataType(variable.dtype(), where),
                                     ToPartialShape(variable.shape(), where),
                                     variable.trainable(), variable.device()});
          break;
        }
        case tf::SavedObject::kResource:
          info_.tables.push_back({Counted(paths[id]), CreatingOp(object)});
          break;
        default: break;
      }
    }
  }

  // Sorts functions as TensorFlow's Python loads them: each after what it calls and what
  // its gradients are; else the last one of the library first
  // (tensorflow/python/saved_model/function_deserialization.py, _sort_function_defs).
  void SortAsLoaded(std::vector<std::string>* names) {
    if (load_order_.empty()) FindLoadOrder();
    const auto position = [this](const std::string& name) {
      const auto found = load_order_.find(name);
      return found == load_order_.end() ? load_order_.size() : found->second;
    };
    std::stable_sort(names->begin(), names->end(),
                     [&position](const std::string& a, const std::string& b) {
                       return position(a) < position(b);
                     });
  }

  void FindLoadOrder() {
    const tf::FunctionDefLibrary& library = proto_.graph_def().library();
    std::unordered_map<std::string_view, const std::string*> gradients;
    for (const tf::RegisteredGradient& gradient : library.registered_gradients())
      gradients.emplace(gradient.registered_op_type(), &gradient.gradient_func());
    std::unordered_map<std::string_view, std::vector<std::string_view>> callers;
    std::unordered_map<std::string_view, std::size_t> missing;  // callees not loaded yet
    std::vector<std::string_view> ready;
    for (const tf::FunctionDef& function : library.function()) {
      std::unordered_set<std::string_view> callees;
      for (const tf::NodeDef& node : function.node_def()) {
        const auto gradient = gradients.find(StringAttr(node, "_gradient_op_type"));
        if (index_.FindFunction(node.op()) == nullptr && gradient != gradients.end() &&
            !IsPartitionedCall(node)) {
          callees.insert(*gradient->second);
        } else {
          ForEachCallee(node, [&](const std::string& name) {
            if (index_.FindFunction(name) != nullptr) callees.insert(name);
          });
        }
      }
      const std::string& name = function.signature().name();
      for (const std::string_view callee : callees) callers[callee].push_back(name);
      missing[name] = callees.size();
      if (callees.empty()) ready.push_back(name);
    }
    while (!ready.empty()) {
      const std::string_view name = ready.back();
      ready.pop_back();
      load_order_.emplace(name, load_order_.size());
      for (const std::string_view caller : callers[name]) {
        if (--missing[caller] == 0) ready.push_back(caller);
      }
    }
    // What is left calls itself.
    for (const tf::FunctionDef& function : library.function())
      load_order_.emplace(function.signature().name(), load_order_.size());
  }

  ConcreteFunctionInfo ConcreteFunction(const std::string& name) {
    const auto& functions = proto_.object_graph_def().concrete_functions();
    const auto found = functions.find(name);
    if (found == functions.end()) {
      throw Error(ErrorCode::kDataLoss, context_ +
                                            ", object graph: there is no concrete "
                                            "function '" +
                                            name + "'");
    }
    const std::string what = context_ + ", function '" + name + "'";
    ConcreteFunctionInfo info;
    info.name = name;
    // Functions that nobody is to call have no signatures.
    const tf::StructuredValue& inputs = found->second.canonicalized_input_signature();
    if (inputs.kind_case() != tf::StructuredValue::KIND_NOT_SET) {
      info.arguments = FromStructuredValue(inputs, what);
      info.inputs = Counted(info.arguments.ToString());
    }
    const tf::StructuredValue& outputs = found->second.output_signature();
    if (outputs.kind_case() != tf::StructuredValue::KIND_NOT_SET) {
      info.outputs = Counted(FromStructuredValue(outputs, what).ToString());
    }
    return info;
  }

  // A small file can say much: objects in a chain have paths that sum up to its square,
  // and any number of functions can have the same trace.
  std::string Counted(std::string text) {
    constexpr std::size_t kMaxText = std::size_t{1} << 28;
    text_size_ += text.size();
    if (text_size_ > kMaxText) {
      throw Error(ErrorCode::kResourceExhausted,
                  context_ + ", object graph: its paths and signatures are too long");
    }
    return text;
  }

  // The op that makes the resource: in its function `_create_resource`, the one that is
  // not there for its arguments' sake.
  std::string CreatingOp(const tf::SavedObject& object) {
    for (const auto& child : object.children()) {
      if (child.local_name() != "_create_resource") continue;
      const auto& nodes = proto_.object_graph_def().nodes();
      const tf::SavedFunction& function = nodes[child.node_id()].function();
      if (function.concrete_functions_size() != 1) return "";
      const tf::FunctionDef* body = index_.FindFunction(function.concrete_functions(0));
      if (body == nullptr) return "";
      for (const tf::NodeDef& node : body->node_def()) {
        if (node.op() != "Const" && node.op() != "NoOp" && node.op() != "Identity")
          return node.op();
      }
    }
    return "";
  }

  // TF1: what there is of objects are nodes.
  void ReadGraphObjects() {
    std::unordered_set<std::string> trainable;
    const auto collection = proto_.collection_def().find("trainable_variables");
    if (collection != proto_.collection_def().end()) {
      for (const std::string& bytes : collection->second.bytes_list().value()) {
        tf::VariableDef variable;
        if (!variable.ParseFromString(bytes)) continue;
        trainable.insert(
            variable.variable_name().substr(0, variable.variable_name().find(':')));
      }
    }
    for (const tf::NodeDef& node : proto_.graph_def().node()) {
      const std::string& op = node.op();
      if (op == "VarHandleOp" || op == "VariableV2" || op == "Variable") {
        const std::string where = context_ + ", node '" + node.name() + "'";
        const auto dtype = node.attr().find("dtype");
        const auto shape = node.attr().find("shape");
        if (dtype == node.attr().end() || shape == node.attr().end()) {
          throw Error(ErrorCode::kDataLoss,
                      where + ": a variable without dtype or shape");
        }
        info_.variables.push_back({node.name(), node.name(),
                                   ToDataType(dtype->second.type(), where),
                                   ToPartialShape(shape->second.shape(), where),
                                   trainable.count(node.name()) != 0, node.device()});
      } else if (op == "HashTable" || op == "HashTableV2" || op == "MutableHashTable" ||
                 op == "MutableHashTableV2" || op == "MutableHashTableOfTensors" ||
                 op == "MutableHashTableOfTensorsV2" || op == "MutableDenseHashTable" ||
                 op == "MutableDenseHashTableV2" || op == "AnonymousHashTable") {
        info_.tables.push_back({node.name(), op});
      }
    }
  }

  const tf::MetaGraphDef& proto_;
  const std::string& export_dir_;
  const std::string context_;
  MetaGraphInfo info_;
  std::size_t text_size_ = 0;
  const InspectOptions& options_;
  const GraphIndex index_;
  std::unordered_map<std::string_view, std::size_t> load_order_;  // by function
};

std::string SliceText(const tf::TensorSliceProto& slice) {
  std::string text;
  for (const auto& extent : slice.extent()) {
    if (!text.empty()) text += ':';
    text += extent.has_length()
                ? std::to_string(extent.start()) + "," + std::to_string(extent.length())
                : "-";
  }
  return text;
}

void ReadCheckpoint(Inspection* inspection) {
  const std::string context = "model '" + inspection->path + "', variables.index";
  const std::string prefix =
      (fs::path(inspection->path) / tf::kSavedModelVariablesDirectory /
       tf::kSavedModelVariablesFilename)
          .string();
  std::error_code ignored;
  if (!fs::is_regular_file(prefix + ".index", ignored)) return;
  tf::BundleReader reader(tf::Env::Default(), prefix);
  ThrowIfUnreadable(reader.status(), context);
  reader.Seek(tf::kHeaderEntryKey);
  tf::BundleHeaderProto header;
  if (!reader.Valid() || !reader.key().empty() ||
      !header.ParseFromArray(reader.value().data(),
                             static_cast<int>(reader.value().size()))) {
    throw Error(ErrorCode::kDataLoss, context + " has no header");
  }
  inspection->num_shards = header.num_shards();
  for (reader.Next(); reader.Valid(); reader.Next()) {
    const std::string key(reader.key());
    // The entry of one slice, under a name of numbers: the tensor's own entry lists it.
    if (!key.empty() && key.front() == '\0') continue;
    const std::string where = context + ", key '" + key + "'";
    tf::BundleEntryProto entry;
    tf::TensorShape shape;
    if (!entry.ParseFromArray(reader.value().data(),
                              static_cast<int>(reader.value().size())) ||
        !tf::TensorShape::BuildTensorShape(entry.shape(), &shape).ok() ||
        entry.size() < 0) {
      throw Error(ErrorCode::kDataLoss, where + ": the entry cannot be read");
    }
    CheckpointEntry& listed = inspection->checkpoint.emplace_back();
    listed.key = key;
    listed.dtype = ToDataType(entry.dtype(), where);
    for (int i = 0; i < shape.dims(); ++i) listed.shape.push_back(shape.dim_size(i));
    listed.bytes = static_cast<std::uint64_t>(entry.size());
    listed.shard = entry.shard_id();
    for (const tf::TensorSliceProto& slice : entry.slices())
      listed.slices.push_back(SliceText(slice));
    if (!listed.slices.empty()) {
      listed.bytes =
          static_cast<std::uint64_t>(shape.num_elements()) * DataTypeSize(listed.dtype);
    }
  }
}

std::vector<FileInfo> ListFiles(const std::string& export_dir) {
  std::vector<FileInfo> files;
  std::error_code error;
  for (fs::recursive_directory_iterator
           it(export_dir, fs::directory_options::skip_permission_denied, error),
       end;
       !error && it != end; it.increment(error)) {
    if (!it->is_regular_file(error)) continue;
    const std::uintmax_t bytes = it->file_size(error);
    if (error) break;
    files.push_back({it->path().lexically_relative(export_dir).generic_string(), bytes});
  }
  if (error) {
    throw Error(ErrorCode::kUnknown,
                "cannot list the files of '" + export_dir + "': " + error.message());
  }
  std::sort(files.begin(), files.end(),
            [](const FileInfo& a, const FileInfo& b) { return a.name < b.name; });
  return files;
}

bool Holds(const std::vector<FileInfo>& files, const std::string& name) {
  return std::any_of(files.begin(), files.end(),
                     [&name](const FileInfo& file) { return file.name == name; });
}

}  // namespace

Inspection Inspect(const std::string& path, const InspectOptions& options) {
  PrepareLogging();
  Inspection inspection;
  inspection.path = ResolveExportDir(path, options.version);
  if (inspection.path != LocalPath(path)) {
    for (const auto& [number, folder] : ListVersions(LocalPath(path)))
      inspection.versions.push_back(number);
  }
  inspection.format = SavedModelFormat(inspection.path);
  inspection.files = ListFiles(inspection.path);
  inspection.fingerprint = ReadFingerprint(inspection.path);
  inspection.extra_assets = ReadExtraAssets(inspection.path);
  inspection.has_debug_info = Holds(inspection.files, "debug/saved_model_debug_info.pb");
  inspection.has_keras_metadata = Holds(inspection.files, "keras_metadata.pb");
  inspection.has_warmup_requests =
      Holds(inspection.files, "assets.extra/tf_serving_warmup_requests");

  // Destroying a large message costs as much as reading it; its arena goes at once.
  tf::protobuf::Arena arena;
  auto* saved_model = tf::protobuf::Arena::Create<tf::SavedModel>(&arena);
  ReadSavedModelProto(inspection.path, saved_model);
  for (const tf::MetaGraphDef& meta_graph : saved_model->meta_graphs()) {
    inspection.meta_graphs.push_back(
        MetaGraphReader(meta_graph, inspection.path, options).Read());
  }
  ReadCheckpoint(&inspection);
  return inspection;
}

}  // namespace savedmodel
