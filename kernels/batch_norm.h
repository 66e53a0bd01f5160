// Batch norm over pixels of channels-last bf16 images, with what follows it: a residual sum and a
// ReLU. Plain pointers and counts; cnn/fused.h gives them gradients.
#pragma once

#include <cstdint>

#include "kernels/support.h"

namespace umbra::kernels {

// Of each channel, over `rows` pixels: adds x - pivot to sum, and its square to squares.
void norm_sums(int64_t rows, int64_t channels, const bf16* x, const float* pivot, float* sum,
               float* squares);

// out = x * scale + shift + residual (may be null), at least 0 with `relu`; `before` (may be null)
// is the same without the ReLU.
void norm_apply(int64_t rows, int64_t channels, const bf16* x, const float* scale,
                const float* shift, const bf16* residual, bool relu, bf16* out, bf16* before);

// With g the gradient where `out` is above 0 (everywhere, if it is null): adds g to sum, and
// g * (x - mean) to product.
void norm_grad_sums(int64_t rows, int64_t channels, const bf16* x, const bf16* out,
                    const bf16* grad_out, const float* mean, float* sum, float* product);

// grad_x = scale * (g - shift) - slope * (x - mean); grad_residual (may be null) = g.
struct NormGrad {
  const float *mean, *scale, *shift, *slope;  // of each channel
};
void norm_grad_apply(int64_t rows, int64_t channels, const bf16* x, const bf16* out,
                     const bf16* grad_out, const NormGrad& factors, bf16* grad_x,
                     bf16* grad_residual);

}  // namespace umbra::kernels
