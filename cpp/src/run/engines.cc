#include "run/engines.h"

#include <malloc.h>

#include <algorithm>

#include "load/variable_sources.h"
#include "optimize/flatten.h"
#include "optimize/fuse.h"
#include "tensorflow/core/common_runtime/device_mgr.h"

namespace savedmodel {

namespace {

namespace tf = tensorflow;

// So many calls in a row that the engine breaks off, and it is not tried again.
constexpr int kMaxRefusals = 8;

// The variables that these tensors need, functions included.
std::vector<const tf::NodeDef*> VariablesOf(const LoadedBundle& bundle,
                                            const std::vector<std::string>& tensors) {
  const GraphIndex& index = *bundle.index;
  std::unordered_set<const tf::NodeDef*> seen;
  std::unordered_set<const tf::FunctionDef*> functions;
  const std::vector<const tf::NodeDef*> nodes =
      index.Reach(tensors, &seen, bundle.graph->context());
  std::vector<const tf::NodeDef*> variables;
  const auto add = [&](const tf::NodeDef& node) {
    if (node.op() == "VarHandleOp") variables.push_back(&node);
  };
  for (const tf::NodeDef* node : nodes) add(*node);
  for (const tf::FunctionDef* function : index.ReachFunctions(nodes, &functions)) {
    for (const tf::NodeDef& node : function->node_def()) add(node);
  }
  return variables;
}

const tf::DeviceMgr* DevicesOf(const LoadedBundle& bundle) {
  const tf::DeviceMgr* devices = nullptr;
  bundle.session->LocalDeviceManager(&devices).IgnoreError();
  return devices;
}

}  // namespace

CallableEngine::CallableEngine(std::vector<std::string> feeds,
                               std::vector<std::string> fetches, LoadedBundle* bundle,
                               const KernelHost& host)
    : feeds_(std::move(feeds)),
      fetches_(std::move(fetches)),
      host_(host),
      made_(Make(bundle)) {}

std::shared_ptr<CallableEngine::Made> CallableEngine::Make(LoadedBundle* bundle) const {
  auto made = std::make_shared<Made>();
  // First: what changes from now on is seen by the next run.
  made->changes.store(bundle->graph->changes());
  {
    auto values = bundle->graph->Freeze(VariablesOf(*bundle, fetches_));
    // Each is asked for once, and let go as soon as it is packed.
    const auto take = [&values](const tf::NodeDef& node) -> std::optional<tf::Tensor> {
      const auto found = values.find(ResourceId(node));
      if (found == values.end()) return std::nullopt;
      return std::move(values.extract(found).mapped());
    };
    FlatGraph graph = Flatten(*bundle->index, feeds_, fetches_, take, host_,
                              bundle->meta_graph_def.graph_def().versions());
    values.clear();
    if (kernels::Supported()) Fuse(&graph);
    bundle->Require(graph.resources);
    made->frozen = graph.frozen;
    made->engine = std::make_unique<const FlatEngine>(graph, host_);
  }
  // What weights were read into and packed from would otherwise stay with the process.
  malloc_trim(0);
  return made;
}

std::shared_ptr<CallableEngine::Made> CallableEngine::Current(LoadedBundle* bundle) {
  std::shared_ptr<Made> made = std::atomic_load(&made_);
  const std::uint64_t changes = bundle->graph->changes();
  if (made->changes.load(std::memory_order_acquire) == changes) return made;
  const std::lock_guard<std::mutex> lock(mutex_);
  made = std::atomic_load(&made_);
  if (made->changes.load() == changes) return made;
  if (!bundle->graph->HaveChanged(made->frozen)) {
    made->changes.store(changes, std::memory_order_release);
    return made;
  }
  try {
    made = Make(bundle);
  } catch (const NotFlat&) {
    made = std::make_shared<Made>();  // and made again with the next change
    made->changes.store(changes);
  }
  std::atomic_store(&made_, made);
  return made;
}

bool CallableEngine::Run(LoadedBundle* bundle, const std::vector<tf::Tensor>& feeds,
                         std::vector<tf::Tensor>* outputs,
                         const EngineRunOptions& options, absl::Status* status) {
  const std::shared_ptr<Made> made = Current(bundle);
  if (made->engine == nullptr || made->refusals.load() >= kMaxRefusals ||
      !made->engine->Accepts(feeds)) {
    return false;
  }
  const bool run = made->engine->Run(feeds, outputs, options, status);
  if (!run) {
    made->refusals.fetch_add(1);
  } else if (made->refusals.load(std::memory_order_relaxed) != 0) {
    made->refusals.store(0);
  }
  return run;
}

Engines::Engines(const LoadedBundle& bundle)
    : host_(DevicesOf(bundle), tf::ConfigProto(),
            bundle.meta_graph_def.graph_def().versions().producer()) {}

CallableEngine* Engines::Make(LoadedBundle* bundle, const std::vector<std::string>& feeds,
                              const std::vector<std::string>& fetches,
                              std::string* reason) {
  std::unique_ptr<CallableEngine> engine;
  try {
    engine = std::make_unique<CallableEngine>(feeds, fetches, bundle, host_);
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    // NotFlat, or a graph that is not sound, of which the session knows how to complain.
    *reason = error.what();
    return nullptr;
  }
  const std::lock_guard<std::mutex> lock(mutex_);
  engines_.push_back(std::move(engine));
  return engines_.back().get();
}

void Engines::Release(CallableEngine* engine) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found =
      std::find_if(engines_.begin(), engines_.end(),
                   [engine](const auto& owned) { return owned.get() == engine; });
  if (found != engines_.end()) engines_.erase(found);
}

}  // namespace savedmodel
