#include "run/flat_engine.h"

#include <algorithm>
#include <unordered_map>

#include "absl/time/clock.h"
#include "tensorflow/core/common_runtime/device.h"
#include "tensorflow/core/framework/node_def_util.h"
#include "tensorflow/core/framework/tensor_util.h"
#include "tensorflow/core/platform/denormal.h"
#include "tensorflow/core/platform/setround.h"

namespace savedmodel {

namespace {

namespace tf = tensorflow;

// Gives a kernel's outputs the caller's memory, if they ask for as much; otherwise the
// device's. Tensors keep a pointer to their allocator, so this lives until its maker and
// all that it has given have let go of it.
class ResultAllocator final : public tf::Allocator {
 public:
  ResultAllocator(tf::Allocator* device, std::vector<tf::Tensor> results)
      : device_(*device), results_(std::move(results)), given_(results_.size()) {}

  std::string Name() override { return "savedmodel result"; }
  void* AllocateRaw(std::size_t alignment, std::size_t bytes) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (std::size_t i = 0; i < results_.size(); ++i) {
      if (!given_[i] && results_[i].TotalBytes() == bytes) {
        given_[i] = true;
        ++references_;
        return results_[i].data();
      }
    }
    void* memory = device_.AllocateRaw(alignment, bytes);
    if (memory != nullptr) ++references_;
    return memory;
  }
  void DeallocateRaw(void* memory) override {
    bool ours = false;
    for (const tf::Tensor& result : results_) ours = ours || result.data() == memory;
    if (!ours) device_.DeallocateRaw(memory);
    Unref();
  }
  void Unref() {
    bool last = false;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      last = --references_ == 0;
    }
    if (last) delete this;
  }

 private:
  ~ResultAllocator() override = default;

  tf::Allocator& device_;
  const std::vector<tf::Tensor> results_;
  std::mutex mutex_;  // of the two below
  std::vector<bool> given_;
  int references_ = 1;
};

class ResultDevice final : public tf::DeviceBase {
 public:
  ResultDevice(tf::Device* device, tf::Allocator* results)
      : DeviceBase(device->env()), device_(*device), results_(results) {
    set_tensorflow_cpu_worker_threads(
        const_cast<CpuWorkerThreads*>(device->tensorflow_cpu_worker_threads()));
    set_eigen_cpu_device(
        const_cast<Eigen::ThreadPoolDevice*>(device->eigen_cpu_device()));
  }
  tf::Allocator* GetAllocator(tf::AllocatorAttributes attributes) override {
    return attributes.nic_compatible() ? results_ : device_.GetAllocator(attributes);
  }
  void CopyTensorInSameDevice(const tf::Tensor* input, tf::Tensor* output,
                              const tf::DeviceContext* context,
                              tf::StatusCallback done) override {
    device_.CopyTensorInSameDevice(input, output, context, std::move(done));
  }
  const tf::DeviceAttributes& attributes() const override { return device_.attributes(); }
  const std::string& name() const override { return device_.name(); }

 private:
  tf::Device& device_;
  tf::Allocator* results_;
};

bool Overlap(const tf::Tensor& a, const tf::Tensor& b) {
  const auto* a_begin = static_cast<const char*>(a.data());
  const auto* b_begin = static_cast<const char*>(b.data());
  return a_begin < b_begin + b.TotalBytes() && b_begin < a_begin + a.TotalBytes();
}

}  // namespace

// What one run holds: a tensor for each slot.
struct FlatEngine::Frame {
  std::vector<tf::Tensor> slots;
  // A second reference to slots with several readers, so that no reader but the last
  // takes the memory for its own output.
  std::vector<tf::Tensor> pins;
  std::vector<tf::TensorValue> inputs;
  std::vector<const tf::Tensor*> native_inputs;
  tf::OpKernelContext::Params params;
};

class FlatEngine::FramePool {
 public:
  explicit FramePool(const FlatEngine& engine) : engine_(engine) {}

  std::unique_ptr<Frame> Take() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (!frames_.empty()) {
        std::unique_ptr<Frame> frame = std::move(frames_.back());
        frames_.pop_back();
        return frame;
      }
    }
    auto frame = std::make_unique<Frame>();
    frame->slots.resize(engine_.num_slots_);
    frame->pins.resize(engine_.num_slots_);
    for (const auto& [slot, constant] : engine_.constants_) frame->slots[slot] = constant;
    frame->inputs.resize(engine_.attributes_.size());
    frame->native_inputs.resize(engine_.attributes_.size());
    engine_.host_.Prepare(&frame->params);
    frame->params.output_attr_array = engine_.attributes_.data();
    return frame;
  }

  void GiveBack(std::unique_ptr<Frame> frame) {
    const std::lock_guard<std::mutex> lock(mutex_);
    frames_.push_back(std::move(frame));
  }

 private:
  const FlatEngine& engine_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Frame>> frames_;
};

FlatEngine::FlatEngine(const FlatGraph& graph, const KernelHost& host) : host_(host) {
  for (const int feed : graph.feeds) feed_shapes_.push_back(graph.values[feed].shape);
  for (const FlatOp& op : graph.ops) {
    if (op.dead) continue;
    Step step;
    step.num_outputs = static_cast<int>(op.outputs.size());
    step.name = op.def.name();
    step.native = op.native;
    if (op.native == nullptr) {
      step.kernel = host_.Make(op.def, op.inputs.size());
      if (step.kernel->num_inputs() != static_cast<int>(op.inputs.size()) ||
          step.kernel->num_outputs() != step.num_outputs) {
        throw NotFlat("op " + op.def.op() + " ('" + op.def.name() +
                      "') has another number of inputs or outputs");
      }
    }
    steps_.push_back(std::move(step));
  }
  PlanSlots(graph);
  parallel_ = MakeParallel(host_.device());
  allocator_ = host_.device()->GetAllocator(tf::AllocatorAttributes());
  frames_ = std::make_unique<FramePool>(*this);
}

FlatEngine::~FlatEngine() = default;

void FlatEngine::PlanSlots(const FlatGraph& graph) {
  std::unordered_map<int, int> slots;  // value -> slot
  const auto slot_of = [&](int value) {
    const auto [found, added] = slots.emplace(value, num_slots_);
    if (added) {
      ++num_slots_;
      if (graph.values[value].constant)
        constants_.emplace_back(found->second, *graph.values[value].constant);
    }
    return found->second;
  };
  for (const int feed : graph.feeds) feeds_.push_back(slot_of(feed));
  std::size_t next = 0;
  for (const FlatOp& op : graph.ops) {
    if (op.dead) continue;
    Step& step = steps_[next++];
    for (const int input : op.inputs) step.inputs.push_back(slot_of(input));
    // Values of one op follow each other, so that their slots do, too. One that was
    // found to be constant is computed all the same if a sibling is wanted.
    step.first_output = num_slots_;
    for (const int output : op.outputs) {
      if (!graph.IsConstant(output)) slots[output] = num_slots_;
      ++num_slots_;
    }
  }
  for (std::size_t i = 0; i < graph.fetches.size(); ++i) {
    fetches_.push_back(slot_of(graph.fetches[i]));
    for (Step& step : steps_) {
      const int output = fetches_.back() - step.first_output;
      if (output >= 0 && output < step.num_outputs)
        step.fetched.emplace_back(output, static_cast<int>(i));
    }
  }

  std::vector<int> last_reader(num_slots_, -1);
  std::vector<int> readers(num_slots_, 0);
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    for (const int slot : steps_[i].inputs) {
      last_reader[slot] = static_cast<int>(i);
      ++readers[slot];
    }
  }
  std::vector<bool> kept(num_slots_);  // for longer than a step needs it
  for (const auto& [slot, constant] : constants_) kept[slot] = true;
  for (const std::vector<int>* ends : {&feeds_, &fetches_}) {
    for (const int slot : *ends) {
      if (!kept[slot]) cleared_.push_back(slot);
      kept[slot] = true;
    }
  }
  pinned_.assign(num_slots_, false);
  wanted_.assign(num_slots_, false);
  for (int slot = 0; slot < num_slots_; ++slot) {
    wanted_[slot] = kept[slot] || last_reader[slot] >= 0;
    if (last_reader[slot] < 0) continue;
    pinned_[slot] = readers[slot] > 1 || kept[slot];
    if (kept[slot]) continue;
    Step& last = steps_[last_reader[slot]];
    last.last_uses.push_back(slot);
    // Read twice by its last reader, it must not be taken over either.
    if (pinned_[slot] && std::count(last.inputs.begin(), last.inputs.end(), slot) == 1)
      last.unpinned.push_back(slot);
  }
  std::size_t most = 1;
  for (const Step& step : steps_) {
    most =
        std::max({most, step.inputs.size(), static_cast<std::size_t>(step.num_outputs)});
  }
  attributes_.resize(most);
}

bool FlatEngine::Accepts(const std::vector<tf::Tensor>& feeds) const {
  for (std::size_t i = 0; i < feeds.size(); ++i) {
    if (!feed_shapes_[i].IsCompatibleWith(feeds[i].shape())) return false;
  }
  return true;
}

bool FlatEngine::Run(const std::vector<tf::Tensor>& feeds,
                     std::vector<tf::Tensor>* outputs, const EngineRunOptions& options,
                     absl::Status* status) const {
  // As the session's executor does.
  const tsl::port::ScopedFlushDenormal flush;
  const tsl::port::ScopedSetRound round(FE_TONEAREST);
  std::unique_ptr<Frame> frame = frames_->Take();
  for (std::size_t i = 0; i < feeds.size(); ++i) frame->slots[feeds_[i]] = feeds[i];
  std::vector<tf::Tensor> apart;  // where results are wanted, less what a feed overlaps
  EngineRunOptions given = options;
  if (options.into != nullptr) {
    apart = *options.into;
    given.into = &apart;
    for (tf::Tensor& result : apart) {
      for (const tf::Tensor& feed : feeds) {
        if (Overlap(result, feed)) result = tf::Tensor();
      }
    }
  }
  // A frame with what a run that was broken off has left is not used again.
  if (!RunSteps(frame.get(), given, status)) return false;
  if (!status->ok()) return true;
  outputs->resize(fetches_.size());
  for (std::size_t i = 0; i < fetches_.size(); ++i) {
    const tf::Tensor& result = frame->slots[fetches_[i]];
    (*outputs)[i] = result;
    if (given.into == nullptr) continue;
    if (apart[i].TotalBytes() != 0 && apart[i].data() == result.data() &&
        apart[i].dtype() == result.dtype() && apart[i].shape() == result.shape()) {
      (*outputs)[i] = apart[i];
      continue;
    }
    // Another result that shares the memory, or one of another shape.
    for (const tf::Tensor& receiver : apart) {
      if (Overlap(receiver, result)) (*outputs)[i] = tf::tensor::DeepCopy(result);
    }
  }
  for (const int slot : cleared_) {
    frame->slots[slot] = tf::Tensor();
    frame->pins[slot] = tf::Tensor();
  }
  frames_->GiveBack(std::move(frame));
  return true;
}

bool FlatEngine::RunSteps(Frame* frame, const EngineRunOptions& options,
                          absl::Status* status) const {
  const bool limited =
      options.cancellation != nullptr || options.deadline != absl::InfiniteFuture();
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    if (limited) {
      if (options.cancellation != nullptr && options.cancellation->IsCancelled()) {
        *status = absl::CancelledError("the run was cancelled");
        return true;
      }
      if (absl::Now() > options.deadline) {
        *status = absl::DeadlineExceededError("the run took longer than its timeout");
        return true;
      }
    }
    const std::int64_t start =
        options.step_stats == nullptr ? 0 : absl::ToUnixNanos(absl::Now());
    if (!RunStep(steps_[i], frame, options, status)) return false;
    if (!status->ok()) return true;
    if (options.step_stats != nullptr)
      AddTimes(steps_[i], *frame, start, absl::ToUnixNanos(absl::Now()),
               options.step_stats);
  }
  return true;
}

bool FlatEngine::RunStep(const Step& step, Frame* frame, const EngineRunOptions& options,
                         absl::Status* status) const {
  std::vector<tf::Tensor>& slots = frame->slots;
  for (const int slot : step.unpinned) frame->pins[slot] = tf::Tensor();
  if (step.native != nullptr) {
    if (options.into != nullptr) {
      for (const auto& [output, fetch] : step.fetched)
        slots[step.first_output + output] = (*options.into)[fetch];
    }
    for (std::size_t i = 0; i < step.inputs.size(); ++i)
      frame->native_inputs[i] = &slots[step.inputs[i]];
    NativeContext context(
        absl::MakeConstSpan(frame->native_inputs.data(), step.inputs.size()),
        absl::MakeSpan(&slots[step.first_output], step.num_outputs), allocator_,
        parallel_ == nullptr ? kernels::Serial() : *parallel_);
    if (!step.native->Run(&context)) return false;
    for (int i = 0; i < step.num_outputs; ++i) {
      const int slot = step.first_output + i;
      if (!wanted_[slot]) slots[slot] = tf::Tensor();
    }
  } else {
    *status = options.into == nullptr || step.fetched.empty()
                  ? RunKernel(step, frame)
                  : RunKernelInto(step, frame, *options.into);
    if (!status->ok()) return true;
  }
  for (const int slot : step.last_uses) {
    slots[slot] = tf::Tensor();
    if (pinned_[slot]) frame->pins[slot] = tf::Tensor();
  }
  for (int i = 0; i < step.num_outputs; ++i) {
    const int slot = step.first_output + i;
    if (pinned_[slot]) frame->pins[slot] = slots[slot];
  }
  return true;
}

void FlatEngine::AddTimes(const Step& step, const Frame& frame, std::int64_t start,
                          std::int64_t end, tf::StepStats* step_stats) const {
  if (step_stats->dev_stats_size() == 0)
    step_stats->add_dev_stats()->set_device(host_.device()->name());
  tf::NodeExecStats& stats = *step_stats->mutable_dev_stats(0)->add_node_stats();
  std::string inputs;
  for (const int slot : step.inputs) {
    for (const Step& from : steps_) {
      if (slot < from.first_output || slot >= from.first_output + from.num_outputs)
        continue;
      inputs += (inputs.empty() ? "" : ", ") + from.name;
    }
  }
  stats.set_node_name(step.name);
  stats.set_timeline_label(step.name + " = " +
                           (step.native != nullptr
                                ? step.native->name()
                                : std::string(step.kernel->type_string_view())) +
                           "(" + inputs + ")");
  for (int i = 0; i < step.num_outputs; ++i) {
    const tf::Tensor& tensor = frame.slots[step.first_output + i];
    if (!tensor.IsInitialized()) continue;
    tf::NodeOutput& output = *stats.add_output();
    output.set_slot(i);
    tensor.FillDescription(output.mutable_tensor_description());
  }
  stats.set_all_start_micros(start / 1000);
  stats.set_all_start_nanos(start);
  stats.set_scheduled_micros(start / 1000);
  stats.set_scheduled_nanos(start);
  stats.set_op_end_rel_micros((end - start) / 1000);
  stats.set_op_end_rel_nanos(end - start);
  stats.set_all_end_rel_micros((end - start) / 1000);
  stats.set_all_end_rel_nanos(end - start);
}

absl::Status FlatEngine::RunKernelInto(const Step& step, Frame* frame,
                                       const std::vector<tf::Tensor>& into) const {
  std::vector<tf::Tensor> results;
  std::vector<tf::AllocatorAttributes> attributes(step.num_outputs);
  for (const auto& [output, fetch] : step.fetched) {
    if (into[fetch].TotalBytes() == 0 ||
        into[fetch].dtype() != step.kernel->output_type(output)) {
      continue;
    }
    attributes[output].set_nic_compatible(true);
    results.push_back(into[fetch]);
  }
  if (results.empty()) return RunKernel(step, frame);
  auto* allocator = new ResultAllocator(allocator_, std::move(results));
  ResultDevice device(host_.device(), allocator);
  // An output that takes over an input's memory is not written where it is wanted.
  const std::vector<int> never(step.num_outputs,
                               tf::OpKernelContext::Params::kNeverForward);
  tf::OpKernelContext::Params& params = frame->params;
  params.device = &device;
  params.output_attr_array = attributes.data();
  params.forward_from_array = never.data();
  const absl::Status status = RunKernel(step, frame);
  params.device = host_.device();
  params.output_attr_array = attributes_.data();
  params.forward_from_array = nullptr;
  allocator->Unref();
  return status;
}

absl::Status FlatEngine::RunKernel(const Step& step, Frame* frame) const {
  std::vector<tf::Tensor>& slots = frame->slots;
  tf::OpKernelContext::Params& params = frame->params;
  const std::size_t num_inputs = step.inputs.size();
  for (std::size_t i = 0; i < num_inputs; ++i)
    frame->inputs[i] = tf::TensorValue(&slots[step.inputs[i]]);
  params.op_kernel = step.kernel.get();
  params.inputs = absl::MakeConstSpan(frame->inputs.data(), num_inputs);
  params.input_alloc_attrs = absl::MakeConstSpan(attributes_.data(), num_inputs);
  tf::OpKernelContext context(&params, step.num_outputs);
  Compute(step.kernel.get(), host_.device(), &context);
  if (!context.status().ok()) return tf::AttachDef(context.status(), step.kernel->def());
  for (int i = 0; i < step.num_outputs; ++i) {
    const tf::TensorValue output = context.release_output(i);
    if (output.tensor == nullptr) continue;
    const int slot = step.first_output + i;
    if (wanted_[slot]) slots[slot] = std::move(*output.tensor);
    delete output.tensor;
  }
  return absl::OkStatus();
}

}  // namespace savedmodel
