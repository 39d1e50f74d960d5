#ifndef SAVEDMODEL_RUN_FUNCTION_STATE_H_
#define SAVEDMODEL_RUN_FUNCTION_STATE_H_

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "load/bundle_handle.h"
#include "run/function_signature.h"
#include "savedmodel/function.h"
#include "savedmodel/session.h"

namespace savedmodel {

// The callable of a gradient graph.
struct GradientCallable {
  std::optional<Callable> callable;  // absent if no variable is connected
  // Flat outputs whose gradient is fed after the function's own inputs; their shapes are
  // the last fetches.
  std::vector<std::size_t> fed_outputs;
  // For each variable its place among the fetches; -1 if it is not connected.
  std::vector<int> fetches;
};

// A concrete function and the callables that were made for it, each by the first call
// that needs it.
class ConcreteFunctionState {
 public:
  ConcreteFunctionState(std::shared_ptr<BundleHandle> handle, Session session,
                        BareFunctionSignature signature, std::string description);

  const ConcreteFunctionSignature& signature() const {
    return signature_.concrete_function();
  }
  // Runs the flat inputs that Match gave.
  Value Run(const std::vector<Tensor>& inputs);
  Value Call(FunctionArguments arguments) {
    return Run(signature_.Match(std::move(arguments)));
  }
  std::vector<Tensor> MatchInputs(FunctionArguments arguments) const {
    return signature_.Match(std::move(arguments));
  }
  // savedmodel::Gradients, on flat inputs.
  std::vector<Tensor> Gradients(std::vector<Tensor> inputs,
                                const std::vector<Variable>& variables,
                                const Value& output_gradients);

 private:
  Callable Make();
  // `fed`: for each flat output, whether its gradient is given.
  std::shared_ptr<const GradientCallable> MakeGradients(
      const std::vector<std::string>& variables, const std::vector<bool>& fed);
  // The graph's tensors for the function's last inputs.
  std::vector<std::string> Captures(const LoadedBundle& bundle,
                                    const tensorflow::FunctionDef& function) const;
  const tensorflow::FunctionDef& Definition(const LoadedBundle& bundle) const;

  const std::shared_ptr<BundleHandle> handle_;
  const Session session_;
  const BareFunctionSignature signature_;
  const std::string description_;

  std::mutex mutex_;  // of all below
  std::optional<Callable> callable_;
  std::map<std::pair<std::vector<std::string>, std::vector<bool>>,
           std::shared_ptr<const GradientCallable>>
      gradients_;
  // Also those that failed, whose nodes may be in the graph.
  int gradient_graphs_ = 0;
};

// A tf.function: the choice among its concrete functions.
class FunctionState {
 public:
  FunctionState(std::string path, FunctionSignature signature,
                std::vector<std::shared_ptr<ConcreteFunctionState>> concrete_functions)
      : path_(std::move(path)),
        signature_(std::move(signature)),
        concrete_functions_(std::move(concrete_functions)) {}

  const std::string& path() const { return path_; }
  const FunctionSignature& signature() const { return signature_; }
  const std::vector<std::shared_ptr<ConcreteFunctionState>>& concrete_functions() const {
    return concrete_functions_;
  }

 private:
  const std::string path_;
  const FunctionSignature signature_;
  const std::vector<std::shared_ptr<ConcreteFunctionState>> concrete_functions_;
};

struct FunctionAccess {
  static Function Make(std::shared_ptr<FunctionState> state) {
    return Function(std::move(state));
  }
  static ConcreteFunction Make(std::shared_ptr<ConcreteFunctionState> state) {
    return ConcreteFunction(std::move(state));
  }
  static FunctionState& Get(const Function& function) { return *function.state_; }
  static ConcreteFunctionState& Get(const ConcreteFunction& function) {
    return *function.state_;
  }
};

struct VariableAccess {
  static Variable Make(std::shared_ptr<BundleHandle> handle, std::string node,
                       std::string name, TensorSpec spec, bool trainable) {
    return Variable(std::move(handle), std::move(node), std::move(name), std::move(spec),
                    trainable);
  }
  static const std::string& Node(const Variable& variable) { return variable.node_; }
  static const BundleHandle* Handle(const Variable& variable) {
    return variable.handle_.get();
  }
};

}  // namespace savedmodel

#endif  // SAVEDMODEL_RUN_FUNCTION_STATE_H_
