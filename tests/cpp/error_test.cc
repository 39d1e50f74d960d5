#include "savedmodel/error.h"

#include <set>
#include <stdexcept>

#include "testing.h"

namespace savedmodel {
namespace {

TEST(ErrorTest, CarriesCodeAndMessage) {
  const Error error(ErrorCode::kNotFound, "no such model");
  EXPECT_EQ(error.code(), ErrorCode::kNotFound);
  EXPECT_STREQ(error.what(), "no such model");
}

TEST(ErrorTest, CopyKeepsBoth) {
  const Error error(ErrorCode::kDataLoss, "truncated");
  const Error copy(error);  // NOLINT(performance-unnecessary-copy-initialization)
  EXPECT_EQ(copy.code(), ErrorCode::kDataLoss);
  EXPECT_STREQ(copy.what(), "truncated");
}

TEST(ErrorTest, EveryCodeHasANameOfItsOwn) {
  std::set<std::string> names;
  for (int code = 1; code <= 16; ++code) {
    names.insert(ErrorCodeName(static_cast<ErrorCode>(code)));
  }
  EXPECT_EQ(names.size(), 16U);
  EXPECT_STREQ(ErrorCodeName(ErrorCode::kInvalidArgument), "INVALID_ARGUMENT");
  EXPECT_STREQ(ErrorCodeName(ErrorCode::kUnauthenticated), "UNAUTHENTICATED");
  EXPECT_STREQ(ErrorCodeName(static_cast<ErrorCode>(99)), "UNKNOWN");
}

// Thrown inside the shared library, whose symbols are hidden by default, caught out here:
// both must agree on what the type is.
TEST(ErrorTest, CrossesTheLibrarysBorder) {
  EXPECT_THROW(Tensor(DataType::kResource, {}), Error);
  EXPECT_THROW(Tensor(DataType::kResource, {}), std::runtime_error);
}

}  // namespace
}  // namespace savedmodel
