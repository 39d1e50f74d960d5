// How soon TensorFlow's own C++ loader gives the first answer, and in how much memory.
//
//   plain_loader CC_LIBRARY EXPORT_DIR INPUT OUTPUT THREADS DIMENSION...
//
// Feeds the float32 elements of the file INPUT to `serving_default`, which has one input
// and one output, writes that output's to OUTPUT, and prints what worker.py prints.

#include <dlfcn.h>

#include <chrono>
#include <cstdint>
#include <fstream>
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

#include "tensorflow/cc/saved_model/loader.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/public/session.h"

namespace {

namespace tf = tensorflow;

// On Linux CLOCK_MONOTONIC, which is Python's time.monotonic() too.
double Now() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double>(now).count();
}

void Check(const absl::Status& status) {
  if (!status.ok()) throw std::runtime_error(status.ToString());
}

// Of this process, in bytes, by its name in /proc/self/status.
std::int64_t Memory(const std::string& name) {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    std::int64_t kilobytes = 0;
    if (word == name + ":" && status >> kilobytes) return kilobytes * 1024;
  }
  throw std::runtime_error("no " + name + " in /proc/self/status");
}

void Run(const std::vector<std::string>& arguments) {
  if (arguments.size() < 6) throw std::runtime_error("too few arguments");
  const std::string& export_dir = arguments[1];
  const int threads = std::stoi(arguments[4]);
  tf::TensorShape shape;
  for (std::size_t i = 5; i < arguments.size(); ++i) {
    shape.AddDim(std::stoll(arguments[i]));
  }
  tf::Tensor input(tf::DT_FLOAT, shape);
  if (!std::ifstream(arguments[2], std::ios::binary)
           .read(static_cast<char*>(input.data()),
                 static_cast<std::streamsize>(input.TotalBytes()))) {
    throw std::runtime_error(arguments[2] + ": not enough elements");
  }

  const double start = Now();
  if (dlopen(arguments[0].c_str(), RTLD_LAZY | RTLD_LOCAL) == nullptr) {
    throw std::runtime_error(dlerror());
  }
  const double library = Now();

  tf::SessionOptions options;
  options.config.set_intra_op_parallelism_threads(threads);
  options.config.set_inter_op_parallelism_threads(threads);
  tf::SavedModelBundle bundle;
  Check(tf::LoadSavedModel(options, {}, export_dir, {"serve"}, &bundle));
  const double loaded = Now();

  const tf::SignatureDef& signature = bundle.GetSignatures().at("serving_default");
  tf::CallableOptions call;
  call.add_feed(signature.inputs().begin()->second.name());
  call.add_fetch(signature.outputs().begin()->second.name());
  tf::Session::CallableHandle callable = 0;
  Check(bundle.session->MakeCallable(call, &callable));
  std::vector<tf::Tensor> outputs;
  Check(bundle.session->RunCallable(callable, {input}, &outputs, nullptr));
  const double answered = Now();

  const std::int64_t resident = Memory("VmRSS");
  const std::int64_t peak = Memory("VmHWM");
  std::ofstream(arguments[3], std::ios::binary)
      .write(static_cast<const char*>(outputs[0].data()),
             static_cast<std::streamsize>(outputs[0].TotalBytes()));
  std::cout << std::fixed << "{\"answered\": " << answered
            << ", \"library\": " << library - start << ", \"load\": " << loaded - library
            << ", \"call\": " << answered - loaded << ", \"VmRSS\": " << resident
            << ", \"VmHWM\": " << peak << "}\n";
}

}  // namespace

int main(int argc, char** argv) {
  try {
    Run({argv + 1, argv + argc});
  } catch (const std::exception& error) {
    std::cerr << "plain_loader: " << error.what() << '\n';
    return 1;
  }
  return 0;
}
