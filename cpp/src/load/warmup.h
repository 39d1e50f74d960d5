#ifndef SAVEDMODEL_LOAD_WARMUP_H_
#define SAVEDMODEL_LOAD_WARMUP_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "savedmodel/tensor.h"

namespace savedmodel {

// One call that a warmup record asks for.
struct WarmupRequest {
  // "warmup file '/path', record 3 (a predict log)", for messages.
  std::string context;
  std::string signature;
  std::vector<std::pair<std::string, Tensor>> inputs;
  // Serialized tf.Examples for the signature's only input, in place of `inputs`.
  std::optional<Tensor> examples;
  std::vector<std::string> outputs;  // none: all
};

// Calls `replay` for each request of assets.extra/tf_serving_warmup_requests, in the
// order of the file, and returns the file's size; 0 if there is none, which is no error.
// One record is in memory at a time. Reads what TensorFlow Serving reads (see warmup.cc).
// Throws DataLoss for a file that is no TFRecord file or a record that cannot be parsed,
// InvalidArgument for a tensor that is none and for more than 1000 records, Unimplemented
// for a kind of log that TensorFlow Serving does not replay either, and what `replay`
// throws.
std::uint64_t ForEachWarmupRequest(
    const std::string& export_dir,
    const std::function<void(const WarmupRequest& request)>& replay);

}  // namespace savedmodel

#endif  // SAVEDMODEL_LOAD_WARMUP_H_
