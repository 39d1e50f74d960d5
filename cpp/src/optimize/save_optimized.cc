#include "optimize/save_optimized.h"

#include <algorithm>
#include <filesystem>
#include <set>
#include <utility>
#include <vector>

#include "core/status.h"
#include "load/save.h"
#include "load/variable_sources.h"
#include "optimize/freeze.h"
#include "tensorflow/cc/saved_model/constants.h"
#include "tensorflow/cc/saved_model/loader_util.h"
#include "tensorflow/core/framework/variable.pb.h"
#include "tensorflow/core/platform/env.h"
#include "tensorflow/core/protobuf/saved_model.pb.h"
#include "tensorflow/core/util/tensor_bundle/tensor_bundle.h"

namespace savedmodel {

namespace {

namespace fs = std::filesystem;
namespace tf = tensorflow;

// A message ends at 2 GiB; the nodes, too, need room.
constexpr std::uint64_t kMaxConstantBytes = (std::uint64_t{1} << 31) - (1 << 28);

// Adds the nodes that write and read what is no constant: TF1's kind of saver, which
// every loader of SavedModels knows.
class Saver {
 public:
  explicit Saver(tf::MetaGraphDef* meta_graph) : meta_graph_(*meta_graph) {
    for (const tf::NodeDef& node : meta_graph->graph_def().node())
      names_.insert(node.name());
    filename_ = Add("filename", "Const", {});
    SetType(filename_, "dtype", tf::DT_STRING);
    SetStrings(filename_, {"model"}, /*scalar=*/true);
  }

  void AddVariable(const tf::NodeDef& variable, tf::Tensor value) {
    const tf::DataType dtype = value.dtype();
    const std::string& name = variable.name();
    const bool is_ref = IsRefVariable(variable);
    std::string snapshot = name;
    if (!is_ref) {
      tf::NodeDef* read = Add("read", "ReadVariableOp", {name});
      SetType(read, "dtype", dtype);
      snapshot = read->name();
    }
    const std::string restored = Restore({{name, std::move(value)}}, {snapshot}).front();
    tf::NodeDef* assign =
        Add("assign", is_ref ? "Assign" : "AssignVariableOp", {name, restored});
    SetType(assign, is_ref ? "T" : "dtype", dtype);
    restore_.push_back("^" + assign->name());

    tf::VariableDef definition;
    definition.set_variable_name(name + ":0");
    definition.set_initializer_name(assign->name());
    definition.set_snapshot_name(snapshot + ":0");
    definition.set_is_resource(!is_ref);
    (*meta_graph_.mutable_collection_def())["variables"].mutable_bytes_list()->add_value(
        definition.SerializeAsString());
  }

  void AddTable(const tf::NodeDef& table, std::vector<tf::Tensor> values) {
    const tf::DataType keys = values.at(0).dtype();
    const tf::DataType items = values.at(1).dtype();
    tf::NodeDef* read = Add("export", "LookupTableExportV2", {table.name()});
    SetType(read, "Tkeys", keys);
    SetType(read, "Tvalues", items);
    const std::string exported = read->name();
    const std::vector<std::string> restored =
        Restore({{table.name() + "-keys", std::move(values[0])},
                 {table.name() + "-values", std::move(values[1])}},
                {exported, exported + ":1"});
    tf::NodeDef* import = Add("import", "LookupTableImportV2",
                              {table.name(), restored.at(0), restored.at(1)});
    SetType(import, "Tin", keys);
    SetType(import, "Tout", items);
    restore_.push_back("^" + import->name());
  }

  // Writes the variables files under `prefix`.
  void Finish(const std::string& prefix, const std::string& context) {
    std::vector<std::string> inputs{filename_->name(), StringsNode(names_of_tensors_),
                                    StringsNode(no_slices_)};
    inputs.insert(inputs.end(), saved_.begin(), saved_.end());
    tf::NodeDef* save = Add("save", "SaveV2", inputs);
    auto* types = (*save->mutable_attr())["dtypes"].mutable_list();
    for (const std::string& name : names_of_tensors_)
      types->add_type(tensors_.at(name).dtype());
    tf::NodeDef* saved =
        Add("saved", "Identity", {filename_->name(), "^" + save->name()});
    SetType(saved, "T", tf::DT_STRING);
    tf::NodeDef* restore = Add("restore_all", "NoOp", restore_);
    tf::SaverDef* saver = meta_graph_.mutable_saver_def();
    saver->set_filename_tensor_name(filename_->name() + ":0");
    saver->set_save_tensor_name(saved->name() + ":0");
    saver->set_restore_op_name(restore->name());
    saver->set_version(tf::SaverDef::V2);

    fs::create_directories(fs::path(prefix).parent_path());
    tf::BundleWriter writer(tf::Env::Default(), prefix);
    ThrowIfError(writer.status(), context);
    for (const auto& [key, value] : tensors_)
      ThrowIfError(writer.Add(key, value), context);
    ThrowIfError(writer.Finish(), context);
  }

 private:
  tf::NodeDef* Add(const std::string& name, const char* op,
                   const std::vector<std::string>& inputs) {
    std::string unique = "savedmodel/save/" + name;
    for (int i = 1; !names_.insert(unique).second; ++i)
      unique = "savedmodel/save/" + name + "_" + std::to_string(i);
    tf::NodeDef* node = meta_graph_.mutable_graph_def()->add_node();
    node->set_name(unique);
    node->set_op(op);
    for (const std::string& input : inputs) node->add_input(input);
    return node;
  }

  static void SetType(tf::NodeDef* node, const char* name, tf::DataType type) {
    (*node->mutable_attr())[name].set_type(type);
  }

  static void SetStrings(tf::NodeDef* node, const std::vector<std::string>& strings,
                         bool scalar) {
    tf::TensorProto* value = (*node->mutable_attr())["value"].mutable_tensor();
    value->set_dtype(tf::DT_STRING);
    value->mutable_tensor_shape();
    if (!scalar) {
      value->mutable_tensor_shape()->add_dim()->set_size(
          static_cast<std::int64_t>(strings.size()));
    }
    for (const std::string& string : strings) value->add_string_val(string);
  }

  std::string StringsNode(const std::vector<std::string>& strings) {
    tf::NodeDef* node = Add("names", "Const", {});
    SetType(node, "dtype", tf::DT_STRING);
    SetStrings(node, strings, /*scalar=*/false);
    return node->name();
  }

  // A RestoreV2 of these tensors, which SaveV2 takes from `saved`; its outputs.
  std::vector<std::string> Restore(
      std::vector<std::pair<std::string, tf::Tensor>> tensors,
      const std::vector<std::string>& saved) {
    std::vector<std::string> names;
    for (const auto& [name, value] : tensors) names.push_back(name);
    const std::vector<std::string> slices(names.size());
    const std::vector<std::string> inputs{filename_->name(), StringsNode(names),
                                          StringsNode(slices)};
    tf::NodeDef* node = Add("restore", "RestoreV2", inputs);
    std::vector<std::string> outputs;
    for (auto& [name, value] : tensors) {
      (*node->mutable_attr())["dtypes"].mutable_list()->add_type(value.dtype());
      outputs.push_back(node->name() + ":" + std::to_string(outputs.size()));
      names_of_tensors_.push_back(name);
      no_slices_.emplace_back();
      tensors_.emplace(name, std::move(value));
    }
    saved_.insert(saved_.end(), saved.begin(), saved.end());
    return outputs;
  }

  tf::MetaGraphDef& meta_graph_;
  std::set<std::string> names_;
  tf::NodeDef* filename_;
  std::vector<std::string> names_of_tensors_;
  std::vector<std::string> no_slices_;
  std::vector<std::string> saved_;
  std::vector<std::string> restore_;
  std::map<std::string, tf::Tensor> tensors_;
};

class Optimizer {
 public:
  Optimizer(const BundleHandle& handle, LoadedBundle* bundle,
            const std::map<std::string, SignatureDef>& signatures)
      : handle_(handle),
        bundle_(*bundle),
        source_(bundle->meta_graph_def),
        signatures_(signatures),
        context_("model '" + handle.export_dir() + "'") {}

  OptimizeReport Write(const fs::path& directory) {
    ReadRoots();
    bundle_.Require(roots_);
    FrozenGraph frozen = Freeze();
    *result_.mutable_graph_def() = std::move(frozen.graph);
    *result_.mutable_graph_def()->mutable_versions() = source_.graph_def().versions();
    FillConstants(frozen.frozen);
    AddDefinitions();
    AddAssets(directory);
    KeepState(frozen.kept, directory);
    WriteProto(directory);
    CopyPart(tf::kSavedModelAssetsExtraDirectory, handle_.export_dir(), directory);
    return std::move(report_);
  }

 private:
  void ReadRoots() {
    for (const auto& [name, signature] : signatures_) {
      for (const auto* tensors : {&signature.inputs, &signature.outputs}) {
        for (const auto& [key, spec] : *tensors) roots_.push_back(spec.name);
      }
    }
    ThrowIfError(tf::internal::GetInitOp(handle_.export_dir(), source_, &init_op_),
                 context_);
    if (!init_op_.empty()) roots_.push_back(init_op_);
  }

  FrozenGraph Freeze() {
    std::unordered_map<std::string, std::string> keep;
    for (;;) {
      FrozenGraph frozen = FreezeVariables(*bundle_.index, roots_, keep, context_);
      std::uint64_t total = 0;
      std::pair<std::uint64_t, const std::string*> largest{0, nullptr};
      bool again = false;
      for (const std::string& node : frozen.frozen) {
        const tf::Tensor value = bundle_.graph->ReadVariable(node);
        if (value.dtype() == tf::DT_VARIANT || value.dtype() == tf::DT_RESOURCE) {
          keep[node] = "a constant cannot hold its dtype";
          again = true;
        }
        const std::uint64_t bytes = value.TotalBytes();
        total += bytes;
        if (largest.second == nullptr || bytes > largest.first) largest = {bytes, &node};
      }
      if (total > kMaxConstantBytes && largest.second != nullptr) {
        keep[*largest.second] = "a graph with it would exceed 2 GiB";
        again = true;
      }
      if (!again) return frozen;
    }
  }

  void FillConstants(const std::vector<std::string>& nodes) {
    std::unordered_map<std::string, tf::NodeDef*> by_name;
    for (tf::NodeDef& node : *result_.mutable_graph_def()->mutable_node())
      by_name[node.name()] = &node;
    for (const std::string& name : nodes) {
      const tf::Tensor value = bundle_.graph->ReadVariable(name);
      tf::AttrValue& attribute = (*by_name.at(name)->mutable_attr())["value"];
      // Python reads strings by fields alone.
      if (value.dtype() == tf::DT_STRING) {
        value.AsProtoField(attribute.mutable_tensor());
      } else {
        value.AsProtoTensorContent(attribute.mutable_tensor());
      }
      ++report_.variables_frozen;
      report_.bytes_frozen += value.TotalBytes();
    }
  }

  void AddDefinitions() {
    *result_.mutable_meta_info_def() = source_.meta_info_def();
    // It lists the ops of the graph as it was.
    result_.mutable_meta_info_def()->clear_stripped_op_list();
    for (const auto& [name, signature] : signatures_)
      (*result_.mutable_signature_def())[name] = source_.signature_def().at(name);
    if (init_op_.empty()) return;
    tf::TensorInfo& info =
        (*(*result_.mutable_signature_def())[tf::kSavedModelInitOpSignatureKey]
              .mutable_outputs())[tf::kSavedModelInitOpSignatureKey];
    info.set_name(init_op_);
    info.mutable_tensor_shape()->set_unknown_rank(true);
  }

  // Those whose tensors are in the graph still.
  void AddAssets(const fs::path& directory) {
    std::unordered_map<std::string_view, tf::NodeDef*> nodes;
    for (tf::NodeDef& node : *result_.mutable_graph_def()->mutable_node())
      nodes.emplace(node.name(), &node);
    std::vector<tf::AssetFileDef> assets;
    ThrowIfError(tf::internal::GetAssetFileDefs(source_, &assets), context_);
    std::set<std::string> files;
    for (const tf::AssetFileDef& asset : assets) {
      const auto found = nodes.find(NodeOf(asset.tensor_info().name()));
      if (found == nodes.end()) continue;
      *result_.add_asset_file_def() = asset;
      // TensorFlow's Python loads no init op that waits for a placeholder, although it
      // feeds this one. A constant can be fed, too.
      tf::NodeDef& path = *found->second;
      if (path.op() == "Placeholder") {
        path.set_op("Const");
        path.clear_attr();
        (*path.mutable_attr())["dtype"].set_type(tf::DT_STRING);
        tf::Tensor value(tf::DT_STRING, {});
        value.scalar<tf::tstring>()() = asset.filename();
        value.AsProtoField((*path.mutable_attr())["value"].mutable_tensor());
      }
      files.insert(asset.filename());
    }
    const fs::path folder = tf::kSavedModelAssetsDirectory;
    for (const std::string& file : files) {
      fs::create_directories((directory / folder / file).parent_path());
      CopyPart((folder / file).string(), handle_.export_dir(), directory);
    }
  }

  void KeepState(const std::map<std::string, std::string>& kept,
                 const fs::path& directory) {
    std::vector<std::pair<const tf::NodeDef*, std::vector<tf::Tensor>>> state;
    std::set<std::string> seen;  // by ResourceId
    for (const tf::NodeDef& node : result_.graph_def().node()) {
      const auto variable = kept.find(node.name());
      if (variable != kept.end()) {
        report_.variables_kept[node.name()] = variable->second;
        if (!bundle_.graph->IsFilled(node.name()) ||
            !seen.insert(ResourceId(node)).second)
          continue;
        state.push_back({&node, {bundle_.graph->ReadVariable(node.name())}});
        continue;
      }
      const auto planned = bundle_.graph->plan().tensors.find(node.name());
      if (planned == bundle_.graph->plan().tensors.end() || planned->second.size() != 2 ||
          !bundle_.graph->IsFilled(node.name())) {
        continue;
      }
      report_.variables_kept[node.name()] = "a table";
      state.push_back({&node, bundle_.graph->ExportTable(node.name())});
    }
    if (state.empty()) return;
    // The saver adds nodes to the graph, which leaves those that are there in their
    // place.
    Saver saver(&result_);
    for (auto& [node, values] : state) {
      if (IsVariable(*node)) {
        saver.AddVariable(*node, std::move(values.front()));
      } else {
        saver.AddTable(*node, std::move(values));
      }
    }
    saver.Finish(VariablesPrefix(directory.string()), context_);
  }

  void WriteProto(const fs::path& directory) {
    tf::SavedModel saved_model;
    saved_model.set_saved_model_schema_version(tf::kSavedModelSchemaVersion);
    *saved_model.add_meta_graphs() = std::move(result_);
    if (saved_model.ByteSizeLong() >= std::size_t{1} << 31) {
      throw Error(ErrorCode::kResourceExhausted,
                  context_ + ": the optimized graph would exceed 2 GiB");
    }
    ThrowIfError(tf::WriteBinaryProto(tf::Env::Default(),
                                      (directory / tf::kSavedModelFilenamePb).string(),
                                      saved_model),
                 context_);
  }

  const BundleHandle& handle_;
  LoadedBundle& bundle_;
  const tf::MetaGraphDef& source_;
  const std::map<std::string, SignatureDef>& signatures_;
  const std::string context_;
  std::vector<std::string> roots_;
  std::string init_op_;
  tf::MetaGraphDef result_;
  OptimizeReport report_;
};

}  // namespace

OptimizeReport SaveOptimized(const BundleHandle& handle,
                             const std::map<std::string, SignatureDef>& signatures,
                             const std::string& path) {
  const auto bundle = handle.Acquire();
  if (signatures.empty()) {
    throw Error(ErrorCode::kInvalidArgument,
                "model '" + handle.export_dir() + "': it has no signatures to optimize");
  }
  OptimizeReport report;
  SaveDirectory(handle, path, [&](const fs::path& directory, bool over_itself) {
    if (over_itself) {
      throw Error(ErrorCode::kInvalidArgument,
                  "an optimized model cannot replace the one it is made of");
    }
    report = Optimizer(handle, bundle.get(), signatures).Write(directory);
  });
  return report;
}

}  // namespace savedmodel
