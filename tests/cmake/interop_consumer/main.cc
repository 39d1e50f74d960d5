// Prints what TensorFlow's own objects say of the model given, and what its session
// answers to an image of ones.
#include <savedmodel/savedmodel.h>
#include <savedmodel/tensorflow_interop.h>

#include <cstdio>
#include <exception>
#include <string>
#include <vector>

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s SAVED_MODEL\n", argv[0]);
    return 2;
  }
  try {
    const savedmodel::Model model = savedmodel::Model::Load(argv[1]);
    const auto bundle = savedmodel::GetTensorFlowBundle(model.bundle());
    std::printf("%d nodes\n", bundle->meta_graph_def.graph_def().node_size());

    const tensorflow::SignatureDef& signature =
        bundle->meta_graph_def.signature_def().at("serving_default");
    tensorflow::Tensor image(tensorflow::DT_FLOAT, {1, 8, 8, 1});
    image.flat<float>().setConstant(1.0F);
    std::vector<tensorflow::Tensor> outputs;
    const absl::Status status = bundle->session->Run(
        {{signature.inputs().at("image").name(), image}},
        {signature.outputs().at("probabilities").name()}, {}, &outputs);
    if (!status.ok()) {
      std::fprintf(stderr, "%s\n", status.ToString().c_str());
      return 1;
    }
    const savedmodel::Tensor answer = savedmodel::FromTensorFlow(outputs.at(0));
    std::printf("%s\n", answer.ToString().c_str());
    for (std::int64_t i = 0; i < answer.num_elements(); ++i) {
      std::printf("%.9g\n", static_cast<double>(answer.data<float>()[i]));
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
