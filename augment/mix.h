// Mixup (Zhang et al., 2018) and CutMix (Yun et al., 2019) with timm's batch-mode semantics: the
// partner of sample i is sample B-1-i; targets are dense and label-smoothed. Odd batches are
// allowed (the middle sample is its own partner).
#pragma once

#include <torch/types.h>

#include "augment/options.h"
#include "augment/rng.h"

namespace umbra::augment {

// What was drawn for a batch: lambda is the share of the sample itself.
struct MixDraw {
  double lambda = 1.0;
  bool cutmix = false;
  int64_t y0 = 0, y1 = 0, x0 = 0, x1 = 0;  // CutMix box, half-open
};

// timm 0.3.2's box: centre uniform over the image, sides int(side * sqrt(1 - lambda)), clipped;
// lambda is then corrected to the true area.
MixDraw draw_mix(Rng& rng, const AugmentOptions& options, int64_t height, int64_t width);

// The box of CutMix around (cy, cx), and the lambda that its clipped area leaves.
MixDraw cutmix_box(double lambda, int64_t cy, int64_t cx, int64_t height, int64_t width);

// images [B, C, H, W] float -> the same shape; `images` itself where nothing is mixed.
torch::Tensor mix_images(const torch::Tensor& images, const MixDraw& draw);

// labels [B] int64 -> soft targets [B, num_classes] float32: off = eps / C, on = 1 - eps + off.
torch::Tensor mix_targets(const torch::Tensor& labels, int64_t num_classes, double label_smoothing,
                          const MixDraw& draw);

}  // namespace umbra::augment
