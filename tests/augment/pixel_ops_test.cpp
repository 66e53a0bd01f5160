#include "augment/pixel_ops.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <opencv2/core.hpp>

#include "tests/augment/images.h"

namespace umbra::test {
namespace {

using namespace augment;

cv::Mat flat(const cv::Scalar& colour, int width = 7, int height = 5) {
  return {height, width, CV_8UC3, colour};
}

// Every operation at arguments that change something.
struct Operation {
  std::string name;
  std::function<cv::Mat(const cv::Mat&)> apply;
  bool mixes_channels = false;
};

const std::vector<Operation>& operations() {
  static const std::vector<Operation> kOperations = {
      {"auto_contrast", auto_contrast},
      {"equalize", equalize},
      {"invert", invert},
      {"posterize", [](const cv::Mat& m) { return posterize(m, 3); }},
      {"solarize", [](const cv::Mat& m) { return solarize(m, 100); }},
      {"solarize_add", [](const cv::Mat& m) { return solarize_add(m, 90); }},
      {"adjust_color", [](const cv::Mat& m) { return adjust_color(m, 1.7); }, true},
      {"adjust_contrast", [](const cv::Mat& m) { return adjust_contrast(m, 1.7); }, true},
      {"adjust_brightness", [](const cv::Mat& m) { return adjust_brightness(m, 0.4); }},
      {"adjust_sharpness", [](const cv::Mat& m) { return adjust_sharpness(m, 1.7); }},
      {"adjust_hue", [](const cv::Mat& m) { return adjust_hue(m, 0.2); }, true},
      {"grayscale", grayscale, true},
      {"gaussian_blur", [](const cv::Mat& m) { return gaussian_blur(m, 1.5); }},
      {"gaussian_filter", [](const cv::Mat& m) { return gaussian_filter(m, 5, 1.5); }},
      {"blend", [](const cv::Mat& m) { return blend(m, invert(m), 0.3); }},
  };
  return kOperations;
}

TEST(PixelOps, LeaveTheirArgumentAlone) {
  for (const Operation& operation : operations()) {
    const cv::Mat image = noise(19, 14, 3), before = image.clone();
    EXPECT_FALSE(equal(operation.apply(image), before)) << operation.name;
    EXPECT_TRUE(equal(image, before)) << operation.name;
  }
}

TEST(PixelOps, SeeNothingOutsideACrop) {
  for (const int channels : {1, 3}) {
    const cv::Mat part = noise(40, 30, channels)(cv::Rect(9, 8, 19, 14));
    for (const Operation& operation : operations()) {
      EXPECT_TRUE(equal(operation.apply(part), operation.apply(part.clone()))) << operation.name;
    }
  }
}

TEST(PixelOps, TreatChannelsAlike) {
  const cv::Mat image = noise(37, 14, 3);
  for (const Operation& operation : operations()) {
    if (operation.mixes_channels) continue;
    std::vector<cv::Mat> channels;
    cv::split(image, channels);
    for (cv::Mat& channel : channels) channel = operation.apply(channel);
    cv::Mat wanted;
    cv::merge(channels, wanted);
    EXPECT_TRUE(equal(operation.apply(image), wanted)) << operation.name;
  }
}

TEST(PixelOps, RefuseOtherImages) {
  for (const Operation& operation : operations()) {
    EXPECT_THROW(operation.apply(cv::Mat()), std::invalid_argument) << operation.name;
    for (const int type : {CV_8UC4, CV_32FC3}) {
      EXPECT_THROW(operation.apply(cv::Mat(9, 9, type, cv::Scalar::all(0))), std::invalid_argument)
          << operation.name;
    }
  }
}

TEST(AutoContrast, StretchesEachChannelToTheFullRange) {
  const cv::Mat image = image_of(3, 1, 3, {10, 0, 7, 20, 100, 7, 30, 255, 7});
  EXPECT_EQ(values(auto_contrast(image)), (Values{0, 0, 7, 127, 100, 7, 255, 255, 7}));
}

TEST(Equalize, LeavesAFlatImageAlone) {
  EXPECT_TRUE(equal(equalize(flat({3, 128, 250}, 40, 40)), flat({3, 128, 250}, 40, 40)));
}

TEST(Equalize, SpreadsTheLevelsByTheirCounts) {
  cv::Mat image(4, 201, CV_8UC1);
  for (int y = 0; y < 4; ++y) image.row(y).setTo(cv::Scalar::all(100 + y));
  // 603 pixels below the last level: steps of 603 / 255 = 2 from an offset of 1.
  const cv::Mat result = equalize(image);
  EXPECT_EQ(values(result.col(17)), (Values{0, 101, 201, 255}));
}

TEST(Equalize, LeavesAnImageOfLessThan255Alone) {
  const cv::Mat image = noise(15, 16, 1);
  EXPECT_TRUE(equal(equalize(image), image));
}

TEST(Invert, IsTheDifferenceFromWhite) {
  EXPECT_EQ(values(invert(grey(3, 1, {0, 100, 255}))), (Values{255, 155, 0}));
}

TEST(Posterize, KeepsTheTopBits) {
  const cv::Mat image = grey(4, 1, {0, 127, 200, 255});
  EXPECT_EQ(values(posterize(image, 2)), (Values{0, 64, 192, 192}));
  EXPECT_EQ(values(posterize(image, 1)), (Values{0, 0, 128, 128}));
  EXPECT_EQ(values(posterize(image, 0)), (Values{0, 0, 0, 0}));
  EXPECT_EQ(posterize(image, 8).data, image.data);
  EXPECT_EQ(posterize(image, 99).data, image.data);
  EXPECT_THROW(posterize(image, -1), std::invalid_argument);
}

TEST(Solarize, InvertsFromTheThresholdOn) {
  const cv::Mat image = grey(4, 1, {0, 99, 100, 255});
  EXPECT_EQ(values(solarize(image, 100)), (Values{0, 99, 155, 0}));
  EXPECT_TRUE(equal(solarize(image, 256), image));
  EXPECT_TRUE(equal(solarize(image, 0), invert(image)));
  EXPECT_TRUE(equal(solarize(image, -7), invert(image)));
}

TEST(SolarizeAdd, AddsBelowTheThresholdAndSaturates) {
  const cv::Mat image = grey(5, 1, {0, 100, 127, 128, 255});
  EXPECT_EQ(values(solarize_add(image, 90)), (Values{90, 190, 217, 128, 255}));
  EXPECT_EQ(values(solarize_add(image, 150)), (Values{150, 250, 255, 128, 255}));
  EXPECT_EQ(values(solarize_add(image, -110)), (Values{0, 0, 17, 128, 255}));
  EXPECT_EQ(values(solarize_add(image, 1000, 101)), (Values{255, 255, 127, 128, 255}));
  EXPECT_EQ(values(solarize_add(image, 1, 1000)), (Values{1, 101, 128, 129, 255}));
  EXPECT_TRUE(equal(solarize_add(image, 90, 0), image));
}

TEST(Grayscale, IsTheLumaInEveryChannel) {
  const cv::Mat image = image_of(4, 1, 3, {255, 0, 0, 0, 255, 0, 0, 0, 255, 10, 10, 10});
  EXPECT_EQ(values(grayscale(image)), (Values{76, 76, 76, 150, 150, 150, 29, 29, 29, 10, 10, 10}));
}

TEST(Grayscale, RoundsHalfUp) {
  EXPECT_EQ(values(grayscale(flat({0, 52, 184}, 1, 1))), (Values{52, 52, 52}));  // 51.5
}

TEST(Adjust, FactorOneIsTheImageItself) {
  const cv::Mat image = noise(5, 4, 3);
  for (const auto adjust : {adjust_color, adjust_contrast, adjust_brightness, adjust_sharpness}) {
    EXPECT_EQ(adjust(image, 1.0).data, image.data);
  }
}

TEST(Adjust, RefusesFactorsThatAreNotFinite) {
  const cv::Mat image = noise(5, 4, 3);
  for (const auto adjust : {adjust_color, adjust_contrast, adjust_brightness, adjust_sharpness}) {
    EXPECT_THROW(adjust(image, std::numeric_limits<double>::infinity()), std::invalid_argument);
    EXPECT_THROW(adjust(image, std::nan("")), std::invalid_argument);
  }
}

TEST(AdjustColor, FadesToGrey) {
  const cv::Mat image = noise(9, 9, 3);
  EXPECT_TRUE(equal(adjust_color(image, 0.0), grayscale(image)));
  EXPECT_EQ(values(adjust_color(flat({200, 100, 0}, 1, 1), 0.5)), (Values{159, 109, 59}));
}

TEST(AdjustColor, LeavesAGreyImageAlone) {
  const cv::Mat image = noise(9, 9, 1);
  EXPECT_TRUE(equal(adjust_color(image, 0.2), image));
}

TEST(AdjustContrast, FadesToTheMeanOfTheLuma) {
  EXPECT_EQ(values(adjust_contrast(grey(2, 1, {10, 21}), 0.0)), (Values{16, 16}));  // 15.5
  EXPECT_EQ(values(adjust_contrast(grey(2, 1, {0, 100}), 0.5)), (Values{25, 75}));
  EXPECT_EQ(values(adjust_contrast(grey(2, 1, {100, 120}), 20.0)), (Values{0, 255}));
  EXPECT_EQ(values(adjust_contrast(flat({255, 0, 0}, 1, 1), 0.0)), (Values{76, 76, 76}));
}

TEST(AdjustBrightness, ScalesTruncatesAndSaturates) {
  const cv::Mat image = grey(3, 1, {3, 99, 200});
  EXPECT_EQ(values(adjust_brightness(image, 0.5)), (Values{1, 49, 100}));
  EXPECT_EQ(values(adjust_brightness(image, 1.5)), (Values{4, 148, 255}));
  EXPECT_EQ(values(adjust_brightness(image, 1e12)), (Values{255, 255, 255}));
  EXPECT_EQ(values(adjust_brightness(image, -1e12)), (Values{0, 0, 0}));
}

TEST(AdjustSharpness, FadesToASmoothedImageWithinTheBorder) {
  const cv::Mat image = grey(3, 3, {19, 26, 39, 52, 130, 65, 78, 91, 104});
  // (19 + 26 + 39 + 52 + 5 * 130 + 65 + 78 + 91 + 104) / 13 = 86.46
  EXPECT_EQ(values(adjust_sharpness(image, 0.0)), (Values{19, 26, 39, 52, 86, 65, 78, 91, 104}));
  EXPECT_EQ(values(adjust_sharpness(image, 2.0)), (Values{19, 26, 39, 52, 174, 65, 78, 91, 104}));
}

TEST(AdjustSharpness, HasNoInteriorInAThinImage) {
  for (const cv::Mat& image : {noise(9, 2, 3), noise(2, 9, 3), noise(1, 1, 3)}) {
    EXPECT_TRUE(equal(adjust_sharpness(image, 0.0), image));
  }
}

TEST(AdjustHue, TurnsTheColourCircle) {
  const cv::Mat red = flat({255, 0, 0}, 1, 1);
  EXPECT_EQ(values(adjust_hue(red, 1.0 / 3)), (Values{0, 255, 0}));
  EXPECT_EQ(values(adjust_hue(red, -1.0 / 3)), (Values{6, 0, 255}));  // 8 bits: 171 of 255
  EXPECT_EQ(values(adjust_hue(flat({90, 90, 90}, 1, 1), 0.4)), (Values{90, 90, 90}));
}

TEST(AdjustHue, RefusesMoreThanHalfATurn) {
  for (const double shift : {0.51, -0.51, std::nan("")}) {
    EXPECT_THROW(adjust_hue(noise(2, 2, 3), shift), std::invalid_argument);
  }
}

TEST(GaussianBlur, KeepsAFlatImage) {
  for (const double radius : {0.3, 1.0, 2.0, 30.0}) {
    EXPECT_TRUE(equal(gaussian_blur(flat({0, 128, 255}), radius), flat({0, 128, 255}))) << radius;
  }
}

TEST(GaussianBlur, SpreadsAPointToAllSides) {
  cv::Mat image(15, 15, CV_8UC1, cv::Scalar::all(0));
  image.at<uint8_t>(7, 7) = 255;
  const cv::Mat result = gaussian_blur(image, 1.0);
  const Values row = values(result.row(7));
  EXPECT_NEAR(row[7], 255 / (2 * M_PI), 4);  // the boxes are near a Gaussian, not one
  EXPECT_NEAR(row[6], 255 / (2 * M_PI) * std::exp(-0.5), 4);
  const Values column = values(result.col(7));
  EXPECT_EQ(row, Values(row.rbegin(), row.rend()));
  EXPECT_EQ(column, Values(column.rbegin(), column.rend()));
  // Rows first, and every pass rounds: so far out the columns have nothing left to spread.
  EXPECT_EQ(row[4], 1);
  EXPECT_EQ(column[4], 0);
}

TEST(GaussianBlur, RefusesRadiiWithoutAMeaning) {
  EXPECT_EQ(values(gaussian_blur(grey(2, 1, {3, 9}), 0.0)), (Values{3, 9}));
  for (const double radius : {-0.1, 1e5, std::nan("")}) {
    EXPECT_THROW(gaussian_blur(noise(3, 3, 1), radius), std::invalid_argument) << radius;
  }
}

TEST(GaussianFilter, ReflectsAtTheBorderWithoutRepeatingIt) {
  // So wide a Gaussian is a box of 3 x 3.
  const cv::Mat image = grey(3, 3, {0, 90, 180, 0, 90, 180, 0, 90, 180});
  EXPECT_EQ(values(gaussian_filter(image, 3, 1e4)),
            (Values{60, 90, 120, 60, 90, 120, 60, 90, 120}));
  EXPECT_EQ(values(gaussian_filter(image.t(), 3, 1e4)),
            (Values{60, 60, 60, 90, 90, 90, 120, 120, 120}));
}

TEST(GaussianFilter, OfOneTapIsTheImage) {
  const cv::Mat image = noise(6, 1, 3);
  EXPECT_TRUE(equal(gaussian_filter(image, 1, 2.0), image));
}

TEST(GaussianFilter, RefusesKernelsWithoutAMeaning) {
  const cv::Mat image = noise(6, 3, 1);
  for (const int size : {-1, 0, 2, 7}) {  // 7 / 2 is not less than 3
    EXPECT_THROW(gaussian_filter(image, size, 1.0), std::invalid_argument) << size;
  }
  for (const double sigma : {0.0, -1.0, std::numeric_limits<double>::infinity(), std::nan("")}) {
    EXPECT_THROW(gaussian_filter(image, 3, sigma), std::invalid_argument) << sigma;
  }
}

TEST(Blend, InterpolatesAndExtrapolates) {
  const cv::Mat a = grey(3, 1, {0, 100, 200}), b = grey(3, 1, {255, 110, 50});
  EXPECT_EQ(values(blend(a, b, 0.5)), (Values{127, 105, 125}));
  EXPECT_EQ(values(blend(a, b, 2.0)), (Values{255, 120, 0}));
  EXPECT_EQ(values(blend(a, b, -1.0)), (Values{0, 90, 255}));
  EXPECT_TRUE(equal(blend(a, b, 0.0), a));
  EXPECT_TRUE(equal(blend(a, b, 1.0), b));
}

TEST(Blend, RefusesImagesOfTwoKinds) {
  EXPECT_THROW(blend(noise(3, 2, 3), noise(2, 3, 3), 0.5), std::invalid_argument);
  EXPECT_THROW(blend(noise(3, 2, 3), noise(3, 2, 1), 0.5), std::invalid_argument);
}

}  // namespace
}  // namespace umbra::test
