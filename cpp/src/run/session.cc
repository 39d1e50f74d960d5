#include "savedmodel/session.h"

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>

#include "absl/time/clock.h"
#include "core/nearest.h"
#include "core/ops.h"
#include "core/proto_message.h"
#include "core/status.h"
#include "core/tensor_access.h"
#include "inspect/meta_graph.h"
#include "load/bundle_handle.h"
#include "run/caller_pool.h"
#include "run/engines.h"
#include "run/retention.h"
#include "savedmodel/copy_stats.h"
#include "tensorflow/core/framework/node_def_util.h"
#include "tensorflow/core/framework/types.h"
#include "tensorflow/core/graph/tensor_id.h"

namespace savedmodel {

namespace {

namespace tf = tensorflow;

std::string Describe(const BundleHandle& handle) {
  return "model '" + handle.export_dir() + "'";
}

[[noreturn]] void Fail(const std::string& message) {
  throw Error(ErrorCode::kInvalidArgument, message);
}

const tf::NodeDef& FindNode(const GraphIndex& graph, const std::string& tensor,
                            const std::string& description) {
  const tf::NodeDef* node = graph.FindNode(NodeOf(tensor));
  if (node != nullptr) return *node;
  Fail(description + ": no tensor '" + tensor + "' in the graph" +
       DidYouMean(NodeOf(tensor), graph.NodeNames()));
}

const tf::OpDef* FindOpDef(const GraphIndex& graph, const std::string& op) {
  const tf::FunctionDef* function = graph.FindFunction(op);
  if (function != nullptr) return &function->signature();
  const tf::OpRegistrationData* registered = FindOp(op);
  return registered == nullptr ? nullptr : &registered->op_def;
}

tf::DataTypeVector OutputTypes(const tf::NodeDef& node, const tf::OpDef& op) {
  tf::DataTypeVector types;
  if (!tf::OutputTypesForNode(node, op, &types).ok()) {
    // SavedModels leave out attributes that have their default value.
    tf::NodeDef complete = node;
    tf::AddDefaultsToNodeDef(op, &complete);
    types.clear();
    if (!tf::OutputTypesForNode(complete, op, &types).ok()) types.clear();
  }
  return types;
}

PartialShape StaticShape(const tf::NodeDef& node, int output,
                         const std::string& context) {
  const auto shapes = node.attr().find("_output_shapes");
  if (shapes != node.attr().end() && output < shapes->second.list().shape_size()) {
    return ToPartialShape(shapes->second.list().shape(output), context);
  }
  const auto shape = node.attr().find("shape");
  if (shape != node.attr().end() && shape->second.has_shape() &&
      node.op().rfind("Placeholder", 0) == 0) {
    return ToPartialShape(shape->second.shape(), context);
  }
  return PartialShape();
}

TensorSpec FindTensor(const GraphIndex& graph, const std::string& name,
                      const std::string& description) {
  const tf::TensorId id = tf::ParseTensorName(name);
  if (name.empty() || name.front() == '^' || id.index() < 0) {
    Fail(description + ": '" + name + "' is not the name of a tensor");
  }
  const tf::NodeDef& node = FindNode(graph, name, description);
  const tf::OpDef* op = FindOpDef(graph, node.op());
  const tf::DataTypeVector types =
      op == nullptr ? tf::DataTypeVector() : OutputTypes(node, *op);
  if (static_cast<std::size_t>(id.index()) >= types.size()) {
    Fail(description + ": no tensor '" + name + "' in the graph; node '" + node.name() +
         "' (op " + node.op() + ") has " + std::to_string(types.size()) + " outputs");
  }
  return {
      node.name() + ":" + std::to_string(id.index()),
      static_cast<DataType>(tf::BaseType(types[static_cast<std::size_t>(id.index())])),
      StaticShape(node, id.index(), description + ", tensor '" + name + "'")};
}

// Where a fetch comes from: TensorFlow refuses to fetch a fed tensor and to fetch one
// twice.
struct Source {
  bool is_feed;
  std::size_t index;  // among the feeds, or among the distinct fetches
};

// Feeds, fetches and targets after the checks that TensorFlow leaves to its first run.
struct Plan {
  std::vector<TensorSpec> feeds;
  std::vector<std::string> fetches;  // distinct, none of them fed
  std::vector<std::string> targets;
  std::vector<Source> sources;  // one for each fetch that was asked for
  RunEffects effects;

  bool runs_nothing() const { return fetches.empty() && targets.empty(); }

  // Brings all of it into the session.
  void Require(LoadedBundle* bundle) const {
    std::vector<std::string> names = fetches;
    names.insert(names.end(), targets.begin(), targets.end());
    for (const TensorSpec& feed : feeds) names.push_back(feed.name);
    bundle->Require(names);
  }

  // After the session's run of it, also one that failed.
  void NoteEffects(LoadedBundle* bundle) const {
    if (effects.changes_variables && bundle->graph) bundle->graph->NoteChange();
  }
};

Plan MakePlan(const GraphIndex& graph, const std::vector<std::string>& feeds,
              const std::vector<std::string>& fetches,
              const std::vector<std::string>& targets, const std::string& description) {
  if (fetches.empty() && targets.empty()) {
    Fail(description + ": nothing to run: neither a fetch nor a target was given");
  }
  Plan plan;
  std::unordered_map<std::string, Source> sources;
  for (const std::string& feed : feeds) {
    plan.feeds.push_back(FindTensor(graph, feed, description));
    if (!sources.emplace(plan.feeds.back().name, Source{true, plan.feeds.size() - 1})
             .second) {
      Fail(description + ": tensor '" + plan.feeds.back().name +
           "' is fed more than once");
    }
  }
  for (const std::string& fetch : fetches) {
    const TensorSpec spec = FindTensor(graph, fetch, description);
    if (DataTypeSize(spec.dtype) == 0 && spec.dtype != DataType::kString) {
      Fail(description + ": tensor '" + spec.name + "' of dtype " +
           DataTypeName(spec.dtype) + " cannot be fetched");
    }
    const auto [source, added] =
        sources.emplace(spec.name, Source{false, plan.fetches.size()});
    if (added) plan.fetches.push_back(spec.name);
    plan.sources.push_back(source->second);
  }
  for (const std::string& target : targets) {
    plan.targets.push_back(FindNode(graph, target, description).name());
  }
  plan.effects = FindEffects(graph, plan.fetches, plan.targets, description);
  return plan;
}

bool IsRetained(const Plan& plan, const Tensor& feed) {
  return plan.effects.retains_feeds && IsView(feed);
}

// A row of a batch's output need not be aligned.
bool MustCopy(const Plan& plan, const Tensor& feed) {
  return IsRetained(plan, feed) || !TensorAccess::Get(feed).IsAligned();
}

void CheckFeeds(const Plan& plan, const std::vector<Tensor>& tensors,
                const std::string& description) {
  if (tensors.size() != plan.feeds.size()) {
    Fail(description + ": expected " + std::to_string(plan.feeds.size()) +
         " feeds, got " + std::to_string(tensors.size()));
  }
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const Tensor& tensor = tensors[i];
    if (tensor.dtype() != plan.feeds[i].dtype) {
      Fail(description + ", tensor '" + plan.feeds[i].name + "': expected dtype " +
           DataTypeName(plan.feeds[i].dtype) + ", got " + DataTypeName(tensor.dtype()));
    }
  }
}

// The feeds as TensorFlow may take them: these, or `*copies`, with copies of some.
const std::vector<Tensor>& ToFeeds(const Plan& plan, const std::vector<Tensor>& tensors,
                                   const std::string& description,
                                   std::vector<Tensor>* copies) {
  CheckFeeds(plan, tensors, description);
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const Tensor& tensor = tensors[i];
    if (!MustCopy(plan, tensor)) continue;
    CountCopy(IsRetained(plan, tensor) ? CopyReason::kRetained : CopyReason::kMisaligned,
              tensor.num_bytes());
    if (copies->empty()) *copies = tensors;
    (*copies)[i] = tensor.Clone();
  }
  return copies->empty() ? tensors : *copies;
}

std::vector<tf::Tensor> Unwrap(const std::vector<Tensor>& tensors) {
  std::vector<tf::Tensor> unwrapped;
  unwrapped.reserve(tensors.size());
  for (const Tensor& tensor : tensors) unwrapped.push_back(TensorAccess::Get(tensor));
  return unwrapped;
}

std::vector<Tensor> Wrap(std::vector<tf::Tensor> tensors) {
  std::vector<Tensor> wrapped;
  wrapped.reserve(tensors.size());
  for (tf::Tensor& tensor : tensors)
    wrapped.push_back(TensorAccess::Wrap(std::move(tensor)));
  return wrapped;
}

// The fetches that were asked for, in their order.
std::vector<Tensor> ToResults(const Plan& plan, const std::vector<Tensor>& feeds,
                              std::vector<Tensor> outputs, bool copy_shared) {
  // Otherwise one is asked for twice, or is a feed.
  if (plan.sources.size() != outputs.size()) {
    std::vector<Tensor> results;
    results.reserve(plan.sources.size());
    for (const Source& source : plan.sources)
      results.push_back(source.is_feed ? feeds[source.index] : outputs[source.index]);
    outputs = std::move(results);
  }
  if (copy_shared) {
    for (Tensor& output : outputs) {
      if (output.IsExclusive() || output.num_elements() == 0) continue;
      CountCopy(CopyReason::kShared, output.num_bytes());
      output = output.Clone();
    }
  }
  return outputs;
}

// A run is taken for small, and made on the caller's own thread (CallerPool), when the
// latest one took less than this. What takes longer is left to the session's pool, where
// independent ops run at once.
constexpr std::int64_t kSmallRunNanoseconds = 200'000;

// True if these options ask for nothing but a timeout and the times of ops.
bool EngineHeeds(const tf::RunOptions& options) {
  tf::RunOptions rest = options;
  rest.clear_timeout_in_ms();
  rest.clear_trace_level();
  return rest.ByteSizeLong() == 0;
}

// True if nothing was said about threads, nor of a deadline, which TensorFlow watches
// only while the caller sleeps.
bool MayRunOnCaller(const tf::ConfigProto& config, const tf::RunOptions& run_options,
                    tf::Session* session) {
  std::vector<tf::DeviceAttributes> devices;
  return run_options.timeout_in_ms() == 0 && config.operation_timeout_in_ms() == 0 &&
         run_options.inter_op_thread_pool() == 0 &&
         !run_options.experimental().use_run_handler_pool() &&
         config.inter_op_parallelism_threads() == 0 &&
         !config.use_per_session_threads() &&
         config.session_inter_op_thread_pool_size() == 0 &&
         session->ListDevices(&devices).ok() && devices.size() == 1;
}

}  // namespace

struct Callable::State {
  using Clock = std::chrono::steady_clock;

  std::shared_ptr<BundleHandle> handle;
  std::string description;
  Plan plan;
  tf::RunOptions run_options;
  // Of the bundle; null where the session runs it.
  CallableEngine* engine = nullptr;
  Runner runner{"session", "the engine is switched off for it"};

  // The session's, made when it is first needed.
  struct InSession {
    tf::Session::CallableHandle id = 0;
    bool may_run_on_caller = false;
    // TensorFlow's cost model writes into the metadata of every run, also where there is
    // none.
    bool needs_metadata = false;
    // How long the latest run took: what the next one is taken for.
    mutable std::atomic<std::int64_t> latest_nanoseconds{kSmallRunNanoseconds};
  };
  mutable std::mutex mutex;  // of making it
  mutable std::unique_ptr<const InSession> made;
  mutable std::atomic<const InSession*> in_session{nullptr};

  ~State() {
    const auto bundle = handle->TryAcquire();
    if (bundle == nullptr) return;
    if (made != nullptr) bundle->session->ReleaseCallable(made->id).IgnoreError();
    if (engine != nullptr) bundle->engines->Release(engine);
  }

  const InSession& MakeInSession(LoadedBundle* bundle) const {
    const InSession* ready = in_session.load(std::memory_order_acquire);
    if (ready != nullptr) return *ready;
    const std::lock_guard<std::mutex> lock(mutex);
    if (made != nullptr) return *made;
    plan.Require(bundle);
    tf::CallableOptions options;
    for (const TensorSpec& feed : plan.feeds) options.add_feed(feed.name);
    for (const std::string& fetch : plan.fetches) options.add_fetch(fetch);
    for (const std::string& target : plan.targets) options.add_target(target);
    *options.mutable_run_options() = run_options;
    auto making = std::make_unique<InSession>();
    ThrowIfError(bundle->GetSession().MakeCallable(options, &making->id), description);
    const tf::ConfigProto& config = ProtoAccess::Get(handle->session_options());
    making->may_run_on_caller =
        MayRunOnCaller(config, run_options, &bundle->GetSession());
    making->needs_metadata = config.graph_options().build_cost_model() > 0;
    made = std::move(making);
    in_session.store(made.get(), std::memory_order_release);
    return *made;
  }

  absl::Status RunInSession(LoadedBundle* bundle, const std::vector<tf::Tensor>& feeds,
                            std::vector<tf::Tensor>* outputs,
                            tf::RunMetadata* metadata) const {
    const InSession& callable = MakeInSession(bundle);
    tf::Session* session = bundle->session.get();
    std::optional<tf::RunMetadata> unused;
    if (callable.needs_metadata && metadata == nullptr) metadata = &unused.emplace();
    if (!callable.may_run_on_caller)
      return session->RunCallable(callable.id, feeds, outputs, metadata);
    const auto start = Clock::now();
    absl::Status status;
    if (callable.latest_nanoseconds.load(std::memory_order_relaxed) <
        kSmallRunNanoseconds) {
      CallerPool pool;
      tsl::thread::ThreadPoolOptions pools;
      pools.inter_op_threadpool = &pool;
      status = session->RunCallable(callable.id, feeds, outputs, metadata, pools);
    } else {
      status = session->RunCallable(callable.id, feeds, outputs, metadata);
    }
    callable.latest_nanoseconds.store(
        std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - start)
            .count(),
        std::memory_order_relaxed);
    return status;
  }

  absl::Status Run(LoadedBundle* bundle, const std::vector<Tensor>& feeds,
                   std::vector<Tensor>* outputs, tf::RunMetadata* metadata,
                   const EngineRunOptions& options) const {
    absl::Status status;
    if (engine != nullptr && engine->Run(bundle, feeds, outputs, options, &status)) {
      return status;
    }
    std::vector<tf::Tensor> fetched;
    status = RunInSession(bundle, Unwrap(feeds), &fetched, metadata);
    *outputs = Wrap(std::move(fetched));
    plan.NoteEffects(bundle);
    return status;
  }
};

const std::vector<TensorSpec>& Callable::feeds() const { return state_->plan.feeds; }

bool Callable::retains_feeds() const { return state_->plan.effects.retains_feeds; }

bool Callable::copies_shared_outputs() const {
  return state_->handle->has_ref_variables();
}

const Runner& Callable::runner() const { return state_->runner; }

std::vector<Tensor> Callable::Run(const std::vector<Tensor>& feeds,
                                  RunMetadata* metadata) const {
  return Run(feeds, metadata, nullptr, nullptr, nullptr);
}

bool Callable::CanTake(const RunOptions& run_options) const {
  return state_->engine != nullptr && EngineHeeds(ProtoAccess::Get(run_options));
}

std::vector<Tensor> Callable::Run(const std::vector<Tensor>& feeds, RunMetadata* metadata,
                                  const RunOptions* run_options,
                                  const CancellationManager* cancellation,
                                  const std::vector<Tensor>* into) const {
  const State& state = *state_;
  const BundleHandle::Use use(*state.handle);
  std::vector<Tensor> copies;
  const std::vector<Tensor>& inputs =
      ToFeeds(state.plan, feeds, state.description, &copies);
  std::vector<Tensor> outputs;
  if (!state.plan.runs_nothing()) {
    const tf::RunOptions& given =
        run_options == nullptr ? state.run_options : ProtoAccess::Get(*run_options);
    tf::RunMetadata* collected = ProtoAccess::Mutable(metadata);
    EngineRunOptions options;
    options.cancellation = cancellation;
    if (given.timeout_in_ms() > 0)
      options.deadline = absl::Now() + absl::Milliseconds(given.timeout_in_ms());
    if (given.trace_level() != tf::RunOptions::NO_TRACE && collected != nullptr)
      options.step_stats = collected->mutable_step_stats();
    // Where a fetch is asked for twice, or fed, results are not those of the plan.
    if (into != nullptr && into->size() == state.plan.fetches.size()) options.into = into;
    ThrowIfError(Noted(state.Run(use.bundle(), inputs, &outputs, collected, options)),
                 state.description);
  }
  return ToResults(state.plan, inputs, std::move(outputs),
                   state.handle->has_ref_variables());
}

bool Callable::RunIfShort(const std::vector<Tensor>& feeds,
                          std::vector<Tensor>* outputs) const {
  const State& state = *state_;
  // A limit of time, or a trace, is for Run.
  if (state.engine == nullptr || state.run_options.ByteSizeLong() != 0) return false;
  const BundleHandle::Use use(*state.handle);
  CheckFeeds(state.plan, feeds, state.description);
  // So is copying.
  for (const Tensor& feed : feeds) {
    if (MustCopy(state.plan, feed)) return false;
  }
  absl::Status status;
  if (!state.engine->RunIfShort(use.bundle(), feeds, outputs, &status)) return false;
  ThrowIfError(Noted(status), state.description);
  *outputs = ToResults(state.plan, feeds, std::move(*outputs),
                       state.handle->has_ref_variables());
  return true;
}

Callable Session::MakeCallable(const std::vector<std::string>& feeds,
                               const std::vector<std::string>& fetches,
                               const std::vector<std::string>& targets,
                               const RunOptions* run_options) const {
  return MakeCallable(feeds, fetches, targets, run_options, Describe(*handle_),
                      /*may_use_engine=*/false);
}

Callable Session::MakeCallable(const std::vector<std::string>& feeds,
                               const std::vector<std::string>& fetches,
                               const std::vector<std::string>& targets,
                               const RunOptions* run_options, std::string description,
                               bool may_use_engine) const {
  const auto bundle = handle_->Acquire();
  auto state = std::make_shared<Callable::State>();
  state->handle = handle_;
  state->plan = MakePlan(*bundle->index, feeds, fetches, targets, description);
  state->description = std::move(description);
  state->run_options =
      ProtoAccess::Get(run_options == nullptr ? handle_->run_options() : *run_options);
  const Plan& plan = state->plan;
  if (!plan.runs_nothing()) {
    if (may_use_engine && bundle->engines != nullptr && targets.empty()) {
      std::vector<std::string> feed_names;
      for (const TensorSpec& feed : plan.feeds) feed_names.push_back(feed.name);
      std::string reason;
      if (!EngineHeeds(state->run_options)) {
        reason = "run_options ask for more than a timeout and a trace";
      } else {
        state->engine =
            bundle->engines->Make(bundle.get(), feed_names, plan.fetches, &reason);
      }
      state->runner = {state->engine == nullptr ? "session" : "engine", reason};
    }
    if (state->engine == nullptr) state->MakeInSession(bundle.get());
  } else {
    plan.Require(bundle.get());
  }
  return Callable(std::move(state));
}

std::vector<Tensor> Session::Run(const std::vector<std::pair<std::string, Tensor>>& feeds,
                                 const std::vector<std::string>& fetches,
                                 const std::vector<std::string>& targets,
                                 const RunOptions* run_options,
                                 RunMetadata* metadata) const {
  return Run(feeds, fetches, targets, run_options, metadata, Describe(*handle_));
}

std::vector<Tensor> Session::Run(const std::vector<std::pair<std::string, Tensor>>& feeds,
                                 const std::vector<std::string>& fetches,
                                 const std::vector<std::string>& targets,
                                 const RunOptions* run_options, RunMetadata* metadata,
                                 const std::string& description) const {
  const auto bundle = handle_->Acquire();
  std::vector<std::string> feed_names;
  std::vector<Tensor> tensors;
  for (const auto& [name, tensor] : feeds) {
    feed_names.push_back(name);
    tensors.push_back(tensor);
  }
  const Plan plan = MakePlan(*bundle->index, feed_names, fetches, targets, description);
  plan.Require(bundle.get());
  std::vector<Tensor> copies;
  const std::vector<Tensor>& inputs = ToFeeds(plan, tensors, description, &copies);
  std::vector<tf::Tensor> outputs;
  if (!plan.runs_nothing()) {
    std::vector<std::pair<std::string, tf::Tensor>> named;
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      named.emplace_back(plan.feeds[i].name, TensorAccess::Get(inputs[i]));
    }
    RunMetadata unused;
    const absl::Status status = Noted(bundle->GetSession().Run(
        ProtoAccess::Get(run_options == nullptr ? handle_->run_options() : *run_options),
        named, plan.fetches, plan.targets, &outputs,
        ProtoAccess::Mutable(metadata == nullptr ? &unused : metadata)));
    plan.NoteEffects(bundle.get());
    ThrowIfError(status, description);
  }
  return ToResults(plan, inputs, Wrap(std::move(outputs)), handle_->has_ref_variables());
}

std::vector<DeviceAttributes> Session::ListDevices() const {
  const auto bundle = handle_->Acquire();
  std::vector<tf::DeviceAttributes> listed;
  ThrowIfError(bundle->GetSession().ListDevices(&listed), Describe(*handle_));
  std::vector<DeviceAttributes> devices;
  for (const tf::DeviceAttributes& device : listed) {
    devices.push_back({device.name(), device.device_type(), device.memory_limit(),
                       device.physical_device_desc()});
  }
  return devices;
}

TensorSpec Session::tensor_spec(const std::string& name) const {
  return FindTensor(*handle_->Acquire()->index, name, Describe(*handle_));
}

void Session::Close() const { handle_->Close(); }

}  // namespace savedmodel
