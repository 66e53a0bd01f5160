// From a decoded image to the square 8-bit view the network sees.
#pragma once

#include "augment/geometry.h"
#include "augment/options.h"

namespace umbra::augment {

// The training view: crop, then flip; every draw comes from `rng`.
cv::Mat train_view(const cv::Mat& image, const AugmentOptions& options, Rng& rng);

// The evaluation view: shorter side to image_size / crop_pct, centre crop. No chance.
cv::Mat eval_view(const cv::Mat& image, const AugmentOptions& options);

}  // namespace umbra::augment
