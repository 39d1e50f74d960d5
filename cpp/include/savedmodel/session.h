#ifndef SAVEDMODEL_SESSION_H_
#define SAVEDMODEL_SESSION_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "savedmodel/export.h"
#include "savedmodel/options.h"
#include "savedmodel/shape.h"
#include "savedmodel/tensor.h"

namespace savedmodel {

class BundleHandle;
class CancellationManager;

// One of the devices of a session (TensorFlow's DeviceAttributes).
struct DeviceAttributes {
  std::string name;               // "/job:localhost/replica:0/task:0/device:CPU:0"
  std::string device_type;        // "CPU"
  std::int64_t memory_limit = 0;  // bytes
  std::string physical_device_desc;
};

// What answers a call: TensorFlow's session, which runs every graph, or the engine, which
// runs TensorFlow's kernels one by one on the caller's thread, and only graphs without
// changes of state and without control flow that depends on the inputs.
struct Runner {
  std::string name;    // "engine" or "session"
  std::string reason;  // why it is the session; empty for the engine
};

// Feeds and fetches that were resolved once, to be run many times. A handle: copies share
// the callable, which goes with the last of them or with its session. Thread-safe.
class SAVEDMODEL_EXPORT Callable {
 public:
  // `feeds` in the order of MakeCallable's; returns the fetches in that order. `metadata`
  // is filled if the callable's RunOptions ask for a trace. Throws InvalidArgument for a
  // wrong number or dtype of feeds, FailedPrecondition after Close(), and what the graph
  // reports.
  std::vector<Tensor> Run(const std::vector<Tensor>& feeds,
                          RunMetadata* metadata = nullptr) const;

  // Name, dtype and static shape of each feed, in order.
  const std::vector<TensorSpec>& feeds() const;
  // True if the graph may hold on to a feed after the call, so that views are copied
  // first.
  bool retains_feeds() const;
  // True if fetches that share memory with the graph's state are copied, because it
  // writes that memory in place (TF1 reference variables).
  bool copies_shared_outputs() const;
  const Runner& runner() const;

 private:
  friend class Session;
  friend class SignatureState;
  struct State;
  explicit Callable(std::shared_ptr<const State> state) : state_(std::move(state)) {}
  // `run_options` null: those that it was made with; otherwise such as it CanTake. The
  // others as Signature::RunPositional.
  std::vector<Tensor> Run(const std::vector<Tensor>& feeds, RunMetadata* metadata,
                          const RunOptions* run_options,
                          const CancellationManager* cancellation,
                          const std::vector<Tensor>* into) const;
  // As BoundCall::RunIfShort.
  bool RunIfShort(const std::vector<Tensor>& feeds, std::vector<Tensor>* outputs) const;
  // True for options that only the engine can be given with a call, and that it heeds.
  bool CanTake(const RunOptions& run_options) const;
  std::shared_ptr<const State> state_;
};

// What Session::InlineFunctions gives.
struct InlinedFunctions {
  std::vector<std::string> tensors;  // what stands for the given ones, in their order
  std::vector<std::string> targets;  // operations to run with them: the side effects
  // Sorted names of the nodes with outputs that the tensors need: copies, and nodes of
  // the graph that need none.
  std::vector<std::string> nodes;
};

// The TensorFlow session that a loaded SavedModel lives in: any tensor of the graph can
// be fed and fetched by its name ("dense/BiasAdd:0"; ":0" may be left out). A handle:
// copies share the session. Thread-safe.
class SAVEDMODEL_EXPORT Session {
 public:
  // Runs the graph once. Fetches may repeat and may name a fed tensor. `run_options`
  // null: those of loading. Throws InvalidArgument for a name that is not in the graph, a
  // feed of the wrong dtype, or a feed given twice; FailedPrecondition after Close().
  std::vector<Tensor> Run(const std::vector<std::pair<std::string, Tensor>>& feeds,
                          const std::vector<std::string>& fetches,
                          const std::vector<std::string>& targets = {},
                          const RunOptions* run_options = nullptr,
                          RunMetadata* metadata = nullptr) const;

  Callable MakeCallable(const std::vector<std::string>& feeds,
                        const std::vector<std::string>& fetches,
                        const std::vector<std::string>& targets = {},
                        const RunOptions* run_options = nullptr) const;

  // Makes the tensors inside of functions fetchable. The signatures of TensorFlow 2 call
  // one function each; what it computes on the way is no tensor of the graph. This adds a
  // copy of the bodies of all functions that these tensors' calls lead to: node
  // "dense/Relu" of the function that "StatefulPartitionedCall" calls becomes
  // "savedmodel/inlined/StatefulPartitionedCall/dense/Relu". Bodies of control flow stay
  // functions. Fetch what is returned in place of the given tensors, so that everything
  // is computed once. Throws InvalidArgument for a tensor that is not in the graph,
  // FailedPrecondition for a session of LoadSavedModel, whose graph is fixed.
  InlinedFunctions InlineFunctions(const std::vector<std::string>& tensors) const;
  std::vector<DeviceAttributes> ListDevices() const;

  // The dtype and static shape of a tensor of the graph. Throws InvalidArgument for a
  // name that is not in the graph.
  TensorSpec tensor_spec(const std::string& name) const;

  // Ends the session for every handle of the model, and frees its memory once calls under
  // way have returned. Later calls throw FailedPrecondition. Tensors stay valid. May be
  // repeated.
  void Close() const;

 private:
  friend class ConcreteFunctionState;
  friend class SavedModelBundle;
  friend class SignatureState;
  explicit Session(std::shared_ptr<BundleHandle> handle) : handle_(std::move(handle)) {}
  // `description` goes before the messages of the callable's errors.
  Callable MakeCallable(const std::vector<std::string>& feeds,
                        const std::vector<std::string>& fetches,
                        const std::vector<std::string>& targets,
                        const RunOptions* run_options, std::string description,
                        bool may_use_engine) const;
  std::vector<Tensor> Run(const std::vector<std::pair<std::string, Tensor>>& feeds,
                          const std::vector<std::string>& fetches,
                          const std::vector<std::string>& targets,
                          const RunOptions* run_options, RunMetadata* metadata,
                          const std::string& description) const;
  std::shared_ptr<BundleHandle> handle_;
};

}  // namespace savedmodel

#endif  // SAVEDMODEL_SESSION_H_
