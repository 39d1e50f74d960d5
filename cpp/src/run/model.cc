#include "savedmodel/model.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <map>

#include "core/nearest.h"
#include "core/proto_message.h"
#include "core/runtime.h"
#include "load/load_saved_model.h"
#include "load/save.h"
#include "optimize/save_optimized.h"
#include "run/engines.h"
#include "run/object_graph.h"
#include "run/signature_state.h"
#include "run/verify.h"
#include "run/warmup.h"
#include "savedmodel/error.h"

namespace savedmodel {

struct Model::State {
  SavedModelBundle bundle;
  std::map<std::string, std::shared_ptr<SignatureState>> signatures;
  std::shared_ptr<ObjectGraph> objects;
};

namespace {

// TensorFlow's DEFAULT_SERVING_SIGNATURE_DEF_KEY.
constexpr char kDefaultSignature[] = "serving_default";

using SignatureStates = std::map<std::string, std::shared_ptr<SignatureState>>;

// The signatures that are made ready at load: those that were asked for, else the one
// that is run by default, or the only one. Others are when they are first called.
std::vector<SignatureState*> Prepared(const SignatureStates& signatures,
                                      const LoadOptions& options) {
  std::vector<SignatureState*> prepared;
  for (const auto& [name, state] : signatures) {
    if (options.signatures || signatures.size() == 1 || name == kDefaultSignature) {
      prepared.push_back(state.get());
    }
  }
  return prepared;
}

// True unless the session is to answer all calls.
bool MayOptimize(const LoadOptions& options) {
  const char* engine = std::getenv("SAVEDMODEL_ENGINE");
  return options.optimize != OptimizeLevel::kNone &&
         (engine == nullptr || std::string(engine) != "session");
}

// Decides what answers the signatures' calls, and gives them their variables.
void Optimize(const SavedModelBundle& bundle, const SignatureStates& signatures,
              const LoadOptions& options) {
  const auto loaded = BundleAccess::Handle(bundle)->Acquire();
  bool optimized = MayOptimize(options) && loaded->graph->on_one_device() &&
                   loaded->graph->plan().complete;
  const double loaded_before = RuntimeLoadSeconds();
  if (!optimized) loaded->GetSession();
  const auto start = std::chrono::steady_clock::now();
  if (optimized) {
    loaded->engines = std::make_shared<Engines>(
        loaded.get(), ProtoAccess::Get(options.session_options),
        options.optimize == OptimizeLevel::kMax ? kernels::Precision::kBfloat16
                                                : kernels::Precision::kFloat32);
    for (SignatureState* signature : Prepared(signatures, options)) {
      optimized = signature->runner().name == "engine" && optimized;
    }
    double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    for (const LoadPhase& phase : loaded->graph->report().phases)
      seconds -= phase.seconds;
    seconds -= RuntimeLoadSeconds() - loaded_before;
    BundleAccess::Report(bundle, {"optimize", std::max(seconds, 0.0), 0});
  }
  BundleAccess::Report(bundle, {"library", RuntimeLoadSeconds() - loaded_before, 0});
  BundleAccess::CompleteModel(bundle, options, optimized);
}

}  // namespace

Model Model::Load(const std::string& path, const LoadOptions& options) {
  const std::string export_dir = ResolveExportDir(path, options.version);
  State state{BundleAccess::LoadModel(export_dir, options, MayOptimize(options)), {}, {}};
  for (const auto& [name, definition] : state.bundle.signature_def()) {
    state.signatures.emplace(
        name, std::make_shared<SignatureState>(name, definition, export_dir,
                                               state.bundle.session()));
  }
  state.objects = std::make_shared<ObjectGraph>(BundleAccess::Handle(state.bundle),
                                                state.bundle.session());
  Optimize(state.bundle, state.signatures, options);
  Model model(std::make_shared<const State>(std::move(state)));
  if (options.verify) Verify(model, options.optimize);
  if (options.warmup) Warmup(model);
  return model;
}

Signature Model::signature(const std::string& name) const {
  const auto found = state_->signatures.find(name);
  if (found == state_->signatures.end()) {
    const auto names = signature_names();
    throw Error(ErrorCode::kInvalidArgument,
                UnknownSignature("model '" + bundle().export_dir() + "'", name, names));
  }
  return Signature(found->second);
}

std::vector<std::string> Model::signature_names() const {
  std::vector<std::string> names;
  for (const auto& [name, signature] : state_->signatures) names.push_back(name);
  return names;
}

Object Model::root() const { return state_->objects->root(); }

std::vector<Variable> Model::variables() const {
  return state_->objects->Variables(/*trainable_only=*/false);
}
std::vector<Variable> Model::trainable_variables() const {
  return state_->objects->Variables(/*trainable_only=*/true);
}
std::vector<Function> Model::regularization_losses() const {
  return state_->objects->RegularizationLosses();
}

void Model::Save(const std::string& path) const {
  SaveModel(*BundleAccess::Handle(state_->bundle), path);
}

OptimizeReport Model::SaveOptimized(const std::string& path) const {
  return savedmodel::SaveOptimized(*BundleAccess::Handle(state_->bundle),
                                   state_->bundle.signature_def(), path);
}

const SavedModelBundle& Model::bundle() const { return state_->bundle; }

Session Model::session() const { return state_->bundle.session(); }

void Model::Close() const { session().Close(); }

}  // namespace savedmodel
