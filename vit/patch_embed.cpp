#include "vit/patch_embed.h"

namespace umbra::vit {

PatchEmbedImpl::PatchEmbedImpl(const VitOptions& options) : img_size_(options.img_size) {
  proj = register_module(
      "proj", torch::nn::Conv2d(
                  torch::nn::Conv2dOptions(options.in_chans, options.embed_dim, options.patch_size)
                      .stride(options.patch_size)));
}

torch::Tensor PatchEmbedImpl::forward(const torch::Tensor& images) {
  TORCH_CHECK(images.size(2) == img_size_ && images.size(3) == img_size_, "the model takes ",
              img_size_, " x ", img_size_, " images, got ", images.size(2), " x ", images.size(3));
  return proj(images).flatten(2).transpose(1, 2);  // [B, D, g, g] -> [B, N, D]
}

}  // namespace umbra::vit
