// Random erasing (Zhong et al., 2020) with timm's semantics: rectangles of a normalised image are
// replaced by noise. Boxes are drawn with the view; the filling happens on the device.
#pragma once

#include <vector>

#include <torch/types.h>

#include "augment/options.h"
#include "augment/rng.h"
#include "augment/view_draw.h"

namespace umbra::augment {

// The rectangles of one view: each has a share of the area uniform in [0.02, 1/3] / count and a
// log-uniform aspect in [0.3, 1/0.3]; one that does not fit in ten tries is left out.
std::vector<Box> draw_erased(Rng& rng, const AugmentOptions& options, int height, int width);

// Fills the boxes that were drawn for each row in place, images [B, C, H, W] float: "pixel":
// standard normal noise; "rand": one normal colour per box; "const": zeros, the mean colour.
void erase(torch::Tensor& images, const std::vector<ViewDraw>& draws, const std::string& mode);

}  // namespace umbra::augment
