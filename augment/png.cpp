#include "augment/png.h"

#include <algorithm>
#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <new>

#include <png.h>

#include "augment/decode_checks.h"

namespace umbra::augment {
namespace {

constexpr int kCompression = 3;  // a third of the time of libpng's 6 for a few percent more bytes

struct PngErrors {
  const char* prefix;
  char message[160] = {};
};

[[noreturn]] void fail(png_structp png, const char* prefix, const char* reason) {
  auto* errors = static_cast<PngErrors*>(png_get_error_ptr(png));
  std::snprintf(errors->message, sizeof(errors->message), "%s%s", prefix, reason);
  png_longjmp(png, 1);
}

void on_error(png_structp png, png_const_charp reason) {
  fail(png, static_cast<PngErrors*>(png_get_error_ptr(png))->prefix, reason);
}

void on_warning(png_structp, png_const_charp) {}

// Runs `calls`, which libpng leaves by longjmp on an error: no object with a destructor may be made
// in it.
template <typename Calls>
void attempt(png_structp png, const PngErrors& errors, const Calls& calls) {
  if (setjmp(png_jmpbuf(png)) != 0) throw ImageError(errors.message);
  calls();
}

void give_bytes(png_structp png, png_bytep out, size_t count) {
  auto* rest = static_cast<std::span<const uint8_t>*>(png_get_io_ptr(png));
  if (count > rest->size()) fail(png, "truncated PNG", "");
  std::memcpy(out, rest->data(), count);
  *rest = rest->subspan(count);
}

class PngReader {
 public:
  explicit PngReader(std::span<const uint8_t> bytes);
  ~PngReader() { png_destroy_read_struct(&png_, &info_, nullptr); }
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;

  void read_header();
  int width() const { return static_cast<int>(png_get_image_width(png_, info_)); }
  int height() const { return static_cast<int>(png_get_image_height(png_, info_)); }
  cv::Mat read();

 private:
  std::span<const uint8_t> rest_;
  PngErrors errors_{"broken PNG: "};
  png_structp png_;
  png_infop info_ = nullptr;
};

PngReader::PngReader(std::span<const uint8_t> bytes)
    : rest_(bytes),
      png_(png_create_read_struct(PNG_LIBPNG_VER_STRING, &errors_, on_error, on_warning)) {
  if (!png_) throw std::bad_alloc();
}

void PngReader::read_header() {
  attempt(png_, errors_, [this] {
    info_ = png_create_info_struct(png_);
    png_set_read_fn(png_, &rest_, give_bytes);
    png_read_info(png_, info_);
  });
}

cv::Mat PngReader::read() {
  cv::Mat pixels(height(), width(), CV_8UC3);
  attempt(png_, errors_, [&] {
    png_set_expand(png_);
    png_set_strip_16(png_);
    png_set_strip_alpha(png_);
    png_set_gray_to_rgb(png_);
    const int passes = png_set_interlace_handling(png_);
    png_read_update_info(png_, info_);
    if (png_get_rowbytes(png_, info_) != pixels.step) png_error(png_, "not convertible to RGB");
    for (int pass = 0; pass < passes; ++pass) {
      for (int y = 0; y < pixels.rows; ++y) png_read_row(png_, pixels.ptr(y), nullptr);
    }
    png_read_end(png_, nullptr);
  });
  return pixels;
}

void take_bytes(png_structp png, png_bytep bytes, size_t count) {
  auto* out = static_cast<std::vector<uint8_t>*>(png_get_io_ptr(png));
  bool done = false;
  try {
    out->insert(out->end(), bytes, bytes + count);
    done = true;
  } catch (const std::bad_alloc&) {  // must not pass through libpng
  }
  if (!done) png_error(png, "out of memory");
}

}  // namespace

bool is_png(std::span<const uint8_t> bytes) {
  return bytes.size() >= 4 && std::memcmp(bytes.data(), "\x89PNG", 4) == 0;
}

ImageHeader read_png_header(std::span<const uint8_t> bytes) {
  PngReader reader(bytes);
  reader.read_header();
  return {"PNG", reader.width(), reader.height()};
}

cv::Mat decode_png(std::span<const uint8_t> bytes, const DecodeOptions& options) {
  PngReader reader(bytes);
  reader.read_header();
  check_pixels(reader.width(), reader.height(), options);
  return reader.read();
}

std::vector<uint8_t> encode_png(const cv::Mat& image) {
  struct Writer {
    png_structp png = nullptr;
    png_infop info = nullptr;
    ~Writer() { png_destroy_write_struct(&png, &info); }
  } writer;
  PngErrors errors{"cannot write a PNG: "};
  writer.png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &errors, on_error, on_warning);
  if (!writer.png) throw std::bad_alloc();
  std::vector<uint8_t> bytes;
  attempt(writer.png, errors, [&] {
    writer.info = png_create_info_struct(writer.png);
    png_set_write_fn(writer.png, &bytes, take_bytes, nullptr);
    png_set_IHDR(writer.png, writer.info, static_cast<png_uint_32>(image.cols),
                 static_cast<png_uint_32>(image.rows), 8,
                 image.channels() == 1 ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB,
                 PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_set_compression_level(writer.png, kCompression);
    png_write_info(writer.png, writer.info);
    for (int y = 0; y < image.rows; ++y) png_write_row(writer.png, image.ptr(y));
    png_write_end(writer.png, nullptr);
  });
  return bytes;
}

}  // namespace umbra::augment
