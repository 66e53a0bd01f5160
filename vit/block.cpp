#include "vit/block.h"

namespace umbra::vit {
namespace F = torch::nn::functional;

torch::nn::LayerNorm layer_norm(int64_t dim) {
  return torch::nn::LayerNorm(torch::nn::LayerNormOptions({dim}).eps(1e-6));
}

namespace {

// In one operation, where torch's module takes a product and then a sum.
torch::Tensor linear(const torch::nn::Linear& layer, const torch::Tensor& x) {
  return at::linear(x, layer->weight, layer->bias);
}

}  // namespace

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
  const torch::Tensor mixed =
      attention(linear(qkv, x), num_heads_, is_training() ? attn_drop_ : 0.0);  // [B, N, D]
  return F::dropout(linear(proj, mixed),
                    F::DropoutFuncOptions().p(proj_drop_).training(is_training()));
}

MlpImpl::MlpImpl(const VitOptions& options) : drop_(options.proj_drop_rate) {
  const int64_t dim = options.embed_dim;
  const auto hidden = static_cast<int64_t>(static_cast<double>(dim) * options.mlp_ratio);
  fc1 = register_module("fc1", torch::nn::Linear(dim, hidden));
  fc2 = register_module("fc2", torch::nn::Linear(hidden, dim));
}

torch::Tensor MlpImpl::forward(const torch::Tensor& x) {
  const auto dropout = F::DropoutFuncOptions().p(drop_).training(is_training());
  return F::dropout(linear(fc2, F::dropout(vit::gelu(linear(fc1, x)), dropout)), dropout);
}

torch::Tensor draw_kept_paths(const torch::Tensor& x, double rate) {
  const double keep = 1.0 - rate;
  return torch::empty({x.size(0)}, x.options()).bernoulli_(keep).div_(keep);
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

BlockImpl::Output BlockImpl::forward(const Residual& input) {
  const auto branch = [&](const torch::Tensor& x, const torch::Tensor& change, LayerScale& scale) {
    const bool drops = drop_path_rate_ > 0.0 && is_training();
    return Residual{x, scale ? scale(change) : change,
                    drops ? draw_kept_paths(x, drop_path_rate_) : torch::Tensor()};
  };
  const auto [x, normed] = add_norm(input, norm1);
  const auto [attended, normed_again] = add_norm(branch(x, attn(normed), ls1), norm2);
  return {x, branch(attended, mlp(normed_again), ls2)};
}

}  // namespace umbra::vit
