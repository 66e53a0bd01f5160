#include "augment/geometry.h"

#include <gtest/gtest.h>
#include <opencv2/core.hpp>

#include "tests/augment/images.h"

namespace umbra::test {
namespace {

using namespace augment;

TEST(Crop, IsThePartInsideTheBox) {
  const cv::Mat image = grey(4, 3, {0, 1, 2, 3, 10, 11, 12, 13, 20, 21, 22, 23});
  EXPECT_EQ(values(crop(image, {1, 1, 2, 2})), (Values{11, 12, 21, 22}));
}

TEST(PadAndCrop, MovesTheWindowOverABlackBorder) {
  const cv::Mat image = grey(2, 2, {1, 2, 3, 4});
  EXPECT_EQ(values(pad_and_crop(image, 1, Padding::kBlack, 1, 1, 2)), (Values{1, 2, 3, 4}));
  EXPECT_EQ(values(pad_and_crop(image, 1, Padding::kBlack, 0, 0, 2)), (Values{0, 0, 0, 1}));
  EXPECT_EQ(values(pad_and_crop(image, 1, Padding::kBlack, 2, 1, 2)), (Values{2, 0, 4, 0}));
  EXPECT_EQ(values(pad_and_crop(image, 1, Padding::kBlack, 0, 2, 2)), (Values{0, 3, 0, 0}));
}

TEST(PadAndCrop, PadsACropWithBlackToo) {
  const cv::Mat part = crop(noise(9, 9, 3), {3, 3, 4, 4});
  EXPECT_TRUE(equal(pad_and_crop(part, 2, Padding::kBlack, 0, 0, 4),
                    pad_and_crop(part.clone(), 2, Padding::kBlack, 0, 0, 4)));
}

TEST(Hflip, MirrorsRows) {
  EXPECT_EQ(values(hflip(grey(3, 2, {1, 2, 3, 4, 5, 6}))), (Values{3, 2, 1, 6, 5, 4}));
}

TEST(ResizeAndCenterCrop, TakesTheMiddle) {
  const cv::Mat wide = grey(8, 2, {0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12, 13, 14, 15, 16, 17});
  EXPECT_EQ(values(resize_and_center_crop(wide, 2, 1.0, Interpolation::kBicubic)),
            (Values{3, 4, 13, 14}));
  const cv::Mat tall = grey(2, 4, {0, 1, 10, 11, 20, 21, 30, 31});
  EXPECT_EQ(values(resize_and_center_crop(tall, 2, 1.0, Interpolation::kBicubic)),
            (Values{10, 11, 20, 21}));
}

TEST(ResizeAndCenterCrop, RoundsHalfToEvenAsPythonDoes) {
  const cv::Mat three = grey(3, 2, {0, 1, 2, 10, 11, 12});  // offset 0.5: 0
  EXPECT_EQ(values(resize_and_center_crop(three, 2, 1.0, Interpolation::kBicubic)),
            (Values{0, 1, 10, 11}));
  const cv::Mat five = grey(5, 2, {0, 1, 2, 3, 4, 10, 11, 12, 13, 14});  // offset 1.5: 2
  EXPECT_EQ(values(resize_and_center_crop(five, 2, 1.0, Interpolation::kBicubic)),
            (Values{2, 3, 12, 13}));
}

TEST(ResizeAndCenterCrop, ResizesTheShorterSideToSizeOverCropPct) {
  const cv::Mat image = noise(40, 30, 3);
  const cv::Mat resized = resize(image, 21, 16, Interpolation::kBicubic);  // floor(14 / 0.875) = 16
  EXPECT_TRUE(equal(resize_and_center_crop(image, 14, 0.875, Interpolation::kBicubic),
                    crop(resized, {4, 1, 14, 14})));  // offset 3.5 rounds to 4
}

TEST(DrawResizedCrop, StaysInsideTheImageAndTheRanges) {
  Rng rng({1});
  for (int i = 0; i < 20000; ++i) {
    const Box box = draw_resized_crop(rng, 120, 100, {0.08, 1.0}, {3.0 / 4, 4.0 / 3});
    ASSERT_TRUE(box.x >= 0 && box.y >= 0 && box.width > 0 && box.height > 0);
    ASSERT_TRUE(box.x + box.width <= 120 && box.y + box.height <= 100);
    // Half a pixel of rounding on each side.
    ASSERT_GE((box.width + 0.5) * (box.height + 0.5), 0.08 * 12000);
    ASSERT_GE((box.width + 0.5) / (box.height - 0.5), 3.0 / 4);
    ASSERT_LE((box.width - 0.5) / (box.height + 0.5), 4.0 / 3);
  }
}

TEST(DrawResizedCrop, TakesTheWholeSquareWhenAskedTo) {
  Rng rng({2});
  const Box box = draw_resized_crop(rng, 64, 64, {1.0, 1.0}, {1.0, 1.0});
  EXPECT_EQ((Values{box.x, box.y, box.width, box.height}), (Values{0, 0, 64, 64}));
}

// Fixed seed; a right function with a random one would fail about once in a million (4.9 sigma).
TEST(DrawResizedCrop, DrawsAreaAndPlaceUniformly) {
  constexpr int kDraws = 20000, kSide = 1000;
  Rng rng({3});
  double area = 0, x = 0, y = 0;
  for (int i = 0; i < kDraws; ++i) {
    const Box box = draw_resized_crop(rng, kSide, kSide, {0.08, 0.9}, {1.0, 1.0});
    ASSERT_EQ(box.width, box.height);
    area += static_cast<double>(box.width) * box.height / (kSide * kSide);
    x += (box.x + 0.5) / (kSide - box.width + 1);
    y += (box.y + 0.5) / (kSide - box.height + 1);
  }
  const double sigma = 1 / std::sqrt(12.0 * kDraws);
  EXPECT_NEAR(area / kDraws, 0.49, 4.9 * sigma * 0.82 + 1e-4);
  EXPECT_NEAR(x / kDraws, 0.5, 4.9 * sigma);
  EXPECT_NEAR(y / kDraws, 0.5, 4.9 * sigma);
}

TEST(DrawResizedCrop, FallsBackToTheLargestCentralCrop) {
  Rng rng({4});
  const Box wide = draw_resized_crop(rng, 1000, 30, {0.9, 1.0}, {3.0 / 4, 4.0 / 3});
  EXPECT_EQ((Values{wide.x, wide.y, wide.width, wide.height}), (Values{480, 0, 40, 30}));
  const Box tall = draw_resized_crop(rng, 30, 1000, {0.9, 1.0}, {3.0 / 4, 4.0 / 3});
  EXPECT_EQ((Values{tall.x, tall.y, tall.width, tall.height}), (Values{0, 480, 30, 40}));
}

}  // namespace
}  // namespace umbra::test
