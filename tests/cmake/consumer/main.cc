// Runs "serving_default" of the model given on a ramp in each input, and prints the
// outputs.
#include <savedmodel/savedmodel.h>

#include <cstdio>
#include <exception>
#include <utility>
#include <vector>

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s SAVED_MODEL\n", argv[0]);
    return 2;
  }
  try {
    const savedmodel::Model model = savedmodel::Model::Load(argv[1]);
    const savedmodel::Signature signature = model.signature("serving_default");
    std::vector<std::pair<std::string, savedmodel::Tensor>> inputs;
    for (const savedmodel::NamedSpec& input : signature.inputs()) {
      savedmodel::Shape shape = input.spec.shape.dims();
      for (auto& size : shape) {
        if (size == savedmodel::PartialShape::kUnknownDim) size = 2;
      }
      savedmodel::Tensor tensor(input.spec.dtype, shape);
      auto* values = tensor.mutable_data<float>();
      for (std::int64_t i = 0; i < tensor.num_elements(); ++i) {
        values[i] = static_cast<float>(i % 17) / 16.0F;
      }
      inputs.emplace_back(input.name, std::move(tensor));
    }
    for (const auto& [name, tensor] : signature.Run(inputs)) {
      std::printf("%s %s\n", name.c_str(), tensor.ToString().c_str());
      for (std::int64_t i = 0; i < tensor.num_elements(); ++i) {
        std::printf("%.9g\n", static_cast<double>(tensor.data<float>()[i]));
      }
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
