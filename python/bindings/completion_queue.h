#ifndef SAVEDMODEL_BINDINGS_COMPLETION_QUEUE_H_
#define SAVEDMODEL_BINDINGS_COMPLETION_QUEUE_H_

#include <exception>
#include <memory>
#include <vector>

#include "savedmodel/tensor.h"

namespace savedmodel::python {

// A submitted call that has ended, on its way to its future.
struct Completion {
  std::shared_ptr<const void> future;     // by HoldObject
  std::shared_ptr<const void> signature;  // the Python Signature, by HoldObject
  std::vector<Tensor> outputs;
  std::exception_ptr error;
};

// Hands a completion to the Python thread that waits in TakeCompletions. Never touches
// Python. Any thread.
void PushCompletion(Completion completion);

// Waits, without the GIL, for completions and takes all that are there. Empty after
// StopCompletions. Requires GIL.
std::vector<Completion> TakeCompletions();

// Lets TakeCompletions return once all is taken. Any thread.
void StopCompletions();

}  // namespace savedmodel::python

#endif  // SAVEDMODEL_BINDINGS_COMPLETION_QUEUE_H_
