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

// Resamples the kernels [D, C, p, p] of a patch embedding to new_size x new_size pixels, so that
// resized patches embed as the old ones did: the pseudo-inverse of the (antialiased bicubic) resize
// (Beyer et al., "FlexiViT", 2023, eq. 3; timm's resample_patch_embed).
torch::Tensor resize_patch_embed(const torch::Tensor& weight, int64_t new_size);

}  // namespace umbra::vit
