#ifndef SAVEDMODEL_RUN_RETENTION_H_
#define SAVEDMODEL_RUN_RETENTION_H_

#include <string>
#include <vector>

#include "inspect/graph_index.h"

namespace savedmodel {

// What running a part of a graph may do to what outlives the run. Conservative: every
// stateful op that is reached counts, unless it is known not to.
struct RunEffects {
  // It may leave a fed tensor in the session's state: an assignment shares the buffer it
  // is given, a queue or a stage keeps it. The memory of such a feed must not be the
  // caller's, who may change or free it after the call.
  bool retains_feeds = false;
  bool changes_variables = false;
};

RunEffects FindEffects(const GraphIndex& graph, const std::vector<std::string>& fetches,
                       const std::vector<std::string>& targets,
                       const std::string& context);

}  // namespace savedmodel

#endif  // SAVEDMODEL_RUN_RETENTION_H_
