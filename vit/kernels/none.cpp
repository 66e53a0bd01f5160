// What stands in for the kernels where they cannot be compiled: nothing calls it, as available()
// says no.
#include "vit/kernels/kernels.h"

#ifndef __AMX_BF16__
namespace umbra::vit::kernels {

bool available() { return false; }

int64_t attention_forward_scratch(const AttentionShape&) { __builtin_trap(); }
int64_t attention_backward_scratch(const AttentionShape&) { __builtin_trap(); }
void begin_tiles() { __builtin_trap(); }
void end_tiles() { __builtin_trap(); }
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

}  // namespace umbra::vit::kernels
#endif
