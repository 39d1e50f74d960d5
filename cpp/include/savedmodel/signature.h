#ifndef SAVEDMODEL_SIGNATURE_H_
#define SAVEDMODEL_SIGNATURE_H_

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "savedmodel/export.h"
#include "savedmodel/options.h"
#include "savedmodel/shape.h"
#include "savedmodel/tensor.h"

namespace savedmodel {

class SignatureState;

// An input or output of a signature.
struct NamedSpec {
  std::string name;  // "x"
  TensorSpec spec;
  bool has_default = false;  // an input that may be left out
};

// Inputs of a signature that were checked once, to be run again and again on the same
// memory. A handle. Thread-safe if nobody writes the memory during a call.
class SAVEDMODEL_EXPORT BoundCall {
 public:
  // Outputs in the order of Signature::outputs().
  std::vector<Tensor> Run() const;

 private:
  friend class Signature;
  BoundCall(std::shared_ptr<SignatureState> state, std::vector<Tensor> inputs)
      : state_(std::move(state)), inputs_(std::move(inputs)) {}
  std::shared_ptr<SignatureState> state_;
  std::vector<Tensor> inputs_;
};

// A named entry point of the model. A handle that does not keep a closed model alive.
// Thread-safe.
class SAVEDMODEL_EXPORT Signature {
 public:
  const std::string& name() const;
  const std::string& method_name() const;
  // Sorted by name.
  const std::vector<NamedSpec>& inputs() const;
  const std::vector<NamedSpec>& outputs() const;

  // Runs all outputs. Throws InvalidArgument for a missing, unknown or repeated input,
  // one of the wrong dtype, rank or size; FailedPrecondition after the model was closed;
  // and what the graph itself reports.
  TensorMap Run(const std::vector<std::pair<std::string, Tensor>>& inputs) const;
  // Runs only what the named outputs need. `run_options` null: those of loading.
  TensorMap Run(const std::vector<std::pair<std::string, Tensor>>& inputs,
                const std::vector<std::string>& outputs,
                const RunOptions* run_options = nullptr,
                RunMetadata* metadata = nullptr) const;

  // The same by position, for the least overhead: inputs in the order of inputs() (a
  // default-constructed optional input is given by default_input()), and the outputs
  // whose positions in outputs() are asked for, or all when `outputs` is null.
  std::vector<Tensor> RunPositional(const std::vector<Tensor>& inputs,
                                    const std::vector<int>* outputs = nullptr,
                                    const RunOptions* run_options = nullptr,
                                    RunMetadata* metadata = nullptr) const;
  // The default value of inputs()[index], which has_default.
  const Tensor& default_input(int index) const;

  // Checks the inputs as Run does. The tensors, and so the memory they view, are kept.
  BoundCall Bind(const std::vector<std::pair<std::string, Tensor>>& inputs) const;
  BoundCall BindPositional(std::vector<Tensor> inputs) const;

  // True if the graph may hold on to an input after the call, so that views are copied
  // first.
  bool retains_inputs() const;
  // True if outputs that share memory with the graph's state are copied, because it
  // writes that memory in place (TF1 reference variables).
  bool copies_shared_outputs() const;

  // "model '/path', signature 'serving_default'", for messages.
  const std::string& description() const;

 private:
  friend class Model;
  explicit Signature(std::shared_ptr<SignatureState> state) : state_(std::move(state)) {}
  std::vector<Tensor> OrderInputs(
      const std::vector<std::pair<std::string, Tensor>>& inputs) const;
  std::shared_ptr<SignatureState> state_;
};

}  // namespace savedmodel

#endif  // SAVEDMODEL_SIGNATURE_H_
