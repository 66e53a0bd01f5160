// Crops, flips and resizes: pure functions of their arguments; boxes are drawn outside.
#pragma once

#include <vector>

#include "augment/image.h"
#include "augment/resize.h"
#include "augment/rng.h"

namespace umbra::augment {

// The part of the image inside the box; shares the pixels.
cv::Mat crop(const cv::Mat& image, const Box& box);

// `padding` pixels on each side, black or mirrored at the edge (which is not repeated), then the
// size x size window at (x, y).
enum class Padding { kBlack, kReflect };
cv::Mat pad_and_crop(const cv::Mat& image, int padding, Padding kind, int x, int y, int size);

cv::Mat hflip(const cv::Mat& image);
cv::Mat vflip(const cv::Mat& image);

// Resizes so that the shorter side becomes `shorter`; the other is rounded down, as torchvision's
// and timm's Resize do.
cv::Mat resize_shorter(const cv::Mat& image, int shorter, Interpolation interpolation);

// timm's evaluation view: shorter side to floor(size / crop_pct), centre crop of size x size.
cv::Mat resize_and_center_crop(const cv::Mat& image, int size, double crop_pct,
                               Interpolation interpolation);

// A box by torchvision's RandomResizedCrop: ten tries of area share in `scale` and log-uniform
// width / height in `ratio`, then the largest central crop within `ratio`.
Box draw_resized_crop(Rng& rng, int width, int height, const std::vector<double>& scale,
                      const std::vector<double>& ratio);

}  // namespace umbra::augment
