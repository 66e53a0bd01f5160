#include "augment/resize.h"

#include <algorithm>
#include <stdexcept>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <opencv2/core.hpp>

#include "augment/resize_kernels.h"
#include "augment/rng.h"
#include "tests/augment/images.h"

namespace umbra::test {
namespace {

using augment::Interpolation;
using augment::resize;

constexpr Interpolation kInterpolations[] = {Interpolation::kBilinear, Interpolation::kBicubic};

// Only black and white, so that sums reach as far as they can.
cv::Mat black_and_white(int width, int height, int channels) {
  cv::Mat image(height, width, CV_8UC(channels));
  augment::Rng rng({static_cast<uint64_t>(width * height)});
  std::generate_n(image.data, image.total() * channels,
                  [&] { return static_cast<uint8_t>(255 * rng.below(2)); });
  return image;
}

TEST(Resize, ToTheSameSizeSharesThePixels) {
  const cv::Mat image = black_and_white(5, 4, 3);
  EXPECT_EQ(resize(image, 5, 4, Interpolation::kBicubic).data, image.data);
}

// The triangle filter widens with the factor: weights 1/8 3/8 3/8 1/8 at half size.
TEST(Resize, BilinearIsAntialiased) {
  const cv::Mat image = grey(8, 1, {0, 0, 0, 0, 200, 200, 200, 200});
  EXPECT_EQ(values(resize(image, 4, 1, Interpolation::kBilinear)), (Values{0, 25, 175, 200}));
}

// A quarter of a pixel off, the weights are -9, 111, 29 and -3 of 128.
TEST(Resize, BicubicOvershootsAndIsClipped) {
  const cv::Mat image = grey(6, 1, {100, 100, 100, 228, 228, 228});
  EXPECT_EQ(values(resize(image, 12, 1, Interpolation::kBicubic)),
            (Values{100, 100, 100, 97, 91, 126, 202, 237, 231, 228, 228, 228}));
  const cv::Mat steep = grey(6, 1, {0, 0, 0, 255, 255, 255});
  EXPECT_EQ(values(resize(steep, 12, 1, Interpolation::kBicubic)),
            (Values{0, 0, 0, 0, 0, 52, 203, 255, 255, 255, 255, 255}));
}

TEST(Resize, IsTheHorizontalPassAndThenTheVertical) {
  const cv::Mat image = black_and_white(40, 30, 3);
  for (const Interpolation interpolation : kInterpolations) {
    const cv::Mat rows = resize(image, 17, 30, interpolation);
    EXPECT_TRUE(equal(resize(image, 17, 50, interpolation), resize(rows, 17, 50, interpolation)));
  }
}

TEST(Resize, TreatsRowsAndColumnsAlike) {
  const cv::Mat image = black_and_white(21, 1, 3);
  for (const Interpolation interpolation : kInterpolations) {
    for (const int size : {8, 50}) {
      const cv::Mat wide = resize(image, size, 1, interpolation);
      const cv::Mat tall = resize(image.reshape(0, 21), 1, size, interpolation);
      EXPECT_EQ(values(wide), values(tall));
    }
  }
}

TEST(Resize, KeepsAConstantImage) {
  const cv::Scalar colour(3, 128, 255);
  const cv::Mat image(13, 29, CV_8UC3, colour);
  for (const Interpolation interpolation : kInterpolations) {
    for (const auto& [width, height] : {std::pair{7, 5}, {64, 40}, {29, 3}, {1, 1}}) {
      EXPECT_TRUE(equal(resize(image, width, height, interpolation),
                        cv::Mat(height, width, CV_8UC3, colour)));
    }
  }
}

TEST(Resize, TreatsChannelsAlike) {
  const cv::Mat image = black_and_white(20, 15, 3);
  std::vector<cv::Mat> channels;
  cv::split(image, channels);
  for (cv::Mat& channel : channels) channel = resize(channel, 9, 33, Interpolation::kBicubic);
  cv::Mat wanted;
  cv::merge(channels, wanted);
  EXPECT_TRUE(equal(resize(image, 9, 33, Interpolation::kBicubic), wanted));
}

TEST(Resize, OfACropSeesNothingOutside) {
  const cv::Mat image = black_and_white(40, 30, 3);
  const cv::Mat part = image(cv::Rect(11, 7, 19, 17));
  for (const auto& [width, height] : {std::pair{6, 6}, {19, 30}, {40, 17}}) {
    EXPECT_TRUE(equal(resize(part, width, height, Interpolation::kBicubic),
                      resize(part.clone(), width, height, Interpolation::kBicubic)));
  }
}

TEST(Resize, RefusesWhatItCannotResize) {
  const auto to = [](const cv::Mat& image, int width, int height) {
    return resize(image, width, height, Interpolation::kBilinear);
  };
  const cv::Mat image = black_and_white(3, 3, 3);
  EXPECT_THROW(to(image, 0, 2), std::invalid_argument);
  EXPECT_THROW(to(image, 2, -1), std::invalid_argument);
  EXPECT_THROW(to(cv::Mat(), 2, 2), std::invalid_argument);
  EXPECT_THROW(to(black_and_white(3, 3, 2), 2, 2), std::invalid_argument);
  EXPECT_THROW(to(cv::Mat(3, 3, CV_16UC1), 2, 2), std::invalid_argument);
}

// Sizes around the widths of vectors and groups, one pixel, and more taps than a partial sum of 32
// bits can hold.
TEST(ResizeKernels, GiveTheSameBytes) {
  struct Case {
    int width, height, to_width, to_height;
  };
  for (const Case& c : {Case{1, 1, 1, 40},
                        {1, 9, 5, 3},
                        {3, 2, 11, 16},
                        {4, 4, 5, 17},
                        {15, 16, 16, 15},
                        {17, 31, 64, 64},
                        {32, 33, 10, 11},
                        {130, 90, 224, 224},
                        {301, 203, 96, 224},
                        {3000, 2, 2, 3},
                        {2, 3000, 3, 2}}) {
    for (const int channels : {1, 3}) {
      const cv::Mat image = black_and_white(c.width, c.height, channels);
      for (const Interpolation interpolation : kInterpolations) {
        const auto run = [&](const augment::ResizeKernel& kernel) {
          return resize(image, c.to_width, c.to_height, interpolation, kernel);
        };
        const cv::Mat wanted = run(augment::resize_kernels().front());
        for (const augment::ResizeKernel& kernel : augment::resize_kernels()) {
          EXPECT_TRUE(equal(run(kernel), wanted))
              << kernel.name << ", " << channels << " channels, " << c.width << " x " << c.height
              << " to " << c.to_width << " x " << c.to_height;
        }
      }
    }
  }
}

TEST(ParseInterpolation, KnowsTwoNames) {
  EXPECT_EQ(augment::parse_interpolation("bilinear"), Interpolation::kBilinear);
  EXPECT_EQ(augment::parse_interpolation("bicubic"), Interpolation::kBicubic);
  try {
    augment::parse_interpolation("nearest");
    FAIL() << "accepted";
  } catch (const std::invalid_argument& error) {
    EXPECT_THAT(error.what(), testing::AllOf(testing::HasSubstr("'nearest'"),
                                             testing::HasSubstr("'bilinear' or 'bicubic'")));
  }
}

}  // namespace
}  // namespace umbra::test
