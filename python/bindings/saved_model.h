#ifndef SAVEDMODEL_BINDINGS_SAVED_MODEL_H_
#define SAVEDMODEL_BINDINGS_SAVED_MODEL_H_

#include <pybind11/pybind11.h>

#include <optional>
#include <vector>

#include "savedmodel/saved_model.h"

namespace savedmodel::python {

// savedmodel.Fingerprint or None. Requires GIL.
pybind11::object ToFingerprint(const std::optional<Fingerprint>& fingerprint);
// Phase name -> savedmodel.LoadPhase. Requires GIL.
pybind11::dict ToLoadReport(const std::vector<LoadPhase>& phases);

}  // namespace savedmodel::python

#endif  // SAVEDMODEL_BINDINGS_SAVED_MODEL_H_
