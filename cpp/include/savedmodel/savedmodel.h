// Load and run TensorFlow SavedModels natively.
//
//   savedmodel::Model model = savedmodel::Model::Load("/path/to/saved_model");
//   savedmodel::Signature infer = model.signature("serving_default");
//   savedmodel::Tensor x(savedmodel::DataType::kFloat, {1, 28, 28});
//   ... fill x.mutable_data<float>() ...
//   auto outputs = infer.Run({{"x", x}});
//   const float* scores = outputs.at("scores").data<float>();
//
// No header here holds a TensorFlow type, save the opt-in tensorflow_interop.h, which
// this one does not include.
//
// Every function that fails throws savedmodel::Error (error.h).
#ifndef SAVEDMODEL_SAVEDMODEL_H_
#define SAVEDMODEL_SAVEDMODEL_H_

#include "savedmodel/batching.h"      // IWYU pragma: export
#include "savedmodel/cancellation.h"  // IWYU pragma: export
#include "savedmodel/copy_stats.h"    // IWYU pragma: export
#include "savedmodel/diagnose.h"      // IWYU pragma: export
#include "savedmodel/dtype.h"         // IWYU pragma: export
#include "savedmodel/error.h"         // IWYU pragma: export
#include "savedmodel/function.h"      // IWYU pragma: export
#include "savedmodel/inspect.h"       // IWYU pragma: export
#include "savedmodel/logging.h"       // IWYU pragma: export
#include "savedmodel/model.h"         // IWYU pragma: export
#include "savedmodel/object_graph.h"  // IWYU pragma: export
#include "savedmodel/options.h"       // IWYU pragma: export
#include "savedmodel/saved_model.h"   // IWYU pragma: export
#include "savedmodel/session.h"       // IWYU pragma: export
#include "savedmodel/shape.h"         // IWYU pragma: export
#include "savedmodel/signature.h"     // IWYU pragma: export
#include "savedmodel/tensor.h"        // IWYU pragma: export
#include "savedmodel/value.h"         // IWYU pragma: export
#include "savedmodel/variable.h"      // IWYU pragma: export
#include "savedmodel/version.h"       // IWYU pragma: export

#endif  // SAVEDMODEL_SAVEDMODEL_H_
