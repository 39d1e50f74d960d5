#include "savedmodel/tensor.h"

#include <cstdint>
#include <limits>
#include <memory>
#include <thread>
#include <type_traits>

#include "testing.h"

namespace savedmodel {
namespace {

using testing::AlignedBuffer;
using testing::Throws;
using testing::Values;

TEST(TensorTest, DefaultIsAnEmptyFloatVector) {
  const Tensor tensor;
  EXPECT_EQ(tensor.dtype(), DataType::kFloat);
  EXPECT_EQ(tensor.shape(), Shape{0});
  EXPECT_EQ(tensor.num_bytes(), 0U);
}

TEST(TensorTest, KnowsItsShape) {
  const Tensor tensor(DataType::kInt16, {2, 3, 4});
  EXPECT_EQ(tensor.rank(), 3);
  EXPECT_EQ(tensor.dim(0), 2);
  EXPECT_EQ(tensor.dim(2), 4);
  EXPECT_EQ(tensor.shape(), (Shape{2, 3, 4}));
  EXPECT_EQ(tensor.num_elements(), 24);
  EXPECT_EQ(tensor.num_bytes(), 48U);
  EXPECT_EQ(tensor.ToString(), "int16 with shape (2, 3, 4)");
}

TEST(TensorTest, EveryDtypeWithValuesCanBeMade) {
  for (int number = 1; number <= 33; ++number) {
    const auto dtype = static_cast<DataType>(number);
    if (dtype == DataType::kResource || dtype == DataType::kVariant) {
      EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument, {DataTypeName(dtype)},
                         [&] { Tensor(dtype, {2}); }));
      continue;
    }
    Tensor tensor(dtype, {3, 5});
    EXPECT_EQ(tensor.dtype(), dtype);
    EXPECT_TRUE(tensor.IsExclusive()) << DataTypeName(dtype);
    if (dtype == DataType::kString) continue;
    EXPECT_EQ(tensor.num_bytes(), 15 * DataTypeSize(dtype)) << DataTypeName(dtype);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(tensor.data()) % kTensorAlignment, 0U)
        << DataTypeName(dtype);
    std::memset(tensor.mutable_data(), 1, tensor.num_bytes());
  }
}

TEST(TensorTest, InvalidDtypeIsRefused) {
  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument, {"invalid"},
                     [] { Tensor(DataType::kInvalid, {}); }));
  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument, {},
                     [] { Tensor(static_cast<DataType>(101), {}); }));
}

TEST(TensorTest, NegativeAndHugeShapesAreRefused) {
  constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();
  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument, {"(2, None)"},
                     [] { Tensor(DataType::kFloat, {2, -1}); }));
  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument, {"(-7,)"},
                     [] { Tensor(DataType::kFloat, {-7}); }));
  // The product overflows, or only the product with the element's size does.
  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument, {}, [] {
    Tensor(DataType::kInt8, {std::int64_t{1} << 32, std::int64_t{1} << 31});
  }));
  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument, {"too large"},
                     [] { Tensor(DataType::kDouble, {kMax}); }));
  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument, {},
                     [] { Tensor(DataType::kFloat, Shape(255, 1)); }));
  const float* somewhere = nullptr;
  EXPECT_TRUE(
      Throws(ErrorCode::kInvalidArgument, {}, [&] { Tensor::View(somewhere, {-1}); }));
  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument, {},
                     [&] { Tensor::View(somewhere, {kMax, kMax}); }));
}

TEST(TensorTest, ShortMemoryIsAnError) {
  // 2 EB: beyond any address space.
  EXPECT_TRUE(Throws(ErrorCode::kResourceExhausted, {"float64", "(288230376151711744,)"},
                     [] { Tensor(DataType::kDouble, {std::int64_t{1} << 58}); }));
}

TEST(TensorTest, ZeroElementsBesideAHugeSizeAreFine) {
  const Tensor tensor(DataType::kFloat, {0, std::int64_t{1} << 40});
  EXPECT_EQ(tensor.num_elements(), 0);
  EXPECT_EQ(tensor.Clone().shape(), tensor.shape());
}

TEST(TensorTest, CopyTakesAnyAlignment) {
  alignas(8) unsigned char bytes[sizeof(double) * 3 + 1];
  const double values[] = {1.5, -2.0, 3.25};
  std::memcpy(bytes + 1, values, sizeof(values));
  const auto* misaligned = reinterpret_cast<const double*>(bytes + 1);
  const Tensor tensor = Tensor::Copy(misaligned, {3});
  EXPECT_EQ(Values<double>(tensor), (std::vector<double>{1.5, -2.0, 3.25}));
  EXPECT_TRUE(tensor.IsExclusive());
}

TEST(TensorTest, ScalarHasNoDimensions) {
  const Tensor tensor = Tensor::Scalar(std::int64_t{7});
  EXPECT_EQ(tensor.dtype(), DataType::kInt64);
  EXPECT_EQ(tensor.shape(), Shape{});
  EXPECT_EQ(tensor.data<std::int64_t>()[0], 7);
}

TEST(TensorTest, AskingForAnotherTypeIsAnError) {
  Tensor tensor(DataType::kFloat, {2});
  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument, {"int32", "float32"},
                     [&] { tensor.data<std::int32_t>(); }));
  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument, {"float64", "float32"},
                     [&] { tensor.mutable_data<double>(); }));
  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument, {"string", "float32"},
                     [&] { tensor.string_at(0); }));
}

TEST(TensorTest, CopiesShareAndCloneDoesNot) {
  Tensor tensor = testing::Floats({1, 2, 3});
  EXPECT_TRUE(tensor.IsExclusive());
  {
    Tensor shared = tensor;
    EXPECT_EQ(shared.data(), tensor.data());
    EXPECT_FALSE(tensor.IsExclusive());
    EXPECT_TRUE(Throws(ErrorCode::kFailedPrecondition, {"Clone()"},
                       [&] { shared.mutable_data<float>(); }));
    Tensor clone = shared.Clone();
    EXPECT_NE(clone.data(), tensor.data());
    clone.mutable_data<float>()[0] = 9;
    EXPECT_EQ(Values<float>(tensor), (std::vector<float>{1, 2, 3}));
  }
  EXPECT_TRUE(tensor.IsExclusive());
  tensor.mutable_data<float>()[0] = 5;
  EXPECT_EQ(Values<float>(tensor), (std::vector<float>{5, 2, 3}));
}

TEST(TensorTest, MovesKeepTheMemory) {
  static_assert(std::is_nothrow_move_constructible_v<Tensor>);
  static_assert(std::is_nothrow_move_assignable_v<Tensor>);
  Tensor tensor = testing::Floats({1, 2, 3});
  const void* memory = tensor.data();
  Tensor moved = std::move(tensor);
  EXPECT_EQ(moved.data(), memory);
  EXPECT_TRUE(moved.IsExclusive());
  tensor =
      std::move(moved);  // NOLINT(bugprone-use-after-move): to be assigned is allowed
  EXPECT_EQ(tensor.data(), memory);
  Tensor& self = tensor;
  tensor = self;
  EXPECT_EQ(Values<float>(tensor), (std::vector<float>{1, 2, 3}));
}

TEST(ViewTest, IsTheCallersMemory) {
  AlignedBuffer<float> buffer{1, 2, 3, 4};
  Tensor view = Tensor::View(buffer.data(), {2, 2});
  EXPECT_EQ(view.data(), buffer.data());
  EXPECT_EQ(view.shape(), (Shape{2, 2}));
  EXPECT_FALSE(view.IsExclusive());
  EXPECT_TRUE(Throws(ErrorCode::kFailedPrecondition, {}, [&] { view.mutable_data(); }));
  buffer[0] = 7;
  EXPECT_EQ(view.data<float>()[0], 7);
  Tensor clone = view.Clone();
  EXPECT_TRUE(clone.IsExclusive());
  clone.mutable_data<float>()[0] = 8;
  EXPECT_EQ(buffer[0], 7);
}

TEST(ViewTest, MisalignedMemoryIsRefused) {
  AlignedBuffer<float> buffer(64);
  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument, {"64 bytes"},
                     [&] { Tensor::View(buffer.data() + 1, {4}); }));
  // Half of what is needed: aligned enough for AVX but not for AVX-512.
  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument, {"64 bytes"},
                     [&] { Tensor::View(buffer.data() + 8, {4}); }));
  EXPECT_NO_THROW(Tensor::View(buffer.data() + 16, {4}));
  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument, {},
                     [] { Tensor::View(DataType::kFloat, {4}, nullptr); }));
}

TEST(ViewTest, NothingNeedsNoMemory) {
  const Tensor view = Tensor::View(DataType::kFloat, {0, 3}, nullptr);
  EXPECT_EQ(view.shape(), (Shape{0, 3}));
}

TEST(ViewTest, ObjectsCannotBeViewed) {
  AlignedBuffer<std::uint8_t> buffer(64);
  for (const DataType dtype :
       {DataType::kString, DataType::kResource, DataType::kVariant, DataType::kInvalid}) {
    EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument, {DataTypeName(dtype)},
                       [&] { Tensor::View(dtype, {1}, buffer.data()); }));
  }
}

TEST(ViewTest, OwnerIsReleasedOnceAfterTheLastHolder) {
  int released = 0;
  AlignedBuffer<float> buffer{1, 2};
  std::shared_ptr<float> owner(buffer.data(), [&released](float*) { ++released; });
  {
    Tensor view = Tensor::View(buffer.data(), {2}, owner);
    owner.reset();
    Tensor copy = view;
    view = Tensor();
    EXPECT_EQ(released, 0);
    EXPECT_EQ(copy.data(), buffer.data());
    Tensor moved = std::move(copy);
    EXPECT_EQ(released, 0);
  }
  EXPECT_EQ(released, 1);
}

TEST(ViewTest, OwnerIsReleasedOnTheThreadThatLetsGo) {
  std::thread::id releaser;
  AlignedBuffer<float> buffer{1, 2};
  Tensor view =
      Tensor::View(buffer.data(), {2}, std::shared_ptr<float>(buffer.data(), [&](float*) {
                     releaser = std::this_thread::get_id();
                   }));
  std::thread thread([moved = std::move(view)]() mutable { moved = Tensor(); });
  const std::thread::id id = thread.get_id();
  thread.join();
  EXPECT_EQ(releaser, id);
}

TEST(ViewTest, RefusedViewReleasesItsOwner) {
  int released = 0;
  AlignedBuffer<float> buffer(32);
  EXPECT_THROW(
      Tensor::View(buffer.data() + 1, {2},
                   std::shared_ptr<float>(buffer.data(), [&](float*) { ++released; })),
      Error);
  EXPECT_EQ(released, 1);
}

TEST(StringTensorTest, KeepsEveryByte) {
  using std::string_view_literals::operator""sv;
  const std::string longer(1000, '\0');
  const std::vector<std::string_view> values = {
      "a\0b"sv, ""sv, "\0"sv, longer, "\xff\xfe"sv, "twenty-two bytes long.."sv};
  const Tensor tensor = Tensor::Strings(values, {2, 3});
  EXPECT_EQ(tensor.dtype(), DataType::kString);
  EXPECT_EQ(tensor.shape(), (Shape{2, 3}));
  const Tensor clone = tensor.Clone();
  for (std::size_t i = 0; i < values.size(); ++i) {
    EXPECT_EQ(tensor.string_at(static_cast<std::int64_t>(i)), values[i]) << i;
    EXPECT_EQ(clone.string_at(static_cast<std::int64_t>(i)), values[i]) << i;
  }
}

TEST(StringTensorTest, NumberMustFitTheShape) {
  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument, {"2 strings", "(3,)"},
                     [] { Tensor::Strings({"a", "b"}, {3}); }));
  EXPECT_EQ(Tensor::StringScalar("x").shape(), Shape{});
  EXPECT_EQ(Tensor::Strings({}, {0, 2}).num_elements(), 0);
}

TEST(StringTensorTest, ElementsAreCheckedAndCanBeSet) {
  Tensor tensor(DataType::kString, {2});
  EXPECT_EQ(tensor.string_at(1), "");
  tensor.set_string(1, std::string(100, 'x'));
  EXPECT_EQ(tensor.string_at(1), std::string(100, 'x'));
  for (const std::int64_t index : {std::int64_t{-1}, std::int64_t{2}}) {
    EXPECT_TRUE(Throws(ErrorCode::kOutOfRange, {std::to_string(index)},
                       [&] { tensor.string_at(index); }));
    EXPECT_TRUE(
        Throws(ErrorCode::kOutOfRange, {}, [&] { tensor.set_string(index, "y"); }));
  }
  EXPECT_TRUE(Throws(ErrorCode::kInvalidArgument, {"string"}, [&] { tensor.data(); }));
  const Tensor shared = tensor;
  EXPECT_TRUE(Throws(ErrorCode::kFailedPrecondition, {"Clone()"},
                     [&] { tensor.set_string(0, "y"); }));
  EXPECT_EQ(shared.string_at(0), "");
}

TEST(StringTensorTest, CloneIsIndependent) {
  const Tensor tensor = Tensor::Strings({"one", "two"}, {2});
  Tensor clone = tensor.Clone();
  clone.set_string(0, "changed");
  EXPECT_EQ(tensor.string_at(0), "one");
}

}  // namespace
}  // namespace savedmodel
