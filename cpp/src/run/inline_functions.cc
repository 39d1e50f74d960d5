#include <algorithm>
#include <unordered_set>

#include "core/ops.h"
#include "load/bundle_handle.h"
#include "run/inliner.h"
#include "savedmodel/error.h"
#include "savedmodel/session.h"
#include "tensorflow/core/framework/node_def_util.h"

namespace savedmodel {

namespace {

namespace tf = tensorflow;

// Before the names of all copies. Grappler inlines the calls themselves under their own
// names, and aborts on a node that has one of these.
constexpr char kCopies[] = "savedmodel/inlined/";

// The calls among these nodes, and what takes something from one.
std::unordered_set<std::string_view> FindAffected(
    const std::vector<const tf::NodeDef*>& nodes, const Inliner& inliner) {
  std::unordered_set<std::string_view> affected;
  for (const tf::NodeDef* node : nodes) {
    if (inliner.IsCall(*node)) affected.insert(node->name());
  }
  for (bool found = !affected.empty(); found;) {
    found = false;
    // Inputs are last, so that one round finds most.
    for (auto node = nodes.rbegin(); node != nodes.rend(); ++node) {
      for (const std::string& input : (*node)->input()) {
        if (affected.count(NodeOf(input)) != 0 && affected.insert((*node)->name()).second)
          found = true;
      }
    }
  }
  return affected;
}

bool HasOutput(const tf::NodeDef& node) {
  const tf::OpRegistrationData* op = FindOp(node.op());
  tf::DataTypeVector outputs;
  return op != nullptr &&
         tf::OutputTypesForNode(tf::AttrSlice(node), op->op_def, &outputs).ok() &&
         !outputs.empty();
}

}  // namespace

InlinedFunctions Session::InlineFunctions(const std::vector<std::string>& tensors) const {
  const auto bundle = handle_->Acquire();
  const std::string context = "model '" + handle_->export_dir() + "'";
  if (!bundle->graph) {
    throw Error(ErrorCode::kFailedPrecondition,
                context + ": the graph of load_saved_model cannot grow; load the model");
  }
  GraphIndex& index = *bundle->index;
  std::unordered_set<const tf::NodeDef*> seen;
  const std::vector<const tf::NodeDef*> nodes = index.Reach(tensors, &seen, context);
  Inliner inliner(bundle->meta_graph_def.graph_def().library(), context);
  const std::unordered_set<std::string_view> affected = FindAffected(nodes, inliner);
  const auto renamed = [&](const std::string& input) {
    if (affected.count(NodeOf(input)) == 0) return input;
    return input[0] == '^' ? "^" + (kCopies + input.substr(1)) : kCopies + input;
  };
  InlinedFunctions inlined;
  for (const tf::NodeDef* node : nodes) {
    if (affected.count(node->name()) == 0) {
      if (HasOutput(*node)) inlined.nodes.push_back(node->name());
      continue;
    }
    std::vector<std::string> inputs;
    std::vector<std::string> controls;
    for (const std::string& input : node->input())
      (input[0] == '^' ? controls : inputs).push_back(renamed(input));
    const std::string name = kCopies + node->name();
    if (!inliner.IsCall(*node)) {
      tf::NodeDef copy = *node;
      copy.set_name(name);
      copy.mutable_attr()->erase("_class");
      copy.clear_input();
      for (const std::string& input : inputs) copy.add_input(input);
      for (const std::string& control : controls) copy.add_input(control);
      inliner.Add(std::move(copy));
      continue;
    }
    inliner.AddCall(*node, name, inputs, controls);
    // What the function does is done, whichever of its tensors are fetched.
    tf::NodeDef effects;
    effects.set_name(name + "/savedmodel_effects");
    effects.set_op("NoOp");
    effects.add_input("^" + name);
    inlined.targets.push_back(effects.name());
    inliner.Add(std::move(effects));
  }
  for (const std::string& tensor : tensors) {
    const auto [node, output] = ParseInput(tensor);
    inlined.tensors.push_back(
        inliner.Resolve(renamed(node + ":" + std::to_string(output))));
  }
  for (tf::NodeDef& node : inliner.Take()) {
    if (HasOutput(node)) inlined.nodes.push_back(node.name());
    index.Add(std::move(node));  // one that an earlier call added stays
  }
  std::sort(inlined.nodes.begin(), inlined.nodes.end());
  return inlined;
}

}  // namespace savedmodel
