#include "savedmodel/dtype.h"

#include <cstring>
#include <set>
#include <string>

#include "testing.h"

namespace savedmodel {
namespace {

struct Row {
  DataType dtype;
  int number;
  const char* name;
  std::size_t size;
};

const Row kTable[] = {
#define SAVEDMODEL_ROW(enumerator, number, name, size, numpy) \
  {DataType::enumerator, number, name, size},
    SAVEDMODEL_DTYPE_TABLE(SAVEDMODEL_ROW)
#undef SAVEDMODEL_ROW
};

TEST(DataTypeTest, EveryRowHasItsNumberNameAndSize) {
  for (const Row& row : kTable) {
    EXPECT_EQ(static_cast<int>(row.dtype), row.number) << row.name;
    EXPECT_STREQ(DataTypeName(row.dtype), row.name);
    EXPECT_EQ(DataTypeSize(row.dtype), row.size) << row.name;
    EXPECT_TRUE(IsValid(row.dtype)) << row.name;
    EXPECT_EQ(DataTypeFromName(row.name), row.dtype);
  }
}

TEST(DataTypeTest, NumbersAndNamesAreUnique) {
  std::set<int> numbers;
  std::set<std::string> names;
  for (const Row& row : kTable) {
    EXPECT_TRUE(numbers.insert(row.number).second) << row.number;
    EXPECT_TRUE(names.insert(row.name).second) << row.name;
  }
}

TEST(DataTypeTest, ValuesOutsideTheTableAreInvalid) {
  for (const int number : {0, -1, 34, 101, 1 << 30}) {
    const auto dtype = static_cast<DataType>(number);
    EXPECT_FALSE(IsValid(dtype)) << number;
    EXPECT_STREQ(DataTypeName(dtype), "invalid") << number;
    EXPECT_EQ(DataTypeSize(dtype), 0U) << number;
  }
}

TEST(DataTypeTest, NamesMustMatchExactly) {
  for (const char* name : {"", "Float32", "float32 ", "float", "invalid", "float320"}) {
    EXPECT_EQ(DataTypeFromName(name), DataType::kInvalid) << name;
  }
  EXPECT_EQ(DataTypeFromName(std::string_view("float32junk", 7)), DataType::kFloat);
  EXPECT_EQ(DataTypeFromName(std::string_view("int8\0", 5)), DataType::kInvalid);
}

template <typename T>
void ExpectTypeOf(const char* name) {
  EXPECT_STREQ(DataTypeName(DataTypeOf<T>), name);
  EXPECT_EQ(DataTypeSize(DataTypeOf<T>), sizeof(T)) << name;
}

TEST(DataTypeTest, CppTypesHaveTheSizeOfTheirDataType) {
  ExpectTypeOf<float>("float32");
  ExpectTypeOf<double>("float64");
  ExpectTypeOf<std::int8_t>("int8");
  ExpectTypeOf<std::int16_t>("int16");
  ExpectTypeOf<std::int32_t>("int32");
  ExpectTypeOf<std::int64_t>("int64");
  ExpectTypeOf<std::uint8_t>("uint8");
  ExpectTypeOf<std::uint16_t>("uint16");
  ExpectTypeOf<std::uint32_t>("uint32");
  ExpectTypeOf<std::uint64_t>("uint64");
  ExpectTypeOf<bool>("bool");
  ExpectTypeOf<std::complex<float>>("complex64");
  ExpectTypeOf<std::complex<double>>("complex128");
  EXPECT_EQ(DataTypeOf<std::string>, DataType::kInvalid);
  EXPECT_EQ(DataTypeOf<char>, DataType::kInvalid);
}

}  // namespace
}  // namespace savedmodel
