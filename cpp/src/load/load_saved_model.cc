#include "load/load_saved_model.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <limits>

#include "core/nearest.h"
#include "core/proto_message.h"
#include "core/runtime.h"
#include "core/status.h"
#include "inspect/meta_graph.h"
#include "inspect/saved_model_dir.h"
#include "kernels/kernels.h"
#include "load/bundle_handle.h"
#include "tensorflow/cc/saved_model/constants.h"
#include "tensorflow/cc/saved_model/loader_util.h"
#include "tensorflow/cc/saved_model/reader.h"
#include "tensorflow/core/util/port.h"

namespace savedmodel {

namespace {

namespace fs = std::filesystem;
namespace tf = tensorflow;

// Written in place, also under a tensor that shares its memory.
bool IsInPlaceVariable(const tf::NodeDef& node) {
  return IsRefVariable(node) || node.op() == "TemporaryVariable";
}

bool HasRefVariables(const tf::GraphDef& graph) {
  for (const tf::NodeDef& node : graph.node()) {
    if (IsInPlaceVariable(node)) return true;
  }
  return false;
}

bool HasVariables(const tf::GraphDef& graph) {
  for (const tf::NodeDef& node : graph.node()) {
    if (node.op() == "VarHandleOp" || IsInPlaceVariable(node)) return true;
  }
  return false;
}

// TensorFlow aborts the process on a pool without threads, and hangs or crashes on one
// with more than the machine can make.
void CheckOptions(const tf::ConfigProto& config) {
  constexpr int kMaxThreads = 4096;
  const auto check = [](const char* name, int threads, int least) {
    if (threads < least || threads > kMaxThreads) {
      throw Error(ErrorCode::kInvalidArgument,
                  std::string("option '") + name +
                      "': expected a number of threads up to " +
                      std::to_string(kMaxThreads) + ", or 0 for one a core, got " +
                      std::to_string(threads));
    }
  };
  check("intra_op_parallelism_threads", config.intra_op_parallelism_threads(), 0);
  // Negative: the caller's thread.
  check("inter_op_parallelism_threads", config.inter_op_parallelism_threads(),
        std::numeric_limits<int>::min());
  for (const tf::ThreadPoolOptionProto& pool : config.session_inter_op_thread_pool()) {
    check("session_inter_op_thread_pool.num_threads", pool.num_threads(), 0);
  }
}

// True if libtensorflow_cc and the session can wait until something needs them. What the
// session is told must be known to be right, and its only device to be the host's CPU.
bool CanDefer(const tf::ConfigProto& config) {
  tf::ConfigProto rest = config;
  rest.clear_intra_op_parallelism_threads();
  rest.clear_inter_op_parallelism_threads();
  return rest.ByteSizeLong() == 0 && !RuntimeIsLoaded() && kernels::Supported() &&
         !tf::IsGoogleCudaEnabled() && !tf::IsBuiltWithROCm();
}

// Measures the phases of loading.
class Phases {
 public:
  void End(const char* name, std::uint64_t bytes) {
    const auto now = Clock::now();
    report_.push_back({name, std::chrono::duration<double>(now - start_).count(), bytes});
    start_ = now;
  }
  std::vector<LoadPhase> Take() { return std::move(report_); }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point start_ = Clock::now();
  std::vector<LoadPhase> report_;
};

// Bytes of the files in `folder` whose names begin with `prefix`.
std::uint64_t FileBytes(const fs::path& folder, const std::string& prefix) {
  std::uint64_t bytes = 0;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end;
       it.increment(error)) {
    if (it->path().filename().string().rfind(prefix, 0) == 0) {
      const std::uintmax_t size = it->file_size(error);
      if (!error) bytes += size;
    }
  }
  return bytes;
}

// Leaves only the signatures that were asked for.
void ChooseSignatures(const std::string& context, const std::vector<std::string>& chosen,
                      std::map<std::string, SignatureDef>* signatures) {
  std::map<std::string, SignatureDef> kept;
  for (const std::string& name : chosen) {
    const auto found = signatures->find(name);
    if (found == signatures->end()) {
      std::vector<std::string> names;
      for (const auto& [there, definition] : *signatures) names.push_back(there);
      throw Error(ErrorCode::kInvalidArgument, UnknownSignature(context, name, names));
    }
    kept.insert(*found);
  }
  signatures->swap(kept);
}

// A call would fail; the model is refused instead.
void CheckInitialized(const std::string& context,
                      const std::map<std::string, SignatureDef>& signatures,
                      ModelGraph* graph) {
  std::map<std::string, std::string> missing;  // variable -> signatures
  for (const auto& [name, signature] : signatures) {
    for (const std::string& variable : graph->Uninitialized(TensorsOf(signature))) {
      std::string& list = missing[variable];
      list += (list.empty() ? "'" : ", '") + name + "'";
    }
  }
  if (missing.empty()) return;
  std::string text;
  for (const auto& [variable, list] : missing) {
    text += (text.empty() ? "" : "; ") + ("variable '" + variable + "', which ") +
            (list.find(',') == std::string::npos ? "signature " : "signatures ") + list +
            (list.find(',') == std::string::npos ? " needs" : " need");
  }
  throw Error(
      ErrorCode::kFailedPrecondition,
      context + ": neither the checkpoint nor the init op has a value for " + text);
}

tf::Tensor StringScalar(const std::string& text) { return tf::Tensor(tf::tstring(text)); }

// The steps of tensorflow::RestoreSession, apart: restoring the variables ...
std::uint64_t Restore(const tf::RunOptions& run_options, const std::string& export_dir,
                      const tf::SavedModelBundle& bundle,
                      std::vector<std::pair<std::string, tf::Tensor>> inputs) {
  const tf::SaverDef& saver = bundle.meta_graph_def.saver_def();
  if (saver.restore_op_name().empty()) return 0;
  if (!CheckVariablesFile(export_dir, bundle.meta_graph_def)) return 0;
  const std::optional<Checkpoint> checkpoint = Checkpoint::Open(export_dir);
  if (checkpoint) checkpoint->CheckData();
  const std::string prefix = VariablesPrefix(export_dir);
  inputs.emplace_back(saver.filename_tensor_name(), StringScalar(prefix));
  tf::RunMetadata metadata;
  ThrowIfUnreadable(
      Noted(bundle.session->Run(run_options, inputs, {}, {saver.restore_op_name()},
                                nullptr, &metadata)),
      "model '" + export_dir + "', restoring its variables");
  return FileBytes(fs::path(prefix).parent_path(), tf::kSavedModelVariablesFilename);
}

// ... and running the init op, which fills tables from assets.
void Initialize(const tf::RunOptions& run_options, const std::string& export_dir,
                const tf::SavedModelBundle& bundle,
                const std::vector<std::pair<std::string, tf::Tensor>>& inputs) {
  const std::string context = "model '" + export_dir + "', running its init op";
  std::string init_op;
  ThrowIfError(tf::internal::GetInitOp(export_dir, bundle.meta_graph_def, &init_op),
               context);
  if (init_op.empty()) return;
  tf::RunMetadata metadata;
  ThrowIfError(
      Noted(bundle.session->Run(run_options, inputs, {}, {init_op}, nullptr, &metadata)),
      context);
}

}  // namespace

bool CheckVariablesFile(const std::string& export_dir,
                        const tf::MetaGraphDef& meta_graph) {
  const std::string index = VariablesPrefix(export_dir) + ".index";
  std::error_code ignored;
  if (fs::exists(index, ignored)) return true;
  if (meta_graph.saver_def().restore_op_name().empty() ||
      !HasVariables(meta_graph.graph_def())) {
    return false;
  }
  throw Error(ErrorCode::kNotFound, "model '" + export_dir + "' has variables, but '" +
                                        index + "' does not exist");
}

void CheckTensors(const std::string& context,
                  const std::map<std::string, SignatureDef>& signatures,
                  const GraphIndex& graph) {
  const auto check = [&](const std::string& name, const char* kind,
                         const std::map<std::string, TensorSpec>& specs) {
    for (const auto& [key, spec] : specs) {
      if (graph.FindNode(NodeOf(spec.name)) != nullptr) continue;
      throw Error(ErrorCode::kInvalidArgument, context + ", signature '" + name + "', " +
                                                   kind + " '" + key + "': no tensor '" +
                                                   spec.name + "' in the graph");
    }
  };
  for (const auto& [name, signature] : signatures) {
    check(name, "input", signature.inputs);
    check(name, "output", signature.outputs);
  }
}

std::vector<std::string> TensorsOf(const SignatureDef& signature) {
  std::vector<std::string> tensors;
  for (const auto* specs : {&signature.inputs, &signature.outputs}) {
    for (const auto& [name, spec] : *specs) tensors.push_back(spec.name);
  }
  return tensors;
}

BundleHandle::BundleHandle(std::string export_dir, SessionOptions session_options,
                           RunOptions run_options, std::shared_ptr<LoadedBundle> bundle)
    : export_dir_(std::move(export_dir)),
      session_options_(std::move(session_options)),
      run_options_(std::move(run_options)),
      has_ref_variables_(HasRefVariables(bundle->meta_graph_def.graph_def())),
      bundle_(std::move(bundle)) {}

BundleHandle::Use::Use(const BundleHandle& handle) : handle_(handle) {
  ThrowIfForked();
  if (!handle.Enter()) {
    throw Error(ErrorCode::kFailedPrecondition,
                "model '" + handle.export_dir_ + "' is closed");
  }
}

std::shared_ptr<LoadedBundle> BundleHandle::Acquire() const {
  const Use use(*this);
  return bundle_;
}

std::shared_ptr<LoadedBundle> BundleHandle::TryAcquire() const noexcept {
  if (RuntimeForked() || !Enter()) return nullptr;
  std::shared_ptr<LoadedBundle> bundle = bundle_;
  Leave();
  return bundle;
}

void BundleHandle::Close() noexcept {
  if (users_.fetch_or(kClosed) == 0) bundle_.reset();
}

bool BundleHandle::Enter() const noexcept {
  std::uint64_t users = users_.load(std::memory_order_relaxed);
  do {
    if ((users & kClosed) != 0) return false;
  } while (!users_.compare_exchange_weak(users, users + 1, std::memory_order_acquire));
  return true;
}

void BundleHandle::Leave() const noexcept {
  if (users_.fetch_sub(1, std::memory_order_acq_rel) == (kClosed | 1)) bundle_.reset();
}

struct SavedModelBundle::State {
  std::vector<std::string> tags;
  std::map<std::string, SignatureDef> signatures;
  std::optional<Fingerprint> fingerprint;
  std::map<std::string, std::string> assets;
  std::vector<std::string> extra_assets;
  mutable LoadReport load_report;  // until the load is over
  std::shared_ptr<BundleHandle> handle;
};

struct BundleAccess::Loading {
  std::string export_dir;
  Phases phases;
  std::shared_ptr<LoadedBundle> bundle;
  std::shared_ptr<SavedModelBundle::State> state;
  std::vector<std::pair<std::string, tf::Tensor>> asset_feeds;

  std::string context() const { return "model '" + export_dir + "'"; }

  // The runtime, unless it is `deferred`, and all that lies in the directory, the
  // variables aside.
  Loading(const std::string& directory, const SessionOptions& session_options,
          const std::optional<std::vector<std::string>>& tags, bool deferred)
      : export_dir(LocalPath(directory)) {
    CheckOptions(ProtoAccess::Get(session_options));
    deferred ? PrepareRuntime() : EnsureRuntime();
    phases.End("library", 0);
    // A child of fork() has none of the session's threads: there the session is leaked,
    // because closing it would wait for them.
    bundle.reset(new LoadedBundle, [](LoadedBundle* loaded) {
      if (RuntimeForked()) return;
      AwaitFailedRuns();
      delete loaded;
    });
    bundle->meta_graph_def = ReadMetaGraph(export_dir, tags);
    bundle->index.emplace(bundle->meta_graph_def.graph_def());
    ThrowIfError(tf::ReadSavedModelDebugInfoIfPresent(export_dir, &bundle->debug_info),
                 context());
    state = std::make_shared<SavedModelBundle::State>();
    const auto& names = bundle->meta_graph_def.meta_info_def().tags();
    state->tags.assign(names.begin(), names.end());
    state->signatures = ReadSignatures(export_dir, bundle->meta_graph_def);
    state->fingerprint = ReadFingerprint(export_dir);
    for (const Asset& asset : ReadAssets(export_dir, bundle->meta_graph_def)) {
      state->assets[asset.name] = fs::absolute(asset.path).string();
      asset_feeds.emplace_back(asset.tensor, StringScalar(asset.path));
    }
    state->extra_assets = ReadExtraAssets(export_dir);
    phases.End("read", FileBytes(export_dir, tf::kSavedModelFilenamePrefix));
  }

  SavedModelBundle Finish(const SessionOptions& session_options,
                          const RunOptions& run_options) {
    std::vector<LoadPhase>& report = state->load_report.phases;
    const std::vector<LoadPhase> first = phases.Take();
    report.insert(report.begin(), first.begin(), first.end());
    state->handle = std::make_shared<BundleHandle>(export_dir, session_options,
                                                   run_options, std::move(bundle));
    return SavedModelBundle(std::move(state));
  }
};

SavedModelBundle BundleAccess::Load(const SessionOptions& session_options,
                                    const RunOptions& run_options,
                                    const std::string& export_dir,
                                    const std::vector<std::string>& tags) {
  Loading loading(export_dir, session_options, tags, /*deferred=*/false);
  LoadedBundle& bundle = *loading.bundle;
  tf::SessionOptions options;
  options.config = ProtoAccess::Get(session_options);
  ThrowIfError(
      tf::LoadMetagraphIntoSession(options, bundle.meta_graph_def, &bundle.session),
      loading.context());
  loading.phases.End("create", 0);

  const tf::RunOptions& run = ProtoAccess::Get(run_options);
  const std::uint64_t bytes = Restore(run, export_dir, bundle, loading.asset_feeds);
  loading.state->load_report.bytes_restored = bytes;
  loading.phases.End("restore", bytes);
  Initialize(run, export_dir, bundle, loading.asset_feeds);
  loading.phases.End("init", 0);
  return loading.Finish(session_options, run_options);
}

SavedModelBundle BundleAccess::LoadModel(const std::string& export_dir,
                                         const LoadOptions& options, bool optimized) {
  const bool deferred = optimized && CanDefer(ProtoAccess::Get(options.session_options));
  Loading loading(export_dir, options.session_options, options.tags, deferred);
  LoadedBundle& bundle = *loading.bundle;
  auto& signatures = loading.state->signatures;
  if (options.signatures)
    ChooseSignatures(loading.context(), *options.signatures, &signatures);
  CheckTensors(loading.context(), signatures, *bundle.index);

  tf::SessionOptions session_options;
  session_options.config = ProtoAccess::Get(options.session_options);
  // Grappler's second round and its memory optimizer take half of the time of a first
  // call, and change nothing in models that are not trained. Who asks for them gets them.
  tf::RewriterConfig& rewrite =
      *session_options.config.mutable_graph_options()->mutable_rewrite_options();
  if (rewrite.meta_optimizer_iterations() == tf::RewriterConfig::DEFAULT_NUM_ITERS)
    rewrite.set_meta_optimizer_iterations(tf::RewriterConfig::ONE);
  if (rewrite.memory_optimization() == tf::RewriterConfig::DEFAULT_MEM_OPT)
    rewrite.set_memory_optimization(tf::RewriterConfig::NO_MEM_OPT);
  // It passes over graphs of less than four nodes: a placeholder, the call of a function
  // and its result, for one, which is then not inlined.
  if (rewrite.min_graph_nodes() == 0) rewrite.set_min_graph_nodes(-1);
  // The graph grows.
  session_options.config.mutable_experimental()->set_disable_optimize_for_static_graph(
      true);
  bundle.make_session = [session_options, context = loading.context()] {
    EnsureRuntime();
    tf::Session* session = nullptr;
    ThrowIfError(tf::NewSession(session_options, &session), context);
    return std::unique_ptr<tf::Session>(session);
  };
  const tf::DeviceMgr* devices = nullptr;
  if (!deferred) {
    ThrowIfError(bundle.GetSession().LocalDeviceManager(&devices), loading.context());
  }
  CheckVariablesFile(export_dir, bundle.meta_graph_def);
  bundle.graph.emplace(
      export_dir, bundle.meta_graph_def, &*bundle.index,
      [&bundle]() -> tf::Session& { return bundle.GetSession(); }, devices,
      session_options.config, ProtoAccess::Get(options.run_options), loading.asset_feeds);
  return loading.Finish(options.session_options, options.run_options);
}

void BundleAccess::CompleteModel(const SavedModelBundle& made, const LoadOptions& options,
                                 bool optimized) {
  LoadedBundle& bundle = *Handle(made)->Acquire();
  const std::string context = "model '" + made.export_dir() + "'";
  const auto& signatures = made.state_->signatures;
  // The functions of the object graph can be called, too, but are compiled when they are.
  std::vector<std::string> wanted;
  if (!options.signatures) {
    wanted = BoundResources(bundle.graph->bindings(),
                            bundle.meta_graph_def.object_graph_def());
  }
  for (const auto& [name, signature] : signatures) {
    const std::vector<std::string> tensors = TensorsOf(signature);
    wanted.insert(wanted.end(), tensors.begin(), tensors.end());
  }
  if (optimized) {
    bundle.graph->RequireResources(wanted);
  } else {
    bundle.graph->Require(wanted);
  }
  CheckInitialized(context, signatures, &*bundle.graph);
  const LoadReport report = bundle.graph->report();
  LoadReport& told = made.state_->load_report;
  told.phases.insert(told.phases.end(), report.phases.begin(), report.phases.end());
  told.repairs = report.repairs;
  told.bytes_restored = report.bytes_restored;
  told.bytes_saved = report.bytes_saved;
}

SavedModelBundle LoadSavedModel(const SessionOptions& session_options,
                                const RunOptions& run_options,
                                const std::string& export_dir,
                                const std::vector<std::string>& tags) {
  return BundleAccess::Load(session_options, run_options, export_dir, tags);
}

const std::string& SavedModelBundle::export_dir() const {
  return state_->handle->export_dir();
}
const std::vector<std::string>& SavedModelBundle::tags() const { return state_->tags; }
const std::map<std::string, SignatureDef>& SavedModelBundle::signature_def() const {
  return state_->signatures;
}
const std::optional<Fingerprint>& SavedModelBundle::fingerprint() const {
  return state_->fingerprint;
}
const std::map<std::string, std::string>& SavedModelBundle::assets() const {
  return state_->assets;
}
const std::vector<std::string>& SavedModelBundle::extra_assets() const {
  return state_->extra_assets;
}
const LoadReport& SavedModelBundle::load_report() const { return state_->load_report; }
const SessionOptions& SavedModelBundle::session_options() const {
  return state_->handle->session_options();
}
const RunOptions& SavedModelBundle::run_options() const {
  return state_->handle->run_options();
}

std::string SavedModelBundle::meta_graph_def() const {
  return state_->handle->Acquire()->meta_graph_def.SerializeAsString();
}

Session SavedModelBundle::session() const { return Session(state_->handle); }

const std::shared_ptr<BundleHandle>& BundleAccess::Handle(
    const SavedModelBundle& bundle) {
  return bundle.state_->handle;
}

void BundleAccess::Report(const SavedModelBundle& bundle, LoadPhase phase) {
  std::vector<LoadPhase>& phases = bundle.state_->load_report.phases;
  const auto found =
      std::find_if(phases.begin(), phases.end(),
                   [&phase](const LoadPhase& told) { return told.name == phase.name; });
  if (found == phases.end()) {
    phases.push_back(std::move(phase));
  } else {
    found->seconds += phase.seconds;
    found->bytes += phase.bytes;
  }
}

}  // namespace savedmodel
