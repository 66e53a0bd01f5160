#include "augment/webp.h"

#include <cstring>

#include <webp/decode.h>

#include "augment/decode_checks.h"

namespace umbra::augment {
namespace {

std::string reason(VP8StatusCode status) {
  switch (status) {
    case VP8_STATUS_NOT_ENOUGH_DATA:
    case VP8_STATUS_SUSPENDED:
      return "truncated WebP";
    case VP8_STATUS_OUT_OF_MEMORY:
      return "broken WebP: not enough memory";
    case VP8_STATUS_UNSUPPORTED_FEATURE:
      return "broken WebP: unsupported feature";
    default:
      return "broken WebP: bad bitstream";
  }
}

void check(VP8StatusCode status) {
  if (status != VP8_STATUS_OK) throw ImageError(reason(status));
}

// libwebp itself would not miss what stands behind the pixels.
void check_length(std::span<const uint8_t> bytes) {
  size_t length = 0;  // of the rest behind this field, little-endian
  for (int i = 3; i >= 0; --i) length = length << 8 | bytes[4 + i];
  if (bytes.size() - 8 < length) throw ImageError("truncated WebP");
}

WebPBitstreamFeatures read_features(std::span<const uint8_t> bytes) {
  WebPBitstreamFeatures features;
  check(WebPGetFeatures(bytes.data(), bytes.size(), &features));
  if (features.has_animation) throw ImageError("an animated WebP, wanted a single image");
  return features;
}

}  // namespace

bool is_webp(std::span<const uint8_t> bytes) {
  return bytes.size() >= 12 && std::memcmp(bytes.data(), "RIFF", 4) == 0 &&
         std::memcmp(bytes.data() + 8, "WEBP", 4) == 0;
}

ImageHeader read_webp_header(std::span<const uint8_t> bytes) {
  const WebPBitstreamFeatures features = read_features(bytes);
  return {"WebP", features.width, features.height};
}

cv::Mat decode_webp(std::span<const uint8_t> bytes, const DecodeOptions& options) {
  WebPDecoderConfig config;
  if (!WebPInitDecoderConfig(&config)) throw ImageError("this is not the libwebp of the headers");
  config.input = read_features(bytes);
  check_pixels(config.input.width, config.input.height, options);
  check_length(bytes);
  cv::Mat pixels(config.input.height, config.input.width, CV_8UC3);
  config.output.colorspace = MODE_RGB;
  config.output.is_external_memory = 1;
  config.output.u.RGBA = {pixels.data, static_cast<int>(pixels.step),
                          pixels.step * static_cast<size_t>(pixels.rows)};
  check(WebPDecode(bytes.data(), bytes.size(), &config));
  return pixels;
}

}  // namespace umbra::augment
