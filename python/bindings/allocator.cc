// Arrays whose memory TensorFlow takes without a copy: NumPy's allocation handler (NEP
// 49) with kTensorAlignment.
#include <cstdlib>
#include <cstring>
#include <string>

#include "annotations.h"
#include "dtypes.h"
#include "numpy_api.h"
#include "register.h"
#include "savedmodel/copy_stats.h"
#include "savedmodel/tensor.h"

namespace savedmodel::python {

namespace {

namespace py = pybind11;

// All memory comes from and goes back to the C library's heap, as that of NumPy's default
// handler does: an array may be freed by either.
void* AlignedMalloc(void*, std::size_t size) {
  void* memory = nullptr;
  return posix_memalign(&memory, kTensorAlignment, size == 0 ? 1 : size) == 0 ? memory
                                                                              : nullptr;
}

void* AlignedCalloc(void* context, std::size_t count, std::size_t size) {
  std::size_t bytes = 0;
  if (__builtin_mul_overflow(count, size, &bytes)) return nullptr;
  void* memory = AlignedMalloc(context, bytes);
  if (memory != nullptr) std::memset(memory, 0, bytes);
  return memory;
}

void Free(void*, void* memory, std::size_t) { std::free(memory); }

void* AlignedRealloc(void* context, void* memory, std::size_t size) {
  void* moved = std::realloc(memory, size == 0 ? 1 : size);
  if (moved == nullptr ||
      reinterpret_cast<std::uintptr_t>(moved) % kTensorAlignment == 0) {
    return moved;
  }
  void* aligned = AlignedMalloc(context, size);
  if (aligned != nullptr) std::memcpy(aligned, moved, size);
  std::free(moved);
  return aligned;
}

PyDataMem_Handler aligned_handler = {
    "savedmodel_aligned",
    1,
    {nullptr, AlignedMalloc, AlignedCalloc, AlignedRealloc, Free}};

py::object AlignedHandler() {
  return py::reinterpret_steal<py::object>(
      PyCapsule_New(&aligned_handler, "mem_handler", nullptr));
}

// Makes `handler` the one of the current context; returns the one before. Requires GIL.
py::object SetHandler(const py::object& handler) {
  PyObject* before = PyDataMem_SetHandler(handler.ptr());
  if (before == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(before);
}

class AlignedAllocator {
 public:
  void Enter() { before_.append(SetHandler(AlignedHandler())); }
  void Exit(const py::args&) { SetHandler(before_.attr("pop")()); }

  // NumPy keeps the handler in a context variable, which a new thread starts without:
  // there NumPy's default handler serves. So for the whole process the default handler
  // itself gets our functions; memory that either of the two gave out can be freed by the
  // other.
  static void Install() {
    auto* handler = static_cast<PyDataMem_Handler*>(
        PyCapsule_GetPointer(PyDataMem_DefaultHandler, "mem_handler"));
    if (handler == nullptr) throw py::error_already_set();
    if (!installed_) numpy_default_ = handler->allocator;
    installed_ = true;
    handler->allocator = aligned_handler.allocator;
  }
  static void Uninstall() {
    if (!installed_) return;
    auto* handler = static_cast<PyDataMem_Handler*>(
        PyCapsule_GetPointer(PyDataMem_DefaultHandler, "mem_handler"));
    if (handler == nullptr) throw py::error_already_set();
    handler->allocator = numpy_default_;
    installed_ = false;
  }

 private:
  static inline PyDataMemAllocator numpy_default_;
  static inline bool installed_ = false;
  py::list before_;
};

ArrayObject AlignedEmpty(const py::object& shape, const py::object& dtype) {
  const py::object before = SetHandler(AlignedHandler());
  try {
    py::object array = py::module_::import("numpy").attr("empty")(shape, dtype);
    SetHandler(before);
    return array;
  } catch (...) {
    SetHandler(before);
    throw;
  }
}

py::typing::Dict<py::str, py::typing::Tuple<py::int_, py::int_>> CopyCounts() {
  const CopyStats stats = GetCopyStats();
  py::typing::Dict<py::str, py::typing::Tuple<py::int_, py::int_>> counts;
  for (int i = 0; i < kNumCopyReasons; ++i) {
    counts[CopyReasonName(static_cast<CopyReason>(i))] =
        py::make_tuple(stats.count[i], stats.bytes[i]);
  }
  return counts;
}

}  // namespace

void RegisterAllocator(py::module_& m) {
  m.attr("TENSOR_ALIGNMENT") = kTensorAlignment;
  py::class_<AlignedAllocator>(m, "aligned_allocator",
                               R"(Makes new NumPy arrays TensorFlow-aligned.

As a context manager, for the arrays that the current thread (more exactly, the current
`contextvars` context) makes inside the block: `with savedmodel.aligned_allocator(): ...`.
For the whole process and all its threads, once: `savedmodel.aligned_allocator.install()`.

Arrays aligned to 64 bytes go into a call without a copy. Arrays made earlier, and memory that
NumPy did not allocate, stay as they are. Uses NumPy's allocation handler (NEP 49).)")
      .def(py::init<>())
      .def("__enter__", &AlignedAllocator::Enter)
      .def("__exit__", &AlignedAllocator::Exit)
      .def_static("install", &AlignedAllocator::Install,
                  "Serves every allocation of NumPy's default handler in this process.")
      .def_static(
          "uninstall", &AlignedAllocator::Uninstall,
          "Gives NumPy's default handler back; arrays made meanwhile stay valid.");
  m.def("aligned_empty", &AlignedEmpty, py::arg("shape"),
        py::arg("dtype") = py::str("float32"),
        R"(An uninitialised C-contiguous array that goes into a call without a copy.

As `numpy.empty(shape, dtype)`, with memory aligned to 64 bytes. float32 by default.)");
  m.def("copy_counts", &CopyCounts,
        "Reason -> (number of copies, bytes copied), for this process so far.");
}

}  // namespace savedmodel::python
