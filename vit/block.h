// The pre-norm transformer block of ViT and its parts.
#pragma once

#include <torch/nn.h>

#include "vit/fused.h"
#include "vit/options.h"

namespace umbra::vit {

// Multi-head self-attention; parameter names and layout are timm's: qkv rows are q, k, v, each
// head-major.
class AttentionImpl : public torch::nn::Module {
 public:
  explicit AttentionImpl(const VitOptions& options);
  torch::Tensor forward(const torch::Tensor& x);  // [B, N, D] -> [B, N, D]

  torch::nn::Linear qkv{nullptr}, proj{nullptr};

 private:
  int64_t num_heads_;
  double attn_drop_, proj_drop_;
};
TORCH_MODULE(Attention);

class MlpImpl : public torch::nn::Module {
 public:
  explicit MlpImpl(const VitOptions& options);
  torch::Tensor forward(const torch::Tensor& x);  // [B, N, D] -> [B, N, D]

  torch::nn::Linear fc1{nullptr}, fc2{nullptr};

 private:
  double drop_;
};
TORCH_MODULE(Mlp);

// Stochastic depth per sample (Huang et al., 2016): the factors [B] of a residual branch of x
// [B, ...], 0 with probability `rate`, else 1 / (1 - rate).
torch::Tensor draw_kept_paths(const torch::Tensor& x, double rate);

// A learned factor per channel of a residual branch (Touvron et al., "Going deeper with Image
// Transformers", 2021).
class LayerScaleImpl : public torch::nn::Module {
 public:
  LayerScaleImpl(int64_t dim, double init_value);
  torch::Tensor forward(const torch::Tensor& x) { return x * gamma; }

  torch::Tensor gamma;  // [D]
};
TORCH_MODULE(LayerScale);

class BlockImpl : public torch::nn::Module {
 public:
  BlockImpl(const VitOptions& options, double drop_path_rate);
  struct Output {
    torch::Tensor input;  // [B, N, D], the sum of what came in
    Residual residual;    // what goes on
  };
  Output forward(const Residual& input);

  torch::nn::LayerNorm norm1{nullptr}, norm2{nullptr};
  Attention attn{nullptr};
  Mlp mlp{nullptr};
  LayerScale ls1{nullptr}, ls2{nullptr};  // where options.init_values is not 0

 private:
  double drop_path_rate_;
};
TORCH_MODULE(Block);

torch::nn::LayerNorm layer_norm(int64_t dim);  // eps 1e-6, as everywhere in ViT

}  // namespace umbra::vit
