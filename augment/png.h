// PNG by libpng. image.h says what comes out.
#pragma once

#include "augment/image.h"

namespace umbra::augment {

bool is_png(std::span<const uint8_t> bytes);
ImageHeader read_png_header(std::span<const uint8_t> bytes);
cv::Mat decode_png(std::span<const uint8_t> bytes, const DecodeOptions& options);

}  // namespace umbra::augment
