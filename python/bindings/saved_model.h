#ifndef SAVEDMODEL_BINDINGS_SAVED_MODEL_H_
#define SAVEDMODEL_BINDINGS_SAVED_MODEL_H_

#include <optional>
#include <vector>

#include "annotations.h"
#include "savedmodel/saved_model.h"

namespace savedmodel::python {

// savedmodel.Fingerprint or None. Requires GIL.
FingerprintObject ToFingerprint(const std::optional<Fingerprint>& fingerprint);
// A savedmodel.LoadReport. Requires GIL.
LoadReportObject ToLoadReport(const LoadReport& report);

}  // namespace savedmodel::python

#endif  // SAVEDMODEL_BINDINGS_SAVED_MODEL_H_
