// WebP, lossy and lossless, by libwebp. image.h says what comes out; an animation is refused.
#pragma once

#include "augment/image.h"

namespace umbra::augment {

bool is_webp(std::span<const uint8_t> bytes);
ImageHeader read_webp_header(std::span<const uint8_t> bytes);
cv::Mat decode_webp(std::span<const uint8_t> bytes, const DecodeOptions& options);

}  // namespace umbra::augment
