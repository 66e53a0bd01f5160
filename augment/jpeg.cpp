#include "augment/jpeg.h"

#include <algorithm>
#include <csetjmp>
#include <cstdio>
#include <new>
#include <string_view>
#include <utility>
#include <vector>

#include <jerror.h>
#include <jpeglib.h>

#include "augment/decode_checks.h"

namespace umbra::augment {
namespace {

// A file may ask for the whole image to be gone through once per scan. Encoders write some ten.
constexpr int kMaxScans = 500;

// Upsampling the chroma looks at the neighbouring sample, so that the outermost columns of a
// narrowed decode differ from those of a full one: decode this many more on either side.
constexpr int kMargin = 8;

struct JpegErrors {
  jpeg_error_mgr base;
  std::jmp_buf jump;
  const char* prefix;
  char message[JMSG_LENGTH_MAX + 32];
};

[[noreturn]] void fail(j_common_ptr info, const char* prefix, const char* reason) {
  auto* errors = reinterpret_cast<JpegErrors*>(info->err);
  std::snprintf(errors->message, sizeof(errors->message), "%s%s", prefix, reason);
  std::longjmp(errors->jump, 1);
}

void on_error(j_common_ptr info) {
  char reason[JMSG_LENGTH_MAX];
  info->err->format_message(info, reason);
  fail(info, reinterpret_cast<JpegErrors*>(info->err)->prefix, reason);
}

// Warnings of damaged data are ignored, as by Pillow, but for the end of the file.
void on_warning(j_common_ptr info, int) {
  if (info->err->msg_code == JWRN_JPEG_EOF) fail(info, "truncated JPEG", "");
}

void on_progress(j_common_ptr info) {
  if (reinterpret_cast<j_decompress_ptr>(info)->input_scan_number <= kMaxScans) return;
  fail(info, "broken JPEG: ", "too many scans");
}

jpeg_error_mgr* set_up(JpegErrors& errors, const char* prefix) {
  jpeg_std_error(&errors.base);
  errors.base.error_exit = on_error;
  errors.base.emit_message = on_warning;
  errors.prefix = prefix;
  return &errors.base;
}

// Runs `calls`, which libjpeg leaves by longjmp on an error: no object with a destructor may be
// made in it.
template <typename Calls>
void attempt(JpegErrors& errors, const Calls& calls) {
  if (setjmp(errors.jump) != 0) throw ImageError(errors.message);
  calls();
}

// By Pillow's rule, which takes every CMYK JPEG to be inverted, as Adobe writes them.
cv::Mat cmyk_to_rgb(const cv::Mat& cmyk) {
  cv::Mat rgb(cmyk.rows, cmyk.cols, CV_8UC3);
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
  return rgb;
}

class JpegReader {
 public:
  explicit JpegReader(std::span<const uint8_t> bytes);
  ~JpegReader() { jpeg_destroy_decompress(&info_); }
  JpegReader(const JpegReader&) = delete;
  JpegReader& operator=(const JpegReader&) = delete;

  void read_header();
  int width() const { return static_cast<int>(info_.image_width); }
  int height() const { return static_cast<int>(info_.image_height); }

  // libjpeg-turbo 2.1 gets scaled parts wrong if one chroma sample serves eight pixels.
  bool can_scale() const { return info_.max_h_samp_factor * info_.max_v_samp_factor <= 4; }

  // After read_header: the part inside `window` of the image at 1/divisor of its size.
  cv::Mat read(const Box& window, int divisor);

 private:
  void start(int divisor);
  bool smooths() const;
  void narrow(Box& area);
  void read_rows(const Box& area, cv::Mat& pixels);
  void check_end();

  std::span<const uint8_t> bytes_;
  jpeg_decompress_struct info_{};
  JpegErrors errors_{};
  jpeg_progress_mgr progress_{};
};

JpegReader::JpegReader(std::span<const uint8_t> bytes) : bytes_(bytes) {
  info_.err = set_up(errors_, "broken JPEG: ");
}

void JpegReader::read_header() {
  attempt(errors_, [this] {
    jpeg_create_decompress(&info_);
    progress_.progress_monitor = on_progress;
    info_.progress = &progress_;
    jpeg_mem_src(&info_, bytes_.data(), bytes_.size());
    jpeg_read_header(&info_, TRUE);
  });
}

void JpegReader::start(int divisor) {
  const bool four = info_.jpeg_color_space == JCS_CMYK || info_.jpeg_color_space == JCS_YCCK;
  info_.out_color_space = four ? JCS_CMYK : JCS_RGB;
  info_.scale_num = 1;
  info_.scale_denom = static_cast<unsigned>(divisor);
  attempt(errors_, [this] { jpeg_start_decompress(&info_); });
}

// libjpeg smooths the blocks of a progressive file that lacks scans by what surrounds them, which
// a part of the image would not show.
bool JpegReader::smooths() const {
  if (!info_.progressive_mode || !info_.coef_bits) return false;
  const int* bits = &info_.coef_bits[0][0];
  return std::any_of(bits, bits + info_.num_components * DCTSIZE2, [](int n) { return n != 0; });
}

// Limits the columns that are decoded to little more than those of `area`, and widens it to them.
void JpegReader::narrow(Box& area) {
  const int right = std::min(area.x + area.width + kMargin, static_cast<int>(info_.output_width));
  JDIMENSION x = static_cast<JDIMENSION>(std::max(area.x - kMargin, 0));
  JDIMENSION width = static_cast<JDIMENSION>(right) - x;
  attempt(errors_, [&] { jpeg_crop_scanline(&info_, &x, &width); });
  area.x = static_cast<int>(x);
  area.width = static_cast<int>(width);
}

// Whether a file is broken must not depend on the part that is read: one that was cut lacks its end
// marker, which a decode of the whole would miss, too.
void JpegReader::check_end() {
  const std::string_view rest(reinterpret_cast<const char*>(info_.src->next_input_byte),
                              info_.src->bytes_in_buffer);
  const bool ended = jpeg_input_complete(&info_) || info_.unread_marker == JPEG_EOI ||
                     rest.rfind("\xFF\xD9") != rest.npos;
  if (!ended) fail(reinterpret_cast<j_common_ptr>(&info_), "truncated JPEG", "");
}

void JpegReader::read_rows(const Box& area, cv::Mat& pixels) {
  attempt(errors_, [&] {
    if (area.y > 0) jpeg_skip_scanlines(&info_, static_cast<JDIMENSION>(area.y));
    for (int y = 0; y < area.height; ++y) {
      JSAMPROW row = pixels.ptr(y);
      jpeg_read_scanlines(&info_, &row, 1);
    }
    if (info_.output_scanline == info_.output_height) {
      jpeg_finish_decompress(&info_);
    } else {
      check_end();
      jpeg_abort_decompress(&info_);
    }
  });
}

cv::Mat JpegReader::read(const Box& window, int divisor) {
  start(divisor);
  Box area = window;
  if (smooths()) {
    area = {0, 0, static_cast<int>(info_.output_width), static_cast<int>(info_.output_height)};
  } else {
    narrow(area);
  }
  cv::Mat pixels(area.height, area.width, CV_8UC(info_.output_components));
  read_rows(area, pixels);
  const cv::Mat part =
      pixels(cv::Rect(window.x - area.x, window.y - area.y, window.width, window.height));
  return part.channels() == 4 ? cmyk_to_rgb(part) : part;
}

// The largest divisor that leaves at least the wanted size.
int choose_divisor(const Box& window, int wanted_width, int wanted_height) {
  int divisor = 8;
  while (divisor > 1 && (window.width / divisor < std::max(wanted_width, 1) ||
                         window.height / divisor < std::max(wanted_height, 1))) {
    divisor /= 2;
  }
  return divisor;
}

// Rounds the edges to the nearest pixel of the smaller image, which keeps a side of n * divisor
// pixels at n at least.
Box scale_down(const Box& window, int divisor) {
  const auto scaled = [=](int edge) { return (edge + divisor / 2) / divisor; };
  const int x = scaled(window.x), y = scaled(window.y);
  return {x, y, scaled(window.x + window.width) - x, scaled(window.y + window.height) - y};
}

// Gathers what libjpeg writes.
struct JpegWriter {
  jpeg_compress_struct info{};
  jpeg_destination_mgr destination{};
  std::vector<uint8_t> bytes;

  ~JpegWriter() { jpeg_destroy_compress(&info); }
  void grow();
};

constexpr size_t kWriteChunk = 1 << 16;

JpegWriter& writer_of(j_compress_ptr info) { return *static_cast<JpegWriter*>(info->client_data); }

// One chunk more; an exception must not pass through libjpeg.
void JpegWriter::grow() {
  const size_t used = bytes.size();
  bool done = false;
  try {
    bytes.resize(used + kWriteChunk);
    done = true;
  } catch (const std::bad_alloc&) {  // libjpeg's way out, a jump, must not leave the handler
  }
  if (!done) ERREXIT1(&info, JERR_OUT_OF_MEMORY, 0);
  destination.next_output_byte = bytes.data() + used;
  destination.free_in_buffer = kWriteChunk;
}

void start_writing(j_compress_ptr info) { writer_of(info).grow(); }

boolean keep_writing(j_compress_ptr info) {
  writer_of(info).grow();
  return TRUE;
}

void end_writing(j_compress_ptr info) {
  JpegWriter& writer = writer_of(info);
  writer.bytes.resize(writer.bytes.size() - writer.destination.free_in_buffer);
}

}  // namespace

bool is_jpeg(std::span<const uint8_t> bytes) {
  return bytes.size() >= 3 && bytes[0] == 0xFF && bytes[1] == 0xD8 && bytes[2] == 0xFF;
}

ImageHeader read_jpeg_header(std::span<const uint8_t> bytes) {
  JpegReader reader(bytes);
  reader.read_header();
  return {"JPEG", reader.width(), reader.height()};
}

cv::Mat decode_jpeg(std::span<const uint8_t> bytes, const DecodeOptions& options) {
  JpegReader reader(bytes);
  reader.read_header();
  check_pixels(reader.width(), reader.height(), options);
  return reader.read({0, 0, reader.width(), reader.height()}, 1);
}

cv::Mat decode_jpeg_window(std::span<const uint8_t> bytes, const Box& window, int wanted_width,
                           int wanted_height, const DecodeOptions& options) {
  JpegReader reader(bytes);
  reader.read_header();
  check_pixels(reader.width(), reader.height(), options);
  check_window(window, reader.width(), reader.height());
  const bool scale = options.fast && reader.can_scale();
  const int divisor = scale ? choose_divisor(window, wanted_width, wanted_height) : 1;
  return reader.read(scale_down(window, divisor), divisor);
}

std::vector<uint8_t> encode_jpeg(const cv::Mat& image, int quality) {
  JpegWriter writer;
  jpeg_compress_struct& info = writer.info;
  JpegErrors errors{};
  info.err = set_up(errors, "cannot write a JPEG: ");
  writer.destination.init_destination = start_writing;
  writer.destination.empty_output_buffer = keep_writing;
  writer.destination.term_destination = end_writing;
  attempt(errors, [&] {
    jpeg_create_compress(&info);
    info.client_data = &writer;
    info.dest = &writer.destination;
    info.image_width = static_cast<JDIMENSION>(image.cols);
    info.image_height = static_cast<JDIMENSION>(image.rows);
    info.input_components = image.channels();
    info.in_color_space = image.channels() == 1 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_set_defaults(&info);
    jpeg_set_quality(&info, quality, TRUE);
    jpeg_start_compress(&info, TRUE);
    for (int y = 0; y < image.rows; ++y) {
      JSAMPROW row = const_cast<uint8_t*>(image.ptr(y));  // libjpeg only reads it
      jpeg_write_scanlines(&info, &row, 1);
    }
    jpeg_finish_compress(&info);
  });
  return std::move(writer.bytes);
}

}  // namespace umbra::augment
