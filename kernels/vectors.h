// Vectors of 16 numbers with AVX-512. Only for sources compiled for such processors: no function
// here may be shared with other sources, hence the namespace.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/support.h"

namespace umbra::kernels {
namespace {

inline __m512 widen(__m256i values) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(values), 16));
}

inline __m256i narrow(__m512 values) {
  return reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(values));
}

// The first `count` lanes.
inline __mmask16 lanes16(int64_t count) {
  return count >= 16 ? __mmask16{0xffff} : static_cast<__mmask16>((1u << count) - 1);
}

inline __mmask32 lanes32(int64_t count) {
  return count >= 32 ? __mmask32{0xffffffff} : static_cast<__mmask32>((1u << count) - 1);
}

// The lanes that are asked for; zeros in the others.
inline __m512 load(const float* from, __mmask16 lanes) {
  return _mm512_maskz_loadu_ps(lanes, from);
}
inline __m512 load(const bf16* from, __mmask16 lanes) {
  return widen(_mm256_maskz_loadu_epi16(lanes, from));
}
inline void store(float* to, __mmask16 lanes, __m512 x) { _mm512_mask_storeu_ps(to, lanes, x); }
inline void store(bf16* to, __mmask16 lanes, __m512 x) {
  _mm256_mask_storeu_epi16(to, lanes, narrow(x));
}

// 2^x by the polynomial of Cephes' exp2f on [-1/2, 1/2]: relative error below 3e-7. NaN stays NaN.
inline __m512 exp2(__m512 x) {
  x = _mm512_max_ps(_mm512_set1_ps(-126.0f), x);
  const __m512 whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m512 part = _mm512_sub_ps(x, whole);
  __m512 p = _mm512_set1_ps(1.535336188319500e-4f);
  p = _mm512_fmadd_ps(p, part, _mm512_set1_ps(1.339887440266574e-3f));
  p = _mm512_fmadd_ps(p, part, _mm512_set1_ps(9.618437357674640e-3f));
  p = _mm512_fmadd_ps(p, part, _mm512_set1_ps(5.550332471162809e-2f));
  p = _mm512_fmadd_ps(p, part, _mm512_set1_ps(2.402264791363012e-1f));
  p = _mm512_fmadd_ps(p, part, _mm512_set1_ps(6.931472028550421e-1f));
  p = _mm512_fmadd_ps(p, part, _mm512_set1_ps(1.0f));
  return _mm512_scalef_ps(p, whole);
}

}  // namespace
}  // namespace umbra::kernels
