// SSKD's views for self-supervision (Xu et al., "Knowledge Distillation Meets Self-Supervision",
// ECCV 2020, and its supplement 2.2 and 3): each sample gives four rows, the normal image and three
// transformed ones, so that row % 4 == 0 is the normal one.
#pragma once

#include <array>
#include <string>
#include <vector>

#include <opencv2/core/mat.hpp>

#include "augment/color_jitter.h"
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
  int quarters = 0;   // kRotation: 1, 2 or 3
  Box box;            // kCropResize: area 0.08 to 1, ratio 3/4 to 4/3
  JitterDraw jitter;  // kColorJitter: factors 0.6 to 1.4, hue -0.1 to 0.1 turns

  std::string name() const;
  std::string text() const;  // with what was drawn
};

PoolOp draw_pool_op(Rng& rng, int width, int height);  // of the four kinds, uniformly

// One to four of the kinds, every set of them equally likely.
std::vector<PoolOp> draw_exemplar(Rng& rng, int width, int height);

// The image as changed by one transformation; its size stays.
cv::Mat apply(const cv::Mat& image, const PoolOp& op, Interpolation interpolation);

}  // namespace umbra::augment
