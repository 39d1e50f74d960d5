#ifndef SAVEDMODEL_RUN_ENGINES_H_
#define SAVEDMODEL_RUN_ENGINES_H_

#include <array>
#include <atomic>
#include <cstdint>
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
                 LoadedBundle* bundle, const KernelHost& host,
                 kernels::Precision precision);

  // False if the session has to run this: the graph is no longer flat, or the feeds'
  // sizes are none that the signature allows.
  bool Run(LoadedBundle* bundle, const std::vector<Tensor>& feeds,
           std::vector<Tensor>* outputs, const EngineRunOptions& options,
           absl::Status* status);

  // The same if an earlier run with feeds as large took a few microseconds, and so will
  // this. False, and nothing has been done, if it might take longer or have to
  // wait for another thread.
  bool RunIfShort(LoadedBundle* bundle, const std::vector<Tensor>& feeds,
                  std::vector<Tensor>* outputs, absl::Status* status);

 private:
  struct Made {
    std::unique_ptr<const FlatEngine> engine;  // null: not flat any longer
    std::vector<std::string> frozen;
    std::atomic<std::uint64_t> changes{0};  // what it was last compared with
    std::atomic<unsigned> refusals{0};      // runs in a row that it did not take

    bool Accepts(const std::vector<Tensor>& feeds);
  };
  // A frame, what it is of, and what its latest short run was fed with.
  struct MadeFrame {
    std::shared_ptr<Made> made;
    std::unique_ptr<FlatEngine::Frame> frame;
    std::vector<tensorflow::TensorShape> short_feeds{};
    bool has_been_short = false;

    // True if no size is larger than then: not their product alone, of which a broadcast
    // or a matrix product makes anything.
    bool IsShort(const std::vector<Tensor>& feeds) const;
  };
  // Frames that no run uses. Threads look first where they left theirs, so that they
  // seldom touch the same cache line.
  class FramePool {
   public:
    ~FramePool() { Clear(); }
    std::unique_ptr<MadeFrame> Take();  // or null
    void GiveBack(std::unique_ptr<MadeFrame> frame);
    void Clear();

   private:
    static constexpr unsigned kSize = 16;
    struct alignas(64) Place {
      std::atomic<MadeFrame*> frame{nullptr};
    };
    Place& PlaceOf(unsigned turn);
    std::array<Place, kSize> places_;
  };

  std::shared_ptr<Made> Make(LoadedBundle* bundle) const;
  std::shared_ptr<Made> Current(LoadedBundle* bundle);
  bool IsCurrent(const Made& made, LoadedBundle* bundle) const;
  bool RunIn(std::unique_ptr<MadeFrame> frame, const std::vector<Tensor>& feeds,
             std::vector<Tensor>* outputs, const EngineRunOptions& options, bool timed,
             absl::Status* status);

  const std::vector<std::string> feeds_;
  const std::vector<std::string> fetches_;
  const KernelHost& host_;
  const kernels::Precision precision_;
  std::mutex mutex_;  // of making it
  std::shared_ptr<Made> made_;
  std::atomic<const Made*> current_;  // made_, without the lock
  FramePool frames_;
};

// The engines of a model. They use its session's devices and resources. Thread-safe.
class Engines {
 public:
  // `config`: the session's. `precision`: that of convolutions and matrix products.
  // `bundle` must outlive it.
  Engines(LoadedBundle* bundle, const tensorflow::ConfigProto& config,
          kernels::Precision precision);

  // An engine for a callable, owned by this. Null, and why, where the session has to run
  // it.
  CallableEngine* Make(LoadedBundle* bundle, const std::vector<std::string>& feeds,
                       const std::vector<std::string>& fetches, std::string* reason);
  void Release(CallableEngine* engine);

 private:
  const KernelHost host_;
  const kernels::Precision precision_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<CallableEngine>> engines_;
};

}  // namespace savedmodel

#endif  // SAVEDMODEL_RUN_ENGINES_H_
