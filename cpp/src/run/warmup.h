#ifndef SAVEDMODEL_RUN_WARMUP_H_
#define SAVEDMODEL_RUN_WARMUP_H_

#include "savedmodel/model.h"

namespace savedmodel {

// Replays the SavedModel's warmup requests through the model's own signatures, and adds
// the phase "warmup" to its load report. Throws what ForEachWarmupRequest and the
// signatures throw, with the file, the record and the signature named.
void Warmup(const Model& model);

}  // namespace savedmodel

#endif  // SAVEDMODEL_RUN_WARMUP_H_
