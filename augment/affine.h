// Affine transforms with Pillow's sampling, byte for byte (Image.transform, Image.rotate), of RGB
// and grey images; the result has the size of the image. std::invalid_argument for other images and
// for numbers that are not finite.
#pragma once

#include <array>

#include "augment/resize.h"

namespace umbra::augment {

// Maps output to input pixels, both counted from the corner: x_in = a x + b y + c,
// y_in = d x + e y + f, in the order (a, b, c, d, e, f).
using AffineMatrix = std::array<double, 6>;

// What lies outside the image becomes `fill`. Bicubic is the cubic with a = -1, unlike in resize.
cv::Mat affine(const cv::Mat& image, const AffineMatrix& matrix, Interpolation interpolation,
               const cv::Scalar& fill);

cv::Mat rotate(const cv::Mat& image, double degrees, Interpolation interpolation,
               const cv::Scalar& fill);  // counter-clockwise about the centre, same size
cv::Mat shear_x(const cv::Mat& image, double factor, Interpolation interpolation,
                const cv::Scalar& fill);  // about the top-left corner
cv::Mat shear_y(const cv::Mat& image, double factor, Interpolation interpolation,
                const cv::Scalar& fill);
// In pixels, fractions allowed; positive moves the content left (up).
cv::Mat translate_x(const cv::Mat& image, double pixels, Interpolation interpolation,
                    const cv::Scalar& fill);
cv::Mat translate_y(const cv::Mat& image, double pixels, Interpolation interpolation,
                    const cv::Scalar& fill);

}  // namespace umbra::augment
