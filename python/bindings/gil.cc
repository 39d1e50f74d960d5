#include "gil.h"

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <thread>
#include <vector>

namespace savedmodel::python {

namespace {

// True on a thread of Python's that has released the GIL by GilRelease, or acts so.
thread_local bool released = false;

std::atomic<int> calls_under_way{0};
// The thread that ends the interpreter, once it does.
std::atomic<bool> ending{false};
std::thread::id ending_thread;

[[noreturn]] void SleepForEver() {
  for (;;) pause();
}

bool HoldsGil() {
  // The last of the three alone is always true once there has been a sub-interpreter.
  return !released && PyGILState_GetThisThreadState() != nullptr &&
         PyGILState_Check() != 0;
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
  if (HoldsGil()) {
    Py_DECREF(object);
    return;
  }
  ReleaseQueue& queue = Queue();
  const std::lock_guard<std::mutex> lock(queue.mutex);
  queue.objects.push_back(object);
  queue.waiting.store(true, std::memory_order_release);
}

}  // namespace

GilRelease::GilRelease() : state_(PyEval_SaveThread()) {
  calls_under_way.fetch_add(1);
  if (ending.load() && std::this_thread::get_id() != ending_thread) {
    calls_under_way.fetch_sub(1);
    SleepForEver();
  }
  released = true;
}

GilRelease::~GilRelease() {
  released = false;
  calls_under_way.fetch_sub(1);
  try {
    PyEval_RestoreThread(state_);
  } catch (...) {
    // Not an exception: the interpreter is shutting down, and Python ended this thread by
    // unwinding its stack. Leaving this block would abort the process.
    SleepForEver();
  }
}

GilHold::GilHold() { released = true; }
GilHold::~GilHold() { released = false; }

void EndCalls() {
  using std::chrono::milliseconds;
  constexpr milliseconds kLongest{5000};
  constexpr milliseconds kStep{1};
  ending_thread = std::this_thread::get_id();
  ending.store(true);
  PyThreadState* state = PyEval_SaveThread();
  for (milliseconds waited{0}; calls_under_way.load() > 0 && waited < kLongest;
       waited += kStep) {
    std::this_thread::sleep_for(kStep);
  }
  PyEval_RestoreThread(state);
}

void ForgetCalls() { calls_under_way.store(0); }

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
