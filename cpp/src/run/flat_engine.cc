#include "run/flat_engine.h"

#include <xmmintrin.h>

#include <algorithm>
#include <mutex>
#include <unordered_map>
#include <unordered_set>

#include "absl/time/clock.h"
#include "core/tensor_access.h"
#include "kernels/team.h"
#include "tensorflow/core/common_runtime/device.h"
#include "tensorflow/core/framework/node_def_util.h"
#include "tensorflow/core/framework/tensor_util.h"

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

// Flushes denormals and rounds to the nearest for its scope, as the session's executor
// does. TensorFlow's own ways to that ask what the processor can, each time.
class FloatingPointMode {
 public:
  FloatingPointMode() {
    const unsigned now = _mm_getcsr();
    before_ = now & kBits;
    if (before_ != kFlush) _mm_setcsr((now & ~kBits) | kFlush);
  }
  ~FloatingPointMode() {
    // What the run has noted of exceptions stays.
    if (before_ != kFlush) _mm_setcsr((_mm_getcsr() & ~kBits) | before_);
  }
  FloatingPointMode(const FloatingPointMode&) = delete;
  FloatingPointMode& operator=(const FloatingPointMode&) = delete;

 private:
  static constexpr unsigned kFlush = 0x8040;          // results, and operands
  static constexpr unsigned kBits = kFlush | 0x6000;  // and how to round
  unsigned before_;
};

// Ops of TensorFlow's that FlatEngine::is_steady allows. None of them makes its output as
// large as a number in an input says.
bool IsSteady(const std::string& op) {
  static const auto* ops = new std::unordered_set<std::string>{
      "Abs",      "Add",          "AddV2",      "ArgMax",   "BiasAdd",
      "Cast",     "ConcatV2",     "Div",        "Elu",      "Erf",
      "Erfc",     "Exp",          "ExpandDims", "Identity", "MatMul",
      "Max",      "Maximum",      "Mean",       "Min",      "Minimum",
      "Mul",      "Neg",          "Pack",       "Pow",      "Prod",
      "RealDiv",  "Relu",         "Reshape",    "Rsqrt",    "Shape",
      "Sigmoid",  "Softmax",      "Sqrt",       "Square",   "SquaredDifference",
      "Squeeze",  "StridedSlice", "Sub",        "Sum",      "Tanh",
      "Transpose"};
  return ops->count(op) != 0;
}

// Tensors between native kernels that are no larger have their own memory in a frame.
constexpr std::size_t kMostKeptBytes = 4096;

bool Overlap(const tf::Tensor& a, const tf::Tensor& b) {
  const auto* a_begin = static_cast<const char*>(a.data());
  const auto* b_begin = static_cast<const char*>(b.data());
  return a_begin < b_begin + b.TotalBytes() && b_begin < a_begin + a.TotalBytes();
}

}  // namespace

FlatEngine::FlatEngine(const FlatGraph& graph, const KernelHost& host) : host_(host) {
  for (const int feed : graph.feeds) {
    feed_shapes_.push_back(graph.values[feed].shape);
    // Strings have sizes of their own.
    is_steady_ = is_steady_ && graph.values[feed].dtype != tf::DT_STRING;
  }
  for (const FlatOp& op : graph.ops) {
    if (op.dead) continue;
    Step step;
    step.num_outputs = static_cast<int>(op.outputs.size());
    step.name = op.def.name();
    step.native = op.native;
    if (op.native == nullptr) {
      all_native_ = false;
      is_steady_ = is_steady_ && IsSteady(op.def.op());
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
  threads_ = KernelThreads(host_.native_device());
  allocator_ = host_.native_device()->GetAllocator(tf::AllocatorAttributes());
}

std::unique_ptr<FlatEngine::Frame> FlatEngine::MakeFrame() const {
  auto frame = std::make_unique<Frame>();
  frame->slots.resize(num_slots_);
  frame->pins.resize(num_slots_);
  for (const auto& [slot, constant] : constants_) frame->slots[slot] = constant;
  for (const Step& step : steps_) {
    for (const int slot : step.inputs) {
      if (step.native != nullptr) {
        frame->native_inputs.push_back(&frame->slots[slot]);
      } else {
        frame->inputs.emplace_back(&frame->slots[slot]);
      }
    }
  }
  if (!all_native_) host_.Prepare(&frame->params);
  frame->params.output_attr_array = attributes_.data();
  return frame;
}

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
  for (const int fetch : graph.fetches) fetches_.push_back({slot_of(fetch), false});

  std::vector<bool> held(num_slots_);  // by others than the frame
  for (const auto& [slot, constant] : constants_) held[slot] = true;
  for (const int slot : feeds_) {
    if (!held[slot]) emptied_.push_back(slot);
    held[slot] = true;
  }
  for (std::size_t i = 0; i < fetches_.size(); ++i) {
    const int slot = fetches_[i].slot;
    for (std::size_t j = 0; j < i; ++j) {
      if (fetches_[j].slot == slot) fetches_[j].is_last = false;
    }
    fetches_[i].is_last = !held[slot];
    for (Step& step : steps_) {
      const int output = slot - step.first_output;
      if (output >= 0 && output < step.num_outputs)
        step.fetched.emplace_back(output, static_cast<int>(i));
    }
  }
  for (const Fetch& fetch : fetches_) held[fetch.slot] = true;

  struct Readers {
    Step* last = nullptr;
    int count = 0;
    bool all_native = true;
  };
  std::vector<Readers> readers(num_slots_);
  std::size_t most = 1;
  for (Step& step : steps_) {
    const bool native = step.native != nullptr;
    int& next_input = native ? num_native_inputs_ : num_inputs_;
    step.first_input = next_input;
    next_input += static_cast<int>(step.inputs.size());
    most =
        std::max({most, step.inputs.size(), static_cast<std::size_t>(step.num_outputs)});
    for (const int slot : step.inputs) {
      Readers& of_slot = readers[slot];
      of_slot.last = &step;
      ++of_slot.count;
      of_slot.all_native = of_slot.all_native && native && !step.native->SharesInputs();
    }
  }
  attributes_.resize(most);
  for (Step& step : steps_) {
    int kept = 0;
    for (int i = 0; i < step.num_outputs; ++i) {
      const int slot = step.first_output + i;
      const auto& [last, count, all_native] = readers[slot];
      // Native kernels take nothing over, unless they share it.
      const bool pinned = !all_native && (count > 1 || held[slot]);
      if (pinned) step.pinned.push_back(slot);
      if (held[slot]) {
        if (pinned) emptied_.push_back(slot);
        continue;
      }
      if (last == nullptr) {
        step.emptied.push_back(slot);
        continue;
      }
      const bool keep =
          step.native != nullptr && !step.native->SharesInputs() && all_native;
      (keep ? last->kept : last->emptied).push_back(slot);
      kept += keep ? 1 : 0;
      // Read twice by its last reader, it must not be taken over either.
      if (pinned && std::count(last->inputs.begin(), last->inputs.end(), slot) == 1)
        last->unpinned.push_back(slot);
    }
    step.internal = kept == step.num_outputs;
  }
}

bool FlatEngine::Accepts(const std::vector<Tensor>& feeds) const {
  for (std::size_t i = 0; i < feeds.size(); ++i) {
    if (!feed_shapes_[i].IsCompatibleWith(TensorAccess::Get(feeds[i]).shape()))
      return false;
  }
  return true;
}

bool FlatEngine::Run(const std::vector<Tensor>& feeds, std::vector<Tensor>* outputs,
                     const EngineRunOptions& options, Frame* frame,
                     absl::Status* status) const {
  const FloatingPointMode mode;
  for (std::size_t i = 0; i < feeds.size(); ++i)
    frame->slots[feeds_[i]] = TensorAccess::Get(feeds[i]);
  // Where results are wanted, less what overlaps a feed or another result.
  std::vector<Tensor> apart;
  EngineRunOptions given = options;
  if (options.into != nullptr) {
    apart = *options.into;
    given.into = &apart;
    for (std::size_t i = 0; i < apart.size(); ++i) {
      const auto overlaps = [result = TensorAccess::Get(apart[i])](const Tensor& other) {
        return Overlap(result, TensorAccess::Get(other));
      };
      if (std::any_of(feeds.begin(), feeds.end(), overlaps) ||
          std::any_of(apart.begin(), apart.begin() + i, overlaps)) {
        apart[i] = Tensor();
      }
    }
  }
  if (!RunSteps(frame, given, status)) return false;
  if (!status->ok()) return true;
  outputs->resize(fetches_.size());
  for (std::size_t i = 0; i < fetches_.size(); ++i) {
    const auto [slot, is_last] = fetches_[i];
    tf::Tensor& result = TensorAccess::Get((*outputs)[i]);
    if (is_last) {
      result = std::move(frame->slots[slot]);
    } else {
      result = frame->slots[slot];
    }
    if (given.into == nullptr) continue;
    const tf::Tensor& wanted = TensorAccess::Get(apart[i]);
    if (wanted.TotalBytes() != 0 && wanted.data() == result.data() &&
        wanted.dtype() == result.dtype() && wanted.shape() == result.shape()) {
      result = wanted;
      continue;
    }
    // Another result that shares the memory, or one of another shape.
    for (const Tensor& receiver : apart) {
      if (Overlap(TensorAccess::Get(receiver), result))
        result = tf::tensor::DeepCopy(result);
    }
  }
  for (const int slot : emptied_) {
    frame->slots[slot] = tf::Tensor();
    frame->pins[slot] = tf::Tensor();
  }
  return true;
}

bool FlatEngine::RunSteps(Frame* frame, const EngineRunOptions& options,
                          absl::Status* status) const {
  const kernels::Team team(threads_);
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
    if (!RunStep(steps_[i], team, frame, options, status)) return false;
    if (!status->ok()) return true;
    if (options.step_stats != nullptr)
      AddTimes(steps_[i], *frame, start, absl::ToUnixNanos(absl::Now()),
               options.step_stats);
  }
  return true;
}

bool FlatEngine::RunStep(const Step& step, const kernels::Parallel& parallel,
                         Frame* frame, const EngineRunOptions& options,
                         absl::Status* status) const {
  std::vector<tf::Tensor>& slots = frame->slots;
  for (const int slot : step.unpinned) frame->pins[slot] = tf::Tensor();
  if (step.native != nullptr) {
    if (options.into != nullptr) {
      for (const auto& [output, fetch] : step.fetched)
        slots[step.first_output + output] = TensorAccess::Get((*options.into)[fetch]);
    }
    NativeContext context(
        absl::MakeConstSpan(frame->native_inputs.data() + step.first_input,
                            step.inputs.size()),
        absl::MakeSpan(&slots[step.first_output], step.num_outputs), allocator_,
        step.internal ? &frame->spare : nullptr, parallel);
    if (!step.native->Run(&context)) return false;
  } else {
    *status = options.into == nullptr || step.fetched.empty()
                  ? RunKernel(step, frame)
                  : RunKernelInto(step, frame, *options.into);
    if (!status->ok()) return true;
  }
  for (const int slot : step.pinned) frame->pins[slot] = slots[slot];
  for (const int slot : step.emptied) {
    slots[slot] = tf::Tensor();
    frame->pins[slot] = tf::Tensor();
  }
  for (const int slot : step.kept) {
    if (slots[slot].TotalBytes() > kMostKeptBytes)
      frame->spare.GiveBack(std::exchange(slots[slot], tf::Tensor()));
  }
  return true;
}

void FlatEngine::AddTimes(const Step& step, const Frame& frame, std::int64_t start,
                          std::int64_t end, tf::StepStats* step_stats) const {
  if (step_stats->dev_stats_size() == 0)
    step_stats->add_dev_stats()->set_device(host_.native_device()->name());
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
                                       const std::vector<Tensor>& into) const {
  std::vector<tf::Tensor> results;
  std::vector<tf::AllocatorAttributes> attributes(step.num_outputs);
  for (const auto& [output, fetch] : step.fetched) {
    const tf::Tensor& wanted = TensorAccess::Get(into[fetch]);
    if (wanted.TotalBytes() == 0 || wanted.dtype() != step.kernel->output_type(output))
      continue;
    attributes[output].set_nic_compatible(true);
    results.push_back(wanted);
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
  params.op_kernel = step.kernel.get();
  params.inputs =
      absl::MakeConstSpan(frame->inputs.data() + step.first_input, num_inputs);
  params.input_alloc_attrs = absl::MakeConstSpan(attributes_.data(), num_inputs);
  tf::OpKernelContext context(&params, step.num_outputs);
  Compute(step.kernel.get(), host_.device(), &context);
  if (!context.status().ok()) return tf::AttachDef(context.status(), step.kernel->def());
  for (int i = 0; i < step.num_outputs; ++i) {
    const tf::TensorValue output = context.release_output(i);
    if (output.tensor == nullptr) continue;
    slots[step.first_output + i] = std::move(*output.tensor);
    delete output.tensor;
  }
  return absl::OkStatus();
}

}  // namespace savedmodel
