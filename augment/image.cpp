#include "augment/image.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <string_view>
#include <utility>

#include "augment/decode_checks.h"
#include "augment/jpeg.h"
#include "augment/lower_case.h"
#include "augment/png.h"
#include "augment/webp.h"

namespace umbra::augment {
namespace {

enum class Format { kJpeg, kPng, kWebp };

bool looks_like_text(std::string_view start) {
  return std::all_of(start.begin(), start.end(), [](unsigned char c) {
    return c < 0x80 && (std::isprint(c) || std::isspace(c));
  });
}

// What the file is instead, with its article; empty if that is not known.
std::string_view name_foreign(std::string_view start) {
  using namespace std::string_view_literals;
  constexpr std::array<std::pair<std::string_view, std::string_view>, 5> kSignatures = {
      {{"GIF8"sv, "a GIF file"sv},
       {"BM"sv, "a BMP file"sv},
       {"II*\0"sv, "a TIFF file"sv},
       {"MM\0*"sv, "a TIFF file"sv},
       {"ftyp"sv, "an AVIF or HEIC file"sv}}};
  for (const auto& [signature, name] : kSignatures) {
    const size_t position = signature == "ftyp" ? 4 : 0;
    if (start.substr(std::min(position, start.size())).starts_with(signature)) return name;
  }
  if (start.size() > 2 && start[0] == 'P' && start[1] >= '1' && start[1] <= '6' &&
      std::isspace(static_cast<unsigned char>(start[2]))) {
    return "a PPM file";
  }
  if (!looks_like_text(start)) return "";
  const size_t text = start.find_first_not_of(" \t\r\n");
  return text != start.npos && start[text] == '<' ? "an HTML or XML file" : "a text file";
}

Format format_of(std::span<const uint8_t> bytes) {
  if (is_jpeg(bytes)) return Format::kJpeg;
  if (is_png(bytes)) return Format::kPng;
  if (is_webp(bytes)) return Format::kWebp;
  if (bytes.empty()) throw ImageError("empty file");
  const std::string_view foreign = name_foreign(
      {reinterpret_cast<const char*>(bytes.data()), std::min<size_t>(bytes.size(), 64)});
  if (foreign.empty()) throw ImageError("not a JPEG, PNG or WebP file");
  throw ImageError(fmt::format("{}, wanted JPEG, PNG or WebP", foreign));
}

}  // namespace

ImageHeader read_header(std::span<const uint8_t> bytes) {
  switch (format_of(bytes)) {
    case Format::kJpeg:
      return read_jpeg_header(bytes);
    case Format::kPng:
      return read_png_header(bytes);
    default:
      return read_webp_header(bytes);
  }
}

cv::Mat decode_image(std::span<const uint8_t> bytes, const DecodeOptions& options) {
  switch (format_of(bytes)) {
    case Format::kJpeg:
      return decode_jpeg(bytes, options);
    case Format::kPng:
      return decode_png(bytes, options);
    default:
      return decode_webp(bytes, options);
  }
}

cv::Mat decode_window(std::span<const uint8_t> bytes, const Box& window, int wanted_width,
                      int wanted_height, const DecodeOptions& options) {
  if (is_jpeg(bytes)) {
    return decode_jpeg_window(bytes, window, wanted_width, wanted_height, options);
  }
  const cv::Mat image = decode_image(bytes, options);
  check_window(window, image.cols, image.rows);
  return image(cv::Rect(window.x, window.y, window.width, window.height));
}

bool is_image_name(const std::string& file_name) {
  const std::string lower = lower_case(file_name);
  constexpr std::array<std::string_view, 4> kExtensions = {".jpg", ".jpeg", ".png", ".webp"};
  return std::any_of(kExtensions.begin(), kExtensions.end(),
                     [&](std::string_view extension) { return lower.ends_with(extension); });
}

}  // namespace umbra::augment
