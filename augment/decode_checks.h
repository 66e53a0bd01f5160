// What every decoder checks before it allocates.
#pragma once

#include <stdexcept>

#include <fmt/format.h>

#include "augment/image.h"

namespace umbra::augment {

inline void check_pixels(int64_t width, int64_t height, const DecodeOptions& options) {
  if (width * height <= options.max_pixels) return;
  throw ImageError(fmt::format("an image of {}x{}, which is {} pixels, wanted at most {}", width,
                               height, width * height, options.max_pixels));
}

// Throws std::invalid_argument: that the window lies inside the image is the caller's business.
inline void check_window(const Box& window, int width, int height) {
  const bool inside = window.width > 0 && window.x >= 0 && window.x <= width - window.width &&
                      window.height > 0 && window.y >= 0 && window.y <= height - window.height;
  if (inside) return;
  throw std::invalid_argument(fmt::format("got a window of {}x{} at ({}, {}), wanted one in {}x{}",
                                          window.width, window.height, window.x, window.y, width,
                                          height));
}

}  // namespace umbra::augment
