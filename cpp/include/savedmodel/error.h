#ifndef SAVEDMODEL_ERROR_H_
#define SAVEDMODEL_ERROR_H_

#include <stdexcept>
#include <string>

#include "savedmodel/export.h"

namespace savedmodel {

// The canonical status codes, with TensorFlow's numbers
// (tensorflow/core/protobuf/error_codes.proto).
enum class ErrorCode : int {
  kCancelled = 1,
  kUnknown = 2,
  kInvalidArgument = 3,
  kDeadlineExceeded = 4,
  kNotFound = 5,
  kAlreadyExists = 6,
  kPermissionDenied = 7,
  kResourceExhausted = 8,
  kFailedPrecondition = 9,
  kAborted = 10,
  kOutOfRange = 11,
  kUnimplemented = 12,
  kInternal = 13,
  kUnavailable = 14,
  kDataLoss = 15,
  kUnauthenticated = 16,
};

// "NOT_FOUND" and so on.
SAVEDMODEL_EXPORT const char* ErrorCodeName(ErrorCode code);

// The one exception that this library throws, allocation failures aside. what() names the
// model, the signature and the tensor where there is one, what was expected and what
// came.
class SAVEDMODEL_EXPORT Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message);
  Error(const Error&) = default;
  ~Error() override;

  ErrorCode code() const noexcept { return code_; }

 private:
  ErrorCode code_;
};

}  // namespace savedmodel

#endif  // SAVEDMODEL_ERROR_H_
