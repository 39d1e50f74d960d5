#ifndef SAVEDMODEL_CORE_STATUS_H_
#define SAVEDMODEL_CORE_STATUS_H_

#include <string>

#include "absl/status/status.h"
#include "savedmodel/error.h"

namespace savedmodel {

// The one way from TensorFlow's status to our exception. `context` goes before the
// message.
void ThrowIfError(const absl::Status& status, const std::string& context);

// The same for a status of reading a file. One that ends too early is "out of range" to
// its reader; to the user it is broken: DataLoss.
void ThrowIfUnreadable(const absl::Status& status, const std::string& context);

// The status of a run, a failure of which NoteFailedRun() hears.
absl::Status Noted(absl::Status status);

}  // namespace savedmodel

#endif  // SAVEDMODEL_CORE_STATUS_H_
