#include "load/model_graph.h"

#include <algorithm>
#include <chrono>
#include <stdexcept>

#include "core/status.h"
#include "load/variable_sources.h"
#include "savedmodel/error.h"
#include "tensorflow/cc/saved_model/loader_util.h"
#include "tensorflow/core/common_runtime/device.h"
#include "tensorflow/core/common_runtime/device_mgr.h"
#include "tensorflow/core/framework/resource_var.h"
#include "tensorflow/core/framework/tensor_util.h"
#include "tensorflow/core/framework/types.h"
#include "tensorflow/core/protobuf/saved_object_graph.pb.h"

namespace savedmodel {

namespace {

namespace tf = tensorflow;

const std::string& ContainerOf(const tf::ResourceMgr& resources,
                               const tf::NodeDef& node) {
  const std::string& container = StringAttr(node, "container");
  return container.empty() ? resources.default_container() : container;
}

// Null if it does not exist there (yet).
tf::core::RefCountPtr<tf::Var> FindIn(tf::ResourceMgr* resources,
                                      const tf::NodeDef& node) {
  tf::Var* variable = nullptr;
  if (!resources
           ->Lookup<tf::Var>(ContainerOf(*resources, node),
                             StringAttr(node, "shared_name"), &variable)
           .ok()) {
    return nullptr;
  }
  return tf::core::RefCountPtr<tf::Var>(variable);
}

// Adds the time that it lives.
class Stopwatch {
 public:
  explicit Stopwatch(double* seconds) : seconds_(*seconds) {}
  ~Stopwatch() {
    seconds_ += std::chrono::duration<double>(Clock::now() - start_).count();
  }

 private:
  using Clock = std::chrono::steady_clock;
  double& seconds_;
  const Clock::time_point start_ = Clock::now();
};

tf::NodeDef MakeNode(const std::string& name, const char* op, const std::string& device,
                     std::initializer_list<std::string> inputs,
                     std::initializer_list<std::pair<const char*, tf::DataType>> types) {
  tf::NodeDef node;
  node.set_name(name);
  node.set_op(op);
  node.set_device(device);
  for (const std::string& input : inputs) node.add_input(input);
  for (const auto& [attr, type] : types) (*node.mutable_attr())[attr].set_type(type);
  return node;
}

}  // namespace

ModelGraph::ModelGraph(std::string export_dir, const tf::MetaGraphDef& meta_graph,
                       GraphIndex* graph, std::function<tf::Session&()> session,
                       const tf::DeviceMgr* devices, const tf::ConfigProto& config,
                       const tf::RunOptions& run_options,
                       std::vector<std::pair<std::string, tf::Tensor>> asset_feeds)
    : export_dir_(std::move(export_dir)),
      context_("model '" + export_dir_ + "'"),
      meta_graph_(meta_graph),
      graph_(*graph),
      session_(std::move(session)),
      config_proto_(config.SerializeAsString()),
      run_options_(run_options),
      asset_feeds_(std::move(asset_feeds)),
      on_one_device_(devices == nullptr || devices->NumDevices() == 1),
      plan_(ReadRestorePlan(meta_graph, *graph)) {
  if (!meta_graph.saver_def().restore_op_name().empty() ||
      meta_graph.has_object_graph_def()) {
    ReopenCheckpoint();
  }
  bindings_ = BindObjects(
      meta_graph,
      checkpoint_ ? checkpoint_->ReadObjectGraph() : tf::TrackableObjectGraph(), plan_,
      export_dir_, graph);
  ReadInitParts();
}

std::shared_ptr<const Checkpoint> ModelGraph::checkpoint() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return checkpoint_;
}

void ModelGraph::ReopenCheckpoint() {
  std::optional<Checkpoint> checkpoint = Checkpoint::Open(export_dir_);
  const std::lock_guard<std::mutex> lock(mutex_);
  checkpoint_ =
      checkpoint ? std::make_shared<const Checkpoint>(std::move(*checkpoint)) : nullptr;
}

void ModelGraph::ReadInitParts() {
  std::string init_op;
  ThrowIfError(tf::internal::GetInitOp(export_dir_, meta_graph_, &init_op),
               context_ + ", its init op");
  if (init_op.empty()) return;
  // A group is a NoOp: its members can be run apart, unless they share work.
  std::vector<std::string> pending{init_op};
  std::unordered_set<std::string> listed{init_op};
  std::unordered_set<const tf::NodeDef*> shared;
  bool apart = true;
  while (!pending.empty()) {
    const std::string name(NodeOf(pending.back()));
    pending.pop_back();
    const tf::NodeDef& node = Node(name);
    if (node.op() == "NoOp") {
      for (const std::string& input : node.input()) {
        if (listed.insert(input).second) pending.push_back(input);
      }
      continue;
    }
    InitPart part;
    part.targets.push_back(name);
    std::unordered_set<const tf::NodeDef*> seen;
    for (const tf::NodeDef* reached : graph_.Reach({name}, &seen, context_)) {
      if (IsResource(*reached)) {
        part.resources.insert(ResourceId(*reached));
      } else if (reached->input_size() != 0) {
        apart = shared.insert(reached).second && apart;
      }
    }
    init_parts_.push_back(std::move(part));
  }
  if (apart || init_parts_.empty()) return;
  InitPart whole;
  for (const InitPart& part : init_parts_)
    whole.resources.insert(part.resources.begin(), part.resources.end());
  whole.targets.push_back(init_op);
  init_parts_ = {std::move(whole)};
}

const tf::NodeDef& ModelGraph::Node(const std::string& name) const {
  const tf::NodeDef* node = graph_.FindNode(NodeOf(name));
  if (node == nullptr) {
    throw Error(ErrorCode::kInvalidArgument,
                context_ + ": no node '" + name + "' in the graph");
  }
  return *node;
}

void ModelGraph::Require(const std::vector<std::string>& names) {
  const std::lock_guard<std::mutex> lock(mutex_);
  RequireLocked(names);
}

void ModelGraph::RequireResources(const std::vector<std::string>& names) {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::unordered_set<const tf::NodeDef*> seen;
  std::vector<std::string> wanted;
  std::vector<const tf::NodeDef*> ahead;
  for (const tf::NodeDef* node : graph_.Reach(names, &seen, context_)) {
    if (!IsResource(*node) || frozen_.count(ResourceId(*node)) != 0) continue;
    if (!created_ && IsDirect(*node) && !IsInitialised(*node)) {
      ahead.push_back(node);
    } else {
      wanted.push_back(node->name());
    }
  }
  {
    const Stopwatch time(&restore_seconds_);
    for (Assignment& assignment : ReadUnfilled(ahead))
      ahead_.emplace(ResourceId(*assignment.node), std::move(assignment.values.front()));
  }
  // Parts of the init op that touch nothing are due with the first that is required.
  const bool due = std::any_of(
      init_parts_.begin(), init_parts_.end(),
      [](const InitPart& part) { return !part.done && part.resources.empty(); });
  if (!wanted.empty() || due) RequireLocked(wanted);
}

bool ModelGraph::IsInitialised(const tf::NodeDef& node) const {
  const std::string id = ResourceId(node);
  return std::any_of(init_parts_.begin(), init_parts_.end(), [&id](const InitPart& part) {
    return part.resources.count(id) != 0;
  });
}

void ModelGraph::RequireLocked(const std::vector<std::string>& names) {
  std::vector<std::string> wanted;
  for (const std::string& name : names) {
    if (required_.count(name) == 0) wanted.push_back(name);
  }
  if (wanted.empty() && created_) return;

  // With the parts of the init op that touch what is reached, or nothing at all. What is
  // in the session already counts, too: a variable whose value could not be had is tried
  // again.
  std::unordered_set<const tf::NodeDef*> seen;
  std::vector<const tf::NodeDef*> reached;
  std::unordered_set<std::string> resources;
  const auto reach = [&](const std::vector<std::string>& from) {
    for (const tf::NodeDef* node : graph_.Reach(from, &seen, context_)) {
      reached.push_back(node);
      if (IsResource(*node)) resources.insert(ResourceId(*node));
    }
  };
  reach(wanted);
  std::vector<InitPart*> parts;
  for (bool found = true; found;) {
    found = false;
    for (InitPart& part : init_parts_) {
      const bool touched =
          std::any_of(part.resources.begin(), part.resources.end(),
                      [&](const std::string& id) { return resources.count(id) != 0; });
      if (part.done || !(touched || part.resources.empty())) continue;
      part.done = true;
      parts.push_back(&part);
      found = true;
      reach(part.targets);
    }
  }
  try {
    {
      const Stopwatch time(&create_seconds_);
      Extend(reached);
    }
    {
      const Stopwatch time(&restore_seconds_);
      if (!plan_.complete && !restore_op_run_) RunRestoreOp();
      Restore(reached);
    }
    const Stopwatch time(&init_seconds_);
    RunInitParts(parts);
  } catch (...) {
    for (InitPart* part : parts) part->done = false;
    throw;
  }
  required_.insert(wanted.begin(), wanted.end());
}

void ModelGraph::Extend(const std::vector<const tf::NodeDef*>& reached) {
  std::vector<const tf::NodeDef*> nodes;
  for (const tf::NodeDef* node : reached) {
    if (nodes_.count(node) == 0) nodes.push_back(node);
  }
  if (created_ && nodes.empty()) return;  // TensorFlow would place the whole graph anew
  tf::GraphDef graph;
  *graph.mutable_versions() = meta_graph_.graph_def().versions();
  // TensorFlow optimises each function that is called and not inlined by the options that
  // stand at its call; those of the session are what its user chose.
  const auto set_options = [this](tf::NodeDef* node) {
    const auto options = node->mutable_attr()->find("config_proto");
    if (options != node->mutable_attr()->end()) options->second.set_s(config_proto_);
  };
  for (const tf::NodeDef* node : nodes) {
    tf::NodeDef* added = graph.add_node();
    *added = *node;
    set_options(added);
  }
  std::unordered_set<const tf::FunctionDef*> seen = functions_;
  std::unordered_set<std::string_view> called;
  for (const tf::FunctionDef* function : graph_.ReachFunctions(nodes, &seen)) {
    called.insert(function->signature().name());
    tf::FunctionDef* added = graph.mutable_library()->add_function();
    *added = *function;
    for (tf::NodeDef& node : *added->mutable_node_def()) set_options(&node);
  }
  for (const tf::GradientDef& gradient : meta_graph_.graph_def().library().gradient()) {
    const tf::FunctionDef* function = graph_.FindFunction(gradient.gradient_func());
    if (called.count(gradient.function_name()) == 0 || function == nullptr) continue;
    *graph.mutable_library()->add_gradient() = gradient;
    if (seen.insert(function).second)
      *graph.mutable_library()->add_function() = *function;
  }
  try {
    ThrowIfError(created_ ? session_().Extend(std::move(graph))
                          : session_().Create(std::move(graph)),
                 context_);
  } catch (const std::logic_error& error) {
    // TensorFlow's, at a node with fewer inputs than its op has.
    throw Error(ErrorCode::kInvalidArgument,
                context_ + ": a graph that cannot be built (" + error.what() + ")");
  }
  created_ = true;
  nodes_.insert(nodes.begin(), nodes.end());
  functions_.swap(seen);
}

void ModelGraph::Run(const std::vector<std::pair<std::string, tf::Tensor>>& feeds,
                     const std::vector<std::string>& fetches,
                     const std::vector<std::string>& targets,
                     std::vector<tf::Tensor>* outputs, const std::string& doing) {
  tf::RunMetadata metadata;
  ThrowIfUnreadable(
      Noted(session_().Run(run_options_, feeds, fetches, targets, outputs, &metadata)),
      context_ + ", " + doing);
}

void ModelGraph::RunInitParts(const std::vector<InitPart*>& parts) {
  if (parts.empty()) return;
  std::vector<std::string> targets;
  for (const InitPart* part : parts)
    targets.insert(targets.end(), part->targets.begin(), part->targets.end());
  std::vector<std::pair<std::string, tf::Tensor>> feeds;
  for (const auto& [tensor, path] : asset_feeds_) {
    const tf::NodeDef* node = graph_.FindNode(NodeOf(tensor));
    if (node != nullptr && nodes_.count(node) != 0) feeds.emplace_back(tensor, path);
  }
  Run(feeds, {}, targets, nullptr, "running its init op");
  NoteChange();
  for (const InitPart* part : parts)
    filled_.insert(part->resources.begin(), part->resources.end());
}

void ModelGraph::RunRestoreOp() {
  if (!checkpoint_) return;
  const tf::SaverDef& saver = meta_graph_.saver_def();
  const std::string restore_op(NodeOf(saver.restore_op_name()));
  const std::vector<std::string> names = {restore_op, saver.filename_tensor_name()};
  std::unordered_set<const tf::NodeDef*> seen;
  const std::vector<const tf::NodeDef*> reached = graph_.Reach(names, &seen, context_);
  Extend(reached);
  checkpoint_->CheckData();
  Run({{saver.filename_tensor_name(),
        tf::Tensor(tf::tstring(VariablesPrefix(export_dir_)))}},
      {}, {restore_op}, nullptr, "restoring its variables");
  restore_op_run_ = true;
  for (const tf::NodeDef* node : reached) {
    if (IsResource(*node)) filled_.insert(ResourceId(*node));
  }
  bytes_read_ += checkpoint_->total_bytes();
}

std::vector<ModelGraph::Assignment> ModelGraph::ReadUnfilled(
    const std::vector<const tf::NodeDef*>& nodes) {
  std::vector<Assignment> assignments;
  if (!checkpoint_) return assignments;
  std::vector<std::size_t> counts;
  std::vector<CheckpointTensor> tensors;
  std::vector<std::string> repairs;
  std::uint64_t bytes = 0;
  std::unordered_set<std::string> found;
  for (const tf::NodeDef* node : nodes) {
    if (!IsResource(*node)) continue;
    const std::string id = ResourceId(*node);
    if (filled_.count(id) != 0 || found.count(id) != 0) continue;
    const auto ahead = ahead_.find(id);
    if (ahead != ahead_.end()) {
      found.insert(id);
      assignments.push_back({node, {ahead->second}});
      counts.push_back(0);
      continue;
    }
    std::string repair;
    const std::vector<CheckpointTensor> sources = FindInCheckpoint(
        *node, plan_, bindings_, *checkpoint_, meta_graph_.object_graph_def(), &repair);
    if (sources.empty()) continue;
    found.insert(id);
    const bool first = read_.insert(id).second;
    if (first && !repair.empty()) repairs.push_back(std::move(repair));
    for (const CheckpointTensor& tensor : sources) {
      if (!checkpoint_->Contains(tensor.key)) {
        throw Error(ErrorCode::kNotFound, context_ + ", variable '" + node->name() +
                                              "': no '" + tensor.key +
                                              "' in the checkpoint");
      }
      tensors.push_back(tensor);
      if (first) bytes += checkpoint_->BytesOf(tensor);
    }
    assignments.push_back({node, {}});
    counts.push_back(sources.size());
  }
  std::vector<tf::Tensor> values = checkpoint_->Read(tensors);
  std::size_t next = 0;
  for (std::size_t i = 0; i < assignments.size(); ++i) {
    for (std::size_t j = 0; j < counts[i]; ++j, ++next) {
      if (!IsTable(*assignments[i].node)) {
        CheckRestored(*assignments[i].node, tensors[next].key, values[next].dtype(),
                      values[next].shape(), context_);
      }
      assignments[i].values.push_back(std::move(values[next]));
    }
  }
  bytes_read_ += bytes;
  repairs_.insert(repairs_.end(), repairs.begin(), repairs.end());
  return assignments;
}

void ModelGraph::Restore(const std::vector<const tf::NodeDef*>& nodes) {
  std::vector<Assignment> assignments = ReadUnfilled(nodes);
  std::unordered_set<std::string> filled;
  for (const Assignment& assignment : assignments)
    filled.insert(ResourceId(*assignment.node));
  // Before the assignments, which may come here again for the nodes that they add.
  filled_.insert(filled.begin(), filled.end());
  try {
    Assign(std::move(assignments), /*restored=*/true);
  } catch (...) {
    for (const std::string& id : filled) filled_.erase(id);
    throw;
  }
  for (const std::string& id : filled) ahead_.erase(id);
}

std::unordered_map<std::string, tf::Tensor> ModelGraph::Freeze(
    const std::vector<const tf::NodeDef*>& variables) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const Stopwatch time(&restore_seconds_);
  std::unordered_map<std::string, tf::Tensor> values;
  std::vector<const tf::NodeDef*> unfilled;
  for (const tf::NodeDef* node : variables) {
    const std::string id = ResourceId(*node);
    if (!IsDirect(*node) || changed_.count(id) != 0) continue;
    if (filled_.count(id) == 0) {
      // What the init op does to it comes after restoring it.
      if (!IsInitialised(*node)) unfilled.push_back(node);
      continue;
    }
    const tf::core::RefCountPtr<tf::Var> variable = FindIn(Resources(), *node);
    if (variable == nullptr) continue;
    const tf::tf_shared_lock variable_lock(*variable->mu());
    if (!variable->is_initialized || variable->copy_on_read_mode.load()) continue;
    // Another engine may hold the value of before.
    const auto [frozen, first] = frozen_.emplace(id, *variable->tensor());
    if (!first && !frozen->second.SharesBufferWith(*variable->tensor())) {
      changed_.insert(id);
      frozen_.erase(frozen);
      continue;
    }
    values.emplace(id, *variable->tensor());
  }
  if (!plan_.complete) unfilled.clear();  // the restore op does more than we know
  for (Assignment& assignment : ReadUnfilled(unfilled)) {
    const std::string id = ResourceId(*assignment.node);
    frozen_.emplace(id, tf::Tensor());
    ahead_.erase(id);
    values.emplace(id, std::move(assignment.values.front()));
  }
  return values;
}

bool ModelGraph::HaveChanged(const std::vector<std::string>& nodes) {
  const std::lock_guard<std::mutex> lock(mutex_);
  bool changed = false;
  for (const std::string& name : nodes) {
    const tf::NodeDef& node = Node(name);
    const std::string id = ResourceId(node);
    if (changed_.count(id) == 0) {
      if (filled_.count(id) == 0) continue;
      const tf::core::RefCountPtr<tf::Var> variable = FindIn(Resources(), node);
      if (variable != nullptr) {
        const tf::tf_shared_lock variable_lock(*variable->mu());
        if (!variable->copy_on_read_mode.load() &&
            variable->tensor()->SharesBufferWith(frozen_[id])) {
          continue;
        }
      }
      changed_.insert(id);
      frozen_.erase(id);
    }
    changed = true;
  }
  return changed;
}

tf::ResourceMgr* ModelGraph::Resources() const {
  const tf::DeviceMgr* devices = nullptr;
  ThrowIfError(session_().LocalDeviceManager(&devices), context_);
  return devices->HostCPU()->resource_manager();
}

bool ModelGraph::IsDirect(const tf::NodeDef& node) const {
  return on_one_device_ && node.op() == "VarHandleOp" &&
         StringAttr(node, "shared_name") != tf::ResourceHandle::ANONYMOUS_NAME;
}

void ModelGraph::Assign(std::vector<Assignment> assignments, bool restored) {
  std::vector<std::pair<std::string, tf::Tensor>> feeds;
  std::vector<std::string> targets;
  for (Assignment& assignment : assignments) {
    const tf::NodeDef& node = *assignment.node;
    if (IsDirect(node)) {
      tf::Tensor& value = assignment.values.front();
      tf::ResourceMgr* resources = Resources();
      tf::Var* found = nullptr;
      ThrowIfError(
          resources->LookupOrCreate<tf::Var>(ContainerOf(*resources, node),
                                             StringAttr(node, "shared_name"), &found,
                                             [&value](tf::Var** made) {
                                               *made = new tf::Var(value.dtype());
                                               return absl::OkStatus();
                                             }),
          context_ + ", variable '" + node.name() + "'");
      const tf::core::RefCountPtr<tf::Var> variable(found);
      const tf::mutex_lock lock(*variable->mu());
      if (restored) {
        const auto frozen = frozen_.find(ResourceId(node));
        if (frozen != frozen_.end()) frozen->second = value;
      }
      *variable->tensor() = std::move(value);
      variable->is_initialized = true;
      continue;
    }
    const std::string name = "savedmodel/assign/" + node.name();
    std::vector<std::string> values;
    for (std::size_t i = 0; i < assignment.values.size(); ++i) {
      values.push_back(name + "/value_" + std::to_string(i));
      graph_.Add(MakeNode(values.back(), "Placeholder", "", {},
                          {{"dtype", assignment.values[i].dtype()}}));
      feeds.emplace_back(values.back() + ":0", std::move(assignment.values[i]));
    }
    if (IsTable(node)) {
      if (values.size() != 2) continue;
      graph_.Add(MakeNode(name, "LookupTableImportV2", node.device(),
                          {node.name(), values[0], values[1]},
                          {{"Tin", TypeAttr(node, "key_dtype")},
                           {"Tout", TypeAttr(node, "value_dtype")}}));
    } else if (IsRefVariable(node)) {
      graph_.Add(MakeNode(name, "Assign", node.device(), {node.name(), values[0]},
                          {{"T", TypeAttr(node, "dtype")}}));
    } else {
      graph_.Add(MakeNode(name, "AssignVariableOp", node.device(),
                          {node.name(), values[0]},
                          {{"dtype", TypeAttr(node, "dtype")}}));
    }
    targets.push_back(name);
  }
  if (targets.empty()) return;
  RequireLocked(targets);
  Run(feeds, {}, targets, nullptr, "giving its variables their values");
}

std::vector<std::string> ModelGraph::Uninitialized(
    const std::vector<std::string>& names) {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::unordered_set<const tf::NodeDef*> seen;
  const std::vector<const tf::NodeDef*> reached = graph_.Reach(names, &seen, context_);
  std::vector<const tf::NodeDef*> empty;
  for (const tf::NodeDef* node : reached) {
    if ((node->op() == "VarHandleOp" || IsRefVariable(*node)) &&
        filled_.count(ResourceId(*node)) == 0 && frozen_.count(ResourceId(*node)) == 0 &&
        ahead_.count(ResourceId(*node)) == 0) {
      empty.push_back(node);
    }
  }
  std::vector<std::string> variables;
  if (empty.empty()) return variables;
  const std::unordered_set<const tf::NodeDef*> assigned = AssignedBy(reached, graph_);
  for (const tf::NodeDef* node : empty) {
    if (assigned.count(node) == 0) variables.push_back(node->name());
  }
  std::sort(variables.begin(), variables.end());
  return variables;
}

LoadReport ModelGraph::report() {
  const std::lock_guard<std::mutex> lock(mutex_);
  LoadReport report;
  report.phases = {{"create", create_seconds_, 0},
                   {"restore", restore_seconds_, bytes_read_},
                   {"init", init_seconds_, 0}};
  report.repairs = repairs_;
  std::sort(report.repairs.begin(), report.repairs.end());
  report.bytes_restored = bytes_read_;
  if (checkpoint_ && checkpoint_->total_bytes() > bytes_read_)
    report.bytes_saved = checkpoint_->total_bytes() - bytes_read_;
  return report;
}

tf::Tensor ModelGraph::ReadVariable(const std::string& name) {
  const tf::NodeDef& node = Node(name);
  const std::string where = context_ + ", variable '" + node.name() + "'";
  Require({node.name()});
  if (IsDirect(node)) {
    const tf::core::RefCountPtr<tf::Var> variable = FindIn(Resources(), node);
    if (variable != nullptr) {
      const tf::tf_shared_lock lock(*variable->mu());
      if (variable->is_initialized) {
        // Sparse updates write in place then, also under a tensor that shares the memory.
        if (variable->copy_on_read_mode.load())
          return tf::tensor::DeepCopy(*variable->tensor());
        return *variable->tensor();
      }
    }
    throw Error(ErrorCode::kFailedPrecondition, where + " has no value");
  }
  std::string fetch = node.name() + ":0";
  if (!IsRefVariable(node)) {
    const std::string read = "savedmodel/read/" + node.name();
    graph_.Add(MakeNode(read, "ReadVariableOp", node.device(), {node.name()},
                        {{"dtype", TypeAttr(node, "dtype")}}));
    fetch = read + ":0";
  }
  Require({fetch});
  std::vector<tf::Tensor> outputs;
  Run({}, {fetch}, {}, &outputs, "reading variable '" + node.name() + "'");
  // A reference variable is written in place.
  return IsRefVariable(node) ? tf::tensor::DeepCopy(outputs.front()) : outputs.front();
}

void ModelGraph::AssignVariable(const std::string& name, tf::Tensor value) {
  const tf::NodeDef& node = Node(name);
  if (TypeAttr(node, "dtype") != value.dtype()) {
    throw Error(ErrorCode::kInvalidArgument,
                context_ + ", variable '" + name + "' is " +
                    tf::DataTypeString(TypeAttr(node, "dtype")) + " in the graph, not " +
                    tf::DataTypeString(value.dtype()));
  }
  const std::lock_guard<std::mutex> lock(mutex_);
  // First: what is assigned need not be restored.
  const bool first = filled_.insert(ResourceId(node)).second;
  try {
    RequireLocked({node.name()});
    std::vector<Assignment> assignments;
    assignments.push_back({&node, {std::move(value)}});
    Assign(std::move(assignments), /*restored=*/false);
    NoteChange();
  } catch (...) {
    if (first) filled_.erase(ResourceId(node));
    throw;
  }
}

std::vector<tf::Tensor> ModelGraph::ExportTable(const std::string& name) {
  const tf::NodeDef& node = Node(name);
  const std::string table = "savedmodel/export/" + node.name();
  graph_.Add(MakeNode(table, "LookupTableExportV2", node.device(), {node.name()},
                      {{"Tkeys", TypeAttr(node, "key_dtype")},
                       {"Tvalues", TypeAttr(node, "value_dtype")}}));
  Require({table});
  std::vector<tf::Tensor> outputs;
  Run({}, {table + ":0", table + ":1"}, {}, &outputs, "reading table '" + name + "'");
  return outputs;
}

std::string ModelGraph::DeviceOf(const std::string& name) {
  const tf::NodeDef& node = Node(name);
  const tf::DeviceMgr* devices = nullptr;
  ThrowIfError(session_().LocalDeviceManager(&devices), context_);
  if (devices->NumDevices() == 1) return devices->HostCPU()->name();
  // Where the placer put it: in whose resources it lies.
  Require({node.name()});
  for (tf::Device* device : devices->ListDevices()) {
    if (FindIn(device->resource_manager(), node) != nullptr) return device->name();
  }
  tf::Device* asked = nullptr;
  const bool found = devices->LookupDevice(node.device(), &asked).ok();
  return (found ? asked : devices->HostCPU())->name();
}

bool ModelGraph::IsFilled(const std::string& name) {
  const std::lock_guard<std::mutex> lock(mutex_);
  return filled_.count(ResourceId(Node(name))) != 0;
}

}  // namespace savedmodel
