// Samples of the binary formats that store an image as a red, a green and a blue plane.
#pragma once

#include <cstdint>
#include <vector>

namespace umbra {

struct PlanarSamples {
  std::vector<uint8_t> pixels;  // interleaved, image after image, row by row
  std::vector<int64_t> labels;

  // Appends the square image whose pixel (y, x) is at y * y_stride + x * x_stride of each plane.
  void append_image(const uint8_t* planes, int side, int64_t y_stride, int64_t x_stride) {
    const int64_t plane = int64_t{side} * side;
    for (int64_t y = 0; y < side; ++y) {
      for (int64_t x = 0; x < side; ++x) {
        const uint8_t* pixel = planes + y * y_stride + x * x_stride;
        pixels.insert(pixels.end(), {pixel[0], pixel[plane], pixel[2 * plane]});
      }
    }
  }
};

}  // namespace umbra
