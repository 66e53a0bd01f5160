// Crops, flips and resizes: pure functions of their arguments; boxes are drawn outside.
#pragma once

#include <string>
#include <vector>

#include <opencv2/core/mat.hpp>

#include "augment/rng.h"

namespace umbra::augment {

struct Box {
  int x = 0, y = 0, width = 0, height = 0;
};

enum class Interpolation { kBilinear, kBicubic };
Interpolation parse_interpolation(const std::string& name);  // "bilinear" or "bicubic"

// Antialiased resize of an 8-bit image as Pillow's Image.resize does it (ATen's uint8 kernels).
cv::Mat resize(const cv::Mat& image, int width, int height, Interpolation interpolation);

// The part of the image inside the box; shares the pixels.
cv::Mat crop(const cv::Mat& image, const Box& box);

// `padding` black pixels on each side, then the size x size window at (x, y).
cv::Mat pad_and_crop(const cv::Mat& image, int padding, int x, int y, int size);

cv::Mat hflip(const cv::Mat& image);

// timm's evaluation view: shorter side to floor(size / crop_pct), centre crop of size x size.
cv::Mat resize_and_center_crop(const cv::Mat& image, int size, double crop_pct,
                               Interpolation interpolation);

// A box by torchvision's RandomResizedCrop: ten tries of area share in `scale` and log-uniform
// width / height in `ratio`, then the largest central crop within `ratio`.
Box draw_resized_crop(Rng& rng, int width, int height, const std::vector<double>& scale,
                      const std::vector<double>& ratio);

}  // namespace umbra::augment
