#include "dtypes.h"

#include <array>
#include <string>
#include <string_view>

namespace savedmodel::python {

namespace {

namespace py = pybind11;

enum class Provider { NUMPY, ML_DTYPES, QUANTIZED, STRING, OPAQUE };

struct Entry {
  DataType dtype;
  const char* name;
  Provider provider;
};
constexpr Entry kTable[] = {
#define SAVEDMODEL_ENTRY(enumerator, number, name, size, provider) \
  {DataType::enumerator, name, Provider::provider},
    SAVEDMODEL_DTYPE_TABLE(SAVEDMODEL_ENTRY)
#undef SAVEDMODEL_ENTRY
};
constexpr std::size_t kEntries = std::size(kTable);

// Filled one by one, never emptied.
std::array<PyArray_Descr*, kEntries> descriptors{};

py::object MakeDtype(const Entry& entry) {
  const py::object dtype = py::module_::import("numpy").attr("dtype");
  switch (entry.provider) {
    case Provider::NUMPY: return dtype(entry.name);
    case Provider::ML_DTYPES: {
      const py::module_ ml_dtypes = py::module_::import("ml_dtypes");
      if (!py::hasattr(ml_dtypes, entry.name)) {
        throw py::type_error("this version of ml_dtypes has no " +
                             std::string(entry.name));
      }
      return dtype(ml_dtypes.attr(entry.name));
    }
    case Provider::QUANTIZED: return dtype(DataTypeName(StorageDtype(entry.dtype)));
    case Provider::STRING: return dtype("O");
    case Provider::OPAQUE: break;
  }
  throw py::type_error("NumPy has no dtype for TensorFlow's " + std::string(entry.name));
}

PyArray_Descr* Descriptor(std::size_t index) {
  if (descriptors[index] == nullptr) {
    descriptors[index] =
        reinterpret_cast<PyArray_Descr*>(MakeDtype(kTable[index]).release().ptr());
  }
  return descriptors[index];
}

bool MlDtypesIsImported() {
  return py::module_::import("sys").attr("modules").contains("ml_dtypes");
}

}  // namespace

PyArray_Descr* NumpyDtype(DataType dtype) {
  for (std::size_t i = 0; i < kEntries; ++i) {
    if (kTable[i].dtype == dtype) return Descriptor(i);
  }
  throw py::type_error("not a TensorFlow dtype");
}

DataType TensorFlowDtype(PyArray_Descr* descr) {
  const int type_num = descr->type_num;
  switch (type_num) {
    case NPY_BOOL: return DataType::kBool;
    case NPY_FLOAT: return DataType::kFloat;
    case NPY_DOUBLE: return DataType::kDouble;
    case NPY_HALF: return DataType::kHalf;
    case NPY_CFLOAT: return DataType::kComplex64;
    case NPY_CDOUBLE: return DataType::kComplex128;
    case NPY_OBJECT:
    case NPY_STRING:
    case NPY_UNICODE:
    case NPY_VSTRING: return DataType::kString;
    default: break;
  }
  if (PyTypeNum_ISINTEGER(type_num)) {
    // By size: `long` and `long long` are two NumPy types of one representation.
    const bool is_unsigned = PyTypeNum_ISUNSIGNED(type_num);
    switch (PyDataType_ELSIZE(descr)) {
      case 1: return is_unsigned ? DataType::kUInt8 : DataType::kInt8;
      case 2: return is_unsigned ? DataType::kUInt16 : DataType::kInt16;
      case 4: return is_unsigned ? DataType::kUInt32 : DataType::kInt32;
      case 8: return is_unsigned ? DataType::kUInt64 : DataType::kInt64;
      default: return DataType::kInvalid;
    }
  }
  if (!PyTypeNum_ISUSERDEF(type_num) || !MlDtypesIsImported()) return DataType::kInvalid;
  for (std::size_t i = 0; i < kEntries; ++i) {
    if (kTable[i].provider != Provider::ML_DTYPES) continue;
    if (descriptors[i] == nullptr &&
        !py::hasattr(py::module_::import("ml_dtypes"), kTable[i].name)) {
      continue;
    }
    if (PyArray_EquivTypes(descr, Descriptor(i))) return kTable[i].dtype;
  }
  return DataType::kInvalid;
}

DataType StorageDtype(DataType dtype) {
  for (const Entry& entry : kTable) {
    // "qint8" is stored as int8, "quint8" as uint8.
    if (entry.dtype == dtype && entry.provider == Provider::QUANTIZED) {
      return DataTypeFromName(entry.name + 1);
    }
  }
  return dtype;
}

DtypeKind KindOf(DataType dtype) {
  const std::string_view name = DataTypeName(StorageDtype(dtype));
  const auto begins = [&](std::string_view prefix) {
    return name.substr(0, prefix.size()) == prefix;
  };
  if (name == "bool") return DtypeKind::kBool;
  if (begins("int") || begins("uint")) return DtypeKind::kInteger;
  if (begins("float") || begins("bfloat")) return DtypeKind::kFloat;
  if (begins("complex")) return DtypeKind::kComplex;
  return DtypeKind::kOther;
}

}  // namespace savedmodel::python
