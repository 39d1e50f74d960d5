#include "gil.h"

#include <unistd.h>

#include <atomic>
#include <mutex>
#include <vector>

namespace savedmodel::python {

namespace {

bool Finalizing() {
#if PY_VERSION_HEX >= 0x030D0000
  return Py_IsFinalizing() != 0;
#else
  return _Py_IsFinalizing() != 0;
#endif
}

struct ReleaseQueue {
  std::atomic<bool> waiting{false};
  std::mutex mutex;
  std::vector<PyObject*> objects;
};

// Never destroyed: TensorFlow's threads outlive the static destructors.
ReleaseQueue& Queue() {
  static auto* queue = new ReleaseQueue;
  return *queue;
}

// Any thread.
void Release(const void* held) {
  auto* object = static_cast<PyObject*>(const_cast<void*>(held));
  if (Py_IsInitialized() == 0) return;  // the interpreter took its objects with it
  if (PyGILState_Check() != 0) {
    Py_DECREF(object);
    return;
  }
  ReleaseQueue& queue = Queue();
  const std::lock_guard<std::mutex> lock(queue.mutex);
  queue.objects.push_back(object);
  queue.waiting.store(true, std::memory_order_release);
}

}  // namespace

GilRelease::~GilRelease() {
  while (Finalizing()) pause();
  PyEval_RestoreThread(state_);
}

std::shared_ptr<const void> HoldObject(PyObject* object) {
  Py_INCREF(object);
  return std::shared_ptr<const void>(object, &Release);
}

void DrainReleases() {
  ReleaseQueue& queue = Queue();
  if (!queue.waiting.load(std::memory_order_acquire)) return;
  std::vector<PyObject*> objects;
  {
    const std::lock_guard<std::mutex> lock(queue.mutex);
    objects.swap(queue.objects);
    queue.waiting.store(false, std::memory_order_release);
  }
  // Outside the lock: a destructor may run any Python code.
  for (PyObject* object : objects) Py_DECREF(object);
}

}  // namespace savedmodel::python
