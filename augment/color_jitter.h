// Colour jitter as torchvision has it: brightness, contrast, saturation and hue by random amounts,
// in a random order.
#pragma once

#include <array>
#include <string>
#include <vector>

#include <opencv2/core/mat.hpp>

#include "augment/rng.h"

namespace umbra::augment {

struct JitterDraw {
  std::array<int, 4> order = {0, 1, 2, 3};       // 0 brightness, 1 contrast, 2 saturation, 3 hue
  std::array<double, 4> factors = {1, 1, 1, 0};  // hue: turns

  std::string text() const;  // "0.91 1.20 1.00 hue +0.05"
};

// `strength` of as many of the four as are to change: the factor is uniform in [1 - strength,
// 1 + strength], and at least 0; the hue in [-strength, strength].
JitterDraw draw_jitter(Rng& rng, const std::vector<double>& strength);

cv::Mat apply(const cv::Mat& image, const JitterDraw& jitter);

}  // namespace umbra::augment
