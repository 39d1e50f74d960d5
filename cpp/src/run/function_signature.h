// How the arguments of a call choose one of the concrete functions of a tf.function and
// become its flat input tensors: the rules of TensorFlow's
// python/saved_model/function_deserialization.py.
#ifndef SAVEDMODEL_SRC_RUN_FUNCTION_SIGNATURE_H_
#define SAVEDMODEL_SRC_RUN_FUNCTION_SIGNATURE_H_

#include <optional>
#include <string>
#include <vector>

#include "savedmodel/tensor.h"
#include "savedmodel/value.h"
#include "tensorflow/core/protobuf/saved_object_graph.pb.h"

namespace savedmodel {

// The arguments of a call.
struct FunctionArguments {
  Value::Elements args;
  Value::Items kwargs;
};

// One concrete function: what it takes and returns.
class ConcreteFunctionSignature {
 public:
  // Throws DataLoss if the proto is not what TensorFlow writes.
  ConcreteFunctionSignature(std::string name,
                            const tensorflow::SavedConcreteFunction& proto,
                            const std::string& what);

  const std::string& name() const { return name_; }
  // As TensorFlow's structured_input_signature: a tuple of the tuple of positional
  // arguments and the dict of keyword arguments, tensors as specs.
  const Value& structured_input_signature() const { return inputs_; }
  const Value& structured_outputs() const { return outputs_; }
  // The tensors that the graph function takes and gives, captures aside.
  const std::vector<TensorSpec>& flat_inputs() const { return flat_inputs_; }
  int num_flat_outputs() const { return num_flat_outputs_; }

  // The flat inputs if it can be called with these canonical arguments. Without
  // `convert` only tensors go where tensors are asked for.
  std::optional<std::vector<Tensor>> TryCall(const FunctionArguments& arguments,
                                             bool convert) const;
  // The structured result of the flat outputs. Throws Internal if their number is not
  // num_flat_outputs().
  Value PackOutputs(std::vector<Tensor> outputs) const;

 private:
  std::string name_;
  std::string what_;
  Value inputs_;
  Value outputs_;
  std::vector<TensorSpec> flat_inputs_;
  int num_flat_outputs_ = 0;
};

// A tf.function of a SavedModel. Thread-safe.
class FunctionSignature {
 public:
  struct Call {
    int index;  // in concrete_functions()
    std::vector<Tensor> inputs;
  };

  // `concrete_functions`: those that the SavedFunction lists, in its order. `what` begins
  // error messages: "model '/path', function 'f'". Throws DataLoss for a spec that cannot
  // be.
  FunctionSignature(const tensorflow::FunctionSpec& spec,
                    std::vector<ConcreteFunctionSignature> concrete_functions,
                    std::string what);

  const std::vector<ConcreteFunctionSignature>& concrete_functions() const {
    return concrete_functions_;
  }

  // Binds the arguments to the function's parameters, defaults filled in: positional ones
  // in args, keyword-only ones in kwargs. Throws InvalidArgument, in Python's words, for
  // a missing, unknown or repeated argument.
  FunctionArguments Canonicalize(FunctionArguments arguments) const;

  // Canonicalizes the arguments and chooses the first concrete function that takes them
  // as they are, else the first that takes them converted to tensors. Throws
  // InvalidArgument that lists the choices if there is none.
  Call Match(FunctionArguments arguments) const;

  // "(x, training=False, *args, **kwargs)".
  std::string ToString() const;

 private:
  struct Parameter {
    std::string name;
    std::optional<Value> default_value;
    // From the input signature: arguments are converted to it before anything is matched.
    std::optional<Value> constraint;
  };

  std::vector<ConcreteFunctionSignature> concrete_functions_;
  std::string what_;
  std::vector<Parameter> positional_;
  std::vector<Parameter> keyword_only_;
  std::optional<std::string> varargs_;
  std::optional<std::string> varkw_;
};

// A concrete function of the object graph that is called with flat tensors by position or
// by name (a signature in `model.signatures`). Thread-safe.
class BareFunctionSignature {
 public:
  BareFunctionSignature(const tensorflow::SavedBareConcreteFunction& proto,
                        ConcreteFunctionSignature concrete_function, std::string what);

  const ConcreteFunctionSignature& concrete_function() const {
    return concrete_function_;
  }

  // The flat inputs: arguments by position (at most as many as the function allows), by
  // the keywords of the saved function, or, with a function spec, in the structured form.
  // Throws InvalidArgument for missing, unknown and repeated arguments, and for tensors
  // of another dtype or shape.
  std::vector<Tensor> Match(FunctionArguments arguments) const;

 private:
  ConcreteFunctionSignature concrete_function_;
  std::string what_;
  std::vector<std::string> keywords_;
  int num_positional_;
  std::optional<FunctionSignature> function_;
};

}  // namespace savedmodel

#endif  // SAVEDMODEL_SRC_RUN_FUNCTION_SIGNATURE_H_
