#include "vit/vision_transformer.h"

#include "vit/recompute.h"

namespace umbra::vit {
namespace F = torch::nn::functional;

namespace {

// timm's trunc_normal_: cut at +-2 (absolute), which for std 0.02 is 100 sigma away.
void trunc_normal(torch::Tensor& tensor, double std) {
  const torch::NoGradGuard no_grad;
  tensor.normal_(0.0, std).clamp_(-2.0, 2.0);
}

double drop_path_rate(const VitOptions& options, int64_t block) {
  if (options.drop_path_schedule == "constant") return options.drop_path_rate;
  if (options.depth == 1) return 0.0;
  return options.drop_path_rate * static_cast<double>(block) /
         static_cast<double>(options.depth - 1);
}

}  // namespace

MlpHeadImpl::MlpHeadImpl(int64_t dim, int64_t num_classes) {
  norm = register_module("norm", layer_norm(dim));
  fc1 = register_module("fc1", torch::nn::Linear(dim, dim));
  fc2 = register_module("fc2", torch::nn::Linear(dim, num_classes));
}

torch::Tensor MlpHeadImpl::forward(const torch::Tensor& x) { return fc2(vit::gelu(fc1(norm(x)))); }

VisionTransformerImpl::VisionTransformerImpl(const VitOptions& options) : options_(options) {
  TORCH_CHECK(options.img_size % options.patch_size == 0, "patch_size ", options.patch_size,
              " does not divide img_size ", options.img_size);
  const int64_t dim = options.embed_dim, prefix = options.num_prefix_tokens();
  cls_token_ = register_parameter("cls_token", torch::zeros({1, 1, dim}));
  pos_embed_ = register_parameter("pos_embed", torch::zeros({1, options.num_positions(), dim}));
  if (options.distilled) {
    dist_tokens_.push_back(register_parameter("dist_token", torch::zeros({1, 1, dim})));
  }
  if (prefix > 2) {  // dist_token.1, dist_token.2, ...: one token per further teacher
    const auto more = register_module("dist_token", std::make_shared<torch::nn::Module>());
    for (int64_t i = 1; i + 1 < prefix; ++i) {
      dist_tokens_.push_back(
          more->register_parameter(std::to_string(i), torch::zeros({1, 1, dim})));
    }
  }
  patch_embed_ = register_module("patch_embed", PatchEmbed(options));
  for (int64_t i = 0; i < options.depth; ++i) {
    blocks_->push_back(Block(options, drop_path_rate(options, i)));
  }
  register_module("blocks", blocks_);
  norm_ = register_module("norm", layer_norm(dim));
  head_ = register_module("head", torch::nn::Linear(dim, options.num_classes));
  if (options.distilled) add_shadow_head(*this, "head_dist");
  if (prefix > 2) {  // head_shadow.1, head_shadow.2, ...
    const auto more = register_module("head_shadow", std::make_shared<torch::nn::Module>());
    for (int64_t i = 1; i + 1 < prefix; ++i) add_shadow_head(*more, std::to_string(i));
  }
  init_weights();
}

void VisionTransformerImpl::add_shadow_head(torch::nn::Module& parent, const std::string& name) {
  const int64_t dim = options_.embed_dim, num_classes = options_.num_classes;
  if (options_.shadow_head == "mlp") {
    shadow_heads_.emplace_back(parent.register_module(name, MlpHead(dim, num_classes)));
  } else {
    shadow_heads_.emplace_back(parent.register_module(name, torch::nn::Linear(dim, num_classes)));
  }
}

void VisionTransformerImpl::init_weights() {
  const torch::NoGradGuard no_grad;
  trunc_normal(pos_embed_, 0.02);
  trunc_normal(cls_token_, options_.cls_token_std);
  for (torch::Tensor& token : dist_tokens_) trunc_normal(token, 0.02);
  for (const auto& module : modules(/*include_self=*/false)) {
    if (auto* linear = module->as<torch::nn::LinearImpl>()) {
      trunc_normal(linear->weight, 0.02);
      if (linear->bias.defined()) linear->bias.zero_();
    }
  }
}

torch::Tensor VisionTransformerImpl::embed(const torch::Tensor& images) {
  const int64_t batch = images.size(0);
  std::vector<torch::Tensor> tokens = {cls_token_.expand({batch, -1, -1})};
  for (const torch::Tensor& token : dist_tokens_) tokens.push_back(token.expand({batch, -1, -1}));
  const torch::Tensor patches = patch_embed_(images);  // [B, N, D]
  tokens.push_back(options_.no_embed_class ? patches + pos_embed_ : patches);
  torch::Tensor x = torch::cat(tokens, 1);  // [B, prefix + N, D]
  if (!options_.no_embed_class) x = x + pos_embed_;
  return F::dropout(x, F::DropoutFuncOptions().p(options_.pos_drop_rate).training(is_training()));
}

VitOutput VisionTransformerImpl::forward(const torch::Tensor& images) {
  VitOutput output;
  Residual residual{embed(images)};  // [B, prefix + N, D]
  for (size_t i = 0; i < blocks_->size(); ++i) {
    auto& layer = *blocks_[i]->as<BlockImpl>();
    const bool recompute =
        options_.grad_checkpointing && is_training() && residual.x.requires_grad();
    const BlockImpl::Output block =
        recompute ? forward_recomputed(layer, residual) : layer.forward(residual);
    if (i > 0) output.blocks.push_back(block.input);
    residual = block.residual;
  }
  output.blocks.push_back(add(residual));
  // No head reads a patch.
  const torch::Tensor x = norm_(output.blocks.back().narrow(1, 0, options_.num_prefix_tokens()));
  const auto dropped = [&](int64_t token) {
    return F::dropout(x.select(1, token),
                      F::DropoutFuncOptions().p(options_.drop_rate).training(is_training()));
  };
  output.pooled = x.select(1, 0);  // [B, D]
  output.logits = head_(dropped(0));
  for (size_t i = 0; i < shadow_heads_.size(); ++i) {
    output.shadow_logits.push_back(shadow_heads_[i].forward(dropped(static_cast<int64_t>(i) + 1)));
  }
  return output;
}

}  // namespace umbra::vit
