#include "kernels/batch_norm.h"

#ifdef UMBRA_AMX
#include "kernels/amx.h"

namespace umbra::kernels {
namespace {

// Calls work(offset of the channels, which of them) for each 16 channels.
template <typename Work>
void for_each_lanes(int64_t channels, const Work& work) {
  for (int64_t j = 0; j < channels; j += 16) work(j, lanes16(channels - j));
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
  for_each_lanes(channels, [&](int64_t j, __mmask16 lanes) {
    const __m512 center = load(pivot + j, lanes);
    __m512 s = load(sum + j, lanes), q = load(squares + j, lanes);
    for (int64_t i = 0; i < rows; ++i) {
      const __m512 d = _mm512_sub_ps(load(x + i * channels + j, lanes), center);
      s = _mm512_add_ps(s, d);
      q = _mm512_fmadd_ps(d, d, q);
    }
    store(sum + j, lanes, s);
    store(squares + j, lanes, q);
  });
}

void norm_apply(int64_t rows, int64_t channels, const bf16* x, const float* scale,
                const float* shift, const bf16* residual, bool relu, bf16* out) {
  for_each_lanes(channels, [&](int64_t j, __mmask16 lanes) {
    const __m512 factor = load(scale + j, lanes), added = load(shift + j, lanes);
    for (int64_t i = 0; i < rows; ++i) {
      const int64_t at = i * channels + j;
      __m512 v = _mm512_fmadd_ps(load(x + at, lanes), factor, added);
      if (residual) v = _mm512_add_ps(v, load(residual + at, lanes));
      if (relu) v = _mm512_max_ps(_mm512_setzero_ps(), v);  // hands on NaN
      store(out + at, lanes, v);
    }
  });
}

void norm_grad_sums(int64_t rows, int64_t channels, const bf16* x, const bf16* out,
                    const bf16* grad_out, const float* mean, float* sum, float* product) {
  for_each_lanes(channels, [&](int64_t j, __mmask16 lanes) {
    const __m512 center = load(mean + j, lanes);
    __m512 s = load(sum + j, lanes), p = load(product + j, lanes);
    for (int64_t i = 0; i < rows; ++i) {
      const int64_t at = i * channels + j;
      const __m512 g = masked_grad(out, grad_out, at, lanes);
      s = _mm512_add_ps(s, g);
      p = _mm512_fmadd_ps(g, _mm512_sub_ps(load(x + at, lanes), center), p);
    }
    store(sum + j, lanes, s);
    store(product + j, lanes, p);
  });
}

void norm_grad_apply(int64_t rows, int64_t channels, const bf16* x, const bf16* out,
                     const bf16* grad_out, const NormGrad& factors, bf16* grad_x,
                     bf16* grad_residual) {
  for_each_lanes(channels, [&](int64_t j, __mmask16 lanes) {
    const __m512 center = load(factors.mean + j, lanes), scale = load(factors.scale + j, lanes),
                 shift = load(factors.shift + j, lanes), slope = load(factors.slope + j, lanes);
    for (int64_t i = 0; i < rows; ++i) {
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
