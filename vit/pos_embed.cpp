#include "vit/pos_embed.h"

#include <cmath>

#include <ATen/ATen.h>

namespace umbra::vit {

torch::Tensor resize_pos_embed(const torch::Tensor& pos_embed, int64_t prefix_tokens,
                               int64_t new_grid, PosEmbedResize rule) {
  const int64_t patches = pos_embed.size(1) - prefix_tokens, dim = pos_embed.size(2);
  const auto old_grid = static_cast<int64_t>(std::lround(std::sqrt(static_cast<double>(patches))));
  TORCH_CHECK(patches > 0 && old_grid * old_grid == patches, "position embedding has ", patches,
              " patch rows, which is not a square grid");
  if (old_grid == new_grid) return pos_embed;
  const torch::Tensor prefix = pos_embed.narrow(1, 0, prefix_tokens);
  const torch::Tensor grid = pos_embed.narrow(1, prefix_tokens, patches)
                                 .to(torch::kFloat32)
                                 .reshape({1, old_grid, old_grid, dim})
                                 .permute({0, 3, 1, 2});  // [1, D, g, g]
  const torch::Tensor resized =
      rule == PosEmbedResize::kTimm
          ? at::_upsample_bicubic2d_aa(grid, {new_grid, new_grid}, /*align_corners=*/false)
          : at::upsample_bicubic2d(grid, {new_grid, new_grid}, /*align_corners=*/false);
  const torch::Tensor rows =
      resized.permute({0, 2, 3, 1}).reshape({1, new_grid * new_grid, dim}).to(pos_embed.dtype());
  return torch::cat({prefix, rows}, 1);
}

torch::Tensor resize_patch_embed(const torch::Tensor& weight, int64_t new_size) {
  const int64_t old_size = weight.size(2);
  if (old_size == new_size && weight.size(3) == new_size) return weight;
  const int64_t old_pixels = old_size * weight.size(3);
  // Row i: what the resize makes of a patch that is 1 at pixel i.
  const torch::Tensor basis =
      torch::eye(old_pixels).view({old_pixels, 1, old_size, weight.size(3)});
  const torch::Tensor resize =
      at::_upsample_bicubic2d_aa(basis, {new_size, new_size}, /*align_corners=*/false)
          .view({old_pixels, new_size * new_size});
  const torch::Tensor kernels =
      weight.to(torch::kFloat32).reshape({-1, old_pixels}).matmul(at::linalg_pinv(resize).t());
  return kernels.view({weight.size(0), weight.size(1), new_size, new_size}).to(weight.dtype());
}

}  // namespace umbra::vit
