// An image on its way into the pipeline: pixels, or the bytes of a file that are decoded when, and
// as far as, they are needed.
#pragma once

#include <utility>

#include "augment/image.h"

namespace umbra::augment {

class LazyImage {
 public:
  explicit LazyImage(cv::Mat pixels)
      : pixels_(std::move(pixels)), width_(pixels_.cols), height_(pixels_.rows) {}

  // Reads the header only. Throws ImageError.
  LazyImage(std::vector<uint8_t> file, const DecodeOptions& options)
      : file_(std::move(file)), options_(options) {
    const ImageHeader header = read_header(file_);
    width_ = header.width;
    height_ = header.height;
  }

  int width() const { return width_; }
  int height() const { return height_; }

  // The encoded file; empty for an image that is in memory as pixels.
  std::span<const uint8_t> file() const { return file_; }

  // The whole image. Throws ImageError.
  cv::Mat pixels() const { return file_.empty() ? pixels_ : decode_image(file_, options_); }

  // The part inside `window`, on its way to being resized to width x height; may share the pixels.
  cv::Mat window(const Box& box, int width, int height) const {
    if (file_.empty()) return pixels_(cv::Rect(box.x, box.y, box.width, box.height));
    return decode_window(file_, box, width, height, options_);
  }

 private:
  cv::Mat pixels_;
  std::vector<uint8_t> file_;  // empty: pixels_ holds the image
  DecodeOptions options_;
  int width_ = 0, height_ = 0;
};

}  // namespace umbra::augment
