// The inner loops of resize, in plain C++ and for some instruction sets; all give the same bytes.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <opencv2/core/mat.hpp>

#include "augment/resize.h"

namespace umbra::augment {

constexpr int kWeightBits = 22;  // weights are in units of 2^-22

// What the outputs along one axis are made of. Output i is the sum of inputs first[i] + k times
// weights[i * stride + k], for k < count[i].
struct Taps {
  int stride = 0;
  std::vector<int> first, count;
  std::vector<int32_t> weights;
};

// Both passes, from `image` to the allocated `result`.
struct ResizeKernel {
  const char* name;
  void (*run)(const cv::Mat& image, const Taps& columns, const Taps& rows, cv::Mat& result);
};

// Those that this processor can run, the fastest last.
std::span<const ResizeKernel> resize_kernels();

cv::Mat resize(const cv::Mat& image, int width, int height, Interpolation interpolation,
               const ResizeKernel& kernel);

}  // namespace umbra::augment
