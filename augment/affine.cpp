#include "augment/affine.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <numbers>
#include <span>
#include <stdexcept>
#include <vector>

#include <opencv2/core.hpp>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "augment/two_targets.h"

// Results are truncated to bytes, so the last bit of a double may decide: every formula below keeps
// the order of operations of Pillow's Geometry.c, and nothing may be fused to multiply-adds.

namespace umbra::augment {
namespace {

// The input as floats, with its border repeated so that no tap needs a check.
class PaddedImage {
 public:
  explicit PaddedImage(const cv::Mat& image)
      : width_(image.cols), height_(image.rows), channels_(image.channels()) {
    cv::Mat padded;
    cv::copyMakeBorder(image, padded, kBorder, kBorder, kBorder, kBorder + kReadBeyond,
                       cv::BORDER_REPLICATE | cv::BORDER_ISOLATED);
    padded.convertTo(pixels_, CV_32F);
    origin_ = pixels_.ptr<float>(kBorder, kBorder);
    step_ = static_cast<ptrdiff_t>(pixels_.step1());
  }

  const float* at(int column, int row) const { return origin_ + row * step_ + column * channels_; }

  int width() const { return width_; }  // without the border
  int height() const { return height_; }
  ptrdiff_t step() const { return step_; }  // from row to row

 private:
  static constexpr int kBorder = 2, kReadBeyond = 1;  // pixels

  int width_, height_;
  ptrdiff_t channels_, step_;
  cv::Mat pixels_;
  const float* origin_;
};

// Where the pixels of one output row come from. Those outside [first, last) lie outside the input:
// what lies inside is one range, as both coordinates are monotone in x, rounding included.
struct RowPositions {
  explicit RowPositions(int width) : x(width), y(width), column(width), row(width) {}

  int first = 0, last = 0;
  std::vector<double> x, y;      // the point, then its distance from the pixel at or before it
  std::vector<int> column, row;  // that pixel
};

UMBRA_TWO_TARGETS void split(double* values, int first, int last, int* pixels) {
  for (int i = first; i < last; ++i) {
    const double value = values[i] - 0.5, pixel = std::floor(value);
    values[i] = value - pixel;
    pixels[i] = static_cast<int>(pixel);
  }
}

UMBRA_TWO_TARGETS void map_row(double a, double b, double c, int y, int width, double* values) {
  for (int x = 0; x < width; ++x) values[x] = a * (x + 0.5) + b * (y + 0.5) + c;
}

void place_row(const AffineMatrix& m, int y, const PaddedImage& input, RowPositions& row) {
  map_row(m[0], m[1], m[2], y, input.width(), row.x.data());
  map_row(m[3], m[4], m[5], y, input.width(), row.y.data());
  const auto outside = [&](int i) {
    return !(row.x[i] >= 0.0 && row.x[i] < input.width() && row.y[i] >= 0.0 &&
             row.y[i] < input.height());
  };
  row.first = 0;
  row.last = input.width();
  while (row.first < row.last && outside(row.first)) ++row.first;
  while (row.first < row.last && outside(row.last - 1)) --row.last;
  split(row.x.data(), row.first, row.last, row.column.data());
  split(row.y.data(), row.first, row.last, row.row.data());
}

// Writes the pixels [first, last) of a row to `out` and following.
using SampleRow = void (*)(const PaddedImage& input, const RowPositions& row, uint8_t* out);

// --- plain C++ -------------------------------------------------------------------------------

struct Linear {
  static constexpr int kTaps = 2, kBefore = 0;  // taps before the pixel at or before the point

  template <typename T>
  static double at(const T* v, ptrdiff_t stride, double d) {
    return v[0] + (v[stride] - v[0]) * d;
  }
};

struct Cubic {
  static constexpr int kTaps = 4, kBefore = 1;

  template <typename T>
  static double at(const T* v, ptrdiff_t stride, double d) {
    const auto v1 = v[0], v2 = v[stride], v3 = v[2 * stride], v4 = v[3 * stride];
    const double p1 = v2, p2 = v3 - v1, p3 = 2 * (v1 - v2) + v3 - v4, p4 = v2 - v1 - v3 + v4;
    return p1 + d * (p2 + d * (p3 + d * p4));
  }
};

// With dx or dy 0 the filter returns the tap at the point exactly, and the others drop out.
template <int kChannels, typename Filter>
double sample(const float* pixel, ptrdiff_t step, double dx, double dy) {
  const float* left = pixel - Filter::kBefore * kChannels;
  const float* top = pixel - Filter::kBefore * step;
  if (dy == 0.0) return Filter::at(left, kChannels, dx);
  if (dx == 0.0) return Filter::at(top, step, dy);
  double rows[Filter::kTaps];
  for (int r = 0; r < Filter::kTaps; ++r) {
    rows[r] = Filter::at(left + (r - Filter::kBefore) * step, kChannels, dx);
  }
  return Filter::at(rows, 1, dy);
}

template <int kChannels, typename Filter>
void sample_row(const PaddedImage& input, const RowPositions& row, uint8_t* out) {
  for (int x = row.first; x < row.last; ++x) {
    const float* pixel = input.at(row.column[x], row.row[x]);
    for (int c = 0; c < kChannels; ++c) {
      const double value = sample<kChannels, Filter>(pixel + c, input.step(), row.x[x], row.y[x]);
      *out++ = static_cast<uint8_t>(std::clamp(value, 0.0, 255.0));
    }
  }
}

#if defined(__x86_64__)
// --- AVX2: the three channels of a pixel side by side ----------------------------------------
#define UMBRA_AVX2 [[gnu::target("avx2"), gnu::always_inline]] inline

// Pixels take 4 lanes: the last holds the red of the next pixel, and is dropped in the end.
UMBRA_AVX2 __m256d load_rgb(const float* pixel) { return _mm256_cvtps_pd(_mm_loadu_ps(pixel)); }

UMBRA_AVX2 __m256d plus_product(__m256d a, __m256d d, __m256d b) {
  return _mm256_add_pd(a, _mm256_mul_pd(d, b));
}

struct LinearRgb : Linear {
  UMBRA_AVX2 static __m256d at(const __m256d* v, __m256d d) {
    return plus_product(v[0], d, _mm256_sub_pd(v[1], v[0]));
  }
};

struct CubicRgb : Cubic {
  UMBRA_AVX2 static __m256d at(const __m256d* v, __m256d d) {
    const __m256d v12 = _mm256_sub_pd(v[0], v[1]);
    const __m256d p2 = _mm256_sub_pd(v[2], v[0]);
    const __m256d p3 = _mm256_sub_pd(_mm256_add_pd(_mm256_add_pd(v12, v12), v[2]), v[3]);
    const __m256d p4 = _mm256_sub_pd(v[3], _mm256_add_pd(v12, v[2]));
    return plus_product(v[1], d, plus_product(p2, d, plus_product(p3, d, p4)));
  }
};

// Along an axis: from pixels that are `stride` apart.
template <typename Filter>
UMBRA_AVX2 __m256d along(const float* first, ptrdiff_t stride, __m256d d) {
  __m256d taps[Filter::kTaps];
  for (int t = 0; t < Filter::kTaps; ++t) taps[t] = load_rgb(first + t * stride);
  return Filter::at(taps, d);
}

template <typename Filter>
UMBRA_AVX2 __m256d sample_rgb(const float* pixel, ptrdiff_t step, double dx, double dy) {
  const __m256d x = _mm256_set1_pd(dx), y = _mm256_set1_pd(dy);
  const float* left = pixel - Filter::kBefore * 3;
  const float* top = pixel - Filter::kBefore * step;
  if (dy == 0.0) return along<Filter>(left, 3, x);
  if (dx == 0.0) return along<Filter>(top, step, y);
  __m256d rows[Filter::kTaps];
  for (int r = 0; r < Filter::kTaps; ++r) {
    rows[r] = along<Filter>(left + (r - Filter::kBefore) * step, 3, x);
  }
  return Filter::at(rows, y);
}

template <typename Filter>
[[gnu::target("avx2")]] void sample_row_rgb(const PaddedImage& input, const RowPositions& row,
                                            uint8_t* out) {
  const __m256d low = _mm256_setzero_pd(), high = _mm256_set1_pd(255.0);
  for (int x = row.first; x < row.last; ++x, out += 3) {
    const float* pixel = input.at(row.column[x], row.row[x]);
    const __m256d value = sample_rgb<Filter>(pixel, input.step(), row.x[x], row.y[x]);
    const __m128i levels = _mm256_cvttpd_epi32(_mm256_min_pd(_mm256_max_pd(value, low), high));
    const __m128i words = _mm_packus_epi32(levels, levels);
    const int rgb = _mm_cvtsi128_si32(_mm_packus_epi16(words, words));
    std::memcpy(out, &rgb, 3);
  }
}
#endif

SampleRow row_sampler(int channels, Interpolation interpolation) {
  const bool cubic = interpolation == Interpolation::kBicubic;
  if (channels == 1) return cubic ? sample_row<1, Cubic> : sample_row<1, Linear>;
#if defined(__x86_64__)
  const bool avx2 = __builtin_cpu_supports("avx2");
  if (avx2) return cubic ? sample_row_rgb<CubicRgb> : sample_row_rgb<LinearRgb>;
#endif
  return cubic ? sample_row<3, Cubic> : sample_row<3, Linear>;
}

// ---------------------------------------------------------------------------------------------

void fill_pixels(uint8_t* row, int first, int last, std::span<const uint8_t> pixel) {
  for (int x = first; x < last; ++x) std::copy(pixel.begin(), pixel.end(), row + x * pixel.size());
}

// Python's angle % 360.0.
double positive_turn(double degrees) {
  const double rest = std::fmod(degrees, 360.0);
  return rest < 0.0 ? rest + 360.0 : rest;
}

// Python's round(value, 15): the nearest double of the nearest decimal.
double round_to_15_decimals(double value) {
  char text[32];
  const auto written = std::to_chars(text, text + sizeof text, value, std::chars_format::fixed, 15);
  std::from_chars(text, written.ptr, value);
  return value;
}

}  // namespace

cv::Mat affine(const cv::Mat& image, const AffineMatrix& matrix, Interpolation interpolation,
               const cv::Scalar& fill) {
  if (image.empty() || (image.type() != CV_8UC1 && image.type() != CV_8UC3)) {
    throw std::invalid_argument("affine: the image must have 8 bits and 1 or 3 channels");
  }
  if (!std::all_of(matrix.begin(), matrix.end(), [](double v) { return std::isfinite(v); })) {
    throw std::invalid_argument("affine: the matrix must be finite");
  }
  const PaddedImage input(image);
  const SampleRow sample_inside = row_sampler(image.channels(), interpolation);
  std::vector<uint8_t> pixel(image.channels());
  for (size_t c = 0; c < pixel.size(); ++c) {
    pixel[c] = cv::saturate_cast<uint8_t>(fill[static_cast<int>(c)]);
  }
  RowPositions row(image.cols);
  cv::Mat result(image.size(), image.type());
  for (int y = 0; y < image.rows; ++y) {
    place_row(matrix, y, input, row);
    fill_pixels(result.ptr(y), 0, row.first, pixel);
    sample_inside(input, row, result.ptr(y) + row.first * pixel.size());
    fill_pixels(result.ptr(y), row.last, image.cols, pixel);
  }
  return result;
}

cv::Mat rotate(const cv::Mat& image, double degrees, Interpolation interpolation,
               const cv::Scalar& fill) {
  const double turn = positive_turn(degrees);
  if (turn == 0.0) return image;
  cv::Mat turned;
  if (turn == 180.0) {
    cv::rotate(image, turned, cv::ROTATE_180);
    return turned;
  }
  if (image.cols == image.rows && (turn == 90.0 || turn == 270.0)) {
    cv::rotate(image, turned,
               turn == 90.0 ? cv::ROTATE_90_COUNTERCLOCKWISE : cv::ROTATE_90_CLOCKWISE);
    return turned;
  }
  const double angle = -(turn * (std::numbers::pi / 180.0));
  const double cosine = round_to_15_decimals(std::cos(angle));
  const double sine = round_to_15_decimals(std::sin(angle));
  const double x = image.cols / 2.0, y = image.rows / 2.0;
  const AffineMatrix matrix = {cosine, sine,   cosine * -x + sine * -y + x,
                               -sine,  cosine, -sine * -x + cosine * -y + y};
  return affine(image, matrix, interpolation, fill);
}

cv::Mat shear_x(const cv::Mat& image, double factor, Interpolation interpolation,
                const cv::Scalar& fill) {
  return affine(image, {1, factor, 0, 0, 1, 0}, interpolation, fill);
}

cv::Mat shear_y(const cv::Mat& image, double factor, Interpolation interpolation,
                const cv::Scalar& fill) {
  return affine(image, {1, 0, 0, factor, 1, 0}, interpolation, fill);
}

cv::Mat translate_x(const cv::Mat& image, double pixels, Interpolation interpolation,
                    const cv::Scalar& fill) {
  return affine(image, {1, 0, pixels, 0, 1, 0}, interpolation, fill);
}

cv::Mat translate_y(const cv::Mat& image, double pixels, Interpolation interpolation,
                    const cv::Scalar& fill) {
  return affine(image, {1, 0, 0, 0, 1, pixels}, interpolation, fill);
}

}  // namespace umbra::augment
