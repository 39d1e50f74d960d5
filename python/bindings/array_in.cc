#include "array_in.h"

#include <pybind11/pybind11.h>

#include <cstdint>

#include "array_out.h"
#include "dtypes.h"
#include "gil.h"
#include "numpy_api.h"
#include "savedmodel/copy_stats.h"
#include "savedmodel/error.h"

namespace savedmodel::python {

namespace {

namespace py = pybind11;

[[noreturn]] void FailType(const Place& place, const TensorSpec& spec,
                           const std::string& came) {
  throw py::type_error(place.ToString() + ": expected " + spec.ToString() + ", got " +
                       came);
}

[[noreturn]] void FailValue(const Place& place, const std::string& message) {
  throw Error(ErrorCode::kInvalidArgument, place.ToString() + ": " + message);
}

void RefuseCopy(const Place& place, CopyMode copy, const std::string& why) {
  if (copy == CopyMode::kNever) {
    FailValue(place, "copy=False, but a copy is needed: " + why);
  }
}

// "float64 with shape (2, 3)"
std::string DescribeArray(PyArrayObject* array) {
  const py::str dtype(py::handle(reinterpret_cast<PyObject*>(PyArray_DESCR(array))));
  return dtype.cast<std::string>() + " with shape " + ToString(ShapeOf(array));
}

bool IsAligned(const void* data) {
  return reinterpret_cast<std::uintptr_t>(data) % kTensorAlignment == 0;
}

// An array over the tensor's own memory, to write into it; not for longer than the
// tensor.
py::object Writable(Tensor* tensor, PyArrayObject* like) {
  PyArray_Descr* descr = NumpyDtype(tensor->dtype());
  Py_INCREF(descr);
  PyObject* array =
      PyArray_NewFromDescr(&PyArray_Type, descr, PyArray_NDIM(like), PyArray_DIMS(like),
                           nullptr, tensor->mutable_data(), NPY_ARRAY_CARRAY, nullptr);
  if (array == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(array);
}

// A tensor with a copy of the array's elements, cast to the dtype.
Tensor CopyOf(PyArrayObject* array, DataType dtype, CopyReason reason) {
  Tensor tensor(dtype, ShapeOf(array));
  if (tensor.num_elements() == 0) return tensor;
  const py::object target = Writable(&tensor, array);
  if (PyArray_CopyInto(reinterpret_cast<PyArrayObject*>(target.ptr()), array) != 0) {
    throw py::error_already_set();
  }
  CountCopy(reason, tensor.num_bytes());
  return tensor;
}

// The bytes of one element of a string array; `holder` keeps them.
std::string_view StringElement(const py::handle& element, const Place& place) {
  char* data = nullptr;
  Py_ssize_t size = 0;
  if (PyBytes_Check(element.ptr())) {
    PyBytes_AsStringAndSize(element.ptr(), &data, &size);
    return {data, static_cast<std::size_t>(size)};
  }
  if (PyUnicode_Check(element.ptr())) {
    const char* text = PyUnicode_AsUTF8AndSize(element.ptr(), &size);
    if (text == nullptr) {
      PyErr_Clear();
      FailValue(place, "the string " + py::repr(element).cast<std::string>() +
                           " cannot be encoded as UTF-8; give bytes");
    }
    return {text, static_cast<std::size_t>(size)};
  }
  if (PyList_Check(element.ptr()) || PyTuple_Check(element.ptr())) {
    FailValue(place,
              "ragged nested lists: all lists of one level must have the same length");
  }
  throw py::type_error(place.ToString() + ": expected str or bytes elements, got " +
                       Py_TYPE(element.ptr())->tp_name);
}

Tensor FromStringArray(PyArrayObject* array, const TensorSpec& spec, const Place& place,
                       CopyMode copy) {
  RefuseCopy(place, copy, "strings are always copied");
  py::object contiguous;
  const int type_num = PyArray_TYPE(array);
  if (type_num == NPY_STRING) {
    contiguous = py::reinterpret_steal<py::object>(
        PyArray_FROM_OF(reinterpret_cast<PyObject*>(array), NPY_ARRAY_CARRAY_RO));
  } else if (type_num == NPY_UNICODE || type_num == NPY_VSTRING ||
             type_num == NPY_OBJECT) {
    contiguous = py::reinterpret_steal<py::object>(PyArray_FromAny(
        reinterpret_cast<PyObject*>(array), PyArray_DescrFromType(NPY_OBJECT), 0, 0,
        NPY_ARRAY_CARRAY_RO, nullptr));
  } else {
    FailType(place, spec, DescribeArray(array));
  }
  if (!contiguous) throw py::error_already_set();
  auto* elements = reinterpret_cast<PyArrayObject*>(contiguous.ptr());

  Tensor tensor(DataType::kString, ShapeOf(array));
  std::size_t bytes = 0;
  const std::int64_t count = tensor.num_elements();
  if (type_num == NPY_STRING) {
    // Fixed width: NumPy pads with NULs, which are not part of the value.
    const auto width = static_cast<std::size_t>(PyArray_ITEMSIZE(elements));
    const char* data = PyArray_BYTES(elements);
    for (std::int64_t i = 0; i < count; ++i, data += width) {
      std::size_t size = width;
      while (size > 0 && data[size - 1] == '\0') --size;
      tensor.set_string(i, {data, size});
      bytes += size;
    }
  } else {
    auto** data = reinterpret_cast<PyObject**>(PyArray_DATA(elements));
    for (std::int64_t i = 0; i < count; ++i) {
      const std::string_view value =
          StringElement(data[i] == nullptr ? Py_None : data[i], place);
      tensor.set_string(i, value);
      bytes += value.size();
    }
  }
  if (count != 0) CountCopy(CopyReason::kString, bytes);
  return tensor;
}

// The tensor behind an array that was an output, if it shares its memory with something
// else. Such an output that is fed again is fed as itself: a view of a view of a view,
// one more with each call, would never end.
const Tensor* SharedOutput(PyArrayObject* array, DataType dtype) {
  const Tensor* tensor = OutputTensor(array);
  if (tensor == nullptr || tensor->IsExclusive() || tensor->dtype() != dtype ||
      tensor->data() != PyArray_DATA(array) || tensor->shape() != ShapeOf(array)) {
    return nullptr;
  }
  return tensor;
}

Tensor FromArray(PyArrayObject* array, const TensorSpec& spec, const Place& place,
                 CopyMode copy) {
  if (spec.dtype == DataType::kString) return FromStringArray(array, spec, place, copy);
  const DataType dtype = TensorFlowDtype(PyArray_DESCR(array));
  if (dtype != spec.dtype && dtype != StorageDtype(spec.dtype)) {
    FailType(place, spec, DescribeArray(array));
  }
  if (PyArray_SIZE(array) == 0) return Tensor(spec.dtype, ShapeOf(array));
  if (PyArray_ISBYTESWAPPED(array)) {
    RefuseCopy(place, copy, "the array's byte order is not this machine's");
    return CopyOf(array, spec.dtype, CopyReason::kByteOrder);
  }
  if (!PyArray_IS_C_CONTIGUOUS(array)) {
    RefuseCopy(place, copy, "the array is not C-contiguous");
    return CopyOf(array, spec.dtype, CopyReason::kNonContiguous);
  }
  if (!IsAligned(PyArray_DATA(array))) {
    RefuseCopy(place, copy,
               "the array's memory is not aligned to " +
                   std::to_string(kTensorAlignment) +
                   " bytes; savedmodel.aligned_empty makes arrays that are");
    return CopyOf(array, spec.dtype, CopyReason::kMisaligned);
  }
  if (copy == CopyMode::kAlways) return CopyOf(array, spec.dtype, CopyReason::kRequested);
  if (const Tensor* output = SharedOutput(array, spec.dtype)) return *output;
  return Tensor::View(spec.dtype, ShapeOf(array), PyArray_DATA(array),
                      HoldObject(reinterpret_cast<PyObject*>(array)));
}

py::object AsArray(const py::handle& object, const char* dtype) {
  const py::module_ numpy = py::module_::import("numpy");
  return dtype == nullptr ? numpy.attr("asarray")(object)
                          : numpy.attr("array")(object, py::arg("dtype") = dtype);
}

// True if Python values that NumPy reads as `natural` may become a tensor of the dtype,
// as tf.constant has it: integers may become floats, nothing else changes kind.
bool KindFits(char natural, DataType dtype) {
  switch (KindOf(dtype)) {
    case DtypeKind::kBool: return natural == 'b';
    case DtypeKind::kInteger: return natural == 'i' || natural == 'u';
    case DtypeKind::kFloat: return natural == 'i' || natural == 'u' || natural == 'f';
    case DtypeKind::kComplex:
      return natural == 'i' || natural == 'u' || natural == 'f' || natural == 'c';
    case DtypeKind::kOther: break;
  }
  return false;
}

// A Python number or (nested) list of such.
Tensor FromPython(const py::handle& object, const TensorSpec& spec, const Place& place,
                  CopyMode copy) {
  if (spec.dtype == DataType::kString) {
    const py::object array = AsArray(object, "O");
    return FromStringArray(reinterpret_cast<PyArrayObject*>(array.ptr()), spec, place,
                           copy);
  }
  RefuseCopy(place, copy,
             std::string("a Python ") + Py_TYPE(object.ptr())->tp_name +
                 " holds no array memory");
  py::object natural;
  try {
    natural = AsArray(object, nullptr);
  } catch (py::error_already_set& error) {
    if (!error.matches(PyExc_ValueError)) throw;
    FailValue(place, "ragged nested lists or unequal arrays: " +
                         std::string(py::str(error.value()).cast<std::string>()));
  }
  auto* array = reinterpret_cast<PyArrayObject*>(natural.ptr());
  // An empty list has no kind of its own.
  if (PyArray_SIZE(array) != 0 && !KindFits(PyArray_DESCR(array)->kind, spec.dtype)) {
    if (PyArray_DESCR(array)->kind == 'O' && KindOf(spec.dtype) == DtypeKind::kInteger &&
        PyLong_Check(object.ptr())) {
      FailValue(place, "the value is out of the range of " +
                           std::string(DataTypeName(spec.dtype)));
    }
    FailType(place, spec, "Python values that NumPy reads as " + DescribeArray(array));
  }
  Tensor tensor = CopyOf(array, spec.dtype, CopyReason::kPythonObject);
  if (KindOf(spec.dtype) == DtypeKind::kInteger && tensor.num_elements() != 0) {
    const py::object cast = Writable(&tensor, array);
    // Equal after the way back, and of the same sign: -1 comes back from uint64
    // unchanged.
    const py::object array_equal = py::module_::import("numpy").attr("array_equal");
    const py::int_ zero(0);
    if (!array_equal(cast.attr("astype")(natural.attr("dtype")), natural).cast<bool>() ||
        !array_equal(cast.attr("__lt__")(zero), natural.attr("__lt__")(zero))
             .cast<bool>()) {
      FailValue(place, "a value is out of the range of " +
                           std::string(DataTypeName(spec.dtype)));
    }
  }
  return tensor;
}

}  // namespace

CopyMode ToCopyMode(PyObject* copy) {
  if (copy == Py_None) return CopyMode::kIfNeeded;
  if (copy == Py_False) return CopyMode::kNever;
  if (copy == Py_True) return CopyMode::kAlways;
  throw py::type_error(std::string("copy: expected None, False or True, got ") +
                       Py_TYPE(copy)->tp_name);
}

Shape ShapeOf(PyArrayObject* array) {
  return Shape(PyArray_DIMS(array), PyArray_DIMS(array) + PyArray_NDIM(array));
}

bool IsImmutable(PyObject* object) {
  return PyBool_Check(object) || PyLong_Check(object) || PyFloat_Check(object) ||
         PyComplex_Check(object) || PyUnicode_Check(object) || PyBytes_Check(object) ||
         PyArray_IsScalar(object, Generic);
}

py::object ForeignArray(const py::handle& object, const Place& place) {
  const bool has_array =
      py::hasattr(object, "__array__") || py::hasattr(object, "__array_interface__");
  if (py::hasattr(object, "__dlpack__")) {
    try {
      return py::module_::import("numpy").attr("from_dlpack")(object);
    } catch (py::error_already_set& error) {
      // Interrupts and exhausted memory are not for us to judge.
      const bool refused =
          error.matches(PyExc_BufferError) || error.matches(PyExc_TypeError) ||
          error.matches(PyExc_ValueError) || error.matches(PyExc_RuntimeError) ||
          error.matches(PyExc_AttributeError);
      if (!refused) throw;
      if (!has_array) {
        throw py::type_error(place.ToString() + ": NumPy cannot take this " +
                             Py_TYPE(object.ptr())->tp_name + " by __dlpack__: " +
                             py::str(error.value()).cast<std::string>());
      }
    }
  }
  if (has_array || PyObject_CheckBuffer(object.ptr())) {
    py::object array = AsArray(object, nullptr);
    if (PyArray_Check(array.ptr())) return array;
  }
  return py::object();
}

Tensor ToTensor(PyObject* object, const TensorSpec& spec, const Place& place,
                CopyMode copy) {
  if (PyArray_Check(object)) {
    return FromArray(reinterpret_cast<PyArrayObject*>(object), spec, place, copy);
  }
  if (PyArray_IsScalar(object, Generic) && !PyUnicode_Check(object) &&
      !PyBytes_Check(object)) {
    RefuseCopy(place, copy, "a NumPy scalar holds no array memory");
    const py::object array =
        py::reinterpret_steal<py::object>(PyArray_FromScalar(object, nullptr));
    if (!array) throw py::error_already_set();
    auto* scalar = reinterpret_cast<PyArrayObject*>(array.ptr());
    if (TensorFlowDtype(PyArray_DESCR(scalar)) != StorageDtype(spec.dtype)) {
      FailType(place, spec, DescribeArray(scalar));
    }
    return CopyOf(scalar, spec.dtype, CopyReason::kPythonObject);
  }
  if (IsImmutable(object) || PyList_Check(object) || PyTuple_Check(object)) {
    return FromPython(object, spec, place, copy);
  }
  const py::object array = ForeignArray(object, place);
  if (!array) FailType(place, spec, std::string("a ") + Py_TYPE(object)->tp_name);
  return FromArray(reinterpret_cast<PyArrayObject*>(array.ptr()), spec, place, copy);
}

}  // namespace savedmodel::python
