#ifndef SAVEDMODEL_FUNCTION_H_
#define SAVEDMODEL_FUNCTION_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "savedmodel/export.h"
#include "savedmodel/shape.h"
#include "savedmodel/tensor.h"
#include "savedmodel/value.h"
#include "savedmodel/variable.h"

namespace savedmodel {

class ConcreteFunctionState;
class FunctionState;

// One graph that a tf.function was traced to, as the object graph holds it. It shares
// variables and tables with the signatures. Compiled by its first call. A handle that
// does not keep a closed model alive. Thread-safe.
class SAVEDMODEL_EXPORT ConcreteFunction {
 public:
  const std::string& name() const;
  // A tuple of the tuple of positional arguments and the dict of keyword arguments, with
  // specs in place of tensors.
  const Value& structured_input_signature() const;
  const Value& structured_outputs() const;

  // Takes tensors by position or by name, or the structured arguments. Throws
  // InvalidArgument for arguments that do not fit, FailedPrecondition after the model was
  // closed, and what the graph reports.
  Value Call(Value::Elements args, Value::Items kwargs = {}) const;

 private:
  friend struct FunctionAccess;
  explicit ConcreteFunction(std::shared_ptr<ConcreteFunctionState> state)
      : state_(std::move(state)) {}
  std::shared_ptr<ConcreteFunctionState> state_;
};

// A tf.function of the object graph, with every graph it was saved with. A handle as
// above. Thread-safe.
class SAVEDMODEL_EXPORT Function {
 public:
  // Where it lies in the object graph: "layers.0.call".
  const std::string& name() const;
  std::vector<ConcreteFunction> concrete_functions() const;

  // Binds the arguments as Python does, defaults included, and runs the first concrete
  // function that takes them: first as they are, then with numbers, strings and lists
  // converted to tensors. Python-valued arguments (training=True) choose by equality.
  // Throws InvalidArgument, with all choices listed, if there is none; FailedPrecondition
  // after the model was closed; and what the graph reports.
  Value Call(Value::Elements args, Value::Items kwargs = {}) const;

  // "serve(x, training=False)"
  std::string ToString() const;

 private:
  friend struct FunctionAccess;
  explicit Function(std::shared_ptr<FunctionState> state) : state_(std::move(state)) {}
  std::shared_ptr<FunctionState> state_;
};

// The gradients of the function's floating-point outputs with respect to variables, by
// TensorFlow's own C++ symbolic gradients: one tensor for each variable, of its shape.
//
// `args` and `kwargs`: of the call that is differentiated, which is run: what it assigns
// is assigned. `output_gradients`: in the structure that the function returns, the
// gradient with respect to each floating-point output tensor, of its shape; None for
// ones, so that without any the gradients are those of the outputs' sum. If it returns a
// single tensor, its gradient may stand by itself. A variable that the outputs do not
// depend on has zeros. The graph is built once for each concrete function and set of
// variables.
//
// Throws Unimplemented, with the op named, where an op on the way has no C++ gradient;
// InvalidArgument for variables of other models or of dtypes without a gradient and for
// output gradients that do not fit; and what Function::Call throws.
SAVEDMODEL_EXPORT std::vector<Tensor> Gradients(const Function& function,
                                                Value::Elements args, Value::Items kwargs,
                                                const std::vector<Variable>& variables,
                                                const Value& output_gradients = {});
SAVEDMODEL_EXPORT std::vector<Tensor> Gradients(const ConcreteFunction& function,
                                                Value::Elements args, Value::Items kwargs,
                                                const std::vector<Variable>& variables,
                                                const Value& output_gradients = {});

}  // namespace savedmodel

#endif  // SAVEDMODEL_FUNCTION_H_
