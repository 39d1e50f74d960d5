#include "savedmodel/signature.h"

#include <numeric>
#include <optional>

#include "core/nearest.h"
#include "core/runtime.h"
#include "run/signature_state.h"
#include "savedmodel/error.h"

namespace savedmodel {

namespace {

// Each callable holds an executor of its own; a caller that asks for ever new subsets of
// outputs does not make them pile up.
constexpr std::size_t kMaxCallables = 32;

std::vector<std::string> NamesOf(const std::vector<NamedSpec>& specs) {
  std::vector<std::string> names;
  for (const NamedSpec& spec : specs) names.push_back(spec.name);
  return names;
}

int FindName(const std::vector<NamedSpec>& specs, std::string_view name) {
  for (std::size_t i = 0; i < specs.size(); ++i) {
    if (specs[i].name == name) return static_cast<int>(i);
  }
  return -1;
}

[[noreturn]] void Fail(const std::string& message) {
  throw Error(ErrorCode::kInvalidArgument, message);
}

// Whether the tensor may be given where this is asked for; without a Shape, which is a
// vector.
bool Fits(const Tensor& tensor, const TensorSpec& spec) {
  if (tensor.dtype() != spec.dtype) return false;
  if (spec.shape.unknown_rank()) return true;
  const Shape& dims = spec.shape.dims();
  if (tensor.rank() != static_cast<int>(dims.size())) return false;
  for (int axis = 0; axis < tensor.rank(); ++axis) {
    if (dims[axis] != PartialShape::kUnknownDim && dims[axis] != tensor.dim(axis))
      return false;
  }
  return true;
}

}  // namespace

SignatureState::SignatureState(std::string name, const SignatureDef& definition,
                               const std::string& export_dir, Session session)
    : name_(std::move(name)),
      method_name_(definition.method_name),
      description_("model '" + export_dir + "', signature '" + name_ + "'"),
      session_(std::move(session)) {
  for (const auto& [input, spec] : definition.inputs) {
    const auto value = definition.defaults.find(input);
    const bool has_default = value != definition.defaults.end();
    if (has_default) defaults_.emplace(static_cast<int>(inputs_.size()), value->second);
    inputs_.push_back({input, spec, has_default});
    feeds_.push_back(spec.name);
  }
  for (const auto& [output, spec] : definition.outputs)
    outputs_.push_back({output, spec});
  all_.resize(outputs_.size());
  std::iota(all_.begin(), all_.end(), 0);
}

const Tensor& SignatureState::default_input(int index) const {
  const auto found = defaults_.find(index);
  if (found == defaults_.end()) {
    Fail(description_ + ": input " + std::to_string(index) + " has no default value");
  }
  return found->second;
}

void SignatureState::CheckInputs(const std::vector<Tensor>& inputs) const {
  if (inputs.size() != inputs_.size()) {
    Fail(description_ + ": expected " + std::to_string(inputs_.size()) + " inputs, got " +
         std::to_string(inputs.size()));
  }
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const TensorSpec& spec = inputs_[i].spec;
    const Tensor& tensor = inputs[i];
    if (!Fits(tensor, spec)) {
      Fail(description_ + ", input '" + inputs_[i].name + "': expected " +
           spec.ToString() + ", got " + tensor.ToString());
    }
  }
}

std::vector<Tensor> SignatureState::Run(const std::vector<Tensor>& inputs,
                                        const std::vector<int>* outputs,
                                        const RunOptions* run_options,
                                        RunMetadata* metadata,
                                        const CancellationManager* cancellation,
                                        const std::vector<Tensor>* into) {
  if (cancellation != nullptr && cancellation->IsCancelled()) {
    throw Error(ErrorCode::kCancelled, description_ + ": the call was cancelled");
  }
  const std::vector<int>& wanted = outputs == nullptr ? all_ : *outputs;
  const bool all = outputs == nullptr || *outputs == all_;
  if (run_options != nullptr) {
    const Callable callable = all ? AllOutputs() : SomeOutputs(wanted);
    if (callable.CanTake(*run_options))
      return callable.Run(inputs, metadata, run_options, cancellation, into);
    // A session's callable has fixed options; its Run takes them with each call.
    std::vector<std::pair<std::string, Tensor>> feeds;
    for (std::size_t i = 0; i < inputs.size(); ++i)
      feeds.emplace_back(feeds_[i], inputs[i]);
    return session_.Run(feeds, FetchNames(wanted), {}, run_options, metadata,
                        description_);
  }
  if (all) return AllOutputs().Run(inputs, metadata, nullptr, cancellation, into);
  return SomeOutputs(wanted).Run(inputs, metadata, nullptr, cancellation, into);
}

bool SignatureState::RunIfShort(const std::vector<Tensor>& inputs,
                                std::vector<Tensor>* outputs) const {
  const Callable* made = all_outputs_.load(std::memory_order_acquire);
  return made != nullptr && made->RunIfShort(inputs, outputs);
}

std::vector<std::string> SignatureState::FetchNames(
    const std::vector<int>& outputs) const {
  std::vector<std::string> names;
  for (const int output : outputs) {
    if (output < 0 || static_cast<std::size_t>(output) >= outputs_.size()) {
      Fail(description_ + ": no output at position " + std::to_string(output) + " of " +
           std::to_string(outputs_.size()));
    }
    names.push_back(outputs_[static_cast<std::size_t>(output)].spec.name);
  }
  return names;
}

const Callable& SignatureState::AllOutputs() {
  ThrowIfForked();  // before the lock, which a thread that is gone may hold
  const Callable* made = all_outputs_.load(std::memory_order_acquire);
  if (made == nullptr) {
    const std::lock_guard<std::mutex> lock(mutex_);
    made = all_outputs_.load(std::memory_order_relaxed);
    if (made == nullptr) {
      made = &callables_
                  .emplace(all_, session_.MakeCallable(feeds_, FetchNames(all_), {},
                                                       nullptr, description_,
                                                       /*may_use_engine=*/true))
                  .first->second;
      all_outputs_.store(made, std::memory_order_release);
    }
  }
  return *made;
}

Callable SignatureState::SomeOutputs(const std::vector<int>& outputs) {
  if (outputs == all_) return AllOutputs();
  ThrowIfForked();  // as above
  const std::lock_guard<std::mutex> lock(mutex_);
  auto found = callables_.find(outputs);
  if (found == callables_.end()) {
    for (auto it = callables_.begin(); callables_.size() > kMaxCallables;) {
      it = it->first == all_ ? std::next(it) : callables_.erase(it);
    }
    found = callables_
                .emplace(outputs, session_.MakeCallable(feeds_, FetchNames(outputs), {},
                                                        nullptr, description_,
                                                        /*may_use_engine=*/true))
                .first;
  }
  return found->second;
}

int SignatureState::OutputIndex(const std::string& name) const {
  const int index = FindName(outputs_, name);
  if (index < 0) {
    const auto names = NamesOf(outputs_);
    Fail(description_ + ": no output '" + name + "'" + DidYouMean(name, names) +
         " Outputs: " + QuotedList(names));
  }
  return index;
}

std::vector<Tensor> BoundCall::Run(const CancellationManager* cancellation) const {
  return state_->Run(inputs_, nullptr, nullptr, nullptr, cancellation);
}

bool BoundCall::RunIfShort(std::vector<Tensor>* outputs) const {
  return state_->RunIfShort(inputs_, outputs);
}

const std::string& Signature::name() const { return state_->name(); }
const std::string& Signature::method_name() const { return state_->method_name(); }
const std::string& Signature::description() const { return state_->description(); }
const std::vector<NamedSpec>& Signature::inputs() const { return state_->inputs(); }
const std::vector<NamedSpec>& Signature::outputs() const { return state_->outputs(); }
const Tensor& Signature::default_input(int index) const {
  return state_->default_input(index);
}
Runner Signature::runner() const { return state_->runner(); }
bool Signature::retains_inputs() const { return state_->retains_inputs(); }
bool Signature::copies_shared_outputs() const { return state_->copies_shared_outputs(); }

std::vector<Tensor> Signature::OrderInputs(
    const std::vector<std::pair<std::string, Tensor>>& inputs) const {
  const std::vector<NamedSpec>& specs = state_->inputs();
  std::vector<std::optional<Tensor>> given(specs.size());
  for (const auto& [name, tensor] : inputs) {
    const int index = FindName(specs, name);
    if (index < 0) {
      const auto names = NamesOf(specs);
      Fail(description() + ": no input '" + name + "'" + DidYouMean(name, names) +
           " Inputs: " + QuotedList(names));
    }
    if (given[index]) Fail(description() + ": input '" + name + "' is given twice");
    given[index] = tensor;
  }
  std::vector<Tensor> ordered;
  for (std::size_t i = 0; i < specs.size(); ++i) {
    if (!given[i] && !specs[i].has_default) {
      Fail(description() + ": missing input '" + specs[i].name + "' (" +
           specs[i].spec.ToString() + ")");
    }
    ordered.push_back(given[i] ? *given[i] : default_input(static_cast<int>(i)));
  }
  return ordered;
}

TensorMap Signature::Run(
    const std::vector<std::pair<std::string, Tensor>>& inputs) const {
  return Run(inputs, NamesOf(outputs()));
}

TensorMap Signature::Run(const std::vector<std::pair<std::string, Tensor>>& inputs,
                         const std::vector<std::string>& outputs,
                         const RunOptions* run_options, RunMetadata* metadata) const {
  std::vector<int> indices;
  for (const std::string& name : outputs) indices.push_back(state_->OutputIndex(name));
  std::vector<Tensor> results =
      RunPositional(OrderInputs(inputs), &indices, run_options, metadata);
  TensorMap named;
  for (std::size_t i = 0; i < outputs.size(); ++i)
    named[outputs[i]] = std::move(results[i]);
  return named;
}

std::vector<Tensor> Signature::RunPositional(const std::vector<Tensor>& inputs,
                                             const std::vector<int>* outputs,
                                             const RunOptions* run_options,
                                             RunMetadata* metadata,
                                             const CancellationManager* cancellation,
                                             const std::vector<Tensor>* into) const {
  state_->CheckInputs(inputs);
  return state_->Run(inputs, outputs, run_options, metadata, cancellation, into);
}

bool Signature::RunPositionalIfShort(const std::vector<Tensor>& inputs,
                                     std::vector<Tensor>* outputs) const {
  state_->CheckInputs(inputs);
  return state_->RunIfShort(inputs, outputs);
}

BoundCall Signature::Bind(
    const std::vector<std::pair<std::string, Tensor>>& inputs) const {
  return BindPositional(OrderInputs(inputs));
}

BoundCall Signature::BindPositional(std::vector<Tensor> inputs) const {
  ThrowIfForked();  // the call may be for a thread that is gone
  state_->CheckInputs(inputs);
  return BoundCall(state_, std::move(inputs));
}

}  // namespace savedmodel
