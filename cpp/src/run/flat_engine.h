#ifndef SAVEDMODEL_RUN_FLAT_ENGINE_H_
#define SAVEDMODEL_RUN_FLAT_ENGINE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "optimize/flat_graph.h"
#include "optimize/kernel_host.h"
#include "optimize/native_kernel.h"
#include "savedmodel/cancellation.h"
#include "savedmodel/tensor.h"
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
  const std::vector<Tensor>* into = nullptr;
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

  // What one run holds. One run after another may use it, which saves making it, and
  // memory for tensors between kernels. Must go before the engine.
  struct Frame {
    std::vector<tensorflow::Tensor> slots;
    // A second reference to what several kernels read, so that none of TensorFlow's but
    // the last takes the memory for its own output.
    std::vector<tensorflow::Tensor> pins;
    // Where the inputs of all steps are: theirs follow each other, for each kind of
    // kernel.
    std::vector<const tensorflow::Tensor*> native_inputs;
    std::vector<tensorflow::TensorValue> inputs;
    tensorflow::OpKernelContext::Params params;
    SpareMemory spare;
  };
  std::unique_ptr<Frame> MakeFrame() const;

  // False for feeds that are not of the static shapes that the graph was optimised for.
  bool Accepts(const std::vector<Tensor>& feeds) const;

  // Results in the order of the graph's fetches. Where `options.into` holds a tensor of a
  // fetch's dtype and shape and no feed overlaps it, the result is written into that
  // memory, by its kernel where it can be, and that tensor is given. False if there are
  // shapes on the way that the engine cannot compute: the session has to run this. After
  // that, and after an error, the frame is of no use.
  bool Run(const std::vector<Tensor>& feeds, std::vector<Tensor>* outputs,
           const EngineRunOptions& options, Frame* frame, absl::Status* status) const;

  // How many kernels a run takes.
  std::size_t num_kernels() const { return steps_.size(); }
  // True if the sizes of the feeds, not their values, say how long a run takes, and no
  // kernel waits for a lock that somebody may hold for long.
  bool is_steady() const { return is_steady_; }

 private:
  struct Step {
    std::string name;  // the node's
    // One of the two.
    std::unique_ptr<tensorflow::OpKernel> kernel;
    std::shared_ptr<const NativeKernel> native;
    std::vector<int> inputs;  // slots
    int first_input = 0;      // in the frame's list of its kind
    int first_output = 0;     // slot; its outputs are consecutive
    int num_outputs = 0;
    std::vector<std::pair<int, int>> fetched;  // its outputs -> fetches
    std::vector<int> unpinned;                 // before it: slots that it may take over
    std::vector<int> pinned;                   // after it: of its outputs
    std::vector<int> emptied;                  // after it: slots that no later step reads
    std::vector<int> kept;  // the same, whose memory others may write again
    bool internal = false;  // all its outputs are in some step's `kept`
  };
  struct Fetch {
    int slot;
    bool is_last;  // nobody else holds or asks for it
  };

  void PlanSlots(const FlatGraph& graph);
  bool RunSteps(Frame* frame, const EngineRunOptions& options,
                absl::Status* status) const;
  bool RunStep(const Step& step, const kernels::Parallel& parallel, Frame* frame,
               const EngineRunOptions& options, absl::Status* status) const;
  void AddTimes(const Step& step, const Frame& frame, std::int64_t start,
                std::int64_t end, tensorflow::StepStats* step_stats) const;
  absl::Status RunKernel(const Step& step, Frame* frame) const;
  absl::Status RunKernelInto(const Step& step, Frame* frame,
                             const std::vector<Tensor>& into) const;

  const KernelHost& host_;
  std::vector<Step> steps_;
  bool all_native_ = true;
  std::vector<tensorflow::PartialTensorShape> feed_shapes_;
  std::vector<int> feeds_;  // slots
  std::vector<Fetch> fetches_;
  int num_slots_ = 0;
  int num_native_inputs_ = 0, num_inputs_ = 0;                 // of all steps
  std::vector<std::pair<int, tensorflow::Tensor>> constants_;  // by slot
  std::vector<int> emptied_;                                   // slots, after a run
  // As many as a step has inputs or outputs at most.
  std::vector<tensorflow::AllocatorAttributes> attributes_;
  tsl::thread::ThreadPool* threads_ = nullptr;  // see KernelThreads
  tensorflow::Allocator* allocator_ = nullptr;
  bool is_steady_ = true;
};

}  // namespace savedmodel

#endif  // SAVEDMODEL_RUN_FLAT_ENGINE_H_
