#ifndef SAVEDMODEL_SIGNATURE_H_
#define SAVEDMODEL_SIGNATURE_H_

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "savedmodel/cancellation.h"
#include "savedmodel/export.h"
#include "savedmodel/options.h"
#include "savedmodel/session.h"
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
  // Outputs in the order of Signature::outputs(). `cancellation`: as in RunPositional.
  std::vector<Tensor> Run(const CancellationManager* cancellation = nullptr) const;

  // The same if that is known to take microseconds, and to wait for no other thread. For
  // callers with a lock that takes as long to let go and take again, such as Python's.
  // False: nothing has happened; that is what Run is for.
  bool RunIfShort(std::vector<Tensor>* outputs) const;

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
  //
  // `cancellation`: throws Cancelled if it asks for that before the run begins or, where
  // the engine answers, between two of its kernels. TensorFlow's session has no way to
  // stop one run that has begun.
  //
  // `into`: null, or for each of these outputs a tensor whose memory should receive the
  // result (a Tensor::View of memory that may be written), or an empty one. Where the
  // engine answers, and the result has that dtype and shape and no input overlaps it, it
  // is written there by the kernel that computes it, if it can be, and the result shares
  // that memory. Otherwise it does not, and is the caller's to copy. A failed call may
  // have written part of it.
  std::vector<Tensor> RunPositional(const std::vector<Tensor>& inputs,
                                    const std::vector<int>* outputs = nullptr,
                                    const RunOptions* run_options = nullptr,
                                    RunMetadata* metadata = nullptr,
                                    const CancellationManager* cancellation = nullptr,
                                    const std::vector<Tensor>* into = nullptr) const;
  // As BoundCall::RunIfShort: all outputs.
  bool RunPositionalIfShort(const std::vector<Tensor>& inputs,
                            std::vector<Tensor>* outputs) const;
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

  // What answers calls for all outputs. The first of them, or this, decides it; later one
  // finds that a graph is no longer what it was optimised for.
  Runner runner() const;

  // "model '/path', signature 'serving_default'", for messages.
  const std::string& description() const;

 private:
  friend class BatchedSignature;
  friend class Model;
  explicit Signature(std::shared_ptr<SignatureState> state) : state_(std::move(state)) {}
  std::vector<Tensor> OrderInputs(
      const std::vector<std::pair<std::string, Tensor>>& inputs) const;
  std::shared_ptr<SignatureState> state_;
};

}  // namespace savedmodel

#endif  // SAVEDMODEL_SIGNATURE_H_
