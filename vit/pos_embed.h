#pragma once

#include <torch/types.h>

namespace umbra::vit {

enum class PosEmbedResize {
  kTimm,  // bicubic with antialiasing, in fp32 (timm 1.0)
  kDeit,  // bicubic without antialiasing (DeiT's main.py)
};

// Resamples a learned position embedding [1, prefix + g*g, D] to a grid of new_grid x new_grid
// patches; the rows of the prefix tokens (class, distillation) are kept. Throws if the old patch
// rows are no square.
torch::Tensor resize_pos_embed(const torch::Tensor& pos_embed, int64_t prefix_tokens,
                               int64_t new_grid, PosEmbedResize rule);

}  // namespace umbra::vit
