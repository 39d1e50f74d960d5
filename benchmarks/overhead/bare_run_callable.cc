// What a call costs without this project: TensorFlow's own C++ API in a loop. For ctypes.
//
// Not thread-safe. Functions that fail say so by what they return; Bare_Error() says why.

#include <dlfcn.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tensorflow/cc/saved_model/loader.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/public/session.h"

#define BARE_EXPORT __attribute__((visibility("default")))

namespace {

namespace tf = tensorflow;
using Clock = std::chrono::steady_clock;
using Nanoseconds = std::chrono::nanoseconds;

std::string last_error;

struct Bare {
  tf::SavedModelBundle bundle;
  tf::Session::CallableHandle callable = 0;
  std::vector<tf::Tensor> inputs;
  std::vector<tf::Tensor> outputs;
};

bool Failed(const absl::Status& status) {
  if (!status.ok()) last_error = status.ToString();
  return !status.ok();
}

}  // namespace

extern "C" {

BARE_EXPORT const char* Bare_Error() { return last_error.c_str(); }

// Loads a SavedModel into a session of its own, with default options, and makes a
// callable of all outputs of a signature with one float input. `data`: that input's
// elements, copied. `cc_library`: the path of libtensorflow_cc. Null if it fails.
BARE_EXPORT Bare* Bare_Open(const char* cc_library, const char* export_dir,
                            const char* signature, int inter_op_thread_pool,
                            const std::int64_t* dims, int rank, const float* data) {
  if (dlopen(cc_library, RTLD_LAZY | RTLD_LOCAL) == nullptr) {
    last_error = dlerror();
    return nullptr;
  }
  auto bare = std::make_unique<Bare>();
  if (Failed(tf::LoadSavedModel({}, {}, export_dir, {"serve"}, &bare->bundle))) {
    return nullptr;
  }
  const auto& signatures = bare->bundle.GetSignatures();
  const auto found = signatures.find(signature);
  if (found == signatures.end() || found->second.inputs_size() != 1) {
    last_error = std::string("no signature of one input named ") + signature;
    return nullptr;
  }
  tf::CallableOptions options;
  options.add_feed(found->second.inputs().begin()->second.name());
  for (const auto& [name, info] : found->second.outputs()) options.add_fetch(info.name());
  options.mutable_run_options()->set_inter_op_thread_pool(inter_op_thread_pool);
  if (Failed(bare->bundle.session->MakeCallable(options, &bare->callable))) {
    return nullptr;
  }

  tf::TensorShape shape;
  for (int axis = 0; axis < rank; ++axis) shape.AddDim(dims[axis]);
  tf::Tensor input(tf::DT_FLOAT, shape);
  std::copy_n(data, input.NumElements(), input.flat<float>().data());
  bare->inputs.push_back(std::move(input));
  return bare.release();
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
  return Nanoseconds(Clock::now() - start).count();
}

// The elements of the last call's first output, valid until the next call, and how many.
BARE_EXPORT const float* Bare_Output(const Bare* bare, std::int64_t* count) {
  const auto values = bare->outputs.at(0).flat<float>();
  *count = values.size();
  return values.data();
}

BARE_EXPORT void Bare_Close(Bare* bare) { delete bare; }

}  // extern "C"
