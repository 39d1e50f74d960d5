#include "load/load_saved_model.h"

#include <chrono>
#include <filesystem>
#include <limits>

#include "core/proto_message.h"
#include "core/runtime.h"
#include "core/status.h"
#include "inspect/meta_graph.h"
#include "load/bundle_handle.h"
#include "tensorflow/cc/saved_model/constants.h"
#include "tensorflow/cc/saved_model/loader_util.h"
#include "tensorflow/cc/saved_model/reader.h"

namespace savedmodel {

namespace {

namespace fs = std::filesystem;
namespace tf = tensorflow;

bool IsRefVariable(const tf::NodeDef& node) {
  return node.op() == "VariableV2" || node.op() == "Variable" ||
         node.op() == "TemporaryVariable";
}

bool HasRefVariables(const tf::GraphDef& graph) {
  for (const tf::NodeDef& node : graph.node()) {
    if (IsRefVariable(node)) return true;
  }
  return false;
}

bool HasVariables(const tf::GraphDef& graph) {
  for (const tf::NodeDef& node : graph.node()) {
    if (node.op() == "VarHandleOp" || IsRefVariable(node)) return true;
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

tf::Tensor StringScalar(const std::string& text) { return tf::Tensor(tf::tstring(text)); }

// The steps of tensorflow::RestoreSession, apart: restoring the variables ...
std::uint64_t Restore(const tf::RunOptions& run_options, const std::string& export_dir,
                      const tf::SavedModelBundle& bundle,
                      std::vector<std::pair<std::string, tf::Tensor>> inputs) {
  const tf::SaverDef& saver = bundle.meta_graph_def.saver_def();
  if (saver.restore_op_name().empty()) return 0;
  const fs::path variables = fs::path(export_dir) / tf::kSavedModelVariablesDirectory;
  const std::string prefix = (variables / tf::kSavedModelVariablesFilename).string();
  std::error_code ignored;
  if (!fs::exists(prefix + ".index", ignored)) {
    // TensorFlow's loader takes this for a model without variables, and each call would
    // fail.
    if (!HasVariables(bundle.meta_graph_def.graph_def())) return 0;
    throw Error(ErrorCode::kNotFound, "model '" + export_dir + "' has variables, but '" +
                                          prefix + ".index' does not exist");
  }
  inputs.emplace_back(saver.filename_tensor_name(), StringScalar(prefix));
  tf::RunMetadata metadata;
  ThrowIfUnreadable(bundle.session->Run(run_options, inputs, {},
                                        {saver.restore_op_name()}, nullptr, &metadata),
                    "model '" + export_dir + "', restoring its variables");
  return FileBytes(variables, tf::kSavedModelVariablesFilename);
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
      bundle.session->Run(run_options, inputs, {}, {init_op}, nullptr, &metadata),
      context);
}

}  // namespace

BundleHandle::BundleHandle(std::string export_dir, SessionOptions session_options,
                           RunOptions run_options,
                           std::shared_ptr<tf::SavedModelBundle> bundle)
    : export_dir_(std::move(export_dir)),
      session_options_(std::move(session_options)),
      run_options_(std::move(run_options)),
      has_ref_variables_(HasRefVariables(bundle->meta_graph_def.graph_def())),
      bundle_(std::move(bundle)) {}

std::shared_ptr<tf::SavedModelBundle> BundleHandle::Acquire() const {
  ThrowIfForked();
  auto bundle = std::atomic_load(&bundle_);
  if (bundle == nullptr) {
    throw Error(ErrorCode::kFailedPrecondition, "model '" + export_dir_ + "' is closed");
  }
  return bundle;
}

std::shared_ptr<tf::SavedModelBundle> BundleHandle::TryAcquire() const noexcept {
  return RuntimeForked() ? nullptr : std::atomic_load(&bundle_);
}

void BundleHandle::Close() noexcept {
  std::atomic_store(&bundle_, std::shared_ptr<tf::SavedModelBundle>());
}

struct SavedModelBundle::State {
  std::vector<std::string> tags;
  std::map<std::string, SignatureDef> signatures;
  std::optional<Fingerprint> fingerprint;
  std::map<std::string, std::string> assets;
  std::vector<std::string> extra_assets;
  mutable std::vector<LoadPhase> load_report;  // until the load is over
  std::shared_ptr<BundleHandle> handle;
};

SavedModelBundle BundleAccess::Load(const SessionOptions& session_options,
                                    const RunOptions& run_options,
                                    const std::string& export_dir,
                                    const std::optional<std::vector<std::string>>& tags) {
  const std::string context = "model '" + export_dir + "'";
  CheckOptions(ProtoAccess::Get(session_options));
  Phases phases;
  EnsureRuntime();
  phases.End("library", 0);

  // A child of fork() has none of the session's threads: there the session is leaked,
  // because closing it would wait for them.
  std::shared_ptr<tf::SavedModelBundle> bundle(new tf::SavedModelBundle,
                                               [](tf::SavedModelBundle* loaded) {
                                                 if (!RuntimeForked()) delete loaded;
                                               });
  bundle->meta_graph_def = ReadMetaGraph(export_dir, tags);
  ThrowIfError(tf::ReadSavedModelDebugInfoIfPresent(export_dir, &bundle->debug_info),
               context);
  auto state = std::make_shared<SavedModelBundle::State>();
  const auto& names = bundle->meta_graph_def.meta_info_def().tags();
  state->tags.assign(names.begin(), names.end());
  state->signatures = ReadSignatures(export_dir, bundle->meta_graph_def);
  state->fingerprint = ReadFingerprint(export_dir);
  std::vector<std::pair<std::string, tf::Tensor>> asset_feeds;
  for (const Asset& asset : ReadAssets(export_dir, bundle->meta_graph_def)) {
    state->assets[asset.name] = fs::absolute(asset.path).string();
    asset_feeds.emplace_back(asset.tensor, StringScalar(asset.path));
  }
  state->extra_assets = ReadExtraAssets(export_dir);
  phases.End("read", FileBytes(export_dir, tf::kSavedModelFilenamePrefix));

  tf::SessionOptions options;
  options.config = ProtoAccess::Get(session_options);
  ThrowIfError(
      tf::LoadMetagraphIntoSession(options, bundle->meta_graph_def, &bundle->session),
      context);
  phases.End("create", 0);

  const tf::RunOptions& run = ProtoAccess::Get(run_options);
  phases.End("restore", Restore(run, export_dir, *bundle, asset_feeds));
  Initialize(run, export_dir, *bundle, asset_feeds);
  phases.End("init", 0);

  state->load_report = phases.Take();
  state->handle = std::make_shared<BundleHandle>(export_dir, session_options, run_options,
                                                 std::move(bundle));
  return SavedModelBundle(std::move(state));
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
const std::vector<LoadPhase>& SavedModelBundle::load_report() const {
  return state_->load_report;
}
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
  bundle.state_->load_report.push_back(std::move(phase));
}

}  // namespace savedmodel
