// Small images for tests.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include <opencv2/core.hpp>

#include "augment/rng.h"

namespace umbra::test {

using Values = std::vector<int>;  // of an image's bytes, row by row

inline cv::Mat image_of(int width, int height, int channels, const Values& values) {
  cv::Mat image(height, width, CV_8UC(channels));
  CV_Assert(values.size() == image.total() * image.elemSize());
  std::copy(values.begin(), values.end(), image.data);
  return image;
}

inline cv::Mat grey(int width, int height, const Values& values) {
  return image_of(width, height, 1, values);
}

// The same for each call of that size.
inline cv::Mat noise(int width, int height, int channels) {
  cv::Mat image(height, width, CV_8UC(channels));
  augment::Rng rng({static_cast<uint64_t>(width * height)});
  std::generate_n(image.data, image.total() * image.elemSize(),
                  [&] { return static_cast<uint8_t>(rng.below(256)); });
  return image;
}

inline Values values(const cv::Mat& image) {
  const cv::Mat rows = image.clone();
  return {rows.data, rows.data + rows.total() * rows.elemSize()};
}

inline bool equal(const cv::Mat& a, const cv::Mat& b) {
  return a.type() == b.type() && a.size() == b.size() && values(a) == values(b);
}

}  // namespace umbra::test
