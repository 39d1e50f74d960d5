#include "run/engines.h"

#include <malloc.h>

#include <algorithm>
#include <chrono>

#include "core/tensor_access.h"
#include "load/variable_sources.h"
#include "optimize/flatten.h"
#include "optimize/fuse.h"
#include "tensorflow/core/common_runtime/device_mgr.h"

namespace savedmodel {

namespace {

namespace tf = tensorflow;

// So many calls in a row that the engine breaks off, and it is tried only with one call
// in kRetries from then on.
constexpr unsigned kMaxRefusals = 8;
constexpr unsigned kRetries = 64;

// A run that takes less is short: handing Python's lock to another thread and waiting for
// it again takes as long.
constexpr std::chrono::microseconds kShortRun{5};

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

const tf::DeviceMgr* DevicesOf(LoadedBundle* bundle) {
  const tf::DeviceMgr* devices = nullptr;
  bundle->GetSession().LocalDeviceManager(&devices).IgnoreError();
  return devices;
}

}  // namespace

CallableEngine::CallableEngine(std::vector<std::string> feeds,
                               std::vector<std::string> fetches, LoadedBundle* bundle,
                               const KernelHost& host, kernels::Precision precision)
    : feeds_(std::move(feeds)),
      fetches_(std::move(fetches)),
      host_(host),
      precision_(precision),
      made_(Make(bundle)),
      current_(made_.get()) {}

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
    if (kernels::Supported()) Fuse(&graph, precision_);
    if (!graph.resources.empty()) bundle->Require(graph.resources);
    made->frozen = graph.frozen;
    made->engine = std::make_unique<const FlatEngine>(graph, host_);
  }
  // What weights were read into and packed from would otherwise stay with the process.
  malloc_trim(0);
  return made;
}

bool CallableEngine::Made::Accepts(const std::vector<Tensor>& feeds) {
  if (refusals.load(std::memory_order_relaxed) >= kMaxRefusals &&
      refusals.fetch_add(1, std::memory_order_relaxed) % kRetries != 0) {
    return false;
  }
  return engine->Accepts(feeds);
}

bool CallableEngine::MadeFrame::IsShort(const std::vector<Tensor>& feeds) const {
  if (!has_been_short) return false;
  for (std::size_t i = 0; i < feeds.size(); ++i) {
    const tf::TensorShape& shape = TensorAccess::Get(feeds[i]).shape();
    if (shape.dims() != short_feeds[i].dims()) return false;
    for (int axis = 0; axis < shape.dims(); ++axis) {
      if (shape.dim_size(axis) > short_feeds[i].dim_size(axis)) return false;
    }
  }
  return true;
}

bool CallableEngine::IsCurrent(const Made& made, LoadedBundle* bundle) const {
  return &made == current_.load(std::memory_order_acquire) &&
         made.changes.load(std::memory_order_acquire) == bundle->graph->changes();
}

std::shared_ptr<CallableEngine::Made> CallableEngine::Current(LoadedBundle* bundle) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const std::uint64_t changes = bundle->graph->changes();
  if (made_->changes.load() == changes) return made_;
  if (!bundle->graph->HaveChanged(made_->frozen)) {
    made_->changes.store(changes, std::memory_order_release);
    return made_;
  }
  try {
    made_ = Make(bundle);
  } catch (const NotFlat&) {
    made_ = std::make_shared<Made>();  // and made again with the next change
    made_->changes.store(changes);
  }
  current_.store(made_.get(), std::memory_order_release);
  // Those of the one before hold its weights. One that is in use goes after its run.
  frames_.Clear();
  return made_;
}

bool CallableEngine::Run(LoadedBundle* bundle, const std::vector<Tensor>& feeds,
                         std::vector<Tensor>* outputs, const EngineRunOptions& options,
                         absl::Status* status) {
  std::unique_ptr<MadeFrame> frame = frames_.Take();
  if (frame == nullptr || !IsCurrent(*frame->made, bundle)) {
    std::shared_ptr<Made> made = Current(bundle);
    if (made->engine == nullptr) return false;
    if (frame == nullptr || frame->made != made) {
      auto fresh = std::make_unique<MadeFrame>();
      fresh->frame = made->engine->MakeFrame();
      fresh->made = std::move(made);
      fresh->short_feeds.reserve(feeds.size());
      frame = std::move(fresh);
    }
  }
  Made& made = *frame->made;
  if (!made.Accepts(feeds)) {
    frames_.GiveBack(std::move(frame));
    return false;
  }
  const bool timed = made.engine->is_steady() && !frame->IsShort(feeds);
  return RunIn(std::move(frame), feeds, outputs, options, timed, status);
}

bool CallableEngine::RunIfShort(LoadedBundle* bundle, const std::vector<Tensor>& feeds,
                                std::vector<Tensor>* outputs, absl::Status* status) {
  std::unique_ptr<MadeFrame> frame = frames_.Take();
  if (frame == nullptr) return false;
  Made& made = *frame->made;
  if (!frame->IsShort(feeds) || !IsCurrent(made, bundle) || !made.Accepts(feeds)) {
    frames_.GiveBack(std::move(frame));
    return false;
  }
  return RunIn(std::move(frame), feeds, outputs, {}, /*timed=*/false, status);
}

bool CallableEngine::RunIn(std::unique_ptr<MadeFrame> frame,
                           const std::vector<Tensor>& feeds, std::vector<Tensor>* outputs,
                           const EngineRunOptions& options, bool timed,
                           absl::Status* status) {
  using Clock = std::chrono::steady_clock;
  Made& made = *frame->made;
  const Clock::time_point start = timed ? Clock::now() : Clock::time_point();
  const bool run = made.engine->Run(feeds, outputs, options, frame->frame.get(), status);
  if (timed && run && status->ok() && Clock::now() - start < kShortRun) {
    frame->has_been_short = true;
    frame->short_feeds.clear();
    for (const Tensor& feed : feeds)
      frame->short_feeds.push_back(TensorAccess::Get(feed).shape());
  }
  if (!run) {
    made.refusals.fetch_add(1);
  } else if (made.refusals.load(std::memory_order_relaxed) != 0) {
    made.refusals.store(0);
  }
  if (run && status->ok() && &made == current_.load(std::memory_order_acquire))
    frames_.GiveBack(std::move(frame));
  return run;
}

CallableEngine::FramePool::Place& CallableEngine::FramePool::PlaceOf(unsigned turn) {
  static std::atomic<unsigned> threads{0};
  thread_local const unsigned thread = threads.fetch_add(1);
  return places_[(thread + turn) % kSize];
}

std::unique_ptr<CallableEngine::MadeFrame> CallableEngine::FramePool::Take() {
  for (unsigned turn = 0; turn < kSize; ++turn) {
    std::atomic<MadeFrame*>& place = PlaceOf(turn).frame;
    if (place.load(std::memory_order_relaxed) == nullptr) continue;
    MadeFrame* frame = place.exchange(nullptr, std::memory_order_acquire);
    if (frame != nullptr) return std::unique_ptr<MadeFrame>(frame);
  }
  return nullptr;
}

void CallableEngine::FramePool::GiveBack(std::unique_ptr<MadeFrame> frame) {
  for (unsigned turn = 0; turn < kSize; ++turn) {
    MadeFrame* empty = nullptr;
    if (PlaceOf(turn).frame.compare_exchange_strong(empty, frame.get(),
                                                    std::memory_order_release)) {
      frame.release();
      return;
    }
  }
}

void CallableEngine::FramePool::Clear() {
  while (Take() != nullptr) {
  }
}

Engines::Engines(LoadedBundle* bundle, const tf::ConfigProto& config,
                 kernels::Precision precision)
    : host_([bundle] { return DevicesOf(bundle); }, config,
            bundle->meta_graph_def.graph_def().versions().producer()),
      precision_(precision) {}

CallableEngine* Engines::Make(LoadedBundle* bundle, const std::vector<std::string>& feeds,
                              const std::vector<std::string>& fetches,
                              std::string* reason) {
  std::unique_ptr<CallableEngine> engine;
  try {
    engine = std::make_unique<CallableEngine>(feeds, fetches, bundle, host_, precision_);
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
