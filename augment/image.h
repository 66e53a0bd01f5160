// Images as 8-bit cv::Mat with 1 (grey) or 3 (RGB, never BGR) interleaved channels.
#pragma once

#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>

#include <opencv2/core/mat.hpp>

namespace umbra::augment {

// A file that cannot be decoded; the caller knows its path.
struct ImageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Decodes a JPEG or PNG to RGB. As Pillow's Image.open(...).convert("RGB"): grey becomes three
// equal channels, alpha is dropped, EXIF rotation is ignored. A 16-bit PNG keeps its high byte
// (where Pillow would clip a grey one). Throws ImageError for anything else.
cv::Mat decode_image(std::span<const uint8_t> bytes);

// True if the file name ends in an image extension that decode_image reads.
bool is_image_name(const std::string& file_name);

}  // namespace umbra::augment
