// How the arguments of a call choose one of the concrete functions of a tf.function and
// become its flat input tensors: the rules of TensorFlow's
// python/saved_model/function_deserialization.py.
#ifndef SAVEDMODEL_RUN_FUNCTION_SIGNATURE_H_
#define SAVEDMODEL_RUN_FUNCTION_SIGNATURE_H_

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

// One concrete function: what it takes and returns. Thread-safe.
class ConcreteFunctionSignature {
 public:
  // `context` begins error messages: "model '/path', function 'f'". Throws
  // InvalidArgument if the proto is not what TensorFlow writes.
  ConcreteFunctionSignature(std::string name,
                            const tensorflow::SavedConcreteFunction& proto,
                            std::string context);

  const std::string& name() const { return name_; }
  // As TensorFlow's structured_input_signature: a tuple of the tuple of positional
  // arguments and the dict of keyword arguments, tensors as specs.
  const Value& structured_input_signature() const { return inputs_; }
  const Value& structured_outputs() const { return outputs_; }
  // The tensors that the graph function takes, captures aside, and how many it gives.
  const std::vector<TensorSpec>& flat_inputs() const { return flat_inputs_; }
  int num_flat_outputs() const { return num_flat_outputs_; }

  // The flat inputs if it can be called with these canonical arguments. Without
  // `convert` only tensors go where tensors are asked for, with it also the Python values
  // that tf.convert_to_tensor makes such tensors of.
  std::optional<std::vector<Tensor>> TryCall(const FunctionArguments& arguments,
                                             bool convert) const;
  // The structured result of the flat outputs. Throws Internal if their number is not
  // num_flat_outputs().
  Value PackOutputs(std::vector<Tensor> outputs) const;

 private:
  std::string name_;
  std::string context_;
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

  // `concrete_functions`: those that the SavedFunction lists, in its order. `context`
  // begins error messages. Throws InvalidArgument for a spec that cannot be.
  FunctionSignature(const tensorflow::FunctionSpec& spec,
                    std::vector<ConcreteFunctionSignature> concrete_functions,
                    std::string context);

  const std::vector<ConcreteFunctionSignature>& concrete_functions() const {
    return concrete_functions_;
  }

  // Binds the arguments to the function's parameters, in the form of a
  // structured_input_signature: positional ones in args, keyword-only ones in kwargs,
  // defaults filled in, and what the input signature says made tensors of its dtypes.
  // Throws InvalidArgument, in Python's words, for a missing, unknown or repeated
  // argument, and for one that the input signature does not allow.
  FunctionArguments Canonicalize(const FunctionArguments& arguments) const;

  // Canonicalizes the arguments and chooses the first concrete function that takes them
  // as they are, else the first that takes them converted to tensors. Throws
  // InvalidArgument that lists the choices if there is none.
  Call Match(const FunctionArguments& arguments) const;

  // The parameters: "(x, training=False, *args, **kwargs)".
  std::string ToString() const;

 private:
  struct Parameter {
    std::string name;
    std::optional<Value> default_value;
    // What the input signature says of it.
    std::optional<Value> constraint;
  };

  void ReadParameters(const Value& fullargspec, bool is_method);
  void AddConstraints(const Value::Elements& input_signature);
  // Throws; the arguments are those of the call.
  [[noreturn]] void FailBinding(const std::string& why,
                                const FunctionArguments& arguments) const;
  [[noreturn]] void FailMatch(const FunctionArguments& canonical) const;

  std::vector<ConcreteFunctionSignature> concrete_functions_;
  std::string context_;
  std::vector<Parameter> positional_;
  std::vector<Parameter> keyword_only_;
  // The positional parameters cannot be given by keyword.
  bool positional_only_ = false;
  std::optional<std::string> varargs_;
  std::optional<std::string> varkw_;
};

// A concrete function of the object graph that is called by itself: with flat tensors by
// position or by name, or as the function that it was traced from. Thread-safe.
class BareFunctionSignature {
 public:
  // Throws InvalidArgument for a proto that cannot be.
  BareFunctionSignature(const tensorflow::SavedBareConcreteFunction& proto,
                        ConcreteFunctionSignature concrete_function, std::string context);

  const ConcreteFunctionSignature& concrete_function() const {
    return concrete_function_;
  }
  // The names of the flat inputs.
  const std::vector<std::string>& argument_keywords() const { return keywords_; }

  // The flat inputs. Throws InvalidArgument for missing, unknown and repeated arguments,
  // and for ones that cannot become a tensor of the dtype and shape asked for.
  std::vector<Tensor> Match(const FunctionArguments& arguments) const;

 private:
  std::vector<Tensor> MatchFlat(const FunctionArguments& arguments) const;

  ConcreteFunctionSignature concrete_function_;
  std::string context_;
  std::vector<std::string> keywords_;
  std::size_t num_positional_;
  std::optional<FunctionSignature> function_;
};

}  // namespace savedmodel

#endif  // SAVEDMODEL_RUN_FUNCTION_SIGNATURE_H_
