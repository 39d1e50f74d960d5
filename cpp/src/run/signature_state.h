#ifndef SAVEDMODEL_RUN_SIGNATURE_STATE_H_
#define SAVEDMODEL_RUN_SIGNATURE_STATE_H_

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "savedmodel/saved_model.h"
#include "savedmodel/session.h"
#include "savedmodel/signature.h"

namespace savedmodel {

// What the handles of one signature share: its specs, and the callables that were made
// for it, each at the first call that needs it.
class SignatureState {
 public:
  SignatureState(std::string name, const SignatureDef& definition,
                 const std::string& export_dir, Session session);

  const std::string& name() const { return name_; }
  const std::string& method_name() const { return method_name_; }
  const std::string& description() const { return description_; }
  const std::vector<NamedSpec>& inputs() const { return inputs_; }
  const std::vector<NamedSpec>& outputs() const { return outputs_; }
  const Tensor& default_input(int index) const;

  // Throws InvalidArgument if these, in the order of inputs(), are not what they should
  // be.
  void CheckInputs(const std::vector<Tensor>& inputs) const;
  // Runs checked inputs.
  std::vector<Tensor> Run(const std::vector<Tensor>& inputs,
                          const std::vector<int>* outputs, const RunOptions* run_options,
                          RunMetadata* metadata,
                          const CancellationManager* cancellation = nullptr,
                          const std::vector<Tensor>* into = nullptr);
  // As BoundCall::RunIfShort, of checked inputs.
  bool RunIfShort(const std::vector<Tensor>& inputs, std::vector<Tensor>* outputs) const;
  bool retains_inputs() { return AllOutputs().retains_feeds(); }
  Runner runner() { return AllOutputs().runner(); }
  bool copies_shared_outputs() { return AllOutputs().copies_shared_outputs(); }
  // The position of an output. Throws InvalidArgument.
  int OutputIndex(const std::string& name) const;

 private:
  const Callable& AllOutputs();
  Callable SomeOutputs(const std::vector<int>& outputs);
  std::vector<std::string> FetchNames(const std::vector<int>& outputs) const;

  const std::string name_;
  const std::string method_name_;
  const std::string description_;
  std::vector<NamedSpec> inputs_;
  std::vector<NamedSpec> outputs_;
  std::map<int, Tensor> defaults_;
  std::vector<std::string> feeds_;
  std::vector<int> all_;  // 0, 1, ... of outputs_
  const Session session_;

  std::mutex mutex_;  // of the two below; the pointer is also read without it
  std::map<std::vector<int>, Callable> callables_;
  std::atomic<const Callable*> all_outputs_{nullptr};
};

}  // namespace savedmodel

#endif  // SAVEDMODEL_RUN_SIGNATURE_STATE_H_
