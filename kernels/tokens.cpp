#include "kernels/tokens.h"

#ifdef UMBRA_KERNELS
#include "kernels/vectors.h"

namespace umbra::kernels {
namespace {

// Phi(x), the normal distribution, and phi(x) = exp(-x^2 / 2), which is its density but for a
// constant: erf by Abramowitz and Stegun 7.1.26, absolute error below 3e-7.
void normal(__m512 x, __m512& distribution, __m512& density) {
  const __m512 one = _mm512_set1_ps(1.0f);
  const __m512 z = _mm512_mul_ps(_mm512_abs_ps(x), _mm512_set1_ps(0.70710678f));
  density = exp2(_mm512_mul_ps(_mm512_mul_ps(x, x), _mm512_set1_ps(-0.72134752f)));
  const __m512 t = _mm512_div_ps(one, _mm512_fmadd_ps(z, _mm512_set1_ps(0.3275911f), one));
  __m512 p = _mm512_set1_ps(1.061405429f);
  p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(-1.453152027f));
  p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(1.421413741f));
  p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(-0.284496736f));
  p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(0.254829592f));
  // half of erfc(|z|)
  const __m512 tail =
      _mm512_mul_ps(_mm512_mul_ps(_mm512_mul_ps(p, t), density), _mm512_set1_ps(0.5f));
  const __mmask16 positive = _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_GT_OQ);
  distribution = _mm512_mask_sub_ps(tail, positive, one, tail);
}

}  // namespace

void add_norm_forward(int64_t rows, int64_t dim, const float* x, const bf16* change, float scale,
                      const float* gamma, const float* beta, float eps, float* sum, bf16* out,
                      float* mean, float* rstd) {
  const __m512 factor = _mm512_set1_ps(scale);
  const float per_value = 1.0f / static_cast<float>(dim);
  for (int64_t row = 0; row < rows; ++row, x += dim, out += dim) {
    const float* values = x;
    __m512 total = _mm512_setzero_ps();
    for (int64_t j = 0; j < dim; j += 16) {
      const __mmask16 lanes = lanes16(dim - j);
      __m512 v = load(x + j, lanes);
      if (change) {
        v = _mm512_fmadd_ps(load(change + j, lanes), factor, v);
        store(sum + j, lanes, v);
      }
      total = _mm512_add_ps(total, v);
    }
    if (change) {
      values = sum;
      change += dim;
      sum += dim;
    }
    const float center = _mm512_reduce_add_ps(total) * per_value;
    const __m512 middle = _mm512_set1_ps(center);
    __m512 squares = _mm512_setzero_ps();
    for (int64_t j = 0; j < dim; j += 16) {
      const __mmask16 lanes = lanes16(dim - j);
      const __m512 d = _mm512_maskz_sub_ps(lanes, load(values + j, lanes), middle);
      squares = _mm512_fmadd_ps(d, d, squares);
    }
    const float inverse = 1.0f / __builtin_sqrtf(_mm512_reduce_add_ps(squares) * per_value + eps);
    const __m512 stretch = _mm512_set1_ps(inverse);
    for (int64_t j = 0; j < dim; j += 16) {
      const __mmask16 lanes = lanes16(dim - j);
      const __m512 normal = _mm512_mul_ps(_mm512_sub_ps(load(values + j, lanes), middle), stretch);
      store(out + j, lanes, _mm512_fmadd_ps(normal, load(gamma + j, lanes), load(beta + j, lanes)));
    }
    mean[row] = center;
    rstd[row] = inverse;
  }
}

void add_norm_backward(int64_t rows, int64_t dim, const float* sum, const float* mean,
                       const float* rstd, const float* gamma, const bf16* grad_out,
                       const float* further, float scale, float* grad_sum, bf16* grad_change,
                       float* grad_gamma, float* grad_beta) {
  const __m512 factor = _mm512_set1_ps(scale);
  const float per_value = 1.0f / static_cast<float>(dim);
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t at = row * dim;
    const __m512 middle = _mm512_set1_ps(mean[row]), stretch = _mm512_set1_ps(rstd[row]);
    const auto normal = [&](int64_t j, __mmask16 lanes) {
      return _mm512_mul_ps(_mm512_sub_ps(load(sum + at + j, lanes), middle), stretch);
    };
    __m512 total = _mm512_setzero_ps(), product = _mm512_setzero_ps();
    for (int64_t j = 0; j < dim; j += 16) {
      const __mmask16 lanes = lanes16(dim - j);
      const __m512 g = load(grad_out + at + j, lanes), n = normal(j, lanes);
      store(grad_gamma + j, lanes, _mm512_fmadd_ps(g, n, load(grad_gamma + j, lanes)));
      store(grad_beta + j, lanes, _mm512_add_ps(g, load(grad_beta + j, lanes)));
      const __m512 scaled = _mm512_mul_ps(g, load(gamma + j, lanes));
      total = _mm512_add_ps(total, scaled);
      product = _mm512_fmadd_ps(scaled, n, product);
    }
    const __m512 shift = _mm512_set1_ps(_mm512_reduce_add_ps(total) * per_value);
    const __m512 tilt = _mm512_set1_ps(_mm512_reduce_add_ps(product) * per_value);
    for (int64_t j = 0; j < dim; j += 16) {
      const __mmask16 lanes = lanes16(dim - j);
      const __m512 scaled = _mm512_mul_ps(load(grad_out + at + j, lanes), load(gamma + j, lanes));
      const __m512 through = _mm512_fnmadd_ps(normal(j, lanes), tilt, _mm512_sub_ps(scaled, shift));
      __m512 g = _mm512_mul_ps(through, stretch);
      if (further) g = _mm512_add_ps(g, load(further + at + j, lanes));
      store(grad_sum + at + j, lanes, g);
      if (grad_change) store(grad_change + at + j, lanes, _mm512_mul_ps(g, factor));
    }
  }
}

void gelu_forward(int64_t count, const bf16* x, bf16* out) {
  for (int64_t i = 0; i < count; i += 16) {
    const __mmask16 lanes = lanes16(count - i);
    const __m512 v = load(x + i, lanes);
    __m512 distribution, density;
    normal(v, distribution, density);
    store(out + i, lanes, _mm512_mul_ps(v, distribution));
  }
}

void gelu_backward(int64_t count, const bf16* x, const bf16* grad_out, bf16* grad_x) {
  const __m512 height = _mm512_set1_ps(0.39894228f);  // 1 / sqrt(2 pi)
  for (int64_t i = 0; i < count; i += 16) {
    const __mmask16 lanes = lanes16(count - i);
    const __m512 v = load(x + i, lanes);
    __m512 distribution, density;
    normal(v, distribution, density);
    const __m512 slope = _mm512_fmadd_ps(_mm512_mul_ps(v, height), density, distribution);
    store(grad_x + i, lanes, _mm512_mul_ps(load(grad_out + i, lanes), slope));
  }
}

}  // namespace umbra::kernels
#endif
