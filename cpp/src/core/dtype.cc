#include "savedmodel/dtype.h"

namespace savedmodel {

const char* DataTypeName(DataType dtype) {
  switch (dtype) {
#define SAVEDMODEL_NAME(enumerator, number, name, size, numpy) \
  case DataType::enumerator: return name;
    SAVEDMODEL_DTYPE_TABLE(SAVEDMODEL_NAME)
#undef SAVEDMODEL_NAME
    case DataType::kInvalid: break;
  }
  return "invalid";
}

std::size_t DataTypeSize(DataType dtype) {
  switch (dtype) {
#define SAVEDMODEL_SIZE(enumerator, number, name, size, numpy) \
  case DataType::enumerator: return size;
    SAVEDMODEL_DTYPE_TABLE(SAVEDMODEL_SIZE)
#undef SAVEDMODEL_SIZE
    case DataType::kInvalid: break;
  }
  return 0;
}

bool IsValid(DataType dtype) {
  switch (dtype) {
#define SAVEDMODEL_VALID(enumerator, number, name, size, numpy) case DataType::enumerator:
    SAVEDMODEL_DTYPE_TABLE(SAVEDMODEL_VALID)
#undef SAVEDMODEL_VALID
    return true;
    case DataType::kInvalid: break;
  }
  return false;
}

DataType DataTypeFromName(std::string_view name) {
#define SAVEDMODEL_FROM_NAME(enumerator, number, dtype_name, size, numpy) \
  if (name == dtype_name) return DataType::enumerator;
  SAVEDMODEL_DTYPE_TABLE(SAVEDMODEL_FROM_NAME)
#undef SAVEDMODEL_FROM_NAME
  return DataType::kInvalid;
}

}  // namespace savedmodel
