#ifndef SAVEDMODEL_LOGGING_H_
#define SAVEDMODEL_LOGGING_H_

#include "savedmodel/export.h"

namespace savedmodel {

// The least severe of TensorFlow's own log lines to appear on standard error.
enum class LogLevel : int { kInfo = 0, kWarning = 1, kError = 2, kFatal = 3 };

// For the whole process. Without a call it is kFatal, or what the environment variable
// TF_CPP_MIN_LOG_LEVEL says, from the first model on; a process that had loaded
// TensorFlow's libraries before this one keeps its own setting. A line about oneDNN that
// a static initialiser of libtensorflow_framework logs while a program is being started
// comes before any setting and cannot be kept off. Any thread.
SAVEDMODEL_EXPORT void SetLogLevel(LogLevel level);

}  // namespace savedmodel

#endif  // SAVEDMODEL_LOGGING_H_
