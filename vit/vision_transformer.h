// DeiT-style vision transformer (Touvron et al., 2021). Parameter names, order and numerics are
// those of timm's VisionTransformer and VisionTransformerDistilled.
#pragma once

#include <torch/nn.h>

#include "vit/block.h"
#include "vit/options.h"
#include "vit/patch_embed.h"

namespace umbra::vit {

struct VitOutput {
  torch::Tensor logits;                      // [B, C], from the class token
  std::vector<torch::Tensor> shadow_logits;  // each [B, C]; [0] is DeiT's distillation head
  std::vector<torch::Tensor> blocks;         // tokens after each block, [B, prefix + N, D]
  torch::Tensor pooled;                      // normalised class token [B, D]
};

// The classifier over a distillation token. Linear is DeiT's head_dist; the MLP form is the
// stronger head of SHAKE's ablation (c): LayerNorm - Linear - GELU - Linear, of width D.
class MlpHeadImpl : public torch::nn::Module {
 public:
  MlpHeadImpl(int64_t dim, int64_t num_classes);
  torch::Tensor forward(const torch::Tensor& x);  // [B, D] -> [B, C]

  torch::nn::LayerNorm norm{nullptr};
  torch::nn::Linear fc1{nullptr}, fc2{nullptr};
};
TORCH_MODULE(MlpHead);

class VisionTransformerImpl : public torch::nn::Module {
 public:
  // Weights are drawn from torch's default generator: truncated normal with std 0.02 for tokens,
  // position embedding and linear layers; the patch convolution keeps torch's default.
  explicit VisionTransformerImpl(const VitOptions& options);

  VitOutput forward(const torch::Tensor& images);  // [B, in_chans, img_size, img_size]

  const VitOptions& options() const { return options_; }
  const torch::nn::Linear& classifier() const { return head_; }

 private:
  torch::Tensor embed(const torch::Tensor& images);  // [B, prefix + N, D]
  void add_shadow_head(torch::nn::Module& parent, const std::string& name);
  void init_weights();

  VitOptions options_;
  torch::Tensor cls_token_, pos_embed_;
  std::vector<torch::Tensor> dist_tokens_;
  PatchEmbed patch_embed_{nullptr};
  torch::nn::ModuleList blocks_;
  torch::nn::LayerNorm norm_{nullptr};
  torch::nn::Linear head_{nullptr};
  std::vector<torch::nn::AnyModule> shadow_heads_;
};
TORCH_MODULE(VisionTransformer);

}  // namespace umbra::vit
