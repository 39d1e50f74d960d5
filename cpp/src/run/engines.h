#ifndef SAVEDMODEL_RUN_ENGINES_H_
#define SAVEDMODEL_RUN_ENGINES_H_

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "load/bundle_handle.h"
#include "optimize/kernel_host.h"
#include "run/flat_engine.h"

namespace savedmodel {

// The engine of one callable. Variables whose values are among the engine's constants may
// change all the same; then it is made anew, and reads those from then on. Thread-safe.
class CallableEngine {
 public:
  // Throws NotFlat, or what reading the variables throws. `host` must outlive it.
  CallableEngine(std::vector<std::string> feeds, std::vector<std::string> fetches,
                 LoadedBundle* bundle, const KernelHost& host);

  // False if the session has to run this: the graph is no longer flat, or the feeds'
  // sizes are none that the signature allows.
  bool Run(LoadedBundle* bundle, const std::vector<tensorflow::Tensor>& feeds,
           std::vector<tensorflow::Tensor>* outputs, const EngineRunOptions& options,
           absl::Status* status);

 private:
  struct Made {
    std::unique_ptr<const FlatEngine> engine;  // null: not flat any longer
    std::vector<std::string> frozen;
    std::atomic<std::uint64_t> changes{0};  // what it was last compared with
    std::atomic<int> refusals{0};           // runs in a row that it has broken off
  };

  std::shared_ptr<Made> Make(LoadedBundle* bundle) const;
  std::shared_ptr<Made> Current(LoadedBundle* bundle);

  const std::vector<std::string> feeds_;
  const std::vector<std::string> fetches_;
  const KernelHost& host_;
  std::mutex mutex_;            // of making it
  std::shared_ptr<Made> made_;  // by atomic operations only
};

// The engines of a model. They use its session's devices and resources. Thread-safe.
class Engines {
 public:
  explicit Engines(const LoadedBundle& bundle);

  // An engine for a callable, owned by this. Null, and why, where the session has to run
  // it.
  CallableEngine* Make(LoadedBundle* bundle, const std::vector<std::string>& feeds,
                       const std::vector<std::string>& fetches, std::string* reason);
  void Release(CallableEngine* engine);

 private:
  const KernelHost host_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<CallableEngine>> engines_;
};

}  // namespace savedmodel

#endif  // SAVEDMODEL_RUN_ENGINES_H_
