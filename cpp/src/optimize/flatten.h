#ifndef SAVEDMODEL_OPTIMIZE_FLATTEN_H_
#define SAVEDMODEL_OPTIMIZE_FLATTEN_H_

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "inspect/graph_index.h"
#include "optimize/flat_graph.h"
#include "optimize/kernel_host.h"

namespace savedmodel {

// The value of a variable, by its node, if it may be taken for a constant. Asked for
// once.
using FrozenValue =
    std::function<std::optional<tensorflow::Tensor>(const tensorflow::NodeDef& variable)>;

// Evaluates a part of a graph as far as it can be without its feeds, and gives the rest.
//
// Calls of functions are replaced by what their bodies do; conditionals by the branch
// that is taken, and loops by their repetitions, where constants and the static shapes of
// the feeds decide about them (TensorLists become single tensors); variables by their
// values; ops on constants by their results.
//
// Throws NotFlat, with the op that is in the way, for a part that changes or draws from
// state, has control flow that depends on the feeds, or is too large.
FlatGraph Flatten(const GraphIndex& index, const std::vector<std::string>& feeds,
                  const std::vector<std::string>& fetches,
                  const FrozenValue& frozen_value, const KernelHost& host,
                  const tensorflow::VersionDef& versions);

}  // namespace savedmodel

#endif  // SAVEDMODEL_OPTIMIZE_FLATTEN_H_
