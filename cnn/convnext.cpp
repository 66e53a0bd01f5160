#include "cnn/convnext.h"

#include "cnn/layers.h"

namespace umbra::cnn {
namespace {

constexpr double kLayerScale = 1e-6;  // where gamma starts
constexpr double kInitStd = 0.02;     // timm cuts this normal off at 2, where nothing is left

torch::nn::LayerNormOptions norm_options(int64_t width) {
  return torch::nn::LayerNormOptions({width}).eps(1e-6);
}

// Over the channels of [B, C, H, W].
class ChannelNormImpl : public torch::nn::LayerNormImpl {
 public:
  explicit ChannelNormImpl(int64_t width) : LayerNormImpl(norm_options(width)) {}
  torch::Tensor forward(const torch::Tensor& x) {
    return LayerNormImpl::forward(x.permute({0, 2, 3, 1})).permute({0, 3, 1, 2});
  }
};
TORCH_MODULE(ChannelNorm);

class ConvNeXtBlock : public Block {
 public:
  explicit ConvNeXtBlock(int64_t width) {
    gamma_ = register_parameter("gamma", torch::full({width}, kLayerScale));
    conv_dw_ = register_module(
        "conv_dw",
        torch::nn::Conv2d(torch::nn::Conv2dOptions(width, width, 7).padding(3).groups(width)));
    norm_ = register_module("norm", torch::nn::LayerNorm(norm_options(width)));
    const auto mlp = register_module("mlp", std::make_shared<torch::nn::Module>());
    fc1_ = mlp->register_module("fc1", torch::nn::Linear(width, 4 * width));
    fc2_ = mlp->register_module("fc2", torch::nn::Linear(4 * width, width));
  }

  Activated forward(const torch::Tensor& x, bool /*ends_stage*/) override {
    torch::Tensor y = norm_(conv_dw_(x).permute({0, 2, 3, 1}));  // [B, H, W, C]
    y = fc2_(torch::gelu(fc1_(y))) * gamma_;
    y = y.permute({0, 3, 1, 2}) + x;  // [B, C, H, W]
    return {y, y};
  }

 private:
  torch::Tensor gamma_;
  torch::nn::Conv2d conv_dw_{nullptr};
  torch::nn::LayerNorm norm_{nullptr};
  torch::nn::Linear fc1_{nullptr}, fc2_{nullptr};
};

torch::nn::Conv2d patch_conv(int64_t in, int64_t out, int64_t size) {
  return torch::nn::Conv2d(torch::nn::Conv2dOptions(in, out, size).stride(size));
}

Entry convnext(std::string name, ConvNeXtDesign design) {
  return entry<ConvNeXt>(std::move(name), 224, design);
}

}  // namespace

ConvNeXt::ConvNeXt(const ConvNeXtDesign& design, const CnnOptions& options) {
  refuse_zero_init(options);
  torch::nn::Sequential stem(patch_conv(options.in_chans, design.widths[0], 4),
                             ChannelNorm(design.widths[0]));
  downsamples_.push_back(register_module("stem", stem));
  const auto stages = register_module("stages", std::make_shared<torch::nn::Module>());
  for (size_t i = 0; i < design.widths.size(); ++i) {
    const auto stage =
        stages->register_module(std::to_string(i), std::make_shared<torch::nn::Module>());
    const int64_t width = design.widths[i];
    if (i > 0) {
      const int64_t in_width = design.widths[i - 1];
      torch::nn::Sequential downsample(ChannelNorm(in_width), patch_conv(in_width, width, 2));
      downsamples_.push_back(stage->register_module("downsample", downsample));
    }
    torch::nn::ModuleList blocks;
    for (int64_t j = 0; j < design.blocks[i]; ++j) {
      blocks->push_back(std::make_shared<ConvNeXtBlock>(width));
    }
    stages_.push_back(stage->register_module("blocks", blocks));
  }
  const int64_t width = design.widths.back();
  const auto head = register_module("head", std::make_shared<torch::nn::Module>());
  norm_ = head->register_module("norm", torch::nn::LayerNorm(norm_options(width)));
  fc_ = head->register_module("fc", torch::nn::Linear(width, options.num_classes));
  add_distillation_layers(options, width);
  init_weights();
}

void ConvNeXt::init_weights() {
  for (const auto& item : named_parameters()) {
    if (item.value().dim() > 1) {
      torch::nn::init::normal_(item.value(), 0.0, kInitStd);
    } else if (item.key().ends_with("bias")) {
      torch::nn::init::zeros_(item.value());
    }
  }
}

CnnOutput ConvNeXt::forward(const torch::Tensor& images) {
  CnnOutput output;
  torch::Tensor x = images;
  for (size_t i = 0; i < stages_.size(); ++i) {
    x = downsamples_[i]->forward(x);
    output.stages.push_back(run_layer(stages_[i], fmt::format("stages.{}", i), x));
    x = output.stages.back().post;
  }
  run_heads(norm_(transformed(x, output).mean({2, 3})), output);
  return output;
}

Entries convnext_entries() {
  return {
      convnext("convnext_tiny", {{96, 192, 384, 768}, {3, 3, 9, 3}}),
      convnext("convnext_small", {{96, 192, 384, 768}, {3, 3, 27, 3}}),
      convnext("convnext_base", {{128, 256, 512, 1024}, {3, 3, 27, 3}}),
  };
}

}  // namespace umbra::cnn
