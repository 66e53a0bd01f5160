#include "augment/resize.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include <fmt/format.h>

#include "augment/resize_kernels.h"

namespace umbra::augment {
namespace {

double triangle(double x) { return std::max(1.0 - std::abs(x), 0.0); }

// Keys' cubic convolution kernel (1981).
double cubic(double x) {
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
  if (x < 2.0) return (((x - 5.0) * x + 8.0) * x - 4.0) * a;
  return 0.0;
}

// Half away from zero.
int32_t to_fixed_point(double weight) {
  return static_cast<int32_t>(weight * (1 << kWeightBits) + std::copysign(0.5, weight));
}

// When shrinking, the filter is stretched by the factor: this is what prevents aliasing.
Taps make_taps(int in_size, int out_size, Interpolation interpolation) {
  const auto filter = interpolation == Interpolation::kBicubic ? cubic : triangle;
  const double scale = static_cast<double>(in_size) / out_size;
  const double stretch = std::max(scale, 1.0);
  const double support = (interpolation == Interpolation::kBicubic ? 2.0 : 1.0) * stretch;

  Taps taps;
  taps.stride = static_cast<int>(std::ceil(support)) * 2 + 1;
  taps.weights.resize(size_t{1} * out_size * taps.stride);
  std::vector<double> weights(taps.stride);
  for (int i = 0; i < out_size; ++i) {
    const double center = (i + 0.5) * scale;
    const int first = std::max(static_cast<int>(center - support + 0.5), 0);
    const int count = std::min(static_cast<int>(center + support + 0.5), in_size) - first;
    double sum = 0.0;
    for (int k = 0; k < count; ++k) {
      weights[k] = filter((k + first - center + 0.5) * (1.0 / stretch));
      sum += weights[k];
    }
    int32_t* out = &taps.weights[size_t{1} * i * taps.stride];
    for (int k = 0; k < count; ++k) out[k] = to_fixed_point(weights[k] / sum);
    taps.first.push_back(first);
    taps.count.push_back(count);
  }
  return taps;
}

}  // namespace

Interpolation parse_interpolation(const std::string& name) {
  if (name == "bilinear") return Interpolation::kBilinear;
  if (name == "bicubic") return Interpolation::kBicubic;
  throw std::invalid_argument(
      fmt::format("unknown interpolation '{}': 'bilinear' or 'bicubic' expected", name));
}

cv::Mat resize(const cv::Mat& image, int width, int height, Interpolation interpolation) {
  return resize(image, width, height, interpolation, resize_kernels().back());
}

cv::Mat resize(const cv::Mat& image, int width, int height, Interpolation interpolation,
               const ResizeKernel& kernel) {
  if (image.empty() || (image.type() != CV_8UC1 && image.type() != CV_8UC3)) {
    throw std::invalid_argument("resize: an 8-bit image with 1 or 3 channels expected");
  }
  if (width < 1 || height < 1) {
    throw std::invalid_argument(fmt::format("resize: to {} x {} pixels", width, height));
  }
  if (width == image.cols && height == image.rows) return image;
  cv::Mat result(height, width, image.type());
  kernel.run(image, make_taps(image.cols, width, interpolation),
             make_taps(image.rows, height, interpolation), result);
  return result;
}

}  // namespace umbra::augment
