#include "augment/color_jitter.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "augment/pixel_ops.h"

namespace umbra::augment {

JitterDraw draw_jitter(Rng& rng, const std::vector<double>& strength) {
  JitterDraw draw;
  for (int64_t i = 3; i > 0; --i) std::swap(draw.order[i], draw.order[rng.below(i + 1)]);
  for (size_t i = 0; i < strength.size(); ++i) {
    const double v = strength[i];
    draw.factors[i] = i == 3 ? rng.uniform(-v, v) : rng.uniform(std::max(0.0, 1.0 - v), 1.0 + v);
  }
  return draw;
}

cv::Mat apply(const cv::Mat& image, const JitterDraw& jitter) {
  cv::Mat result = image;
  for (const int i : jitter.order) {
    const double factor = jitter.factors[i];
    if (factor == (i == 3 ? 0.0 : 1.0)) continue;
    if (i == 0) result = adjust_brightness(result, factor);
    if (i == 1) result = adjust_contrast(result, factor);
    if (i == 2) result = adjust_color(result, factor);
    if (i == 3) result = adjust_hue(result, factor);
  }
  return result;
}

std::string JitterDraw::text() const {
  return fmt::format("{:.2f} {:.2f} {:.2f} hue {:+.2f}", factors[0], factors[1], factors[2],
                     factors[3]);
}

}  // namespace umbra::augment
