// What a call costs without this project: TensorFlow's own C++ API in a loop. For ctypes.
//
// Not thread-safe. Functions that fail say so by what they return; Bare_Error() says why.

#include <dlfcn.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "../callers.h"
#include "tensorflow/cc/saved_model/loader.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/public/session.h"

#define BARE_EXPORT __attribute__((visibility("default")))

namespace {

namespace tf = tensorflow;
using Clock = std::chrono::steady_clock;
using std::chrono::nanoseconds;

std::string last_error;

struct Bare {
  tf::SavedModelBundle bundle;
  tf::Session::CallableHandle callable = 0;
  std::vector<tf::Tensor> inputs;
  std::vector<tf::Tensor> outputs;
  std::vector<std::int64_t> times;  // of Bare_Measure, in nanoseconds
};

tf::TensorShape Shape(const std::int64_t* dims, int rank) {
  tf::TensorShape shape;
  for (int axis = 0; axis < rank; ++axis) shape.AddDim(dims[axis]);
  return shape;
}

// So that each of the threads that calls at once keeps its outputs to itself.
bool RunOnce(const Bare& bare, std::vector<tf::Tensor>* outputs) {
  return bare.bundle.session->RunCallable(bare.callable, bare.inputs, outputs, nullptr)
      .ok();
}

bool Failed(const absl::Status& status) {
  if (!status.ok()) last_error = status.ToString();
  return !status.ok();
}

}  // namespace

extern "C" {

BARE_EXPORT const char* Bare_Error() { return last_error.c_str(); }

// Loads libtensorflow_cc from that path. False if it fails.
BARE_EXPORT bool Bare_LoadLibrary(const char* cc_library) {
  if (dlopen(cc_library, RTLD_LAZY | RTLD_LOCAL) != nullptr) return true;
  last_error = dlerror();
  return false;
}

// Loads a SavedModel into a session of its own and makes a callable of all outputs of a
// signature with one input, in the order of their names. `threads`: of each of the
// session's two pools, 0 for TensorFlow's default. Null if it fails.
BARE_EXPORT Bare* Bare_Open(const char* export_dir, const char* signature,
                            int inter_op_thread_pool, int threads) {
  auto bare = std::make_unique<Bare>();
  tf::SessionOptions session_options;
  session_options.config.set_intra_op_parallelism_threads(threads);
  session_options.config.set_inter_op_parallelism_threads(threads);
  if (Failed(tf::LoadSavedModel(session_options, {}, export_dir, {"serve"},
                                &bare->bundle))) {
    return nullptr;
  }
  const auto& signatures = bare->bundle.GetSignatures();
  const auto found = signatures.find(signature);
  if (found == signatures.end() || found->second.inputs_size() != 1) {
    last_error = std::string("no signature of one input named ") + signature;
    return nullptr;
  }
  std::vector<std::pair<std::string, std::string>> outputs;
  for (const auto& [name, info] : found->second.outputs()) {
    outputs.emplace_back(name, info.name());
  }
  std::sort(outputs.begin(), outputs.end());
  tf::CallableOptions options;
  options.add_feed(found->second.inputs().begin()->second.name());
  for (const auto& [name, tensor] : outputs) options.add_fetch(tensor);
  options.mutable_run_options()->set_inter_op_thread_pool(inter_op_thread_pool);
  if (Failed(bare->bundle.session->MakeCallable(options, &bare->callable))) {
    return nullptr;
  }
  return bare.release();
}

// What to feed from now on, copied: the elements of a float tensor.
BARE_EXPORT void Bare_FeedFloats(Bare* bare, const std::int64_t* dims, int rank,
                                 const float* data) {
  tf::Tensor input(tf::DT_FLOAT, Shape(dims, rank));
  std::copy_n(data, input.NumElements(), input.flat<float>().data());
  bare->inputs = {std::move(input)};
}

// The same of a tensor of strings, `sizes[i]` bytes from `data[i]` on.
BARE_EXPORT void Bare_FeedStrings(Bare* bare, const std::int64_t* dims, int rank,
                                  const char* const* data, const std::int64_t* sizes) {
  tf::Tensor input(tf::DT_STRING, Shape(dims, rank));
  auto elements = input.flat<tf::tstring>();
  for (std::int64_t i = 0; i < elements.size(); ++i) {
    elements(i).assign(data[i], static_cast<std::size_t>(sizes[i]));
  }
  bare->inputs = {std::move(input)};
}

// The nanoseconds that this many calls took together, or -1 if one failed.
BARE_EXPORT std::int64_t Bare_Run(Bare* bare, std::int64_t calls) {
  tf::Session& session = *bare->bundle.session;
  const auto start = Clock::now();
  for (std::int64_t i = 0; i < calls; ++i) {
    if (Failed(
            session.RunCallable(bare->callable, bare->inputs, &bare->outputs, nullptr))) {
      return -1;
    }
  }
  return nanoseconds(Clock::now() - start).count();
}

// Lets so many threads call, again and again, for that long. Gives the nanoseconds from
// the start of the first to the end of the last; -1 if a call failed.
BARE_EXPORT std::int64_t Bare_Measure(Bare* bare, int callers, std::int64_t duration) {
  const auto make_call = [bare](int) {
    return [bare, outputs = std::vector<tf::Tensor>()]() mutable {
      return RunOnce(*bare, &outputs);
    };
  };
  const std::int64_t elapsed = MeasureCallers(callers, duration, make_call, &bare->times);
  if (elapsed < 0) last_error = "a call failed";
  return elapsed;
}

// The nanoseconds of each call of Bare_Measure, valid until the next, and how many.
BARE_EXPORT const std::int64_t* Bare_Times(const Bare* bare, std::int64_t* count) {
  *count = static_cast<std::int64_t>(bare->times.size());
  return bare->times.data();
}

BARE_EXPORT int Bare_OutputCount(const Bare* bare) {
  return static_cast<int>(bare->outputs.size());
}

// The elements of that output of the last call of Bare_Run, valid until the next, and how
// many; null if it has strings.
BARE_EXPORT const float* Bare_Output(const Bare* bare, int index, std::int64_t* count) {
  const tf::Tensor& output = bare->outputs.at(static_cast<std::size_t>(index));
  if (output.dtype() != tf::DT_FLOAT) return nullptr;
  *count = output.NumElements();
  return output.flat<float>().data();
}

BARE_EXPORT void Bare_Close(Bare* bare) { delete bare; }

}  // extern "C"
