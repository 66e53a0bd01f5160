// SSKD's views for self-supervision (Xu et al., "Knowledge Distillation Meets Self-Supervision",
// ECCV 2020, and its supplement 2.2 and 3): each sample gives four rows, the normal image and three
// transformed ones, so that row % 4 == 0 is the normal one.
#pragma once

#include <array>
#include <string>

#include <opencv2/core/mat.hpp>

#include "augment/image.h"
#include "augment/resize.h"
#include "augment/rng.h"

namespace umbra::augment {

cv::Mat rotate_quarters(const cv::Mat& image, int quarters);  // counter-clockwise

// The parts of a 2 x 2 grid in another order: part i of the result is part order[i] of the image;
// an odd side leaves its last row or column where it is. `permutation` counts the 24 orders
// lexicographically; 0 changes nothing.
inline constexpr int kJigsawPermutations = 24;
std::array<int, 4> jigsaw_order(int permutation);
cv::Mat jigsaw(const cv::Mat& image, int permutation);

// One transformation of the pool with everything drawn.
struct PoolOp {
  enum Kind { kColorDrop, kRotation, kCropResize, kColorJitter };
  Kind kind = kColorDrop;
  int quarters = 0;                           // kRotation: 1, 2 or 3
  Box box;                                    // kCropResize: area 0.08 to 1, ratio 3/4 to 4/3
  std::array<double, 3> factors = {1, 1, 1};  // kColorJitter: brightness, contrast, saturation
  double hue = 0.0;                           // kColorJitter: turns, -0.1 to 0.1

  std::string name() const;
  std::string text() const;  // with what was drawn
};

PoolOp draw_pool_op(Rng& rng, PoolOp::Kind kind, int width, int height);
PoolOp draw_pool_op(Rng& rng, int width, int height);  // of the four kinds, uniformly

// The image as changed by one transformation; its size stays.
cv::Mat apply(const cv::Mat& image, const PoolOp& op, Interpolation interpolation);

}  // namespace umbra::augment
