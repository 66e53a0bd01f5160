#include "train/distill/shadow_branch.h"

#include "cnn/fused.h"
#include "train/error.h"

namespace umbra {
namespace {

torch::nn::Sequential conv_bn_relu(int64_t in, int64_t out, int64_t kernel, int64_t stride) {
  torch::nn::Conv2d conv(
      torch::nn::Conv2dOptions(in, out, kernel).stride(stride).padding(kernel / 2).bias(false));
  torch::nn::init::kaiming_normal_(conv->weight, 0.0, torch::kFanOut, torch::kReLU);
  return torch::nn::Sequential(conv, torch::nn::BatchNorm2d(out), torch::nn::ReLU());
}

int64_t stride_between(const torch::Tensor& from, const torch::Tensor& to) {
  return std::max<int64_t>(1, (from.size(2) + to.size(2) / 2) / to.size(2));
}

const torch::Tensor& stage(const ModelOutput& output, size_t from_end) {
  return output.features[output.features.size() - from_end].post;
}

}  // namespace

ShadowBranchImpl::ShadowBranchImpl(const NetworkView& teacher) {
  const ModelOutput& example = teacher.example;
  if (example.features.size() < 3 || stage(example, 1).dim() != 4) {
    throw ConfigError(fmt::format(
        "distill.shadow = \"teacher\" needs a convolutional teacher with three stages, and {} has "
        "none: take a CNN teacher, or distill.shadow = \"student\"",
        teacher.model->options().name));
  }
  const torch::Tensor &f1 = stage(example, 3), &f2 = stage(example, 2), &f3 = stage(example, 1);
  const int64_t c1 = f1.size(1), c2 = f2.size(1), c3 = f3.size(1);
  down1_ = register_module("down1", conv_bn_relu(c1, c2, 3, stride_between(f1, f2)));
  same2_ = register_module("same2", conv_bn_relu(c2, c2, 1, 1));
  down2_ = register_module("down2", conv_bn_relu(c2, c3, 3, stride_between(f2, f3)));
  same3_ = register_module("same3", conv_bn_relu(c3, c3, 1, 1));
  fuse_ = register_module("fuse", conv_bn_relu(c3, c3, 3, 1));
  const torch::nn::Linear& classifier = teacher.model->classifier();
  if (classifier->options.in_features() == c3) {
    weight_ = classifier->weight.detach();
    bias_ = classifier->bias.detach();
  } else {
    fc_ = register_module("fc", torch::nn::Linear(c3, example.logits.size(1)));
  }
}

torch::Tensor ShadowBranchImpl::forward(const ModelOutput& teacher) {
  const torch::Tensor f1 = stage(teacher, 3).detach(), f2 = stage(teacher, 2).detach(),
                      f3 = stage(teacher, 1).detach();
  const torch::Tensor u =
      cnn::run_fused(down1_, f1) + cnn::run_fused(same2_, f2);  // [B, C2, H2, W2]
  const torch::Tensor v =
      cnn::run_fused(down2_, u) + cnn::run_fused(same3_, f3);          // [B, C3, H3, W3]
  const torch::Tensor pooled = cnn::run_fused(fuse_, v).mean({2, 3});  // [B, C3]
  return fc_ ? fc_(pooled) : torch::linear(pooled, weight_, bias_);
}

}  // namespace umbra
