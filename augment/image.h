// Image files to pixels and back. Images are 8-bit cv::Mat with 1 (grey) or 3 (RGB, never BGR)
// interleaved channels.
#pragma once

#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include <opencv2/core/mat.hpp>

namespace umbra::augment {

// A file that cannot be decoded; the caller knows its path.
struct ImageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Box {
  int x = 0, y = 0, width = 0, height = 0;
};

struct ImageHeader {
  std::string format;  // "JPEG", "PNG" or "WebP"
  int width = 0, height = 0;
};

struct DecodeOptions {
  int64_t max_pixels = 178'956'970;  // refuse larger images, as Pillow does (decompression bombs)
  // A JPEG may be decoded at 1/2, 1/4 or 1/8 of its size where more is not wanted. Faster, but
  // changes pixels: off unless asked for.
  bool fast = false;
};

// Looks at the first bytes only. Throws ImageError for what is no JPEG, PNG or WebP.
ImageHeader read_header(std::span<const uint8_t> bytes);

// Decodes a JPEG, PNG or WebP to RGB. As Pillow's Image.open(...).convert("RGB"): grey becomes
// three equal channels, alpha is dropped, EXIF rotation is ignored. A 16-bit PNG keeps its high
// byte (where Pillow would clip a grey one). Throws ImageError if that is not possible.
cv::Mat decode_image(std::span<const uint8_t> bytes, const DecodeOptions& options = {});

// The part of the image inside `window`: the same bytes as decode_image cropped, but of a JPEG only
// what is needed is decoded (a fault below the window is therefore not seen). With options.fast
// the result may be smaller than the window, by a factor of 2, 4 or 8, yet never smaller than
// wanted_width x wanted_height on either side.
cv::Mat decode_window(std::span<const uint8_t> bytes, const Box& window, int wanted_width,
                      int wanted_height, const DecodeOptions& options = {});

std::vector<uint8_t> encode_png(const cv::Mat& image);
std::vector<uint8_t> encode_jpeg(const cv::Mat& image, int quality);  // 4:2:0, as Pillow's default

// True if the file name ends in an image extension that decode_image reads.
bool is_image_name(const std::string& file_name);

}  // namespace umbra::augment
