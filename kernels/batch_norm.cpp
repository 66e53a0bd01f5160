#include "kernels/batch_norm.h"

#ifdef UMBRA_KERNELS
#include "kernels/vectors.h"

namespace umbra::kernels {
namespace {

// Calls work(first row, end, channel, which of the 16 from there on), by blocks of rows that stay
// in the nearest cache while their channels are gone through.
template <typename Work>
void for_each_block(int64_t rows, int64_t channels, const Work& work) {
  const int64_t most = channels > 256 ? 16 : 4096 / channels;
  for (int64_t begin = 0; begin < rows; begin += most) {
    const int64_t end = rows - begin < most ? rows : begin + most;
    for (int64_t j = 0; j < channels; j += 16) work(begin, end, j, lanes16(channels - j));
  }
}

// Adds two sums over the rows to sums of each channel: of what terms(row, first, second) gives.
// Four of each at a time, so that none waits for the one before it.
template <typename Terms>
void add_sums(int64_t begin, int64_t end, float* first, float* second, __mmask16 lanes,
              const Terms& terms) {
  constexpr int kChains = 4;
  __m512 a[kChains], b[kChains];
  for (int c = 0; c < kChains; ++c) a[c] = b[c] = _mm512_setzero_ps();
  int64_t i = begin;
  for (; i + kChains <= end; i += kChains) {
    for (int c = 0; c < kChains; ++c) terms(i + c, a[c], b[c]);
  }
  for (; i < end; ++i) terms(i, a[0], b[0]);
  const auto total = [](const __m512* x) {
    return _mm512_add_ps(_mm512_add_ps(x[0], x[1]), _mm512_add_ps(x[2], x[3]));
  };
  store(first, lanes, _mm512_add_ps(load(first, lanes), total(a)));
  store(second, lanes, _mm512_add_ps(load(second, lanes), total(b)));
}

__m512 masked_grad(const bf16* out, const bf16* grad_out, int64_t at, __mmask16 lanes) {
  const __m512 g = load(grad_out + at, lanes);
  if (!out) return g;
  const __mmask16 positive =
      _mm512_cmp_ps_mask(load(out + at, lanes), _mm512_setzero_ps(), _CMP_GT_OQ);
  return _mm512_maskz_mov_ps(positive, g);
}

}  // namespace

void norm_sums(int64_t rows, int64_t channels, const bf16* x, const float* pivot, float* sum,
               float* squares) {
  for_each_block(rows, channels, [&](int64_t begin, int64_t end, int64_t j, __mmask16 lanes) {
    const __m512 center = load(pivot + j, lanes);
    add_sums(begin, end, sum + j, squares + j, lanes, [&](int64_t i, __m512& s, __m512& q) {
      const __m512 d = _mm512_sub_ps(load(x + i * channels + j, lanes), center);
      s = _mm512_add_ps(s, d);
      q = _mm512_fmadd_ps(d, d, q);
    });
  });
}

void norm_apply(int64_t rows, int64_t channels, const bf16* x, const float* scale,
                const float* shift, const bf16* residual, bool relu, bf16* out, bf16* before) {
  for_each_block(rows, channels, [&](int64_t begin, int64_t end, int64_t j, __mmask16 lanes) {
    const __m512 factor = load(scale + j, lanes), added = load(shift + j, lanes);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t at = i * channels + j;
      __m512 v = _mm512_fmadd_ps(load(x + at, lanes), factor, added);
      if (residual) v = _mm512_add_ps(v, load(residual + at, lanes));
      if (before) store(before + at, lanes, v);
      if (relu) v = _mm512_max_ps(_mm512_setzero_ps(), v);  // hands on NaN
      store(out + at, lanes, v);
    }
  });
}

void norm_grad_sums(int64_t rows, int64_t channels, const bf16* x, const bf16* out,
                    const bf16* grad_out, const float* mean, float* sum, float* product) {
  for_each_block(rows, channels, [&](int64_t begin, int64_t end, int64_t j, __mmask16 lanes) {
    const __m512 center = load(mean + j, lanes);
    add_sums(begin, end, sum + j, product + j, lanes, [&](int64_t i, __m512& s, __m512& p) {
      const int64_t at = i * channels + j;
      const __m512 g = masked_grad(out, grad_out, at, lanes);
      s = _mm512_add_ps(s, g);
      p = _mm512_fmadd_ps(g, _mm512_sub_ps(load(x + at, lanes), center), p);
    });
  });
}

void norm_grad_apply(int64_t rows, int64_t channels, const bf16* x, const bf16* out,
                     const bf16* grad_out, const NormGrad& factors, bf16* grad_x,
                     bf16* grad_residual) {
  for_each_block(rows, channels, [&](int64_t begin, int64_t end, int64_t j, __mmask16 lanes) {
    const __m512 center = load(factors.mean + j, lanes), scale = load(factors.scale + j, lanes),
                 shift = load(factors.shift + j, lanes), slope = load(factors.slope + j, lanes);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t at = i * channels + j;
      const __m512 g = masked_grad(out, grad_out, at, lanes);
      if (grad_residual) store(grad_residual + at, lanes, g);
      const __m512 away = _mm512_sub_ps(load(x + at, lanes), center);
      const __m512 v = _mm512_mul_ps(_mm512_sub_ps(g, shift), scale);
      store(grad_x + at, lanes, _mm512_fnmadd_ps(away, slope, v));
    }
  });
}

}  // namespace umbra::kernels
#endif
