// For applications that use TensorFlow's C++ API themselves: the TensorFlow objects
// behind ours. Link `savedmodel::tensorflow_interop`, which brings TensorFlow's headers.
// Not part of the umbrella header.
#ifndef SAVEDMODEL_TENSORFLOW_INTEROP_H_
#define SAVEDMODEL_TENSORFLOW_INTEROP_H_

#include <memory>

#include "savedmodel/saved_model.h"
#include "savedmodel/tensor.h"
#include "tensorflow/cc/saved_model/loader.h"
#include "tensorflow/core/framework/tensor.h"

namespace savedmodel {

// The bundle of a model. Holding it keeps the session alive, also beyond Close(); do not
// close the session through it. The session of a Model holds the part of the graph that
// was asked for: all signatures, or LoadOptions::signatures, and what Session::Run or
// MakeCallable named since. Throws FailedPrecondition after Close().
SAVEDMODEL_EXPORT std::shared_ptr<tensorflow::SavedModelBundle> GetTensorFlowBundle(
    const SavedModelBundle& bundle);

// Both share the memory.
SAVEDMODEL_EXPORT tensorflow::Tensor ToTensorFlow(const Tensor& tensor);
SAVEDMODEL_EXPORT Tensor FromTensorFlow(const tensorflow::Tensor& tensor);

}  // namespace savedmodel

#endif  // SAVEDMODEL_TENSORFLOW_INTEROP_H_
