// Everything that chance decides about one view of a sample.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "augment/color_jitter.h"
#include "augment/image.h"
#include "augment/policy.h"
#include "augment/pretext.h"
#include "augment/resize.h"

namespace umbra::augment {

struct ViewDraw {
  int quarters = 0;  // turned first, counter-clockwise
  Box crop;          // window of the image; of the resized and padded one for "pad" and "simple"
  Interpolation interpolation = Interpolation::kBicubic;
  bool hflip = false, vflip = false;
  DrawnPolicy policy;
  std::optional<JitterDraw> jitter;
  bool grayscale = false;
  double blur_sigma = 0.0;    // 0: no blur
  std::vector<PoolOp> pool;   // SSKD's transformations, in order
  int permutation = 0;        // of the jigsaw
  int64_t pretext_label = 0;  // which rotation or permutation
  std::vector<Box> erased;    // filled after normalisation
  uint64_t noise_seed = 0;    // of that filling

  // What was done, for people: one entry per operation, erasing included.
  std::vector<std::string> texts() const;
};

}  // namespace umbra::augment
