#include "savedmodel/shape.h"

#include "testing.h"

namespace savedmodel {
namespace {

TEST(ShapeTest, PrintsAsPythonDoes) {
  EXPECT_EQ(ToString(Shape{}), "()");
  EXPECT_EQ(ToString(Shape{3}), "(3,)");
  EXPECT_EQ(ToString(Shape{2, 0, 3}), "(2, 0, 3)");
}

TEST(PartialShapeTest, PrintsWhatIsUnknown) {
  EXPECT_EQ(PartialShape().ToString(), "<unknown>");
  EXPECT_EQ(PartialShape(Shape{}).ToString(), "()");
  EXPECT_EQ(PartialShape({PartialShape::kUnknownDim}).ToString(), "(None,)");
  EXPECT_EQ(PartialShape({PartialShape::kUnknownDim, 3}).ToString(), "(None, 3)");
}

TEST(PartialShapeTest, UnknownRankTakesEverything) {
  const PartialShape any;
  EXPECT_TRUE(any.unknown_rank());
  EXPECT_TRUE(any.IsCompatibleWith(Shape{}));
  EXPECT_TRUE(any.IsCompatibleWith(Shape{1, 2, 3}));
}

TEST(PartialShapeTest, KnownSizesMustBeEqual) {
  const PartialShape shape({PartialShape::kUnknownDim, 3});
  EXPECT_FALSE(shape.unknown_rank());
  EXPECT_EQ(shape.dims(), (Shape{-1, 3}));
  EXPECT_TRUE(shape.IsCompatibleWith(Shape{5, 3}));
  EXPECT_TRUE(shape.IsCompatibleWith(Shape{0, 3}));
  EXPECT_FALSE(shape.IsCompatibleWith(Shape{5, 4}));
  EXPECT_FALSE(shape.IsCompatibleWith(Shape{3}));
  EXPECT_FALSE(shape.IsCompatibleWith(Shape{5, 3, 1}));
  EXPECT_FALSE(shape.IsCompatibleWith(Shape{}));
}

TEST(PartialShapeTest, ScalarTakesOnlyScalars) {
  const PartialShape scalar{Shape{}};
  EXPECT_FALSE(scalar.unknown_rank());
  EXPECT_TRUE(scalar.IsCompatibleWith(Shape{}));
  EXPECT_FALSE(scalar.IsCompatibleWith(Shape{1}));
}

TEST(PartialShapeTest, UnknownRankDiffersFromScalar) {
  EXPECT_EQ(PartialShape(), PartialShape());
  EXPECT_NE(PartialShape(), PartialShape(Shape{}));
  EXPECT_EQ(PartialShape({-1, 3}), PartialShape({-1, 3}));
  EXPECT_NE(PartialShape({-1, 3}), PartialShape({2, 3}));
}

TEST(TensorSpecTest, PrintsDtypeAndShape) {
  TensorSpec spec{"x:0", DataType::kFloat, PartialShape({-1, 3})};
  EXPECT_EQ(spec.ToString(), "float32 with shape (None, 3)");
  EXPECT_EQ(TensorSpec{}.ToString(), "invalid with shape <unknown>");
}

}  // namespace
}  // namespace savedmodel
