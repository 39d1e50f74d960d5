#include "optimize/flat_graph.h"

namespace savedmodel {

namespace tf = tensorflow;

int FlatGraph::AddConstant(tf::Tensor tensor) {
  FlatValue value;
  value.dtype = tensor.dtype();
  value.shape = tf::PartialTensorShape(tensor.shape().dim_sizes());
  value.constant = std::move(tensor);
  values.push_back(std::move(value));
  return static_cast<int>(values.size()) - 1;
}

int FlatGraph::AddOp(tf::NodeDef def, std::vector<int> inputs,
                     const tf::DataTypeVector& output_types) {
  FlatOp op;
  op.def = std::move(def);
  op.inputs = std::move(inputs);
  const int index = static_cast<int>(ops.size());
  for (std::size_t i = 0; i < output_types.size(); ++i) {
    FlatValue value;
    value.dtype = output_types[i];
    value.op = index;
    value.output = static_cast<int>(i);
    op.outputs.push_back(static_cast<int>(values.size()));
    values.push_back(std::move(value));
  }
  ops.push_back(std::move(op));
  return index;
}

std::vector<std::vector<int>> ConsumersOf(const FlatGraph& graph) {
  std::vector<std::vector<int>> consumers(graph.values.size());
  for (std::size_t i = 0; i < graph.ops.size(); ++i) {
    if (graph.ops[i].dead) continue;
    for (const int input : graph.ops[i].inputs)
      consumers[input].push_back(static_cast<int>(i));
  }
  return consumers;
}

void RemoveUnused(FlatGraph* graph) {
  std::vector<bool> needed(graph->ops.size());
  std::vector<int> pending;
  const auto need = [&](int op) {
    if (op < 0 || needed[op]) return;
    needed[op] = true;
    pending.push_back(op);
  };
  for (const int fetch : graph->fetches) {
    if (!graph->IsConstant(fetch)) need(graph->values[fetch].op);
  }
  for (std::size_t i = 0; i < graph->ops.size(); ++i) {
    if (graph->ops[i].effect && !graph->ops[i].dead) need(static_cast<int>(i));
  }
  while (!pending.empty()) {
    const int op = pending.back();
    pending.pop_back();
    for (const int input : graph->ops[op].inputs) {
      if (!graph->IsConstant(input)) need(graph->values[input].op);
    }
  }
  for (std::size_t i = 0; i < graph->ops.size(); ++i) {
    if (!needed[i]) graph->ops[i].dead = true;
  }
}

}  // namespace savedmodel
