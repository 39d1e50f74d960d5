// Calls of this project's C++ API from several threads at once. For ctypes.
//
// Not thread-safe. Functions that fail say so by what they return; Callers_Error() says
// why.

#include "../callers.h"

#include <algorithm>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "savedmodel/savedmodel.h"

#define CALLERS_EXPORT __attribute__((visibility("default")))

namespace {

std::string last_error;

struct Callers {
  savedmodel::Model model;
  savedmodel::Signature signature;
  std::vector<std::int64_t> times;  // of Callers_Measure, in nanoseconds
};

}  // namespace

extern "C" {

CALLERS_EXPORT const char* Callers_Error() { return last_error.c_str(); }

// Loads a SavedModel. `threads`: that share a kernel's work. Null if it fails.
CALLERS_EXPORT Callers* Callers_Open(const char* path, const char* signature,
                                     int threads) {
  try {
    savedmodel::LoadOptions options;
    options.session_options.Set("intra_op_parallelism_threads", std::int64_t{threads});
    savedmodel::Model model = savedmodel::Model::Load(path, options);
    savedmodel::Signature found = model.signature(signature);
    return new Callers{std::move(model), std::move(found), {}};
  } catch (const std::exception& error) {
    last_error = error.what();
    return nullptr;
  }
}

// Lets so many threads call, each with its inputs bound, for that many nanoseconds, on
// the elements of a float tensor. Gives the nanoseconds from the start of the first to
// the end of the last; -1 if a call failed.
CALLERS_EXPORT std::int64_t Callers_Measure(Callers* self, const std::int64_t* dims,
                                            int rank, const float* data, int callers,
                                            std::int64_t duration) {
  const savedmodel::Shape shape(dims, dims + rank);
  const auto make_call = [&](int) {
    savedmodel::BoundCall bound =
        self->signature.BindPositional({savedmodel::Tensor::Copy(data, shape)});
    return [bound = std::move(bound)] {
      try {
        bound.Run();
        return true;
      } catch (const std::exception& error) {
        return false;
      }
    };
  };
  try {
    const std::int64_t elapsed =
        MeasureCallers(callers, duration, make_call, &self->times);
    if (elapsed < 0) last_error = "a call failed";
    return elapsed;
  } catch (const std::exception& error) {
    last_error = error.what();
    return -1;
  }
}

// The nanoseconds of each call of Callers_Measure, valid until the next, and how many.
CALLERS_EXPORT const std::int64_t* Callers_Times(const Callers* self,
                                                 std::int64_t* count) {
  *count = static_cast<std::int64_t>(self->times.size());
  return self->times.data();
}

}  // extern "C"
