// What callgrind counts the instructions of:
//   calls DIRECTORY SIGNATURE (bound|positional) COUNT
// Loads a SavedModel, makes inputs of one row, calls the signature until everything that
// is made once is there, and then COUNT times inside of Measured(), which callgrind is
// told to toggle its counting at.

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <string>
#include <vector>

#include "savedmodel/savedmodel.h"

namespace {

using savedmodel::Signature;
using savedmodel::Tensor;

std::vector<Tensor> InputsOf(const Signature& signature) {
  std::vector<Tensor> inputs;
  for (const savedmodel::NamedSpec& input : signature.inputs()) {
    std::vector<std::int64_t> sizes;
    for (const std::int64_t size : input.spec.shape.dims())
      sizes.push_back(size < 0 ? 1 : size);
    Tensor tensor(input.spec.dtype, sizes);
    std::memset(tensor.mutable_data(), 0, tensor.num_bytes());
    inputs.push_back(std::move(tensor));
  }
  return inputs;
}

}  // namespace

template <typename Call>
__attribute__((noinline)) void Measured(const Call& call, int count) {
  for (int i = 0; i < count; ++i) call();
  asm volatile("" ::: "memory");  // no tail call
}

template <typename Call>
void WarmUpAndMeasure(const Call& call, int count) {
  for (int i = 0; i < 10; ++i) call();
  Measured(call, count);
}

int main(int argc, char** argv) {
  if (argc != 5) {
    std::cerr << "usage: calls DIRECTORY SIGNATURE (bound|positional) COUNT\n";
    return 2;
  }
  const auto model = savedmodel::Model::Load(argv[1]);
  const Signature signature = model.signature(argv[2]);
  if (signature.runner().name != "engine") {
    std::cerr << "the session answers: " << signature.runner().reason << "\n";
    return 1;
  }
  const std::vector<Tensor> inputs = InputsOf(signature);
  const int count = std::atoi(argv[4]);
  if (std::string(argv[3]) == "bound") {
    const savedmodel::BoundCall bound = signature.BindPositional(inputs);
    WarmUpAndMeasure([&] { bound.Run(); }, count);
  } else {
    WarmUpAndMeasure([&] { signature.RunPositional(inputs); }, count);
  }
}
