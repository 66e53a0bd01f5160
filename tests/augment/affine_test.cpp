#include "augment/affine.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <vector>

#include <gtest/gtest.h>
#include <opencv2/core.hpp>

#include "tests/augment/images.h"

namespace umbra::test {
namespace {

using namespace augment;

constexpr Interpolation kInterpolations[] = {Interpolation::kBilinear, Interpolation::kBicubic};
const cv::Scalar kFill(1, 2, 3);

const std::vector<AffineMatrix>& matrices() {
  static const std::vector<AffineMatrix> kMatrices = {
      {0.9, 0.3, -2.5, -0.3, 0.9, 3.5}, {1, 0.27, 0, 0, 1, 0},
      {1, 0, 0, -0.27, 1, 0},           {1, 0, 3.25, 0, 1, 0},
      {1, 0, 0, 0, 1, -3.25},           {0.5, 0, 0, 0, 0.5, 0},
      {-1, 0, 19, 0, 1, 0.5},           {1.5, 0.1, -4, 0.2, 2, -5}};
  return kMatrices;
}

TEST(Affine, MapsOutputPixelsToInputPixels) {
  for (const Interpolation interpolation : kInterpolations) {
    const cv::Mat image = grey(3, 2, {1, 2, 3, 4, 5, 6});
    const cv::Mat mirrored = affine(image, {-1, 0, 3, 0, 1, 0}, interpolation, kFill);
    EXPECT_EQ(values(mirrored), (Values{3, 2, 1, 6, 5, 4}));
    const cv::Mat corner = affine(image, {0, 1, 0, 1, 0, 0}, interpolation, {99});
    EXPECT_EQ(values(corner), (Values{1, 4, 99, 2, 5, 99}));  // transposed, as far as it fits
  }
}

// RGB may take another way through the processor than grey does.
TEST(Affine, TreatsChannelsAlike) {
  const cv::Mat image = noise(19, 14, 3);
  for (const AffineMatrix& matrix : matrices()) {
    for (const Interpolation interpolation : kInterpolations) {
      std::vector<cv::Mat> channels;
      cv::split(image, channels);
      for (int c = 0; c < 3; ++c) {
        channels[c] = affine(channels[c], matrix, interpolation, cv::Scalar::all(kFill[c]));
      }
      cv::Mat wanted;
      cv::merge(channels, wanted);
      EXPECT_TRUE(equal(affine(image, matrix, interpolation, kFill), wanted));
    }
  }
}

TEST(Affine, SeesNothingOutsideACrop) {
  for (const int channels : {1, 3}) {
    const cv::Mat part = noise(40, 30, channels)(cv::Rect(9, 8, 19, 14));
    for (const AffineMatrix& matrix : matrices()) {
      for (const Interpolation interpolation : kInterpolations) {
        EXPECT_TRUE(equal(affine(part, matrix, interpolation, kFill),
                          affine(part.clone(), matrix, interpolation, kFill)));
      }
    }
  }
}

TEST(Affine, KeepsAConstantImageOfAnySize) {
  for (const auto& [width, height] : {std::pair{1, 1}, {1, 6}, {6, 1}, {2, 3}, {23, 9}}) {
    const cv::Mat image(height, width, CV_8UC3, cv::Scalar(9, 128, 255));
    for (const AffineMatrix& matrix : matrices()) {
      for (const Interpolation interpolation : kInterpolations) {
        EXPECT_TRUE(equal(affine(image, matrix, interpolation, {9, 128, 255}), image));
      }
    }
  }
}

TEST(Affine, FillsWhatLiesOutside) {
  const cv::Mat image = noise(4, 3, 3);
  const cv::Mat filled(3, 4, CV_8UC3, kFill);
  for (const double far : {4.0, -4.0, 1e9, -1e300}) {
    EXPECT_TRUE(equal(affine(image, {1, 0, far, 0, 1, 0}, Interpolation::kBicubic, kFill), filled));
  }
}

TEST(Affine, RefusesOtherImagesAndNumbersThatAreNotFinite) {
  const auto call = [](const cv::Mat& image, double number) {
    return affine(image, {1, 0, number, 0, 1, 0}, Interpolation::kBicubic, kFill);
  };
  EXPECT_THROW(call(cv::Mat(), 0), std::invalid_argument);
  EXPECT_THROW(call(cv::Mat(3, 3, CV_8UC4), 0), std::invalid_argument);
  EXPECT_THROW(call(cv::Mat(3, 3, CV_32FC1), 0), std::invalid_argument);
  EXPECT_THROW(call(noise(3, 3, 3), std::nan("")), std::invalid_argument);
  EXPECT_THROW(rotate(noise(3, 3, 3), std::numeric_limits<double>::infinity(),
                      Interpolation::kBicubic, kFill),
               std::invalid_argument);
}

TEST(Translate, MovesTheContentLeftAndUp) {
  const cv::Mat image = grey(3, 3, {1, 2, 3, 4, 5, 6, 7, 8, 9});
  for (const Interpolation interpolation : kInterpolations) {
    EXPECT_EQ(values(translate_x(image, 1, interpolation, {0})),
              (Values{2, 3, 0, 5, 6, 0, 8, 9, 0}));
    EXPECT_EQ(values(translate_x(image, -2, interpolation, {0})),
              (Values{0, 0, 1, 0, 0, 4, 0, 0, 7}));
    EXPECT_EQ(values(translate_y(image, 1, interpolation, {0})),
              (Values{4, 5, 6, 7, 8, 9, 0, 0, 0}));
  }
}

TEST(Translate, TruncatesBetweenPixels) {
  const cv::Mat row = grey(3, 1, {0, 101, 0});
  EXPECT_EQ(values(translate_x(row, 0.5, Interpolation::kBilinear, {7})), (Values{50, 50, 7}));
  EXPECT_EQ(values(translate_x(row, 0.25, Interpolation::kBilinear, {7})), (Values{25, 75, 0}));
}

// Half way the cubic with a = -1 weighs its taps -1/8, 5/8, 5/8, -1/8.
TEST(Translate, BicubicIsSharperThanInResize) {
  const cv::Mat row = grey(6, 1, {40, 40, 56, 40, 40, 40});
  const Values wanted = {38, 50, 50, 38, 40, 7};
  EXPECT_EQ(values(translate_x(row, 0.5, Interpolation::kBicubic, {7})), wanted);
  EXPECT_EQ(values(translate_y(row.t(), 0.5, Interpolation::kBicubic, {7})), wanted);
}

TEST(Shear, KeepsTheTopLeftCorner) {
  const cv::Mat image = grey(4, 2, {1, 2, 3, 4, 5, 6, 7, 8});
  for (const Interpolation interpolation : kInterpolations) {
    // By 2 (y + 1/2) pixels.
    EXPECT_EQ(values(shear_x(image, 2, interpolation, {0})), (Values{2, 3, 4, 0, 8, 0, 0, 0}));
    EXPECT_EQ(values(shear_y(image.t(), 2, interpolation, {0})), (Values{2, 8, 3, 0, 4, 0, 0, 0}));
  }
}

TEST(Rotate, ByWholeTurnsIsTheImageItself) {
  const cv::Mat image = noise(5, 4, 3);
  for (const double degrees : {0.0, 360.0, -720.0}) {
    EXPECT_EQ(rotate(image, degrees, Interpolation::kBicubic, kFill).data, image.data);
  }
}

TEST(Rotate, TurnsCounterClockwise) {
  const cv::Mat image = grey(2, 2, {1, 2, 3, 4});
  for (const Interpolation interpolation : kInterpolations) {
    EXPECT_EQ(values(rotate(image, 90, interpolation, {0})), (Values{2, 4, 1, 3}));
    EXPECT_EQ(values(rotate(image, -90, interpolation, {0})), (Values{3, 1, 4, 2}));
    EXPECT_EQ(values(rotate(grey(3, 1, {1, 2, 3}), 180, interpolation, {0})), (Values{3, 2, 1}));
  }
}

TEST(Rotate, KeepsTheSizeOfAnOblongImage) {
  const cv::Mat image = grey(3, 1, {1, 2, 3});
  EXPECT_EQ(values(rotate(image, 90, Interpolation::kBicubic, {9})), (Values{9, 2, 9}));
}

TEST(Rotate, AgreesWithTheTurnsThatOnlyMovePixels) {
  const cv::Mat image = noise(12, 12, 3);
  for (const Interpolation interpolation : kInterpolations) {
    for (const double degrees : {0.0, 90.0, 180.0, 270.0}) {
      const cv::Mat exact = rotate(image, degrees, interpolation, kFill);
      const cv::Mat near = rotate(image, degrees + 1e-9, interpolation, kFill);
      // Within the border, where a hair's breadth decides between inside and outside.
      const cv::Rect inner(1, 1, 10, 10);
      EXPECT_LE(cv::norm(exact(inner), near(inner), cv::NORM_INF), 1.0) << degrees;
    }
  }
}

}  // namespace
}  // namespace umbra::test
