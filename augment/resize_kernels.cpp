#include "augment/resize_kernels.h"

#include <algorithm>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace umbra::augment {
namespace {

constexpr int32_t kHalf = 1 << (kWeightBits - 1);  // so that the final shift rounds

uint8_t to_pixel(int32_t sum) {
  return static_cast<uint8_t>(std::clamp(sum >> kWeightBits, 0, 255));
}

// --- plain C++ -------------------------------------------------------------------------------
// Sums fit in 32 bits, as the absolute weights of an output add up to less than 2.

void resize_row(const uint8_t* in, int channels, const Taps& columns, uint8_t* out) {
  for (size_t x = 0; x < columns.first.size(); ++x) {
    const int32_t* weights = &columns.weights[x * columns.stride];
    const uint8_t* pixels = in + columns.first[x] * channels;
    for (int c = 0; c < channels; ++c) {
      int32_t sum = kHalf;
      for (int k = 0; k < columns.count[x]; ++k) sum += weights[k] * pixels[k * channels + c];
      *out++ = to_pixel(sum);
    }
  }
}

void run_plain(const cv::Mat& image, const Taps& columns, const Taps& rows, cv::Mat& result) {
  const int channels = image.channels(), size = result.cols * channels;
  cv::Mat between(image.rows, result.cols, image.type());
  for (int y = 0; y < image.rows; ++y) {
    resize_row(image.ptr(y), channels, columns, between.ptr(y));
  }
  std::vector<int32_t> sums(size);
  for (int y = 0; y < result.rows; ++y) {
    std::fill(sums.begin(), sums.end(), kHalf);
    for (int k = 0; k < rows.count[y]; ++k) {
      const int32_t weight = rows.weights[size_t{1} * y * rows.stride + k];
      const uint8_t* in = between.ptr(rows.first[y] + k);
      for (int i = 0; i < size; ++i) sums[i] += weight * in[i];
    }
    std::transform(sums.begin(), sums.end(), result.ptr(y), to_pixel);
  }
}

#if defined(__x86_64__)
// --- x86 -------------------------------------------------------------------------------------
// Both passes take their inputs in groups of four neighbours, so that one 32-bit lane of a vector
// holds the four and multiplies them with four weights. A block is 16 lanes, 64 bytes. The
// horizontal pass of an image with one channel leaves most lanes idle.

constexpr int kLanes = 16, kBlock = 4 * kLanes;

// How an instruction set sums up a block: sixteen outputs, each of `count` groups that lie `step`
// bytes apart. Partial sums may wrap around; the totals come out right modulo 2^32.
struct Avx2 {
  // pmaddwd takes factors of 16 bits, so a weight is high * 2^16 + low, both signed.
  struct Weights {
    int32_t low_even, low_odd, high_even, high_odd;

    explicit Weights(const int32_t* w)
        : low_even(pair(w[0], w[2])),
          low_odd(pair(w[1], w[3])),
          high_even(pair(high(w[0]), high(w[2]))),
          high_odd(pair(high(w[1]), high(w[3]))) {}

    static int32_t pair(int32_t a, int32_t b) {
      return static_cast<int32_t>(static_cast<uint32_t>(b) << 16 | (a & 0xffff));
    }
    static int32_t high(int32_t weight) { return (weight - static_cast<int16_t>(weight)) >> 16; }
  };

  struct Sums {  // of eight outputs
    __m256i low, high;
  };

  [[gnu::target("avx2")]] static __m256i dot(__m256i pixels, int32_t weights) {
    return _mm256_madd_epi16(pixels, _mm256_set1_epi32(weights));
  }

  [[gnu::target("avx2")]] static void add(Sums& sums, const uint8_t* in, const Weights& weights) {
    const __m256i pixels = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(in));
    const __m256i even = _mm256_and_si256(pixels, _mm256_set1_epi16(0xff));
    const __m256i odd = _mm256_srli_epi16(pixels, 8);
    sums.low = _mm256_add_epi32(sums.low, dot(even, weights.low_even));
    sums.low = _mm256_add_epi32(sums.low, dot(odd, weights.low_odd));
    sums.high = _mm256_add_epi32(sums.high, dot(even, weights.high_even));
    sums.high = _mm256_add_epi32(sums.high, dot(odd, weights.high_odd));
  }

  [[gnu::target("avx2")]] static __m128i to_words(const Sums& sums) {
    const __m256i total = _mm256_add_epi32(sums.low, _mm256_slli_epi32(sums.high, 16));
    const __m256i values = _mm256_srai_epi32(total, kWeightBits);
    return _mm_packs_epi32(_mm256_castsi256_si128(values), _mm256_extracti128_si256(values, 1));
  }

  [[gnu::target("avx2")]] static void sum(const uint8_t* in, ptrdiff_t step, const Weights* weights,
                                          int count, uint8_t* out) {
    Sums a = {_mm256_set1_epi32(kHalf), _mm256_setzero_si256()}, b = a;
    for (int k = 0; k < count; ++k) {
      add(a, in + k * step, weights[k]);
      add(b, in + k * step + kBlock / 2, weights[k]);
    }
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm_packus_epi16(to_words(a), to_words(b)));
  }
};

struct Vnni {
  // vpdpbusd takes weights of 8 bits, so a weight is digits[0] + 2^8 digits[1] + 2^16 digits[2],
  // all signed.
  struct Weights {
    uint32_t digits[3] = {};  // a byte for each of the four weights

    explicit Weights(const int32_t* w) {
      for (int i = 0; i < 4; ++i) {
        const uint32_t bytes = (static_cast<uint32_t>(w[i]) + 0x808080) ^ 0x808080;
        for (int d = 0; d < 3; ++d) digits[d] |= (bytes >> 8 * d & 0xff) << 8 * i;
      }
    }
  };

  [[gnu::target("avx512f,avx512vnni")]] static void sum(const uint8_t* in, ptrdiff_t step,
                                                        const Weights* weights, int count,
                                                        uint8_t* out) {
    __m512i sums[3] = {_mm512_set1_epi32(kHalf), _mm512_setzero_si512(), _mm512_setzero_si512()};
    for (int k = 0; k < count; ++k) {
      const __m512i pixels = _mm512_loadu_si512(in + k * step);
      for (int d = 0; d < 3; ++d) {
        const auto digits = static_cast<int>(weights[k].digits[d]);
        sums[d] = _mm512_dpbusd_epi32(sums[d], pixels, _mm512_set1_epi32(digits));
      }
    }
    // Operators, and a mask that masks nothing: GCC 12 warns about the usual intrinsics' own code.
    using Lanes [[gnu::vector_size(64)]] = int32_t;
    const Lanes total = Lanes(sums[0]) + (Lanes(sums[1]) << 8) + (Lanes(sums[2]) << 16);
    const Lanes values = total > 0 ? total >> kWeightBits : Lanes{};
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out),
                     _mm512_maskz_cvtusepi32_epi8(0xffff, __m512i(values)));
  }
};

// Taps by groups of four inputs: group g is inputs 4g to 4g + 3.
template <typename Weights>
struct Groups {
  int stride;
  std::vector<int> first, count;
  std::vector<Weights> weights;

  explicit Groups(const Taps& taps) : stride((taps.stride + 6) / 4) {
    weights.reserve(taps.first.size() * stride);
    std::vector<int32_t> padded(4 * stride);
    for (size_t i = 0; i < taps.first.size(); ++i) {
      const int skip = taps.first[i] % 4;
      std::fill(padded.begin(), padded.end(), 0);
      std::copy_n(&taps.weights[i * taps.stride], taps.count[i], padded.begin() + skip);
      for (int k = 0; k < stride; ++k) weights.emplace_back(&padded[4 * k]);
      first.push_back(taps.first[i] / 4);
      count.push_back((skip + taps.count[i] + 3) / 4);
    }
  }
};

// Four rows from `top` on become blocks for each four pixels: lane 4c + r holds channel c of row r.
[[gnu::target("ssse3")]] void pack(const cv::Mat& image, int top, uint8_t* blocks) {
  const int channels = image.channels(), size = image.cols * channels, step = 4 * channels;
  const __m128i by_channel =
      channels == 3 ? _mm_setr_epi8(0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11, -1, -1, -1, -1)
                    : _mm_setr_epi8(0, 1, 2, 3, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);
  const uint8_t* rows[4];
  for (int r = 0; r < 4; ++r) rows[r] = image.ptr(std::min(top + r, image.rows - 1));
  for (int i = 0; i < size; i += step, blocks += kBlock) {
    __m128i lanes[4];
    for (int r = 0; r < 4; ++r) {
      __m128i pixels = _mm_setzero_si128();
      if (i + 16 <= size) {
        pixels = _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows[r] + i));
      } else {
        std::memcpy(&pixels, rows[r] + i, size - i);
      }
      lanes[r] = _mm_shuffle_epi8(pixels, by_channel);
    }
    // From lanes (row, channel) to lanes (channel, row): a 4 x 4 transposition.
    const __m128i ab_low = _mm_unpacklo_epi32(lanes[0], lanes[1]);
    const __m128i ab_high = _mm_unpackhi_epi32(lanes[0], lanes[1]);
    const __m128i cd_low = _mm_unpacklo_epi32(lanes[2], lanes[3]);
    const __m128i cd_high = _mm_unpackhi_epi32(lanes[2], lanes[3]);
    __m128i* out = reinterpret_cast<__m128i*>(blocks);
    _mm_storeu_si128(out, _mm_unpacklo_epi64(ab_low, cd_low));
    _mm_storeu_si128(out + 1, _mm_unpackhi_epi64(ab_low, cd_low));
    _mm_storeu_si128(out + 2, _mm_unpacklo_epi64(ab_high, cd_high));
  }
}

// Inlined into functions with the right target, so that `sum` can be too.
template <typename Isa>
[[gnu::always_inline]] inline void run(const cv::Mat& image, const Taps& column_taps,
                                       const Taps& row_taps, cv::Mat& result) {
  const Groups<typename Isa::Weights> columns(column_taps), rows(row_taps);
  const int channels = image.channels(), size = result.cols * channels;

  // The horizontal pass turns four rows at a time into four vertical neighbours per lane.
  const int row_groups = (image.rows + 3) / 4;
  const ptrdiff_t step = (size + kLanes - 1) / kLanes * ptrdiff_t{kBlock};
  std::vector<uint8_t> blocks(size_t{kBlock} * ((image.cols + 3) / 4));
  std::vector<uint8_t> between(row_groups * step + kLanes);
  for (int g = 0; g < row_groups; ++g) {
    pack(image, 4 * g, blocks.data());
    for (int x = 0; x < result.cols; ++x) {
      // Of the 16 bytes written, the next pixel overwrites those beyond `channels` lanes.
      Isa::sum(&blocks[columns.first[x] * kBlock], kBlock, &columns.weights[x * columns.stride],
               columns.count[x], &between[g * step + 4 * channels * x]);
    }
  }

  uint8_t last[kLanes];
  for (int y = 0; y < result.rows; ++y) {
    const uint8_t* in = &between[rows.first[y] * step];
    uint8_t* out = result.ptr(y);
    for (int i = 0; i < size; i += kLanes) {
      const bool fits = i + kLanes <= size;
      Isa::sum(in + 4 * i, step, &rows.weights[y * rows.stride], rows.count[y],
               fits ? out + i : last);
      if (!fits) std::memcpy(out + i, last, size - i);
    }
  }
}

[[gnu::target("avx2")]] void run_avx2(const cv::Mat& image, const Taps& columns, const Taps& rows,
                                      cv::Mat& result) {
  run<Avx2>(image, columns, rows, result);
}

[[gnu::target("avx512f,avx512vnni")]] void run_vnni(const cv::Mat& image, const Taps& columns,
                                                    const Taps& rows, cv::Mat& result) {
  run<Vnni>(image, columns, rows, result);
}
#endif

}  // namespace

std::span<const ResizeKernel> resize_kernels() {
  static const std::vector<ResizeKernel> kernels = [] {
    std::vector<ResizeKernel> supported = {{"plain", run_plain}};
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2")) supported.push_back({"avx2", run_avx2});
    if (__builtin_cpu_supports("avx512vnni")) supported.push_back({"vnni", run_vnni});
#endif
    return supported;
  }();
  return kernels;
}

}  // namespace umbra::augment
