#ifndef SAVEDMODEL_BINDINGS_GIL_H_
#define SAVEDMODEL_BINDINGS_GIL_H_

#include <Python.h>

#include <memory>

namespace savedmodel::python {

// Releases the GIL for its scope. Requires GIL.
//
// When the interpreter shuts down, Python ends every other thread that asks for the GIL
// by unwinding its stack, which no destructor survives. Such a thread (a daemon thread
// that was in a call when the program ended) is put to sleep here instead.
class GilRelease {
 public:
  GilRelease();
  ~GilRelease();
  GilRelease(const GilRelease&) = delete;
  GilRelease& operator=(const GilRelease&) = delete;

 private:
  PyThreadState* state_;
};

// Keeps the GIL for its scope, but runs no Python code: references that are given up
// there wait in the queue of HoldObject, as without the GIL. Requires GIL.
class GilHold {
 public:
  GilHold();
  ~GilHold();
  GilHold(const GilHold&) = delete;
  GilHold& operator=(const GilHold&) = delete;
};

// Lets the calls under way on other threads (daemon threads) end, for at most five
// seconds, and no more begin: what they use is torn down when the process exits. Python's
// atexit calls it. Requires GIL.
void EndCalls();

// For the child of a fork(), where no thread is left that was in a call.
void ForgetCalls();

// A reference to a Python object that C++ may give up on any thread: with the GIL at
// once, without it (a thread of TensorFlow's) by a queue that DrainReleases() empties.
// TensorFlow's threads never take the GIL. Requires GIL to make.
std::shared_ptr<const void> HoldObject(PyObject* object);

// Drops the queued references. Called on entry to and exit from every call. Requires GIL.
void DrainReleases();

}  // namespace savedmodel::python

#endif  // SAVEDMODEL_BINDINGS_GIL_H_
