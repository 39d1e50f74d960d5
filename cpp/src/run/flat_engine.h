#ifndef SAVEDMODEL_RUN_FLAT_ENGINE_H_
#define SAVEDMODEL_RUN_FLAT_ENGINE_H_

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "optimize/flat_graph.h"
#include "optimize/kernel_host.h"
#include "optimize/native_kernel.h"
#include "savedmodel/cancellation.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/step_stats.pb.h"
#include "tensorflow/core/framework/tensor.h"

namespace savedmodel {

// What a run can be told.
struct EngineRunOptions {
  // When it has to end early; looked at between kernels.
  absl::Time deadline = absl::InfiniteFuture();
  const CancellationManager* cancellation = nullptr;
  // Null, or where results are wanted: for each fetch a tensor, perhaps empty.
  const std::vector<tensorflow::Tensor>* into = nullptr;
  // Null, or what is to take the times of the kernels.
  tensorflow::StepStats* step_stats = nullptr;
};

// Runs a FlatGraph on the caller's thread, kernel by kernel; kernels use the session's
// threads for themselves. It costs a fraction of a session's run: no graph is walked, no
// closure is queued. Thread-safe: kernels are shared, each run has a frame of its own.
// Must go before the session whose devices and resources it uses.
class FlatEngine {
 public:
  // Throws NotFlat for an op that has no kernel. `host` must outlive the engine.
  FlatEngine(const FlatGraph& graph, const KernelHost& host);
  ~FlatEngine();

  // False for feeds that are not of the static shapes that the graph was optimised for.
  bool Accepts(const std::vector<tensorflow::Tensor>& feeds) const;

  // Results in the order of the graph's fetches. Where `options.into` holds a tensor of a
  // fetch's dtype and shape and no feed overlaps it, the result is written into that
  // memory, by its kernel where it can be, and that tensor is given. False if there are
  // shapes on the way that the engine cannot compute: the session has to run this.
  bool Run(const std::vector<tensorflow::Tensor>& feeds,
           std::vector<tensorflow::Tensor>* outputs, const EngineRunOptions& options,
           absl::Status* status) const;

  // How many kernels a run takes.
  std::size_t num_kernels() const { return steps_.size(); }

 private:
  struct Step {
    std::string name;  // the node's
    // One of the two.
    std::unique_ptr<tensorflow::OpKernel> kernel;
    std::shared_ptr<const NativeKernel> native;
    std::vector<int> inputs;  // slots
    int first_output = 0;     // slot; its outputs are consecutive
    int num_outputs = 0;
    std::vector<int> last_uses;  // slots that no later step reads
    std::vector<int> unpinned;   // of these and its inputs: slots that it may take over
    std::vector<std::pair<int, int>> fetched;  // its outputs -> fetches
  };
  struct Frame;
  class FramePool;

  void PlanSlots(const FlatGraph& graph);
  bool RunSteps(Frame* frame, const EngineRunOptions& options,
                absl::Status* status) const;
  bool RunStep(const Step& step, Frame* frame, const EngineRunOptions& options,
               absl::Status* status) const;
  void AddTimes(const Step& step, const Frame& frame, std::int64_t start,
                std::int64_t end, tensorflow::StepStats* step_stats) const;
  absl::Status RunKernel(const Step& step, Frame* frame) const;
  absl::Status RunKernelInto(const Step& step, Frame* frame,
                             const std::vector<tensorflow::Tensor>& into) const;

  const KernelHost& host_;
  std::vector<Step> steps_;
  std::vector<tensorflow::PartialTensorShape> feed_shapes_;
  std::vector<int> feeds_;    // slots
  std::vector<int> fetches_;  // slots
  int num_slots_ = 0;
  std::vector<std::pair<int, tensorflow::Tensor>> constants_;  // by slot
  std::vector<int> cleared_;  // slots to be emptied after a run
  std::vector<bool> wanted_;  // slots that are read
  std::vector<bool> pinned_;  // slots with several readers
  // As many as a step has inputs or outputs at most.
  std::vector<tensorflow::AllocatorAttributes> attributes_;
  std::unique_ptr<const kernels::Parallel> parallel_;  // null: the caller's thread
  tensorflow::Allocator* allocator_ = nullptr;
  std::unique_ptr<FramePool> frames_;
};

}  // namespace savedmodel

#endif  // SAVEDMODEL_RUN_FLAT_ENGINE_H_
