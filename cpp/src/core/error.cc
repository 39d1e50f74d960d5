#include "savedmodel/error.h"

#include "core/runtime.h"
#include "core/status.h"

namespace savedmodel {

const char* ErrorCodeName(ErrorCode code) {
  switch (code) {
    case ErrorCode::kCancelled: return "CANCELLED";
    case ErrorCode::kUnknown: return "UNKNOWN";
    case ErrorCode::kInvalidArgument: return "INVALID_ARGUMENT";
    case ErrorCode::kDeadlineExceeded: return "DEADLINE_EXCEEDED";
    case ErrorCode::kNotFound: return "NOT_FOUND";
    case ErrorCode::kAlreadyExists: return "ALREADY_EXISTS";
    case ErrorCode::kPermissionDenied: return "PERMISSION_DENIED";
    case ErrorCode::kResourceExhausted: return "RESOURCE_EXHAUSTED";
    case ErrorCode::kFailedPrecondition: return "FAILED_PRECONDITION";
    case ErrorCode::kAborted: return "ABORTED";
    case ErrorCode::kOutOfRange: return "OUT_OF_RANGE";
    case ErrorCode::kUnimplemented: return "UNIMPLEMENTED";
    case ErrorCode::kInternal: return "INTERNAL";
    case ErrorCode::kUnavailable: return "UNAVAILABLE";
    case ErrorCode::kDataLoss: return "DATA_LOSS";
    case ErrorCode::kUnauthenticated: return "UNAUTHENTICATED";
  }
  return "UNKNOWN";
}

Error::Error(ErrorCode code, const std::string& message)
    : std::runtime_error(message), code_(code) {}

Error::~Error() = default;

void ThrowIfError(const absl::Status& status, const std::string& context) {
  if (status.ok()) return;
  throw Error(static_cast<ErrorCode>(status.raw_code()),
              context + ": " + std::string(status.message()));
}

void ThrowIfUnreadable(const absl::Status& status, const std::string& context) {
  if (absl::IsOutOfRange(status)) {
    throw Error(ErrorCode::kDataLoss,
                context + ": a file is truncated: " + std::string(status.message()));
  }
  ThrowIfError(status, context);
}

absl::Status Noted(absl::Status status) {
  if (!status.ok()) NoteFailedRun();
  return status;
}

}  // namespace savedmodel
