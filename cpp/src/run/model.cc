#include "savedmodel/model.h"

#include <map>

#include "core/nearest.h"
#include "load/load_saved_model.h"
#include "run/signature_state.h"
#include "run/warmup.h"
#include "savedmodel/error.h"

namespace savedmodel {

struct Model::State {
  SavedModelBundle bundle;
  std::map<std::string, std::shared_ptr<SignatureState>> signatures;
};

Model Model::Load(const std::string& path, const LoadOptions& options) {
  const std::string export_dir = ResolveExportDir(path, options.version);
  State state{BundleAccess::LoadModel(export_dir, options), {}};
  for (const auto& [name, definition] : state.bundle.signature_def()) {
    state.signatures.emplace(
        name, std::make_shared<SignatureState>(name, definition, export_dir,
                                               state.bundle.session()));
  }
  Model model(std::make_shared<const State>(std::move(state)));
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

const SavedModelBundle& Model::bundle() const { return state_->bundle; }

Session Model::session() const { return state_->bundle.session(); }

void Model::Close() const { session().Close(); }

}  // namespace savedmodel
