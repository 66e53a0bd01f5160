#include "vit/block.h"

namespace umbra::vit {
namespace F = torch::nn::functional;

torch::nn::LayerNorm layer_norm(int64_t dim) {
  return torch::nn::LayerNorm(torch::nn::LayerNormOptions({dim}).eps(1e-6));
}

AttentionImpl::AttentionImpl(const VitOptions& options)
    : num_heads_(options.num_heads),
      attn_drop_(options.attn_drop_rate),
      proj_drop_(options.proj_drop_rate) {
  const int64_t dim = options.embed_dim;
  TORCH_CHECK(dim % num_heads_ == 0, "embed_dim ", dim, " is not a multiple of num_heads ",
              num_heads_);
  qkv = register_module(
      "qkv", torch::nn::Linear(torch::nn::LinearOptions(dim, 3 * dim).bias(options.qkv_bias)));
  proj = register_module("proj", torch::nn::Linear(dim, dim));
}

torch::Tensor AttentionImpl::forward(const torch::Tensor& x) {
  const int64_t batch = x.size(0), tokens = x.size(1), dim = x.size(2);
  const auto heads = qkv(x)
                         .view({batch, tokens, 3, num_heads_, dim / num_heads_})
                         .permute({2, 0, 3, 1, 4})
                         .unbind(0);  // q, k, v: [B, heads, N, dim / heads]
  const double drop = is_training() ? attn_drop_ : 0.0;
  const torch::Tensor mixed =
      at::scaled_dot_product_attention(heads[0], heads[1], heads[2], /*attn_mask=*/{}, drop)
          .transpose(1, 2)
          .reshape({batch, tokens, dim});  // [B, N, D]
  return F::dropout(proj(mixed), F::DropoutFuncOptions().p(proj_drop_).training(is_training()));
}

MlpImpl::MlpImpl(const VitOptions& options) : drop_(options.proj_drop_rate) {
  const int64_t dim = options.embed_dim;
  const auto hidden = static_cast<int64_t>(static_cast<double>(dim) * options.mlp_ratio);
  fc1 = register_module("fc1", torch::nn::Linear(dim, hidden));
  fc2 = register_module("fc2", torch::nn::Linear(hidden, dim));
}

torch::Tensor MlpImpl::forward(const torch::Tensor& x) {
  const auto dropout = F::DropoutFuncOptions().p(drop_).training(is_training());
  return F::dropout(fc2(F::dropout(torch::gelu(fc1(x)), dropout)), dropout);
}

torch::Tensor drop_path(const torch::Tensor& x, double rate, bool training) {
  if (rate == 0.0 || !training) return x;
  std::vector<int64_t> shape(x.dim(), 1);
  shape[0] = x.size(0);
  const double keep = 1.0 - rate;
  return x * torch::empty(shape, x.options()).bernoulli_(keep).div_(keep);
}

LayerScaleImpl::LayerScaleImpl(int64_t dim, double init_value) {
  gamma = register_parameter("gamma", torch::full({dim}, init_value));
}

BlockImpl::BlockImpl(const VitOptions& options, double drop_path_rate)
    : drop_path_rate_(drop_path_rate) {
  norm1 = register_module("norm1", layer_norm(options.embed_dim));
  attn = register_module("attn", Attention(options));
  const bool scales = options.init_values > 0.0;
  if (scales) ls1 = register_module("ls1", LayerScale(options.embed_dim, options.init_values));
  norm2 = register_module("norm2", layer_norm(options.embed_dim));
  mlp = register_module("mlp", Mlp(options));
  if (scales) ls2 = register_module("ls2", LayerScale(options.embed_dim, options.init_values));
}

torch::Tensor BlockImpl::forward(const torch::Tensor& x) {
  const auto branch = [&](const torch::Tensor& change, LayerScale& scale) {
    return drop_path(scale ? scale(change) : change, drop_path_rate_, is_training());
  };
  const torch::Tensor attended = x + branch(attn(norm1(x)), ls1);
  return attended + branch(mlp(norm2(attended)), ls2);
}

}  // namespace umbra::vit
