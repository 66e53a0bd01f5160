#pragma once

#include <torch/nn.h>

#include "vit/options.h"

namespace umbra::vit {

// Non-overlapping patches to tokens: a patch_size x patch_size convolution with that stride.
class PatchEmbedImpl : public torch::nn::Module {
 public:
  explicit PatchEmbedImpl(const VitOptions& options);
  // images [B, C, H, W] -> tokens [B, N, D], row by row. Throws if H or W is not img_size.
  torch::Tensor forward(const torch::Tensor& images);

  torch::nn::Conv2d proj{nullptr};

 private:
  int64_t img_size_;
};
TORCH_MODULE(PatchEmbed);

}  // namespace umbra::vit
