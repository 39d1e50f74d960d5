#include "savedmodel/value.h"

#include <limits>
#include <type_traits>

#include "testing.h"

namespace savedmodel {
namespace {

using testing::Floats;
using testing::Throws;

static_assert(!std::is_constructible_v<Value, int*>, "a pointer is no bool");

TEST(ValueTest, PrintsPythonLiterals) {
  EXPECT_EQ(Value().ToString(), "None");
  EXPECT_EQ(Value(true).ToString(), "True");
  EXPECT_EQ(Value(-3).ToString(), "-3");
  EXPECT_EQ(Value("it's").ToString(), R"("it's")");
  EXPECT_EQ(Value("a\n\"'\\").ToString(), R"('a\n"\'\\')");
  EXPECT_EQ(Value("\xc3\xa9").ToString(), "'\xc3\xa9'");
  EXPECT_EQ(Value::Bytes(std::string("\0\xff", 2)).ToString(), R"(b'\x00\xff')");
  EXPECT_EQ(Value(std::complex<double>(0, 1)).ToString(), "1j");
  EXPECT_EQ(Value(std::complex<double>(1, -2.5)).ToString(), "(1-2.5j)");
}

TEST(ValueTest, PrintsFloatsAsPythonDoes) {
  const std::pair<double, const char*> kFloats[] = {
      {0.0, "0.0"},
      {-0.0, "-0.0"},
      {1.5, "1.5"},
      {1e15, "1000000000000000.0"},
      {1e16, "1e+16"},
      {1e-4, "0.0001"},
      {1e-5, "1e-05"},
      {0.1, "0.1"},
      {1.25e100, "1.25e+100"},
      {123456.0, "123456.0"},
      {std::numeric_limits<double>::infinity(), "inf"},
      {-std::numeric_limits<double>::infinity(), "-inf"},
      {std::numeric_limits<double>::quiet_NaN(), "nan"},
  };
  for (const auto& [value, text] : kFloats) EXPECT_EQ(Value(value).ToString(), text);
}

TEST(ValueTest, PrintsNestsAndSpecsAsTensorFlowDoes) {
  const TensorSpec spec{"x", DataType::kFloat, PartialShape({-1, 3})};
  const Value value = Value::Dict({{"x", spec},
                                   {"rest", Value::Tuple({Value(1)})},
                                   {"list", Value::List({TensorSpec{}, Value()})}});
  EXPECT_EQ(
      value.ToString(),
      "{'x': TensorSpec(shape=(None, 3), dtype=tf.float32, name='x'), 'rest': (1,), "
      "'list': [TensorSpec(shape=<unknown>, dtype=tf.invalid, name=None), None]}");
  EXPECT_EQ(Value::NamedTuple("Point", {{"x", 1}, {"y", 2.0}}).ToString(),
            "Point(x=1, y=2.0)");
  EXPECT_EQ(Value(Floats({1, 2})).ToString(), "<tf.Tensor shape=(2,) dtype=float32>");
  EXPECT_EQ(Value::Tuple({}).ToString(), "()");
}

TEST(ValueTest, EqualsAsInPython) {
  EXPECT_EQ(Value(1), Value(true));
  EXPECT_EQ(Value(1), Value(1.0));
  EXPECT_EQ(Value(2.0), Value(std::complex<double>(2, 0)));
  EXPECT_NE(Value((std::int64_t{1} << 53) + 1), Value(9007199254740992.0));
  EXPECT_NE(Value(std::numeric_limits<std::int64_t>::max()),
            Value(9223372036854775808.0));
  EXPECT_NE(Value(0), Value());
  EXPECT_NE(Value("a"), Value::Bytes("a"));
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_NE(Value(nan), Value(nan));
  EXPECT_NE(Value::List({1}), Value::Tuple({1}));
  EXPECT_EQ(Value::NamedTuple("P", {{"x", 1}}), Value::Tuple({1}));
  EXPECT_EQ(Value::Dict({{"a", 1}, {"b", 2}}), Value::Dict({{"b", 2}, {"a", 1}}));
  EXPECT_NE(Value::Dict({{"a", 1}}), Value::Dict({{"a", 2}}));
  EXPECT_NE(Value::Dict({{"a", 1}}), Value::Dict({{"b", 1}}));
}

TEST(ValueTest, TensorsAreEqualIfTheyShareMemory) {
  const Tensor tensor = Floats({1, 2});
  EXPECT_EQ(Value(tensor), Value(tensor));
  EXPECT_NE(Value(tensor), Value(Floats({1, 2})));
  EXPECT_NE(Value(Floats({1})), Value(1.0));
}

TEST(ValueTest, SharesTheMemoryOfTensors) {
  const Tensor tensor = Floats({1, 2});
  const Value copy = Value::List({tensor});
  EXPECT_EQ(copy.elements()[0].tensor().data(), tensor.data());
}

TEST(ValueTest, NamesBothKindsWhenAskedForAnother) {
  const Value value("text");
  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument, {"int", "str", "'text'"},
                     [&] { value.int_value(); }));
  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument, {"list or tuple", "None"},
                     [] { Value().elements(); }));
  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument, {"dict or namedtuple", "list"},
                     [] { Value::List({}).items(); }));
}

TEST(ValueTest, FindsItemsByKey) {
  const Value dict = Value::Dict({{"a", 1}});
  EXPECT_EQ(dict.at("a"), Value(1));
  EXPECT_TRUE(Throws(ErrorCode::kNotFound, {"'b'", "{'a': 1}"}, [&] { dict.at("b"); }));
  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument, {"'a'", "twice"},
                     [] { Value::Dict({{"a", 1}, {"a", 2}}); }));
}

TEST(ValueTest, RaggedTensorsNestFromTheInside) {
  const Tensor outer = Floats({1});
  const Tensor inner = Floats({2});
  const Value ragged = Value::Ragged(Floats({3}), {outer, inner});
  EXPECT_EQ(ragged.type_name(), "RaggedTensorValue");
  EXPECT_EQ(ragged.at("row_splits"), Value(outer));
  EXPECT_EQ(ragged.at("values").at("row_splits"), Value(inner));
  EXPECT_EQ(ragged.at("values").at("values").kind(), Value::Kind::kTensor);
  EXPECT_EQ(Value::Ragged(outer, {}), Value(outer));
}

}  // namespace
}  // namespace savedmodel
