#include "augment/image.h"

#include <csetjmp>
#include <cstdio>
#include <cstdlib>

#include <jpeglib.h>
#include <png.h>

#include <gtest/gtest.h>
#include <opencv2/core.hpp>

namespace umbra::augment {
namespace {

using Bytes = std::vector<uint8_t>;

struct Jpeg {
  int width = 16, height = 8;
  std::vector<uint8_t> colour;  // of every pixel: 1, 3 or 4 channels
  bool progressive = false;
  Bytes exif = {};
};

Bytes encode(const Jpeg& image) {
  const int channels = static_cast<int>(image.colour.size());
  jpeg_compress_struct info{};
  jpeg_error_mgr errors{};
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  uint8_t* buffer = nullptr;
  unsigned long size = 0;  // NOLINT: libjpeg's type
  jpeg_mem_dest(&info, &buffer, &size);
  info.image_width = image.width;
  info.image_height = image.height;
  info.input_components = channels;
  info.in_color_space = channels == 1 ? JCS_GRAYSCALE : channels == 3 ? JCS_RGB : JCS_CMYK;
  jpeg_set_defaults(&info);
  jpeg_set_quality(&info, 95, TRUE);
  if (image.progressive) jpeg_simple_progression(&info);
  jpeg_start_compress(&info, TRUE);
  if (!image.exif.empty()) {
    jpeg_write_marker(&info, JPEG_APP0 + 1, image.exif.data(),
                      static_cast<unsigned>(image.exif.size()));
  }
  Bytes row;
  for (int x = 0; x < image.width; ++x) {
    row.insert(row.end(), image.colour.begin(), image.colour.end());
  }
  for (int y = 0; y < image.height; ++y) {
    JSAMPROW rows[1] = {row.data()};
    jpeg_write_scanlines(&info, rows, 1);
  }
  jpeg_finish_compress(&info);
  Bytes bytes(buffer, buffer + size);
  jpeg_destroy_compress(&info);
  std::free(buffer);
  return bytes;
}

struct Png {
  int width, height, bits, type;
  Bytes rows;  // as in the file, after filtering
  std::vector<png_color> palette = {};
  bool interlaced = false;
};

Bytes encode(const Png& image) {
  Bytes bytes;
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop info = png_create_info_struct(png);
  const auto write = [](png_structp to, png_bytep data, size_t size) {
    auto* out = static_cast<Bytes*>(png_get_io_ptr(to));
    out->insert(out->end(), data, data + size);
  };
  png_set_write_fn(png, &bytes, write, nullptr);
  png_set_IHDR(png, info, image.width, image.height, image.bits, image.type,
               image.interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE,
               PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  if (!image.palette.empty()) {
    png_set_PLTE(png, info, image.palette.data(), static_cast<int>(image.palette.size()));
  }
  png_write_info(png, info);
  Bytes rows = image.rows;
  std::vector<png_bytep> pointers;
  for (int y = 0; y < image.height; ++y) {
    pointers.push_back(rows.data() + rows.size() / image.height * y);
  }
  png_write_image(png, pointers.data());
  png_write_end(png, info);
  png_destroy_write_struct(&png, &info);
  return bytes;
}

Bytes rgb_png() {
  return encode(Png{2, 2, 8, PNG_COLOR_TYPE_RGB, {1, 2, 3, 4, 5, 6, 255, 0, 128, 9, 8, 7}});
}

std::vector<int> pixel(const cv::Mat& image, int y, int x) {
  const auto value = image.at<cv::Vec3b>(y, x);
  return {value[0], value[1], value[2]};
}

void expect_colour(const cv::Mat& image, const std::vector<int>& wanted, int tolerance) {
  ASSERT_EQ(image.type(), CV_8UC3);
  for (int y = 0; y < image.rows; ++y) {
    for (int x = 0; x < image.cols; ++x) {
      for (int c = 0; c < 3; ++c) {
        ASSERT_NEAR(pixel(image, y, x)[c], wanted[c], tolerance) << y << ", " << x << ", " << c;
      }
    }
  }
}

std::string error_of(std::span<const uint8_t> bytes) {
  try {
    decode_image(bytes);
  } catch (const ImageError& error) {
    return error.what();
  }
  return "";
}

TEST(Jpeg, GivesRgbInThatOrder) {
  const cv::Mat image = decode_image(encode(Jpeg{.colour = {200, 100, 20}}));
  EXPECT_EQ(image.size(), cv::Size(16, 8));
  expect_colour(image, {200, 100, 20}, 2);
}

TEST(Jpeg, GreyBecomesThreeEqualChannels) {
  expect_colour(decode_image(encode(Jpeg{.colour = {77}})), {77, 77, 77}, 1);
}

TEST(Jpeg, ProgressiveIsRead) {
  const Jpeg image{.colour = {10, 180, 90}, .progressive = true};
  expect_colour(decode_image(encode(image)), {10, 180, 90}, 2);
}

TEST(Jpeg, CmykIsTakenAsInverted) {
  expect_colour(decode_image(encode(Jpeg{.colour = {200, 100, 20, 255}})), {200, 100, 20}, 2);
  expect_colour(decode_image(encode(Jpeg{.colour = {255, 255, 255, 128}})), {128, 128, 128}, 2);
}

TEST(Jpeg, ExifRotationIsIgnored) {
  const Bytes rotate = {'E', 'x',  'i', 'f', 0, 0, 'M', 'M', 0, 42, 0, 0, 0, 8,  // header
                        0,   1,                                                  // one entry
                        1,   0x12, 0,   3,   0, 0, 0,   1,   0, 6,  0, 0,        // orientation 6
                        0,   0,    0,   0};
  const Jpeg image{.width = 16, .height = 8, .colour = {9, 9, 9}, .exif = rotate};
  EXPECT_EQ(decode_image(encode(image)).size(), cv::Size(16, 8));
}

TEST(Jpeg, TruncationIsAnErrorWhereverItFalls) {
  for (const bool progressive : {false, true}) {
    const Bytes whole = encode(Jpeg{64, 64, {200, 100, 20}, progressive, {}});
    for (size_t length = 0; length + 16 < whole.size(); ++length) {
      EXPECT_NE(error_of({whole.data(), length}), "") << length << " of " << whole.size();
    }
  }
  const Bytes whole = encode(Jpeg{64, 64, {200, 100, 20}, false, {}});
  EXPECT_EQ(error_of({whole.data(), whole.size() - 20}).substr(0, 9), "truncated");
}

TEST(Jpeg, GarbageAfterTheSignatureIsAnError) {
  EXPECT_EQ(error_of(Bytes{0xFF, 0xD8, 0xFF, 'n', 'o', 'n', 'e'}).substr(0, 11), "broken JPEG");
}

TEST(Png, RgbIsExact) {
  const cv::Mat image = decode_image(rgb_png());
  ASSERT_EQ(image.type(), CV_8UC3);
  EXPECT_EQ(pixel(image, 0, 0), (std::vector{1, 2, 3}));
  EXPECT_EQ(pixel(image, 0, 1), (std::vector{4, 5, 6}));
  EXPECT_EQ(pixel(image, 1, 0), (std::vector{255, 0, 128}));
  EXPECT_EQ(pixel(image, 1, 1), (std::vector{9, 8, 7}));
}

TEST(Png, InterlacedIsExact) {
  Bytes rows;
  for (int i = 0; i < 9 * 7 * 3; ++i) rows.push_back(static_cast<uint8_t>(37 * i));
  const Png plain{9, 7, 8, PNG_COLOR_TYPE_RGB, rows};
  Png interlaced = plain;
  interlaced.interlaced = true;
  const cv::Mat a = decode_image(encode(plain)), b = decode_image(encode(interlaced));
  EXPECT_EQ(Bytes(a.datastart, a.dataend), rows);
  EXPECT_EQ(Bytes(b.datastart, b.dataend), rows);
}

TEST(Png, GreyBecomesThreeEqualChannels) {
  const cv::Mat image = decode_image(encode(Png{2, 1, 8, PNG_COLOR_TYPE_GRAY, {7, 250}}));
  EXPECT_EQ(pixel(image, 0, 0), (std::vector{7, 7, 7}));
  EXPECT_EQ(pixel(image, 0, 1), (std::vector{250, 250, 250}));
}

TEST(Png, OneBitGreyIsBlackAndWhite) {
  const cv::Mat image = decode_image(encode(Png{2, 1, 1, PNG_COLOR_TYPE_GRAY, {0b01000000}}));
  EXPECT_EQ(pixel(image, 0, 0), (std::vector{0, 0, 0}));
  EXPECT_EQ(pixel(image, 0, 1), (std::vector{255, 255, 255}));
}

TEST(Png, PaletteIsLookedUp) {
  const Png image{2, 1, 8, PNG_COLOR_TYPE_PALETTE, {1, 0}, {{1, 2, 3}, {200, 100, 50}}};
  EXPECT_EQ(pixel(decode_image(encode(image)), 0, 0), (std::vector{200, 100, 50}));
  EXPECT_EQ(pixel(decode_image(encode(image)), 0, 1), (std::vector{1, 2, 3}));
}

TEST(Png, AlphaIsDroppedNotBlended) {
  const Bytes colour = encode(Png{1, 1, 8, PNG_COLOR_TYPE_RGBA, {200, 100, 50, 0}});
  EXPECT_EQ(pixel(decode_image(colour), 0, 0), (std::vector{200, 100, 50}));
  const Bytes grey = encode(Png{1, 1, 8, PNG_COLOR_TYPE_GRAY_ALPHA, {99, 3}});
  EXPECT_EQ(pixel(decode_image(grey), 0, 0), (std::vector{99, 99, 99}));
}

TEST(Png, SixteenBitsKeepTheHighByte) {
  const Bytes colour =
      encode(Png{1, 1, 16, PNG_COLOR_TYPE_RGB, {0x12, 0xFF, 0x80, 0x00, 0xFE, 0xFF}});
  EXPECT_EQ(pixel(decode_image(colour), 0, 0), (std::vector{0x12, 0x80, 0xFE}));
  const Bytes grey = encode(Png{1, 1, 16, PNG_COLOR_TYPE_GRAY, {0x34, 0xFF}});
  EXPECT_EQ(pixel(decode_image(grey), 0, 0), (std::vector{0x34, 0x34, 0x34}));
}

TEST(Png, TruncationIsAnErrorWhereverItFalls) {
  const Bytes whole = rgb_png();
  for (size_t length = 0; length < whole.size(); ++length) {
    EXPECT_NE(error_of({whole.data(), length}), "") << length << " of " << whole.size();
  }
}

TEST(Png, DamagedChecksumIsAnError) {
  Bytes bytes = rgb_png();
  bytes[45] ^= 0xFF;  // inside the pixel data
  EXPECT_EQ(error_of(bytes).substr(0, 10), "broken PNG");
}

TEST(DecodeImage, RefusesForeignAndEmptyFiles) {
  EXPECT_EQ(error_of(Bytes{}), "empty file");
  const std::string gif = "GIF89a...";
  EXPECT_EQ(error_of(Bytes(gif.begin(), gif.end())), "a GIF file, wanted JPEG, PNG or WebP");
}

TEST(IsImageName, GoesByTheExtensionInAnyCase) {
  for (const char* name :
       {"a.jpg", "a.jpeg", "a.png", "n01440764_10026.JPEG", "a.b.Png", "a.webp"}) {
    EXPECT_TRUE(is_image_name(name)) << name;
  }
  for (const char* name : {"a.txt", "jpg", "a.jpg.bak", "a.gif", ""}) {
    EXPECT_FALSE(is_image_name(name)) << name;
  }
}

}  // namespace
}  // namespace umbra::augment
