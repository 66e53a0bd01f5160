// Mixup (Zhang et al., 2018) and CutMix (Yun et al., 2019) with the semantics of timm's Mixup
// class: the partner of sample i is sample B-1-i; targets are dense and label-smoothed. Odd batches
// are allowed (the middle sample is its own partner).
#pragma once

#include <vector>

#include <torch/types.h>

#include "augment/options.h"
#include "augment/rng.h"

namespace umbra::augment {

// How a sample is mixed with its partner: lambda is the share of the sample itself.
struct Mix {
  double lambda = 1.0;
  bool cutmix = false;
  int64_t y0 = 0, y1 = 0, x0 = 0, x1 = 0;  // CutMix box, half-open
};

// One Mix for the whole batch (mode "batch"), or one for each of its samples.
using MixDraw = std::vector<Mix>;

// One draw per group: row i belongs to group i % groups, as it would to a process of distributed
// training, and is mixed with rows of its group.
using GroupedMixDraw = std::vector<MixDraw>;

// The row that row `row` of `rows` is mixed with.
int64_t mix_partner(int64_t row, int64_t rows, int64_t groups);

// Draws for a batch of `batch` images. Mode "elem" draws for every sample, "pair" for every pair.
MixDraw draw_mix(Rng& rng, const AugmentOptions& options, int64_t batch, int64_t height,
                 int64_t width);

// CutMix around (cy, cx) with sides int(side * sqrt(1 - lambda)), clipped to the image; lambda is
// corrected to the true area. timm 0.3.2 reaches side / 2 to either end, which makes odd sides one
// shorter; with `keep_odd` (timm 1.0.31) they stay as drawn.
Mix cutmix_around(double lambda, int64_t cy, int64_t cx, int64_t height, int64_t width,
                  bool keep_odd);

// images [B, C, H, W] float -> the same shape; `images` itself where nothing is mixed.
torch::Tensor mix_images(const torch::Tensor& images, const MixDraw& draw);
torch::Tensor mix_images(const torch::Tensor& images, const GroupedMixDraw& draws);

// labels [B] int64 -> soft targets [B, num_classes] float32: off = eps / C, on = 1 - eps + off.
torch::Tensor mix_targets(const torch::Tensor& labels, int64_t num_classes, double label_smoothing,
                          const MixDraw& draw);
torch::Tensor mix_targets(const torch::Tensor& labels, int64_t num_classes, double label_smoothing,
                          const GroupedMixDraw& draws);

}  // namespace umbra::augment
