// Options of a DeiT-style vision transformer and the named variants. Plain data.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace umbra::vit {

// Names and defaults are timm's (VisionTransformer, VisionTransformerDistilled).
struct VitOptions {
  int64_t img_size = 224;
  int64_t patch_size = 16;
  int64_t in_chans = 3;
  int64_t num_classes = 1000;
  int64_t embed_dim = 768;
  int64_t depth = 12;
  int64_t num_heads = 12;
  double mlp_ratio = 4.0;
  bool qkv_bias = true;
  bool distilled = false;              // distillation token and head_dist, the first shadow head
  int64_t num_shadow_heads = 1;        // for a distilled model: one token and one head per teacher
  std::string shadow_head = "linear";  // "linear", or "mlp": LayerNorm-Linear-GELU-Linear
  double drop_rate = 0.0;              // head dropout
  double pos_drop_rate = 0.0;
  double proj_drop_rate = 0.0;  // after the attention projection and inside the MLP
  double attn_drop_rate = 0.0;
  double drop_path_rate = 0.0;                // of the last block
  std::string drop_path_schedule = "linear";  // from 0 in the first block; "constant": DeiT-III
  double init_values = 0.0;         // LayerScale of both branches (DeiT-III: 1e-4); 0: none
  bool no_embed_class = false;      // position embedding of the patches only (DeiT-III)
  double cls_token_std = 0.02;      // DeiT's init; timm 1.0 draws with 1e-6
  bool grad_checkpointing = false;  // blocks are computed again in the backward pass: less memory

  int64_t grid() const { return img_size / patch_size; }
  int64_t num_patches() const { return grid() * grid(); }
  int64_t num_prefix_tokens() const { return distilled ? 1 + num_shadow_heads : 1; }
  int64_t num_positions() const {
    return num_patches() + (no_embed_class ? 0 : num_prefix_tokens());
  }
};

// The options of a name such as "deit_tiny_distilled_patch16_224", or nothing.
std::optional<VitOptions> named_options(std::string_view name);
std::vector<std::string> variant_names();

}  // namespace umbra::vit
