#include <algorithm>
#include <stdexcept>

#include "augment/image.h"
#include "tests/fuzz/targets.h"

namespace umbra::test {
namespace {

// Any window inside the image, the same one for the same bytes.
augment::Box window_of(std::span<const uint8_t> bytes, int width, int height) {
  uint32_t state = static_cast<uint32_t>(bytes.size());
  for (const uint8_t byte : bytes.last(std::min<size_t>(bytes.size(), 64))) {
    state = state * 31 + byte;
  }
  const auto draw = [&](int count) {
    state = state * 1664525 + 1013904223;
    return static_cast<int>((state >> 8) % static_cast<uint32_t>(count));
  };
  augment::Box box;
  box.width = 1 + draw(width);
  box.height = 1 + draw(height);
  box.x = draw(width - box.width + 1);
  box.y = draw(height - box.height + 1);
  return box;
}

void require(bool holds, const char* what) {
  if (!holds) throw std::logic_error(what);
}

void decode_whole(std::span<const uint8_t> bytes, const augment::ImageHeader& header,
                  const augment::DecodeOptions& options) {
  try {
    const cv::Mat image = augment::decode_image(bytes, options);
    require(image.cols == header.width && image.rows == header.height && image.type() == CV_8UC3,
            "the image is not what its header says");
  } catch (const augment::ImageError&) {
  }
}

void decode_part(std::span<const uint8_t> bytes, const augment::Box& box, int divisor,
                 const augment::DecodeOptions& options) {
  const int width = std::max(box.width / divisor, 1), height = std::max(box.height / divisor, 1);
  try {
    const cv::Mat part = augment::decode_window(bytes, box, width, height, options);
    require(part.cols >= width && part.rows >= height && part.type() == CV_8UC3,
            "the part is smaller than wanted");
  } catch (const augment::ImageError&) {
  }
}

}  // namespace

void fuzz_decode(std::span<const uint8_t> bytes) {
  augment::ImageHeader header;
  try {
    header = augment::read_header(bytes);
  } catch (const augment::ImageError&) {
    return;
  }
  augment::DecodeOptions options{.max_pixels = 1 << 18};
  decode_whole(bytes, header, options);
  const augment::Box box = window_of(bytes, header.width, header.height);
  decode_part(bytes, box, 1, options);
  options.fast = true;
  decode_part(bytes, box, 2 << bytes.back() % 3, options);
}

}  // namespace umbra::test
