// Antialiased resampling that equals Pillow's Image.resize byte for byte: two passes, horizontal
// then vertical, 8 bits between them, weights in 22-bit fixed point.
#pragma once

#include <string>

#include <opencv2/core/mat.hpp>

namespace umbra::augment {

enum class Interpolation { kBilinear, kBicubic };

// "bilinear" or "bicubic"; anything else throws std::invalid_argument.
Interpolation parse_interpolation(const std::string& name);

// `image` has 1 or 3 channels and may be part of a larger one. The result is `image` itself,
// sharing its pixels, where the size is already right. Bicubic is Keys' cubic with a = -0.5. Throws
// std::invalid_argument for an empty or other image, or a side below 1.
cv::Mat resize(const cv::Mat& image, int width, int height, Interpolation interpolation);

}  // namespace umbra::augment
