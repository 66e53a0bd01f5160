#include "cnn/wide_resnet.h"

#include "cnn/fused.h"
#include "cnn/layers.h"

namespace umbra::cnn {
namespace {

class WideBlock : public torch::nn::Module {
 public:
  WideBlock(int64_t in_width, int64_t width, int64_t stride) {
    bn1 = register_module("bn1", torch::nn::BatchNorm2d(in_width));
    conv1_ = register_module("conv1", conv(in_width, width, 3, stride));
    bn2_ = register_module("bn2", torch::nn::BatchNorm2d(width));
    conv2_ = register_module("conv2", conv(width, width, 3));
    if (in_width != width) {
      shortcut_ = register_module("convShortcut", conv(in_width, width, 1, stride));
    }
  }

  // active: relu(bn1(x)).
  torch::Tensor forward(const torch::Tensor& x, const torch::Tensor& active) {
    const torch::Tensor inner = conv_norm_relu(*conv1_, *bn2_, active);
    return convolve(*conv2_, inner, shortcut_ ? convolve(*shortcut_, active) : x);
  }

  torch::nn::BatchNorm2d bn1{nullptr};

 private:
  torch::nn::Conv2d conv1_{nullptr}, conv2_{nullptr}, shortcut_{nullptr};
  torch::nn::BatchNorm2d bn2_{nullptr};
};

// relu(norm(x)). The first batch norm after a stage is its pre.
torch::Tensor activated(torch::nn::BatchNorm2d& norm, const torch::Tensor& x,
                        std::vector<Stage>& stages) {
  const bool ends_stage = !stages.empty() && !stages.back().pre.defined();
  const Activated out = norm_activated(*norm, x, /*keep_before=*/ends_stage);
  if (ends_stage) stages.back().pre = out.before;
  return out.after;
}

}  // namespace

WideResNet::WideResNet(const WideResNetDesign& design, const CnnOptions& options) {
  refuse_zero_init(options);
  int64_t width = 16;
  conv1_ = register_module("conv1", conv(options.in_chans, width, 3));
  for (int64_t i = 0; i < 3; ++i) {
    const int64_t stage_width = (16 << i) * design.widen;
    torch::nn::ModuleList layer;
    for (int64_t j = 0; j < (design.depth - 4) / 6; ++j) {
      layer->push_back(std::make_shared<WideBlock>(width, stage_width, i > 0 && j == 0 ? 2 : 1));
      width = stage_width;
    }
    const auto block =
        register_module(fmt::format("block{}", i + 1), std::make_shared<torch::nn::Module>());
    layers_.emplace_back(block->register_module("layer", layer));
  }
  bn1_ = register_module("bn1", torch::nn::BatchNorm2d(width));
  fc_ = register_module("fc", torch::nn::Linear(width, options.num_classes));
  const HeadInit init = [](torch::nn::LinearImpl& head) { torch::nn::init::zeros_(head.bias); };
  add_distillation_layers(options, width, init);
  init_convolutions(*this);
  init(*fc_);
}

CnnOutput WideResNet::forward(const torch::Tensor& images) {
  CnnOutput output;
  torch::Tensor x = output.stem = convolve(*conv1_, images);
  for (const auto& layer : layers_) {
    for (const auto& module : *layer) {
      auto* block = module->as<WideBlock>();
      x = block->forward(x, activated(block->bn1, x, output.stages));
    }
    output.stages.push_back({fmt::format("block{}", output.stages.size() + 1), x, {}});
  }
  x = activated(bn1_, transformed(x, output), output.stages);
  run_heads(x.mean({2, 3}), output);
  return output;
}

std::vector<torch::nn::BatchNorm2d> WideResNet::stage_norms() const {
  std::vector<torch::nn::BatchNorm2d> norms;
  for (size_t i = 1; i < layers_.size(); ++i) {
    norms.push_back(layers_[i]->ptr(0)->as<WideBlock>()->bn1);
  }
  norms.push_back(bn1_);
  return norms;
}

Entries wide_resnet_entries() {
  const auto wrn = [](std::string name, int64_t depth, int64_t widen) {
    return entry<WideResNet>(std::move(name), 32, WideResNetDesign{depth, widen});
  };
  return {wrn("wrn_16_1", 16, 1), wrn("wrn_16_2", 16, 2), wrn("wrn_40_1", 40, 1),
          wrn("wrn_40_2", 40, 2)};
}

}  // namespace umbra::cnn
