#ifndef SAVEDMODEL_OPTIMIZE_FLAT_GRAPH_H_
#define SAVEDMODEL_OPTIMIZE_FLAT_GRAPH_H_

#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "tensorflow/core/framework/node_def.pb.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/framework/tensor_shape.h"
#include "tensorflow/core/framework/types.h"

namespace savedmodel {

// What keeps a graph from being flat, in words.
class NotFlat : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// A tensor of a FlatGraph: a constant, a feed, or what an op gives.
struct FlatValue {
  tensorflow::DataType dtype = tensorflow::DT_INVALID;
  tensorflow::PartialTensorShape shape;  // as far as it is known
  std::optional<tensorflow::Tensor> constant;
  int op = -1;      // the op that gives it, an index into FlatGraph::ops
  int output = -1;  // which of its outputs
};

class NativeKernel;

struct FlatOp {
  tensorflow::NodeDef def;  // all attributes, no inputs
  // What runs in place of TensorFlow's kernel for `def`, whose name alone counts then.
  std::shared_ptr<const NativeKernel> native;
  std::vector<int> inputs;   // values
  std::vector<int> outputs;  // values
  bool effect = false;       // to be run also if nothing reads what it gives
  bool dead = false;         // left out
};

// A graph without functions, control flow and changes of state: ops in an order in which
// they can be run one by one. Constants are tensors, not protos; they are shared with
// whoever else holds them.
struct FlatGraph {
  std::vector<FlatValue> values;
  std::vector<FlatOp> ops;
  std::vector<int> feeds;    // values
  std::vector<int> fetches;  // values
  // Nodes of the variables whose values are among the constants.
  std::vector<std::string> frozen;
  // Nodes of variables that are read by each run, and of tables: these must be in the
  // session.
  std::vector<std::string> resources;

  bool IsConstant(int value) const { return values[value].constant.has_value(); }
  int AddConstant(tensorflow::Tensor tensor);
  // Adds an op behind all others, with one value for each output.
  int AddOp(tensorflow::NodeDef def, std::vector<int> inputs,
            const tensorflow::DataTypeVector& output_types);
};

// For each value, the ops that take it, once for each time; dead ones left out.
std::vector<std::vector<int>> ConsumersOf(const FlatGraph& graph);

// Marks ops dead that no fetch and no effect needs.
void RemoveUnused(FlatGraph* graph);

}  // namespace savedmodel

#endif  // SAVEDMODEL_OPTIMIZE_FLAT_GRAPH_H_
