#include "augment/pixel_ops.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <stdexcept>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <opencv2/core.hpp>

#include "augment/two_targets.h"

namespace umbra::augment {
namespace {

template <typename... Values>
void require(bool condition, fmt::format_string<Values...> text, Values&&... values) {
  if (!condition) throw std::invalid_argument(fmt::format(text, std::forward<Values>(values)...));
}

void require_image(const cv::Mat& image, const char* operation) {
  require(!image.empty() && (image.type() == CV_8UC1 || image.type() == CV_8UC3),
          "{}: the image must have 8 bits and 1 or 3 channels", operation);
}

int row_bytes(const cv::Mat& image) { return image.cols * image.channels(); }

// --- functions of one byte -------------------------------------------------------------------

template <typename Function>
cv::Mat map_bytes(const cv::Mat& image, Function function) {
  cv::Mat result(image.size(), image.type());
  for (int y = 0; y < image.rows; ++y) {
    const uint8_t* in = image.ptr(y);
    std::transform(in, in + row_bytes(image), result.ptr(y), function);
  }
  return result;
}

using Table = std::array<uint8_t, 256>;

// `tables` has one for each channel.
cv::Mat look_up(const cv::Mat& image, const std::vector<Table>& tables) {
  if (tables.size() == 1) return map_bytes(image, [&](uint8_t v) { return tables[0][v]; });
  cv::Mat result(image.size(), image.type());
  const Table &red = tables[0], &green = tables[1], &blue = tables[2];
  for (int y = 0, size = row_bytes(image); y < image.rows; ++y) {
    const uint8_t* in = image.ptr(y);
    uint8_t* out = result.ptr(y);
    for (int i = 0; i < size; i += 3) {
      out[i] = red[in[i]];
      out[i + 1] = green[in[i + 1]];
      out[i + 2] = blue[in[i + 2]];
    }
  }
  return result;
}

Table identity_table() {
  Table table;
  std::iota(table.begin(), table.end(), uint8_t{0});
  return table;
}

// --- statistics ------------------------------------------------------------------------------

using Histogram = std::array<uint32_t, 256>;

// Neighbours are often equal, and a counter is slow to be counted up twice in a row: take turns.
template <int kChannels>
std::vector<Histogram> histograms(const cv::Mat& image) {
  constexpr int kTurns = 4;
  Histogram counts[kTurns][kChannels] = {};
  for (int y = 0; y < image.rows; ++y) {
    const uint8_t* in = image.ptr(y);
    int x = 0;
    for (; x + kTurns <= image.cols; x += kTurns) {
      for (auto& turn : counts) {
        for (Histogram& channel : turn) ++channel[*in++];
      }
    }
    for (; x < image.cols; ++x) {
      for (Histogram& channel : counts[0]) ++channel[*in++];
    }
  }
  for (int t = 1; t < kTurns; ++t) {
    for (int c = 0; c < kChannels; ++c) {
      for (int i = 0; i < 256; ++i) counts[0][c][i] += counts[t][c][i];
    }
  }
  return {counts[0], counts[0] + kChannels};
}

UMBRA_TWO_TARGETS void widen_range(const uint8_t* in, int size, uint8_t* low, uint8_t* high) {
  for (int i = 0; i < size; ++i) low[i] = std::min(low[i], in[i]);
  for (int i = 0; i < size; ++i) high[i] = std::max(high[i], in[i]);
}

Table stretch_table(int low, int high) {
  Table table = identity_table();
  if (high <= low) return table;
  const double scale = 255.0 / (high - low), offset = -low * scale;
  for (int i = 0; i < 256; ++i) {
    table[i] = static_cast<uint8_t>(std::clamp(static_cast<int>(i * scale + offset), 0, 255));
  }
  return table;
}

Table equalize_table(const Histogram& histogram) {
  Table table = identity_table();
  const auto last =
      std::find_if(histogram.rbegin(), histogram.rend(), [](uint32_t n) { return n; });
  const uint32_t count = std::accumulate(histogram.begin(), histogram.end(), 0U);
  const uint32_t step = (count - *last) / 255;
  if (step == 0) return table;
  uint32_t below = step / 2;
  for (int i = 0; i < 256; ++i) {
    table[i] = static_cast<uint8_t>(std::min(below / step, 255U));
    below += histogram[i];
  }
  return table;
}

// --- blending of rows ------------------------------------------------------------------------

UMBRA_TWO_TARGETS void blend_row(const uint8_t* a, const uint8_t* b, int size, float alpha,
                                 uint8_t* out) {
  for (int i = 0; i < size; ++i) {
    const float value = static_cast<float>(a[i]) + alpha * static_cast<float>(b[i] - a[i]);
    out[i] = static_cast<uint8_t>(std::clamp(static_cast<int>(value), 0, 255));
  }
}

UMBRA_TWO_TARGETS void luma_row(const uint8_t* rgb, int pixels, uint8_t* out) {
  for (int i = 0; i < 3 * pixels; i += 3) {
    const int luma = 19595 * rgb[i] + 38470 * rgb[i + 1] + 7471 * rgb[i + 2] + 32768;
    out[i] = out[i + 1] = out[i + 2] = static_cast<uint8_t>(luma >> 16);
  }
}

// Pillow's SMOOTH filter, weights 1 1 1 / 1 5 1 / 1 1 1 over 13, without the outermost pixels.
UMBRA_TWO_TARGETS void smooth_row(const uint8_t* in, ptrdiff_t step, int size, int channels,
                                  uint8_t* out) {
  const uint8_t *above = in - step, *below = in + step;
  for (int i = channels; i < size - channels; ++i) {
    const int l = i - channels, r = i + channels;
    const int sum =
        above[l] + above[i] + above[r] + in[l] + 5 * in[i] + in[r] + below[l] + below[i] + below[r];
    // (sum + 6) / 13 for any such sum: it rounds, and there are no ties.
    out[i] = static_cast<uint8_t>(static_cast<uint16_t>(sum + 6) * 5042U >> 16);
  }
}

// Image.blend; row_of(y) is row y of the image that factor 0 gives.
template <typename RowOf>
cv::Mat blend_rows(RowOf row_of, const cv::Mat& image, double factor) {
  require(std::isfinite(factor), "a blend needs a finite factor, not {}", factor);
  // From 255 on, and down from -255, every level that differs saturates.
  const auto alpha = static_cast<float>(std::clamp(factor, -1000.0, 1000.0));
  if (alpha == 1.0F) return image;
  cv::Mat result(image.size(), image.type());
  for (int y = 0; y < image.rows; ++y) {
    blend_row(row_of(y), image.ptr(y), row_bytes(image), alpha, result.ptr(y));
  }
  return result;
}

// --- hue -------------------------------------------------------------------------------------

struct Hsv {
  uint8_t hue, saturation, value;
};

// Pillow's rgb2hsv and hsv2rgb, which mix float and double; the order of operations matters.
Hsv to_hsv(const uint8_t* rgb) {
  const int r = rgb[0], g = rgb[1], b = rgb[2];
  const int high = std::max({r, g, b}), low = std::min({r, g, b});
  const auto value = static_cast<uint8_t>(high);
  if (high == low) return {0, 0, value};
  const auto range = static_cast<float>(high - low);
  const float saturation = range / static_cast<float>(high);
  const auto below = [&](int v) {
    return static_cast<double>(static_cast<float>(high - v) / range);
  };
  const auto sector = static_cast<float>(r == high   ? below(b) - below(g)
                                         : g == high ? 2.0 + below(r) - below(b)
                                                     : 4.0 + below(g) - below(r));
  const double turns = sector / 6.0 + 1.0;
  const auto hue = static_cast<float>(turns >= 1.0 ? turns - 1.0 : turns);
  return {static_cast<uint8_t>(hue * 255.0), static_cast<uint8_t>(saturation * 255.0), value};
}

// What depends on the hue alone: the place in its sixth of the circle, and which of value, p, q
// and t red, green and blue are.
struct HueSector {
  float fraction;
  std::array<uint8_t, 3> order;
};

constexpr std::array<HueSector, 256> hue_sectors() {
  enum : uint8_t { kV, kP, kQ, kT };
  constexpr std::array<uint8_t, 3> kOrders[6] = {{kV, kT, kP}, {kQ, kV, kP}, {kP, kV, kT},
                                                 {kP, kQ, kV}, {kT, kP, kV}, {kV, kP, kQ}};
  std::array<HueSector, 256> sectors{};
  for (int hue = 0; hue < 256; ++hue) {
    const double sixths = hue * 6.0 / 255.0;
    const int sector = static_cast<int>(sixths);
    sectors[hue] = {static_cast<float>(sixths - sector), kOrders[sector % 6]};
  }
  return sectors;
}

constexpr std::array<HueSector, 256> kHueSectors = hue_sectors();

void to_rgb(uint8_t saturation, uint8_t value, const HueSector& sector, uint8_t* rgb) {
  const auto s = static_cast<float>(saturation / 255.0);
  const float f = sector.fraction;
  const auto faded = [&](double share) {
    const double level = value * (1.0 - share);
    // As round(), for every hue, saturation and value. NOLINTNEXTLINE(bugprone-incorrect-roundings)
    return static_cast<uint8_t>(level + 0.5);
  };
  const uint8_t levels[4] = {value, faded(s), faded(s * f), faded(s * (1.0 - f))};
  for (int c = 0; c < 3; ++c) rgb[c] = levels[sector.order[c]];
}

// --- Gaussians -------------------------------------------------------------------------------

// Radius of the box that, applied `kBoxPasses` times, has the variance of the Gaussian: equations
// 7, 11 and 14 of Gwosdek et al., "Theoretical Foundations of Gaussian Convolution by Extended Box
// Filtering" (2011), in Pillow's mix of float and double.
constexpr int kBoxPasses = 3;
constexpr double kMaxRadius = 10000.0;  // far from where sums overflow

float box_radius(float sigma) {
  const float variance = sigma * sigma / kBoxPasses;
  const auto length = static_cast<float>(std::sqrt(12.0 * variance + 1.0));
  const auto whole = static_cast<float>(std::floor((length - 1.0) / 2.0));
  float part = (2 * whole + 1) * (whole * (whole + 1) - 3 * variance);
  part /= 6 * (variance - (whole + 1) * (whole + 1));
  return whole + part;
}

// A box of 2 * radius + 1 full pixels and a part of one more at each end; weights in 2^-24.
struct BoxFilter {
  explicit BoxFilter(float exact_radius)
      : radius(static_cast<int>(exact_radius)),
        full(static_cast<uint32_t>((1 << 24) / (exact_radius * 2 + 1))),
        part(((1U << 24) - (2 * radius + 1) * full) / 2) {}

  int radius;
  uint32_t full, part;
};

// Moves the running sums of the box one row down, and writes the row of results.
UMBRA_TWO_TARGETS void box_row(const BoxFilter& box, const uint8_t* before, const uint8_t* last,
                               const uint8_t* after, int size, uint32_t* sums, uint8_t* out) {
  const uint32_t full = box.full, part = box.part;
  for (int i = 0; i < size; ++i) {
    sums[i] += last[i] - before[i];
    const uint32_t ends = before[i] + after[i];
    out[i] = static_cast<uint8_t>((sums[i] * full + ends * part + (1 << 23)) >> 24);
  }
}

// Blurs along the columns; the first and last row repeat outside.
void box_blur_columns(const cv::Mat& image, const BoxFilter& box, cv::Mat& result) {
  const int size = row_bytes(image);
  const auto row = [&](int y) { return image.ptr(std::clamp(y, 0, image.rows - 1)); };
  std::vector<uint32_t> sums(size);  // of the full pixels around row -1
  for (int y = -1 - box.radius; y < box.radius; ++y) {
    const uint8_t* in = row(y);
    for (int i = 0; i < size; ++i) sums[i] += in[i];
  }
  for (int y = 0; y < image.rows; ++y) {
    box_row(box, row(y - box.radius - 1), row(y + box.radius), row(y + box.radius + 1), size,
            sums.data(), result.ptr(y));
  }
}

cv::Mat blur_columns(const cv::Mat& image, const BoxFilter& box) {
  cv::Mat a(image.size(), image.type()), b(image.size(), image.type());
  box_blur_columns(image, box, a);
  for (int pass = 1; pass < kBoxPasses; ++pass) {
    box_blur_columns(a, box, b);
    std::swap(a, b);
  }
  return a;
}

cv::Mat transposed(const cv::Mat& image) {
  cv::Mat result;
  cv::transpose(image, result);
  return result;
}

std::vector<float> gaussian_weights(int size, double sigma) {
  const int middle = size / 2;
  std::vector<float> weights(size);
  for (int i = 0; i < size; ++i) {
    const float x = static_cast<float>(i - middle) / static_cast<float>(sigma);
    weights[i] = std::exp(-0.5F * (x * x));
  }
  const float sum = std::accumulate(weights.begin(), weights.end(), 0.0F);
  for (float& weight : weights) weight /= sum;
  return weights;
}

// One output row from the input rows under the kernel. `columns` has room for a row with
// rows.size() / 2 more pixels at each end, `sums` for a row.
UMBRA_TWO_TARGETS void gaussian_row(const std::vector<const uint8_t*>& rows,
                                    const std::vector<float>& weights, int pixels, int channels,
                                    float* columns, float* sums, uint8_t* out) {
  const int taps = static_cast<int>(rows.size()), size = pixels * channels;
  const ptrdiff_t stride = channels, border = taps / 2 * stride;
  float* middle = columns + border;
  std::fill(middle, middle + size, 0.0F);
  for (int k = 0; k < taps; ++k) {
    const uint8_t* in = rows[k];
    for (int i = 0; i < size; ++i) middle[i] += weights[k] * static_cast<float>(in[i]);
  }
  float* last = middle + size - channels;
  for (ptrdiff_t x = stride; x <= border; x += stride) {
    std::copy_n(middle + x, channels, middle - x);
    std::copy_n(last - x, channels, last + x);
  }
  std::fill(sums, sums + size, 0.0F);
  for (int k = 0; k < taps; ++k) {
    const float* in = columns + k * stride;
    for (int i = 0; i < size; ++i) sums[i] += weights[k] * in[i];
  }
  for (int i = 0; i < size; ++i) out[i] = static_cast<uint8_t>(std::nearbyint(sums[i]));
}

}  // namespace

cv::Mat auto_contrast(const cv::Mat& image) {
  require_image(image, "auto_contrast");
  std::vector<uint8_t> low(row_bytes(image), 255), high(row_bytes(image), 0);  // of each column
  for (int y = 0; y < image.rows; ++y) {
    widen_range(image.ptr(y), row_bytes(image), low.data(), high.data());
  }
  const int channels = image.channels();
  std::vector<Table> tables;
  for (int c = 0; c < channels; ++c) {
    for (int i = c; i < row_bytes(image); i += channels) {
      low[c] = std::min(low[c], low[i]);
      high[c] = std::max(high[c], high[i]);
    }
    tables.push_back(stretch_table(low[c], high[c]));
  }
  return look_up(image, tables);
}

cv::Mat equalize(const cv::Mat& image) {
  require_image(image, "equalize");
  std::vector<Table> tables;
  for (const Histogram& histogram :
       image.channels() == 1 ? histograms<1>(image) : histograms<3>(image)) {
    tables.push_back(equalize_table(histogram));
  }
  return look_up(image, tables);
}

cv::Mat invert(const cv::Mat& image) {
  require_image(image, "invert");
  return map_bytes(image, [](uint8_t v) { return static_cast<uint8_t>(~v); });
}

cv::Mat posterize(const cv::Mat& image, int bits) {
  require_image(image, "posterize");
  require(bits >= 0, "posterize: {} bits are too few", bits);
  if (bits >= 8) return image;
  const auto mask = static_cast<uint8_t>(0xff00 >> bits);
  return map_bytes(image, [mask](uint8_t v) { return static_cast<uint8_t>(v & mask); });
}

cv::Mat solarize(const cv::Mat& image, int threshold) {
  require_image(image, "solarize");
  if (threshold > 255) return image;
  const auto first = static_cast<uint8_t>(std::max(threshold, 0));
  return map_bytes(image, [first](uint8_t v) { return v < first ? v : static_cast<uint8_t>(~v); });
}

cv::Mat solarize_add(const cv::Mat& image, int add, int threshold) {
  require_image(image, "solarize_add");
  if (threshold <= 0) return image;
  const auto last = static_cast<uint8_t>(std::min(threshold, 256) - 1);
  const auto up = static_cast<uint8_t>(std::clamp(add, 0, 255));
  const auto down = static_cast<uint8_t>(-std::clamp(add, -255, 0));
  return map_bytes(image, [=](uint8_t v) {
    const auto room = static_cast<uint8_t>(~v);
    const auto moved = static_cast<uint8_t>(v + std::min(up, room) - std::min(down, v));
    return v <= last ? moved : v;
  });
}

cv::Mat adjust_color(const cv::Mat& image, double factor) {
  require_image(image, "adjust_color");
  if (image.channels() == 1) return image;
  std::vector<uint8_t> grey(row_bytes(image));
  const auto grey_row = [&](int y) {
    luma_row(image.ptr(y), image.cols, grey.data());
    return grey.data();
  };
  return blend_rows(grey_row, image, factor);
}

cv::Mat adjust_contrast(const cv::Mat& image, double factor) {
  require_image(image, "adjust_contrast");
  const cv::Mat grey = grayscale(image);
  int64_t sum = 0;
  for (int y = 0; y < image.rows; ++y) {
    sum += std::accumulate(grey.ptr(y), grey.ptr(y) + row_bytes(grey), 0);
  }
  const auto count = static_cast<int64_t>(grey.total()) * grey.channels();
  const auto mean = static_cast<uint8_t>((2 * sum + count) / (2 * count));  // rounds half up
  const std::vector<uint8_t> level(row_bytes(image), mean);
  return blend_rows([&](int) { return level.data(); }, image, factor);
}

cv::Mat adjust_brightness(const cv::Mat& image, double factor) {
  require_image(image, "adjust_brightness");
  const std::vector<uint8_t> black(row_bytes(image), 0);
  return blend_rows([&](int) { return black.data(); }, image, factor);
}

cv::Mat adjust_sharpness(const cv::Mat& image, double factor) {
  require_image(image, "adjust_sharpness");
  const int size = row_bytes(image), channels = image.channels();
  std::vector<uint8_t> smooth(size);
  const auto smooth_row_of = [&](int y) {
    std::copy_n(image.ptr(y), size, smooth.data());
    if (y > 0 && y < image.rows - 1) {
      smooth_row(image.ptr(y), static_cast<ptrdiff_t>(image.step), size, channels, smooth.data());
    }
    return smooth.data();
  };
  return blend_rows(smooth_row_of, image, factor);
}

cv::Mat adjust_hue(const cv::Mat& image, double shift) {
  require_image(image, "adjust_hue");
  require(std::abs(shift) <= 0.5, "adjust_hue: the shift {} is not in [-0.5, 0.5]", shift);
  if (image.channels() == 1) return image;
  const auto steps = static_cast<uint8_t>(static_cast<int>(shift * 255));
  cv::Mat result(image.size(), image.type());
  for (int y = 0, size = row_bytes(image); y < image.rows; ++y) {
    const uint8_t* in = image.ptr(y);
    uint8_t* out = result.ptr(y);
    for (int i = 0; i < size; i += 3) {
      const Hsv hsv = to_hsv(in + i);
      const HueSector& sector = kHueSectors[static_cast<uint8_t>(hsv.hue + steps)];
      to_rgb(hsv.saturation, hsv.value, sector, out + i);
    }
  }
  return result;
}

cv::Mat grayscale(const cv::Mat& image) {
  require_image(image, "grayscale");
  if (image.channels() == 1) return image;
  cv::Mat result(image.size(), image.type());
  for (int y = 0; y < image.rows; ++y) luma_row(image.ptr(y), image.cols, result.ptr(y));
  return result;
}

cv::Mat gaussian_blur(const cv::Mat& image, double radius) {
  require_image(image, "gaussian_blur");
  require(radius >= 0.0 && radius <= kMaxRadius, "gaussian_blur: the radius {} is not in [0, {}]",
          radius, kMaxRadius);
  if (radius == 0.0) return image;
  const BoxFilter box(box_radius(static_cast<float>(radius)));
  return blur_columns(transposed(blur_columns(transposed(image), box)), box);
}

cv::Mat gaussian_filter(const cv::Mat& image, int kernel_size, double sigma) {
  require_image(image, "gaussian_filter");
  const int border = kernel_size / 2;
  require(
      kernel_size > 0 && kernel_size % 2 == 1 && border < std::min(image.cols, image.rows),
      "gaussian_filter: a kernel size of {} for an image of {} x {}; must be odd, and half of it "
      "less than either side",
      kernel_size, image.cols, image.rows);
  require(sigma >= 1e-6 && std::isfinite(sigma), "gaussian_filter: sigma is {}, not at least 1e-6",
          sigma);
  const std::vector<float> weights = gaussian_weights(kernel_size, sigma);
  std::vector<const uint8_t*> rows(kernel_size);
  std::vector<float> columns(row_bytes(image) + 2 * border * image.channels());
  std::vector<float> sums(row_bytes(image));
  cv::Mat result(image.size(), image.type());
  for (int y = 0; y < image.rows; ++y) {
    for (int k = 0; k < kernel_size; ++k) {
      const int inside = std::abs(y + k - border);  // reflected about row 0
      rows[k] = image.ptr(std::min(inside, 2 * (image.rows - 1) - inside));
    }
    gaussian_row(rows, weights, image.cols, image.channels(), columns.data(), sums.data(),
                 result.ptr(y));
  }
  return result;
}

cv::Mat blend(const cv::Mat& a, const cv::Mat& b, double alpha) {
  require_image(a, "blend");
  require(a.size() == b.size() && a.type() == b.type(),
          "blend: the images differ in size or number of channels");
  return blend_rows([&](int y) { return a.ptr(y); }, b, alpha);
}

}  // namespace umbra::augment
