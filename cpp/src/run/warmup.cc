#include "run/warmup.h"

#include <chrono>

#include "load/load_saved_model.h"
#include "load/warmup.h"

namespace savedmodel {

namespace {

void Replay(const Model& model, const WarmupRequest& request) {
  const Signature signature = model.signature(request.signature);
  auto inputs = request.inputs;
  if (request.examples) {
    const std::vector<NamedSpec>& specs = signature.inputs();
    if (specs.size() != 1 || specs[0].spec.dtype != DataType::kString) {
      throw Error(ErrorCode::kInvalidArgument,
                  signature.description() +
                      ": expected one input, of strings, for serialized tf.Examples");
    }
    inputs = {{specs[0].name, *request.examples}};
  }
  if (request.outputs.empty()) {
    signature.Run(inputs);
  } else {
    signature.Run(inputs, request.outputs);
  }
}

}  // namespace

void Warmup(const Model& model) {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point start = Clock::now();
  const std::uint64_t bytes = ForEachWarmupRequest(
      model.bundle().export_dir(), [&model](const WarmupRequest& request) {
        try {
          Replay(model, request);
        } catch (const Error& error) {
          throw Error(error.code(), request.context + ": " + error.what());
        }
      });
  const std::chrono::duration<double> seconds = Clock::now() - start;
  BundleAccess::Report(model.bundle(), {"warmup", seconds.count(), bytes});
}

}  // namespace savedmodel
