#ifndef SAVEDMODEL_BINDINGS_GIL_H_
#define SAVEDMODEL_BINDINGS_GIL_H_

#include <Python.h>

#include <memory>

namespace savedmodel::python {

// Releases the GIL for its scope. Requires GIL.
//
// Unlike pybind11's, it never takes the GIL back from an interpreter that is shutting
// down: that would end the thread in the middle of a destructor and so abort the process.
// Such a thread (a daemon thread that was in a call when the program ended) stays asleep.
class GilRelease {
 public:
  GilRelease() : state_(PyEval_SaveThread()) {}
  ~GilRelease();
  GilRelease(const GilRelease&) = delete;
  GilRelease& operator=(const GilRelease&) = delete;

 private:
  PyThreadState* state_;
};

// A reference to a Python object that C++ may give up on any thread: with the GIL at
// once, without it (a thread of TensorFlow's) by a queue that DrainReleases() empties.
// TensorFlow's threads never take the GIL. Requires GIL to make.
std::shared_ptr<const void> HoldObject(PyObject* object);

// Drops the queued references. Called on entry to and exit from every call. Requires GIL.
void DrainReleases();

}  // namespace savedmodel::python

#endif  // SAVEDMODEL_BINDINGS_GIL_H_
