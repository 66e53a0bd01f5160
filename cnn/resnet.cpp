#include "cnn/resnet.h"

#include "cnn/fused.h"
#include "cnn/layers.h"

namespace umbra::cnn {
namespace {

using torch::nn::BatchNorm2d;

class ResidualBlock : public Block {
 public:
  Activated forward(const torch::Tensor& x, bool ends_stage) override {
    const torch::Tensor inner = before_last(x), added = shortcut(x);
    return conv_norm_activated(*last_conv, *last_norm, inner, added, ends_stage);
  }
  torch::nn::Conv2d last_conv{nullptr};

 protected:
  ResidualBlock(int64_t in_width, int64_t width, int64_t stride, const ResNetDesign& design)
      : stride_(stride), shortcut_name_(design.shortcut_name) {
    if (stride == 1 && in_width == width) return;
    padded_ = design.option_a;
    padding_ = (width - in_width) / 2;
    if (padded_) return;
    const bool average = design.kind == ResNetKind::kImageNetD;
    torch::nn::Sequential layers;
    if (average && stride == 1) {
      layers->push_back(torch::nn::Identity());
    } else if (average) {
      shortcut_pool_ = torch::nn::AvgPool2d(
          torch::nn::AvgPool2dOptions(2).stride(stride).ceil_mode(true).count_include_pad(false));
      layers->push_back(shortcut_pool_);
    }
    shortcut_conv_ = conv(in_width, width, 1, average ? 1 : stride);
    shortcut_norm_ = BatchNorm2d(width);
    layers->push_back(shortcut_conv_);
    layers->push_back(shortcut_norm_);
    shortcut_ = layers;
  }
  virtual torch::Tensor before_last(const torch::Tensor& x) = 0;  // what last_conv is given
  // Last, so that names come in the references' order.
  void register_shortcut() {
    if (shortcut_) register_module(shortcut_name_, shortcut_);
  }

 private:
  torch::Tensor shortcut(const torch::Tensor& x) {
    if (shortcut_) {
      return conv_norm(*shortcut_conv_, *shortcut_norm_, shortcut_pool_ ? shortcut_pool_(x) : x);
    }
    if (!padded_) return x;
    // Option A leaves out every other pixel and adds channels of zeros on both sides.
    const torch::Tensor fewer = x.slice(2, 0, {}, stride_).slice(3, 0, {}, stride_);
    return torch::constant_pad_nd(fewer, {0, 0, 0, 0, padding_, padding_});
  }

  int64_t stride_, padding_ = 0;
  bool padded_ = false;
  std::string shortcut_name_;
  torch::nn::Sequential shortcut_{nullptr};  // of the layers below
  torch::nn::AvgPool2d shortcut_pool_{nullptr};
  torch::nn::Conv2d shortcut_conv_{nullptr};
  BatchNorm2d shortcut_norm_{nullptr};
};

class BasicBlock : public ResidualBlock {
 public:
  BasicBlock(int64_t in_width, int64_t width, int64_t stride, const ResNetDesign& design)
      : ResidualBlock(in_width, width, stride, design) {
    conv1_ = register_module("conv1", conv(in_width, width, 3, stride));
    bn1_ = register_module("bn1", BatchNorm2d(width));
    last_conv = register_module("conv2", conv(width, width, 3));
    last_norm = register_module("bn2", BatchNorm2d(width));
    register_shortcut();
  }

 private:
  torch::Tensor before_last(const torch::Tensor& x) override {
    return conv_norm_relu(*conv1_, *bn1_, x);
  }

  torch::nn::Conv2d conv1_{nullptr};
  BatchNorm2d bn1_{nullptr};
};

class Bottleneck : public ResidualBlock {
 public:
  Bottleneck(int64_t in_width, int64_t width, int64_t stride, const ResNetDesign& design)
      : ResidualBlock(in_width, width, stride, design) {
    const int64_t inner = width / design.bottleneck;
    conv1_ = register_module("conv1", conv(in_width, inner, 1));
    bn1_ = register_module("bn1", BatchNorm2d(inner));
    conv2_ = register_module("conv2", conv(inner, inner, 3, stride));
    bn2_ = register_module("bn2", BatchNorm2d(inner));
    last_conv = register_module("conv3", conv(inner, width, 1));
    last_norm = register_module("bn3", BatchNorm2d(width));
    register_shortcut();
  }

 private:
  torch::Tensor before_last(const torch::Tensor& x) override {
    return conv_norm_relu(*conv2_, *bn2_, conv_norm_relu(*conv1_, *bn1_, x));
  }

  torch::nn::Conv2d conv1_{nullptr}, conv2_{nullptr};
  BatchNorm2d bn1_{nullptr}, bn2_{nullptr};
};

std::shared_ptr<ResidualBlock> make_block(const ResNetDesign& design, int64_t in_width,
                                          int64_t width, int64_t stride) {
  if (design.bottleneck > 1) return std::make_shared<Bottleneck>(in_width, width, stride, design);
  return std::make_shared<BasicBlock>(in_width, width, stride, design);
}

torch::nn::Sequential deep_stem(int64_t in_chans, int64_t width) {
  const int64_t half = width / 2;
  return torch::nn::Sequential(conv(in_chans, half, 3, 2), BatchNorm2d(half), torch::nn::ReLU(),
                               conv(half, half, 3), BatchNorm2d(half), torch::nn::ReLU(),
                               conv(half, width, 3));
}

Entry basic(std::string name, ResNetKind kind, std::vector<int64_t> blocks) {
  return entry<ResNet>(std::move(name), 224,
                       ResNetDesign{kind, 64, {64, 128, 256, 512}, std::move(blocks)});
}

Entry bottleneck(std::string name, ResNetKind kind, std::vector<int64_t> blocks,
                 int64_t narrowing = 4) {
  return entry<ResNet>(
      std::move(name), 224,
      ResNetDesign{kind, 64, {256, 512, 1024, 2048}, std::move(blocks), narrowing});
}

// CIFAR ResNets of RepDistiller: (depth - 2) / 6 basic blocks in each of three stages.
Entry cifar_resnet(std::string name, int64_t depth, int64_t widen = 1) {
  const int64_t n = (depth - 2) / 6;
  const int64_t stem = widen == 1 ? 16 : 32;
  return entry<ResNet>(
      std::move(name), 32,
      ResNetDesign{ResNetKind::kCifar, stem, {16 * widen, 32 * widen, 64 * widen}, {n, n, n}});
}

Entry cifar_bottleneck(std::string name, std::vector<int64_t> blocks) {
  ResNetDesign design{
      ResNetKind::kCifar, 64, {256, 512, 1024, 2048}, std::move(blocks), /*bottleneck=*/4};
  design.shortcut_name = "shortcut";
  design.head_name = "linear";
  return entry<ResNet>(std::move(name), 32, design);
}

Entry option_a(std::string name, int64_t depth) {
  const int64_t n = (depth - 2) / 6;
  ResNetDesign design{ResNetKind::kCifar, 16, {16, 32, 64}, {n, n, n}};
  design.option_a = true;
  design.head_name = "linear";
  return entry<ResNet>(std::move(name), 32, design);
}

void init_option_a_head(torch::nn::LinearImpl& head) {
  torch::nn::init::kaiming_normal_(head.weight);
}

}  // namespace

ResNet::ResNet(const ResNetDesign& design, const CnnOptions& options) : kind_(design.kind) {
  int64_t width = design.stem_width;
  if (kind_ == ResNetKind::kImageNetD) {
    stem_->extend(*register_module("conv1", deep_stem(options.in_chans, width)));
  } else {
    const bool cifar = kind_ == ResNetKind::kCifar;
    stem_->push_back(register_module(
        "conv1", cifar ? conv(options.in_chans, width, 3) : conv(options.in_chans, width, 7, 2)));
  }
  stem_->push_back(register_module("bn1", BatchNorm2d(width)));
  stem_->push_back(torch::nn::ReLU());
  for (size_t i = 0; i < design.widths.size(); ++i) {
    torch::nn::ModuleList layer;
    for (int64_t j = 0; j < design.blocks[i]; ++j) {
      layer->push_back(make_block(design, width, design.widths[i], i > 0 && j == 0 ? 2 : 1));
      width = design.widths[i];
    }
    layers_.push_back(register_module(fmt::format("layer{}", i + 1), layer));
  }
  fc_ = register_module(design.head_name, torch::nn::Linear(width, options.num_classes));
  add_distillation_layers(options, width, design.option_a ? init_option_a_head : nullptr);
  if (design.option_a) {
    init_option_a();
  } else {
    init_convolutions(*this);
  }
  if (options.zero_init_residual) zero_init_residual();
}

// Kaiming's normal over the inputs, for the classifier too.
void ResNet::init_option_a() {
  for (const auto& module : modules(/*include_self=*/false)) {
    if (auto* conv = module->as<torch::nn::Conv2dImpl>()) {
      torch::nn::init::kaiming_normal_(conv->weight);
    }
  }
  init_option_a_head(*fc_);
}

void ResNet::zero_init_residual() {
  for (const auto& module : modules(/*include_self=*/false)) {
    if (auto* block = module->as<ResidualBlock>()) {
      torch::nn::init::zeros_(block->last_norm->weight);
    }
  }
}

CnnOutput ResNet::forward(const torch::Tensor& images) {
  CnnOutput output;
  torch::Tensor x = output.stem = run_fused(stem_, images);
  if (kind_ != ResNetKind::kCifar) x = torch::max_pool2d(x, 3, 2, 1);
  for (size_t i = 0; i < layers_.size(); ++i) {
    output.stages.push_back(run_layer(layers_[i], fmt::format("layer{}", i + 1), x));
    x = output.stages.back().post;
  }
  run_heads(transformed(x, output).mean({2, 3}), output);
  return output;
}

std::vector<torch::nn::BatchNorm2d> ResNet::stage_norms() const {
  std::vector<torch::nn::BatchNorm2d> norms;
  for (const auto& layer : layers_) norms.push_back(last_norm_of(layer));
  return norms;
}

Entries resnet_entries() {
  using enum ResNetKind;
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
      basic("resnet18", kImageNet, {2, 2, 2, 2}),
      basic("resnet34", kImageNet, {3, 4, 6, 3}),
      bottleneck("resnet50", kImageNet, {3, 4, 6, 3}),
      bottleneck("resnet101", kImageNet, {3, 4, 23, 3}),
      bottleneck("wide_resnet50_2", kImageNet, {3, 4, 6, 3}, 2),
      basic("resnet18d", kImageNetD, {2, 2, 2, 2}),
      basic("resnet34d", kImageNetD, {3, 4, 6, 3}),
      bottleneck("resnet50d", kImageNetD, {3, 4, 6, 3}),
      bottleneck("resnet101d", kImageNetD, {3, 4, 23, 3}),
      cifar_bottleneck("cifar_resnet50", {3, 4, 6, 3}),
      option_a("resnet20_a", 20),
      option_a("resnet32_a", 32),
      option_a("resnet44_a", 44),
      option_a("resnet56_a", 56),
      option_a("resnet110_a", 110),
  };
}

}  // namespace umbra::cnn
