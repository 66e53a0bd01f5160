#include "cnn/resnet.h"

namespace umbra::cnn {
namespace {

torch::nn::Conv2d conv(int64_t in, int64_t out, int64_t kernel, int64_t stride) {
  return torch::nn::Conv2d(
      torch::nn::Conv2dOptions(in, out, kernel).stride(stride).padding(kernel / 2).bias(false));
}

Entry imagenet_resnet(std::string name, std::vector<int64_t> blocks) {
  return entry<ResNet>(std::move(name), 224,
                       ResNetDesign{64, true, {64, 128, 256, 512}, std::move(blocks)});
}

// CIFAR ResNets of RepDistiller: (depth - 2) / 6 basic blocks in each of three stages.
Entry cifar_resnet(std::string name, int64_t depth, int64_t widen = 1) {
  const int64_t n = (depth - 2) / 6;
  const int64_t stem = widen == 1 ? 16 : 32;
  return entry<ResNet>(std::move(name), 32,
                       ResNetDesign{stem, false, {16 * widen, 32 * widen, 64 * widen}, {n, n, n}});
}

}  // namespace

BasicBlockImpl::BasicBlockImpl(int64_t in_width, int64_t width, int64_t stride) {
  conv1_ = register_module("conv1", conv(in_width, width, 3, stride));
  bn1_ = register_module("bn1", torch::nn::BatchNorm2d(width));
  conv2_ = register_module("conv2", conv(width, width, 3, 1));
  bn2 = register_module("bn2", torch::nn::BatchNorm2d(width));
  if (stride != 1 || in_width != width) {
    downsample_ = register_module(
        "downsample",
        torch::nn::Sequential(conv(in_width, width, 1, stride), torch::nn::BatchNorm2d(width)));
  }
}

Stage BasicBlockImpl::forward(const torch::Tensor& x) {
  const torch::Tensor shortcut = downsample_ ? downsample_->forward(x) : x;
  const torch::Tensor inner = torch::relu(bn1_(conv1_(x)));
  Stage stage;
  stage.pre = bn2(conv2_(inner)) + shortcut;
  stage.post = torch::relu(stage.pre);
  return stage;
}

ResNet::ResNet(const ResNetDesign& design, const CnnOptions& options)
    : imagenet_stem_(design.imagenet_stem) {
  int64_t width = design.stem_width;
  conv1_ = register_module("conv1", imagenet_stem_ ? conv(options.in_chans, width, 7, 2)
                                                   : conv(options.in_chans, width, 3, 1));
  bn1_ = register_module("bn1", torch::nn::BatchNorm2d(width));
  for (size_t i = 0; i < design.widths.size(); ++i) {
    torch::nn::ModuleList layer;
    for (int64_t j = 0; j < design.blocks[i]; ++j) {
      layer->push_back(BasicBlock(width, design.widths[i], i > 0 && j == 0 ? 2 : 1));
      width = design.widths[i];
    }
    layers_.push_back(register_module(fmt::format("layer{}", i + 1), layer));
  }
  fc_ = register_module("fc", torch::nn::Linear(width, options.num_classes));
  add_shadow_heads(options, width);
  init_weights(options.zero_init_residual);
}

void ResNet::init_weights(bool zero_init_residual) {
  for (const auto& module : modules(/*include_self=*/false)) {
    if (auto* conv = module->as<torch::nn::Conv2dImpl>()) {
      torch::nn::init::kaiming_normal_(conv->weight, 0.0, torch::kFanOut, torch::kReLU);
    } else if (auto* block = module->as<BasicBlockImpl>(); block && zero_init_residual) {
      torch::nn::init::zeros_(block->bn2->weight);
    }
  }
}

CnnOutput ResNet::forward(const torch::Tensor& images) {
  CnnOutput output;
  torch::Tensor x = torch::relu(bn1_(conv1_(images)));
  if (imagenet_stem_) x = torch::max_pool2d(x, 3, 2, 1);
  for (size_t i = 0; i < layers_.size(); ++i) {
    Stage stage;
    for (const auto& block : *layers_[i]) {
      stage = block->as<BasicBlockImpl>()->forward(x);
      x = stage.post;
    }
    stage.name = fmt::format("layer{}", i + 1);
    output.stages.push_back(std::move(stage));
  }
  output.pooled = x.mean({2, 3});  // [B, D]
  output.logits = fc_(output.pooled);
  run_shadow_heads(output);
  return output;
}

Entries resnet_entries() {
  return {
      cifar_resnet("resnet8", 8),
      cifar_resnet("resnet14", 14),
      cifar_resnet("resnet20", 20),
      cifar_resnet("resnet32", 32),
      cifar_resnet("resnet44", 44),
      cifar_resnet("resnet56", 56),
      cifar_resnet("resnet110", 110),
      cifar_resnet("resnet8x4", 8, 4),
      cifar_resnet("resnet32x4", 32, 4),
      imagenet_resnet("resnet18", {2, 2, 2, 2}),
      imagenet_resnet("resnet34", {3, 4, 6, 3}),
  };
}

}  // namespace umbra::cnn
