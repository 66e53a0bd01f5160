// Self-attention in bf16. vit/fused.h gives it gradients.
#pragma once

#include <cstdint>

#include "kernels/support.h"

namespace umbra::kernels {

// Self-attention of one head of one image. Tokens of q, k and v and of their gradients are
// `qkv_stride` values apart, those of the output and its gradient `stride`. Softmax in fp32,
// products of bf16 with sums in fp32.
struct AttentionShape {
  int64_t tokens, dim;         // of one head
  int64_t qkv_stride, stride;  // between tokens: of q, k, v; of the output
  float scale;                 // 1 / sqrt(dim)
};

// Floats of scratch memory, aligned to 64 bytes, that one call needs.
int64_t attention_forward_scratch(const AttentionShape& shape);
int64_t attention_backward_scratch(const AttentionShape& shape);

// out [tokens, dim] = softmax(scale q k^T) v; lse [tokens]: log2 of the sum of exp(scale q k^T).
void attention_forward(const AttentionShape& shape, const bf16* q, const bf16* k, const bf16* v,
                       bf16* out, float* lse, float* scratch);

// Gradients of q, k and v, from that of out.
void attention_backward(const AttentionShape& shape, const bf16* q, const bf16* k, const bf16* v,
                        const bf16* out, const float* lse, const bf16* grad_out, bf16* grad_q,
                        bf16* grad_k, bf16* grad_v, float* scratch);

}  // namespace umbra::kernels
