#include "augment/image.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <csetjmp>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <string_view>

#include <jerror.h>
#include <jpeglib.h>
#include <png.h>

namespace umbra::augment {
namespace {

struct JpegErrors {
  jpeg_error_mgr base;
  std::jmp_buf jump;
  bool truncated;
  char message[JMSG_LENGTH_MAX];
};

void on_jpeg_error(j_common_ptr info) {
  auto* errors = reinterpret_cast<JpegErrors*>(info->err);
  errors->base.format_message(info, errors->message);
  std::longjmp(errors->jump, 1);
}

void on_jpeg_warning(j_common_ptr info, int) {
  if (info->err->msg_code != JWRN_JPEG_EOF) return;
  reinterpret_cast<JpegErrors*>(info->err)->truncated = true;
}

// By Pillow's rule, which takes every CMYK JPEG to be inverted, as Adobe writes them.
void cmyk_to_rgb(const cv::Mat& cmyk, cv::Mat& rgb) {
  for (int y = 0; y < cmyk.rows; ++y) {
    const uint8_t* in = cmyk.ptr(y);
    uint8_t* out = rgb.ptr(y);
    for (int x = 0; x < cmyk.cols; ++x, in += 4, out += 3) {
      const int key = in[3];
      for (int c = 0; c < 3; ++c) {
        const int product = (255 - in[c]) * key + 128;
        out[c] = static_cast<uint8_t>(std::clamp(key - ((product + (product >> 8)) >> 8), 0, 255));
      }
    }
  }
}

// libjpeg reports errors by longjmp: no object with a destructor may be made inside.
bool read_jpeg(std::span<const uint8_t> bytes, jpeg_decompress_struct& info, JpegErrors& errors,
               cv::Mat& pixels) {
  if (setjmp(errors.jump)) return false;
  jpeg_create_decompress(&info);
  jpeg_mem_src(&info, bytes.data(), bytes.size());
  jpeg_read_header(&info, TRUE);
  const bool four = info.jpeg_color_space == JCS_CMYK || info.jpeg_color_space == JCS_YCCK;
  info.out_color_space = four ? JCS_CMYK : JCS_RGB;
  jpeg_start_decompress(&info);
  pixels.create(static_cast<int>(info.output_height), static_cast<int>(info.output_width),
                CV_8UC(info.output_components));
  while (info.output_scanline < info.output_height) {
    JSAMPROW row = pixels.ptr(static_cast<int>(info.output_scanline));
    jpeg_read_scanlines(&info, &row, 1);
  }
  return true;
}

cv::Mat decode_jpeg(std::span<const uint8_t> bytes) {
  jpeg_decompress_struct info{};
  JpegErrors errors{};
  info.err = jpeg_std_error(&errors.base);
  errors.base.error_exit = on_jpeg_error;
  errors.base.emit_message = on_jpeg_warning;
  cv::Mat pixels;
  const bool ok = read_jpeg(bytes, info, errors, pixels);
  jpeg_destroy_decompress(&info);
  if (!ok) throw ImageError(std::string("broken JPEG: ") + errors.message);
  if (errors.truncated) throw ImageError("truncated JPEG");
  if (pixels.channels() == 4) {
    cv::Mat rgb(pixels.rows, pixels.cols, CV_8UC3);
    cmyk_to_rgb(pixels, rgb);
    return rgb;
  }
  return pixels;
}

struct PngInput {
  std::span<const uint8_t> bytes;
  size_t position = 0;
  char message[128] = {};
};

void read_png_bytes(png_structp png, png_bytep out, size_t count) {
  auto* input = static_cast<PngInput*>(png_get_io_ptr(png));
  if (count > input->bytes.size() - input->position) png_error(png, "truncated file");
  std::memcpy(out, input->bytes.data() + input->position, count);
  input->position += count;
}

void on_png_error(png_structp png, png_const_charp message) {
  auto* input = static_cast<PngInput*>(png_get_error_ptr(png));
  std::snprintf(input->message, sizeof(input->message), "%s", message);
  png_longjmp(png, 1);
}

void on_png_warning(png_structp, png_const_charp) {}

bool read_png(PngInput& input, png_structp png, png_infop info, cv::Mat& pixels) {
  if (setjmp(png_jmpbuf(png))) return false;
  png_set_read_fn(png, &input, read_png_bytes);
  png_read_info(png, info);
  png_set_expand(png);
  png_set_strip_16(png);
  png_set_strip_alpha(png);
  png_set_gray_to_rgb(png);
  const int passes = png_set_interlace_handling(png);
  png_read_update_info(png, info);
  if (png_get_rowbytes(png, info) != size_t{png_get_image_width(png, info)} * 3) {
    png_error(png, "not convertible to RGB");
  }
  pixels.create(static_cast<int>(png_get_image_height(png, info)),
                static_cast<int>(png_get_image_width(png, info)), CV_8UC3);
  for (int pass = 0; pass < passes; ++pass) {
    for (int y = 0; y < pixels.rows; ++y) png_read_row(png, pixels.ptr(y), nullptr);
  }
  png_read_end(png, nullptr);
  return true;
}

cv::Mat decode_png(std::span<const uint8_t> bytes) {
  PngInput input{bytes};
  png_structp png =
      png_create_read_struct(PNG_LIBPNG_VER_STRING, &input, on_png_error, on_png_warning);
  png_infop info = png_create_info_struct(png);
  cv::Mat pixels;
  const bool ok = read_png(input, png, info, pixels);
  png_destroy_read_struct(&png, &info, nullptr);
  if (!ok) throw ImageError(std::string("broken PNG: ") + input.message);
  return pixels;
}

}  // namespace

cv::Mat decode_image(std::span<const uint8_t> bytes) {
  constexpr std::array<uint8_t, 3> kJpeg = {0xFF, 0xD8, 0xFF};
  constexpr std::array<uint8_t, 4> kPng = {0x89, 'P', 'N', 'G'};
  const auto starts_with = [&](auto& magic) {
    return bytes.size() >= magic.size() && std::equal(magic.begin(), magic.end(), bytes.begin());
  };
  if (starts_with(kJpeg)) return decode_jpeg(bytes);
  if (starts_with(kPng)) return decode_png(bytes);
  throw ImageError(bytes.empty() ? "empty file" : "neither JPEG nor PNG");
}

bool is_image_name(const std::string& file_name) {
  std::string lower = file_name;
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  constexpr std::array<std::string_view, 3> kExtensions = {".jpg", ".jpeg", ".png"};
  return std::any_of(kExtensions.begin(), kExtensions.end(),
                     [&](std::string_view extension) { return lower.ends_with(extension); });
}

}  // namespace umbra::augment
