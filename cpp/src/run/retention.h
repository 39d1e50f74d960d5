#ifndef SAVEDMODEL_RUN_RETENTION_H_
#define SAVEDMODEL_RUN_RETENTION_H_

#include <string>
#include <vector>

#include "inspect/graph_index.h"

namespace savedmodel {

// True if running these fetches and targets may leave a fed tensor in the session's
// state: an assignment shares the buffer it is given, a queue or a stage keeps it. The
// memory of such a feed must not be the caller's, who may change or free it after the
// call.
//
// Conservative: every stateful op that is reached counts, unless it is known not to keep
// its inputs.
bool MayRetainFeeds(const GraphIndex& graph, const std::vector<std::string>& fetches,
                    const std::vector<std::string>& targets);

}  // namespace savedmodel

#endif  // SAVEDMODEL_RUN_RETENTION_H_
