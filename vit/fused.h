// The parts of a transformer block as fused operations with gradients. In bf16 on a CPU with
// AVX-512 they run on kernels/ (support.h says which CPUs); everywhere else on ATen's own
// operations, with the same results up to rounding.
#pragma once

#include <utility>

#include <torch/nn.h>

namespace umbra::vit {

// Multi-head self-attention, softmax(q k^T / sqrt(d)) v. qkv [B, N, 3 D]: rows are q, k, v, each
// head-major. Returns [B, N, D]. ATen's with dropout in training, or for more than 1,024 tokens.
torch::Tensor attention(const torch::Tensor& qkv, int64_t num_heads, double dropout);

// The residual stream on its way: x + keep * change, not yet added up, so that the sum can be taken
// together with the norm that follows.
struct Residual {
  torch::Tensor x;         // [B, N, D]
  torch::Tensor change{};  // like x; undefined for none
  torch::Tensor keep{};    // [B]: a factor of each sample's change; undefined for 1
};

// x + keep * change.
torch::Tensor add(const Residual& residual);

// {sum, norm(sum)} of the sum x + keep * change. Under autocast, on the kernels, the norm comes in
// bf16, where ATen's comes in fp32 and is cast by what follows; not so with LayerScale, which makes
// the change fp32.
std::pair<torch::Tensor, torch::Tensor> add_norm(const Residual& residual,
                                                 torch::nn::LayerNorm& norm);

// x * Phi(x), the exact form.
torch::Tensor gelu(const torch::Tensor& x);

}  // namespace umbra::vit
