// What transformer blocks do value by value, or token by token, in bf16. vit/fused.h gives it
// gradients.
#pragma once

#include <cstdint>

#include "kernels/support.h"

namespace umbra::kernels {

// For each of `rows` rows of `dim` values: sum = x + scale * change, out = layer norm of the sum.
// change may be null: then `sum` is not written, and x is normalised. mean, rstd: [rows].
void add_norm_forward(int64_t rows, int64_t dim, const float* x, const bf16* change, float scale,
                      const float* gamma, const float* beta, float eps, float* sum, bf16* out,
                      float* mean, float* rstd);

// grad_sum = further (may be null) + the gradient through the norm; grad_change (may be null) =
// scale * grad_sum. grad_gamma and grad_beta [dim] are added to.
void add_norm_backward(int64_t rows, int64_t dim, const float* sum, const float* mean,
                       const float* rstd, const float* gamma, const bf16* grad_out,
                       const float* further, float scale, float* grad_sum, bf16* grad_change,
                       float* grad_gamma, float* grad_beta);

// x * Phi(x), Phi the normal distribution.
void gelu_forward(int64_t count, const bf16* x, bf16* out);
void gelu_backward(int64_t count, const bf16* x, const bf16* grad_out, bf16* grad_x);

}  // namespace umbra::kernels
