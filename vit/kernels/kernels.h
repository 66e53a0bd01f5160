// The inner loops of a transformer block in bf16 on CPUs with AMX (Intel Xeon since Sapphire
// Rapids). Plain pointers and counts; what they are for, and who calls them, is in vit/fused.h.
#pragma once

#include <cstdint>

namespace umbra::vit::kernels {

using bf16 = uint16_t;  // the bits of one

// Whether this processor and system can run them.
bool available();

// Multi-head self-attention of one head of one image. Rows of `qkv` are tokens: `stride` values
// apart, with q, k and v of this head at their pointers. Softmax in fp32, products of bf16 with
// sums in fp32.
struct AttentionShape {
  int64_t tokens, dim;         // of one head
  int64_t qkv_stride, stride;  // between tokens: of q, k, v; of the output
  float scale;                 // 1 / sqrt(dim)
};

// Floats of scratch memory, aligned to 64 bytes, that one call needs.
int64_t attention_forward_scratch(const AttentionShape& shape);
int64_t attention_backward_scratch(const AttentionShape& shape);

// Between these two calls a thread may call the attention kernels.
void begin_tiles();
void end_tiles();

// out [tokens, dim] = softmax(scale q k^T) v; lse [tokens]: log2 of the sum of exp(scale q k^T).
void attention_forward(const AttentionShape& shape, const bf16* q, const bf16* k, const bf16* v,
                       bf16* out, float* lse, float* scratch);

// Gradients of q, k and v, from that of out.
void attention_backward(const AttentionShape& shape, const bf16* q, const bf16* k, const bf16* v,
                        const bf16* out, const float* lse, const bf16* grad_out, bf16* grad_q,
                        bf16* grad_k, bf16* grad_v, float* scratch);

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

}  // namespace umbra::vit::kernels
