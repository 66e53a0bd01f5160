// JPEG by libjpeg-turbo. image.h says what comes out.
#pragma once

#include "augment/image.h"

namespace umbra::augment {

bool is_jpeg(std::span<const uint8_t> bytes);
ImageHeader read_jpeg_header(std::span<const uint8_t> bytes);
cv::Mat decode_jpeg(std::span<const uint8_t> bytes, const DecodeOptions& options);
cv::Mat decode_jpeg_window(std::span<const uint8_t> bytes, const Box& window, int wanted_width,
                           int wanted_height, const DecodeOptions& options);

}  // namespace umbra::augment
