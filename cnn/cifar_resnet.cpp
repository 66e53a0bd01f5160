#include "cnn/cifar_resnet.h"

#include "cnn/layers.h"

namespace umbra::cnn {
namespace {

class ResidualBlock : public Block {
 public:
  torch::nn::BatchNorm2d last_norm{nullptr};
};

// Option A: the shortcut leaves out every other pixel and adds channels of zeros on both sides.
class PaddedBlock : public ResidualBlock {
 public:
  PaddedBlock(int64_t in_width, int64_t width, int64_t stride)
      : stride_(stride), padding_((width - in_width) / 2) {
    conv1_ = register_module("conv1", conv(in_width, width, 3, stride));
    bn1_ = register_module("bn1", torch::nn::BatchNorm2d(width));
    conv2_ = register_module("conv2", conv(width, width, 3));
    last_norm = register_module("bn2", torch::nn::BatchNorm2d(width));
  }

  Stage forward(const torch::Tensor& x) override {
    const torch::Tensor inner = torch::relu(bn1_(conv1_(x)));
    const torch::Tensor pre = last_norm(conv2_(inner)) + shortcut(x);
    return {"", torch::relu(pre), pre};
  }

 private:
  torch::Tensor shortcut(const torch::Tensor& x) const {
    if (stride_ == 1 && padding_ == 0) return x;
    const torch::Tensor fewer = x.slice(2, 0, {}, stride_).slice(3, 0, {}, stride_);
    return torch::constant_pad_nd(fewer, {0, 0, 0, 0, padding_, padding_});
  }

  int64_t stride_, padding_;
  torch::nn::Conv2d conv1_{nullptr}, conv2_{nullptr};
  torch::nn::BatchNorm2d bn1_{nullptr};
};

class BottleneckBlock : public ResidualBlock {
 public:
  BottleneckBlock(int64_t in_width, int64_t width, int64_t stride) {
    const int64_t inner = width / 4;
    conv1_ = register_module("conv1", conv(in_width, inner, 1));
    bn1_ = register_module("bn1", torch::nn::BatchNorm2d(inner));
    conv2_ = register_module("conv2", conv(inner, inner, 3, stride));
    bn2_ = register_module("bn2", torch::nn::BatchNorm2d(inner));
    conv3_ = register_module("conv3", conv(inner, width, 1));
    last_norm = register_module("bn3", torch::nn::BatchNorm2d(width));
    if (stride != 1 || in_width != width) {
      shortcut_ = register_module(
          "shortcut",
          torch::nn::Sequential(conv(in_width, width, 1, stride), torch::nn::BatchNorm2d(width)));
    }
  }

  Stage forward(const torch::Tensor& x) override {
    torch::Tensor y = torch::relu(bn1_(conv1_(x)));
    y = torch::relu(bn2_(conv2_(y)));
    const torch::Tensor pre = last_norm(conv3_(y)) + (shortcut_ ? shortcut_->forward(x) : x);
    return {"", torch::relu(pre), pre};
  }

 private:
  torch::nn::Conv2d conv1_{nullptr}, conv2_{nullptr}, conv3_{nullptr};
  torch::nn::BatchNorm2d bn1_{nullptr}, bn2_{nullptr};
  torch::nn::Sequential shortcut_{nullptr};
};

std::shared_ptr<ResidualBlock> make_block(bool bottleneck, int64_t in, int64_t out,
                                          int64_t stride) {
  if (bottleneck) return std::make_shared<BottleneckBlock>(in, out, stride);
  return std::make_shared<PaddedBlock>(in, out, stride);
}

Entry option_a(std::string name, int64_t depth) {
  const int64_t n = (depth - 2) / 6;
  return entry<CifarResNet>(std::move(name), 32,
                            CifarResNetDesign{false, 16, {16, 32, 64}, {n, n, n}});
}

void init_option_a_head(torch::nn::LinearImpl& head) {
  torch::nn::init::kaiming_normal_(head.weight);
}

}  // namespace

CifarResNet::CifarResNet(const CifarResNetDesign& design, const CnnOptions& options) {
  int64_t width = design.stem_width;
  conv1_ = register_module("conv1", conv(options.in_chans, width, 3));
  bn1_ = register_module("bn1", torch::nn::BatchNorm2d(width));
  for (size_t i = 0; i < design.widths.size(); ++i) {
    torch::nn::ModuleList layer;
    for (int64_t j = 0; j < design.blocks[i]; ++j) {
      layer->push_back(
          make_block(design.bottleneck, width, design.widths[i], i > 0 && j == 0 ? 2 : 1));
      width = design.widths[i];
    }
    layers_.emplace_back(register_module(fmt::format("layer{}", i + 1), layer));
  }
  linear_ = register_module("linear", torch::nn::Linear(width, options.num_classes));
  add_shadow_heads(options, width, design.bottleneck ? nullptr : init_option_a_head);
  if (design.bottleneck) {
    init_convolutions(*this);
  } else {
    init_option_a();
  }
  if (options.zero_init_residual) zero_init_residual();
}

// Kaiming's normal over the inputs, for the classifier too.
void CifarResNet::init_option_a() {
  for (const auto& module : modules(/*include_self=*/false)) {
    if (auto* conv = module->as<torch::nn::Conv2dImpl>()) {
      torch::nn::init::kaiming_normal_(conv->weight);
    }
  }
  init_option_a_head(*linear_);
}

void CifarResNet::zero_init_residual() {
  for (const auto& module : modules(/*include_self=*/false)) {
    if (auto* block = module->as<ResidualBlock>()) {
      torch::nn::init::zeros_(block->last_norm->weight);
    }
  }
}

CnnOutput CifarResNet::forward(const torch::Tensor& images) {
  CnnOutput output;
  torch::Tensor x = torch::relu(bn1_(conv1_(images)));
  for (size_t i = 0; i < layers_.size(); ++i) {
    output.stages.push_back(run_layer(layers_[i], fmt::format("layer{}", i + 1), x));
    x = output.stages.back().post;
  }
  output.pooled = x.mean({2, 3});  // [B, D]
  output.logits = linear_(output.pooled);
  run_shadow_heads(output);
  return output;
}

std::vector<torch::nn::BatchNorm2d> CifarResNet::stage_norms() const {
  std::vector<torch::nn::BatchNorm2d> norms;
  for (const auto& layer : layers_) {
    norms.push_back(layer->ptr(layer->size() - 1)->as<ResidualBlock>()->last_norm);
  }
  return norms;
}

Entries cifar_resnet_entries() {
  return {
      entry<CifarResNet>("cifar_resnet50", 32,
                         CifarResNetDesign{true, 64, {256, 512, 1024, 2048}, {3, 4, 6, 3}}),
      option_a("resnet20_a", 20),
      option_a("resnet32_a", 32),
      option_a("resnet44_a", 44),
      option_a("resnet56_a", 56),
      option_a("resnet110_a", 110),
  };
}

}  // namespace umbra::cnn
