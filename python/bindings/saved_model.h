#ifndef SAVEDMODEL_BINDINGS_SAVED_MODEL_H_
#define SAVEDMODEL_BINDINGS_SAVED_MODEL_H_

#include <optional>
#include <vector>

#include "annotations.h"
#include "savedmodel/saved_model.h"

namespace savedmodel::python {

// savedmodel.Fingerprint or None. Requires GIL.
FingerprintObject ToFingerprint(const std::optional<Fingerprint>& fingerprint);
// Phase name -> savedmodel.LoadPhase. Requires GIL.
pybind11::typing::Dict<pybind11::str, LoadPhaseObject> ToLoadReport(
    const std::vector<LoadPhase>& phases);

}  // namespace savedmodel::python

#endif  // SAVEDMODEL_BINDINGS_SAVED_MODEL_H_
