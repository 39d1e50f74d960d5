#ifndef SAVEDMODEL_LOAD_MODEL_GRAPH_H_
#define SAVEDMODEL_LOAD_MODEL_GRAPH_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "inspect/checkpoint.h"
#include "inspect/graph_index.h"
#include "load/object_bindings.h"
#include "load/restore_plan.h"
#include "savedmodel/saved_model.h"
#include "tensorflow/core/common_runtime/device_mgr.h"
#include "tensorflow/core/framework/resource_mgr.h"
#include "tensorflow/core/protobuf/config.pb.h"
#include "tensorflow/core/protobuf/meta_graph.pb.h"
#include "tensorflow/core/public/session.h"

namespace savedmodel {

// The session of a Model. It holds the part of the MetaGraph that was asked for, and
// grows: Require() brings nodes in, with the functions they call, and gives the variables
// and tables among them their values. So nothing is compiled, read or optimised that no
// call needs.
//
// Variables are restored one by one, straight into the session's resources where it has a
// single device and they are resource variables; else by assignments in the graph.
// Variables that the restore op does not fill are found through the object graphs
// ("repaired"). Thread-safe.
class ModelGraph {
 public:
  // `meta_graph`, `graph` and the session, which holds no graph yet, must outlive it.
  // `session` gives the session, and is called when it is first needed. Null `devices`:
  // the session has one device, the host's CPU. `asset_feeds`: the tensors that take the
  // assets' paths while the init op runs.
  ModelGraph(std::string export_dir, const tensorflow::MetaGraphDef& meta_graph,
             GraphIndex* graph, std::function<tensorflow::Session&()> session,
             const tensorflow::DeviceMgr* devices, const tensorflow::ConfigProto& config,
             const tensorflow::RunOptions& run_options,
             std::vector<std::pair<std::string, tensorflow::Tensor>> asset_feeds);

  // Makes these tensors and operations runnable. Throws InvalidArgument for names that
  // are not in the graph, and what reading and initialising their variables reports.
  void Require(const std::vector<std::string>& names);

  // Gives those variables and tables values that these tensors need and that were not
  // frozen. Where the session is not needed yet, variables are given them when it is.
  void RequireResources(const std::vector<std::string>& names);

  // The variables and tables that these tensors need, by node, and that have no value.
  std::vector<std::string> Uninitialized(const std::vector<std::string>& names);

  // "model '...'", for messages.
  const std::string& context() const { return context_; }
  const ObjectBindings& bindings() const { return bindings_; }
  const RestorePlan& plan() const { return plan_; }
  // Null if there is none.
  std::shared_ptr<const Checkpoint> checkpoint();
  // After the model was saved over its own directory.
  void ReopenCheckpoint();
  // What has been done so far; the phases are "create", "restore" and "init".
  LoadReport report();

  // The value of a variable, by its node: its own memory, shared, where it is copied on
  // writing. Throws FailedPrecondition if it has none.
  tensorflow::Tensor ReadVariable(const std::string& node);
  // Gives it a value of its own; the tensor must be nobody else's to write. Its dtype and
  // shape were checked.
  void AssignVariable(const std::string& node, tensorflow::Tensor value);
  // Keys and values of a table, by its node.
  std::vector<tensorflow::Tensor> ExportTable(const std::string& node);
  // The name of the device that holds the variable.
  std::string DeviceOf(const std::string& node);
  // True if the variable or table has been given a value, so that its value may differ
  // from the checkpoint's.
  bool IsFilled(const std::string& node);

  // Values of variables that are to be taken for constants, by ResourceId, without giving
  // them to the session. Those are left out that have none, that were seen to change, or
  // whose memory is written in place.
  std::unordered_map<std::string, tensorflow::Tensor> Freeze(
      const std::vector<const tensorflow::NodeDef*>& variables);
  // True if one of these, which Freeze gave a value of, may have another now. It is not
  // frozen again.
  bool HaveChanged(const std::vector<std::string>& nodes);
  // Grows with each change to a variable that goes through this object or is noted here.
  std::uint64_t changes() {
    if (watched_.load(std::memory_order_relaxed)) NoteChange();
    return changes_.load(std::memory_order_acquire);
  }
  // From now on changes may come from elsewhere, too.
  void Watch() { watched_.store(true); }
  void NoteChange() { changes_.fetch_add(1, std::memory_order_acq_rel); }
  // True if the session has one device, the host's CPU.
  bool on_one_device() const { return on_one_device_; }

 private:
  // A part of the init op, to be run once its variables and tables are there.
  struct InitPart {
    std::vector<std::string> targets;
    std::unordered_set<std::string> resources;
    bool done = false;
  };
  // What is to be given to a variable, or to a table.
  struct Assignment {
    const tensorflow::NodeDef* node;
    std::vector<tensorflow::Tensor> values;
  };

  void RequireLocked(const std::vector<std::string>& names);
  void ReadInitParts();
  // Brings those of these nodes into the session that are not in it yet.
  void Extend(const std::vector<const tensorflow::NodeDef*>& reached);
  void RunRestoreOp();
  // What the checkpoint, or ahead_, holds of the variables and tables among these nodes
  // that have no value.
  std::vector<Assignment> ReadUnfilled(
      const std::vector<const tensorflow::NodeDef*>& nodes);
  // Gives it to them.
  void Restore(const std::vector<const tensorflow::NodeDef*>& nodes);
  // `restored`: these are the checkpoint's values.
  void Assign(std::vector<Assignment> assignments, bool restored);
  void RunInitParts(const std::vector<InitPart*>& parts);
  void Run(const std::vector<std::pair<std::string, tensorflow::Tensor>>& feeds,
           const std::vector<std::string>& fetches,
           const std::vector<std::string>& targets,
           std::vector<tensorflow::Tensor>* outputs, const std::string& doing);
  // The resources of the session's one device.
  tensorflow::ResourceMgr* Resources() const;
  // True if the init op touches this variable.
  bool IsInitialised(const tensorflow::NodeDef& node) const;
  // True if the variable can be reached in the session's resources.
  bool IsDirect(const tensorflow::NodeDef& node) const;
  const tensorflow::NodeDef& Node(const std::string& name) const;

  const std::string export_dir_;
  const std::string context_;  // "model '...'"
  const tensorflow::MetaGraphDef& meta_graph_;
  GraphIndex& graph_;
  const std::function<tensorflow::Session&()> session_;
  const std::string config_proto_;
  const tensorflow::RunOptions run_options_;
  const std::vector<std::pair<std::string, tensorflow::Tensor>> asset_feeds_;
  const bool on_one_device_;

  RestorePlan plan_;
  ObjectBindings bindings_;

  std::mutex mutex_;  // of all below
  std::shared_ptr<const Checkpoint> checkpoint_;
  bool created_ = false;
  bool restore_op_run_ = false;
  std::unordered_set<std::string> required_;
  std::unordered_set<const tensorflow::NodeDef*> nodes_;
  std::unordered_set<const tensorflow::FunctionDef*> functions_;
  std::unordered_set<std::string> filled_;  // by ResourceId
  // The same: what was read for variables that the session has not been given yet.
  std::unordered_map<std::string, tensorflow::Tensor> ahead_;
  // The same: what Freeze gave, where the session's variable has been that, too. The
  // reference keeps TensorFlow from writing in its memory. Without memory: the
  // checkpoint's value, which the session has not been given.
  std::unordered_map<std::string, tensorflow::Tensor> frozen_;
  std::unordered_set<std::string> changed_;  // the same, of variables seen to change
  std::atomic<std::uint64_t> changes_{0};
  std::atomic<bool> watched_{false};
  std::vector<InitPart> init_parts_;
  std::vector<std::string> repairs_;
  std::unordered_set<std::string> read_;  // by ResourceId: counted in what follows
  std::uint64_t bytes_read_ = 0;
  double create_seconds_ = 0;
  double restore_seconds_ = 0;
  double init_seconds_ = 0;
};

}  // namespace savedmodel

#endif  // SAVEDMODEL_LOAD_MODEL_GRAPH_H_
