#include "array_out.h"

#include "dtypes.h"
#include "numpy_api.h"
#include "savedmodel/copy_stats.h"
#include "savedmodel/error.h"

namespace savedmodel::python {

namespace {

namespace py = pybind11;

constexpr char kCapsule[] = "savedmodel.Tensor";

void DestroyTensor(PyObject* capsule) {
  delete static_cast<Tensor*>(PyCapsule_GetPointer(capsule, kCapsule));
}

py::object Steal(PyObject* object) {
  if (object == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(object);
}

PyArrayObject* AsArray(PyObject* object) {
  return reinterpret_cast<PyArrayObject*>(object);
}

// NumPy's limit (NPY_MAXDIMS), where TensorFlow's is 254.
constexpr int kMaxRank = 64;

int Dims(const Tensor& tensor, npy_intp* dims) {
  const int rank = tensor.rank();
  if (rank > kMaxRank) {
    throw Error(ErrorCode::kUnimplemented, "an output has " + std::to_string(rank) +
                                               " dimensions; NumPy takes at most 64");
  }
  for (int axis = 0; axis < rank; ++axis) dims[axis] = tensor.dim(axis);
  return rank;
}

py::object StringArray(const Tensor& tensor) {
  npy_intp dims[kMaxRank];
  const int rank = Dims(tensor, dims);
  py::object array = Steal(PyArray_SimpleNew(rank, dims, NPY_OBJECT));
  auto** elements = reinterpret_cast<PyObject**>(PyArray_DATA(AsArray(array.ptr())));
  const std::int64_t count = tensor.num_elements();
  std::size_t bytes = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::string_view value = tensor.string_at(i);
    PyObject* element =
        PyBytes_FromStringAndSize(value.data(), static_cast<Py_ssize_t>(value.size()));
    if (element == nullptr) throw py::error_already_set();
    Py_XSETREF(elements[i], element);
    bytes += value.size();
  }
  if (count != 0) CountCopy(CopyReason::kString, bytes);
  return array;
}

}  // namespace

py::object ToArray(Tensor tensor, CopyMode copy) {
  const DataType dtype = tensor.dtype();
  if (dtype == DataType::kString) return StringArray(tensor);
  PyArray_Descr* descr = NumpyDtype(dtype);
  npy_intp dims[kMaxRank];
  const int rank = Dims(tensor, dims);
  if (tensor.num_elements() == 0) {
    Py_INCREF(descr);
    return Steal(PyArray_NewFromDescr(&PyArray_Type, descr, rank, dims, nullptr, nullptr,
                                      0, nullptr));
  }
  bool writable = tensor.IsExclusive();
  if (!writable && copy == CopyMode::kAlways) {
    CountCopy(CopyReason::kRequested, tensor.num_bytes());
    tensor = tensor.Clone();
    writable = true;
  }
  // The array is read-only unless `writable`, so the cast gives nothing away.
  void* data = const_cast<void*>(tensor.data());
  auto* held = new Tensor(std::move(tensor));
  PyObject* capsule = PyCapsule_New(held, kCapsule, &DestroyTensor);
  if (capsule == nullptr) {
    delete held;
    throw py::error_already_set();
  }
  Py_INCREF(descr);
  PyObject* array =
      PyArray_NewFromDescr(&PyArray_Type, descr, rank, dims, nullptr, data,
                           writable ? NPY_ARRAY_CARRAY : NPY_ARRAY_CARRAY_RO, nullptr);
  if (array == nullptr) {
    Py_DECREF(capsule);
    throw py::error_already_set();
  }
  // Takes the reference to the capsule, also when it fails.
  if (PyArray_SetBaseObject(AsArray(array), capsule) != 0) {
    Py_DECREF(array);
    throw py::error_already_set();
  }
  return py::reinterpret_steal<py::object>(array);
}

const Tensor* OutputTensor(PyArrayObject* array) {
  PyObject* base = PyArray_BASE(array);
  if (base == nullptr || !PyCapsule_IsValid(base, kCapsule)) return nullptr;
  return static_cast<const Tensor*>(PyCapsule_GetPointer(base, kCapsule));
}

void CheckOut(PyObject* object, const TensorSpec& spec, const Place& place) {
  if (!PyArray_Check(object)) {
    throw py::type_error(place.ToString() + ": out takes NumPy arrays, got " +
                         Py_TYPE(object)->tp_name);
  }
  PyArrayObject* array = AsArray(object);
  if (!PyArray_EquivTypes(PyArray_DESCR(array), NumpyDtype(spec.dtype))) {
    const py::str dtype(py::handle(reinterpret_cast<PyObject*>(PyArray_DESCR(array))));
    throw py::type_error(place.ToString() + ": out: expected " + spec.ToString() +
                         ", got an array of dtype " + dtype.cast<std::string>());
  }
  if (!PyArray_ISWRITEABLE(array)) {
    throw Error(ErrorCode::kInvalidArgument,
                place.ToString() + ": out: the array is read-only");
  }
  const Shape shape = ShapeOf(array);
  if (!spec.shape.IsCompatibleWith(shape)) {
    throw Error(ErrorCode::kInvalidArgument,
                place.ToString() + ": out: expected " + spec.ToString() +
                    ", got an array of shape " + ToString(shape));
  }
}

Tensor ViewOut(PyObject* object) {
  PyArrayObject* array = AsArray(object);
  const DataType dtype = TensorFlowDtype(PyArray_DESCR(array));
  if (!PyArray_ISCARRAY(array) || dtype == DataType::kString ||
      PyArray_SIZE(array) == 0 ||
      reinterpret_cast<std::uintptr_t>(PyArray_DATA(array)) % kTensorAlignment != 0) {
    return Tensor();
  }
  return Tensor::View(dtype, ShapeOf(array), PyArray_DATA(array), nullptr);
}

bool IsIn(const Tensor& tensor, PyObject* object) {
  return tensor.num_elements() != 0 && tensor.data() == PyArray_DATA(AsArray(object));
}

void WriteOut(const Tensor& tensor, PyObject* object, const Place& place) {
  PyArrayObject* array = AsArray(object);
  if (IsIn(tensor, object)) return;
  const Shape shape = ShapeOf(array);
  if (shape != tensor.shape()) {
    throw Error(ErrorCode::kInvalidArgument,
                place.ToString() + ": out: the result has shape " +
                    ToString(tensor.shape()) + ", the array " + ToString(shape));
  }
  const py::object result = ToArray(tensor);
  if (PyArray_CopyInto(array, AsArray(result.ptr())) != 0) throw py::error_already_set();
  // A string tensor's copy was counted when it became an array.
  if (tensor.dtype() != DataType::kString && tensor.num_elements() != 0) {
    CountCopy(CopyReason::kOut, tensor.num_bytes());
  }
}

py::object ReadOnly(py::object array) {
  if (PyArray_Check(array.ptr())) {
    PyArray_CLEARFLAGS(reinterpret_cast<PyArrayObject*>(array.ptr()),
                       NPY_ARRAY_WRITEABLE);
  }
  return array;
}

}  // namespace savedmodel::python
