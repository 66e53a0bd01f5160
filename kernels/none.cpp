// What stands in for the kernels where they cannot be compiled: nothing calls it, as available()
// says no.
#include "kernels/attention.h"
#include "kernels/batch_norm.h"
#include "kernels/conv.h"
#include "kernels/tokens.h"

#ifndef UMBRA_KERNELS
namespace umbra::kernels {

Tiles::Tiles() = default;
Tiles::~Tiles() = default;

int64_t attention_forward_scratch(const AttentionShape&) { __builtin_trap(); }
int64_t attention_backward_scratch(const AttentionShape&) { __builtin_trap(); }
void attention_forward(const AttentionShape&, const bf16*, const bf16*, const bf16*, bf16*, float*,
                       float*) {
  __builtin_trap();
}
void attention_backward(const AttentionShape&, const bf16*, const bf16*, const bf16*, const bf16*,
                        const float*, const bf16*, bf16*, bf16*, bf16*, float*) {
  __builtin_trap();
}

void add_norm_forward(int64_t, int64_t, const float*, const bf16*, float, const float*,
                      const float*, float, float*, bf16*, float*, float*) {
  __builtin_trap();
}
void add_norm_backward(int64_t, int64_t, const float*, const float*, const float*, const float*,
                       const bf16*, const float*, float, float*, bf16*, float*, float*) {
  __builtin_trap();
}
void gelu_forward(int64_t, const bf16*, bf16*) { __builtin_trap(); }
void gelu_backward(int64_t, const bf16*, const bf16*, bf16*) { __builtin_trap(); }

int64_t packed_weights_size(const ConvShape&, Direction) { __builtin_trap(); }
int64_t weight_blocks(const ConvShape&, Direction) { __builtin_trap(); }
void pack_weights(const ConvShape&, Direction, const float*, int64_t, bf16*) { __builtin_trap(); }
int64_t images_at_once(const ConvShape&) { __builtin_trap(); }
int64_t conv_scratch(const ConvShape&, Direction) { __builtin_trap(); }
void conv(const ConvShape&, Direction, int64_t, const bf16*, const bf16*, const Epilogue&, bf16*,
          float*) {
  __builtin_trap();
}
WeightSums weight_sums(const ConvShape&) { __builtin_trap(); }
int64_t weight_gradient_scratch(const ConvShape&) { __builtin_trap(); }
void weight_gradient(const ConvShape&, int64_t, const bf16*, const bf16*, float*, float*) {
  __builtin_trap();
}
void add_weight_sums(const ConvShape&, int64_t, const float*, int64_t, float*) { __builtin_trap(); }

void norm_sums(int64_t, int64_t, const bf16*, const float*, float*, float*) { __builtin_trap(); }
void norm_apply(int64_t, int64_t, const bf16*, const float*, const float*, const bf16*, bool, bf16*,
                bf16*) {
  __builtin_trap();
}
void norm_grad_sums(int64_t, int64_t, const bf16*, const bf16*, const bf16*, const float*, float*,
                    float*) {
  __builtin_trap();
}
void norm_grad_apply(int64_t, int64_t, const bf16*, const bf16*, const bf16*, const NormGrad&,
                     bf16*, bf16*) {
  __builtin_trap();
}

}  // namespace umbra::kernels
#endif
