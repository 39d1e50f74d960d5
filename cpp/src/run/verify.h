#ifndef SAVEDMODEL_RUN_VERIFY_H_
#define SAVEDMODEL_RUN_VERIFY_H_

#include "savedmodel/model.h"

namespace savedmodel {

// Runs each signature that the engine answers on random inputs, and the session on the
// same. Throws FailedPrecondition where the answers differ by more than rounding: by 1e-5
// of an output's scale and by more than a few times what a change of the inputs in their
// last place does to the session's own answer; on kMax by as much more as bfloat16 is
// coarser. Signatures that fail on such inputs are passed over.
void Verify(const Model& model, OptimizeLevel level);

}  // namespace savedmodel

#endif  // SAVEDMODEL_RUN_VERIFY_H_
