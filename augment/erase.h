// Random erasing (Zhong et al., 2020) with timm's semantics: rectangles of a normalised image are
// replaced by noise. Boxes are drawn with the view; the filling happens on the device.
#pragma once

#include <vector>

#include <torch/types.h>

#include "augment/image.h"
#include "augment/options.h"
#include "augment/rng.h"

namespace umbra::augment {

// The rectangles of one view: each has a share of the area uniform in [0.02, 1/3] / count and a
// log-uniform aspect in [0.3, 1/0.3]; one that does not fit in ten tries is left out.
std::vector<Box> draw_erased(Rng& rng, const AugmentOptions& options, int height, int width);

// What is to be erased from one row of a batch.
struct Erased {
  int64_t row = 0;
  std::vector<Box> boxes;
  uint64_t seed = 0;  // of the noise
};

// Fills the boxes in place, images [B, C, H, W] float: "pixel": standard normal noise; "rand": one
// normal colour per box; "const": zeros, the mean colour.
void erase(torch::Tensor& images, const std::vector<Erased>& erased, const std::string& mode);

}  // namespace umbra::augment
