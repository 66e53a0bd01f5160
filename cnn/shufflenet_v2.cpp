#include "cnn/shufflenet_v2.h"

#include "cnn/fused.h"
#include "cnn/layers.h"

namespace umbra::cnn {
namespace {

// One half of the channels passes, the other goes through three convolutions.
class BasicUnit : public Block {
 public:
  explicit BasicUnit(int64_t width) {
    const int64_t half = width / 2;
    conv1_ = register_module("conv1", conv(half, half, 1));
    bn1_ = register_module("bn1", torch::nn::BatchNorm2d(half));
    conv2_ = register_module("conv2", conv(half, half, 3, 1, half));
    bn2_ = register_module("bn2", torch::nn::BatchNorm2d(half));
    conv3_ = register_module("conv3", conv(half, half, 1));
    bn3_ = register_module("bn3", torch::nn::BatchNorm2d(half));
  }

  Activated forward(const torch::Tensor& x, bool ends_stage) override {
    const std::vector<torch::Tensor> halves = x.chunk(2, 1);
    torch::Tensor y = conv_norm_relu(*conv1_, *bn1_, halves[1]);
    y = conv_norm(*conv2_, *bn2_, y);
    const Activated out = conv_norm_activated(*conv3_, *bn3_, y, {}, ends_stage);
    return {torch::channel_shuffle(torch::cat({halves[0], out.after}, 1), 2),
            ends_stage ? torch::cat({halves[0], out.before}, 1) : torch::Tensor()};
  }

 private:
  torch::nn::Conv2d conv1_{nullptr}, conv2_{nullptr}, conv3_{nullptr};
  torch::nn::BatchNorm2d bn1_{nullptr}, bn2_{nullptr}, bn3_{nullptr};
};

// Two branches of half the new width each, both of stride 2.
class DownUnit : public Block {
 public:
  DownUnit(int64_t in, int64_t width) {
    const int64_t half = width / 2;
    conv1_ = register_module("conv1", conv(in, in, 3, 2, in));
    bn1_ = register_module("bn1", torch::nn::BatchNorm2d(in));
    conv2_ = register_module("conv2", conv(in, half, 1));
    bn2_ = register_module("bn2", torch::nn::BatchNorm2d(half));
    conv3_ = register_module("conv3", conv(in, half, 1));
    bn3_ = register_module("bn3", torch::nn::BatchNorm2d(half));
    conv4_ = register_module("conv4", conv(half, half, 3, 2, half));
    bn4_ = register_module("bn4", torch::nn::BatchNorm2d(half));
    conv5_ = register_module("conv5", conv(half, half, 1));
    bn5_ = register_module("bn5", torch::nn::BatchNorm2d(half));
  }

  Activated forward(const torch::Tensor& x, bool /*ends_stage*/) override {
    const torch::Tensor left = conv_norm(*conv2_, *bn2_, conv_norm(*conv1_, *bn1_, x));
    const torch::Tensor inner = conv_norm_relu(*conv3_, *bn3_, x);
    const torch::Tensor right = conv_norm(*conv5_, *bn5_, conv_norm(*conv4_, *bn4_, inner));
    const torch::Tensor pre = torch::cat({left, right}, 1);
    return {torch::channel_shuffle(torch::relu(pre), 2), pre};
  }

 private:
  torch::nn::Conv2d conv1_{nullptr}, conv2_{nullptr}, conv3_{nullptr}, conv4_{nullptr},
      conv5_{nullptr};
  torch::nn::BatchNorm2d bn1_{nullptr}, bn2_{nullptr}, bn3_{nullptr}, bn4_{nullptr}, bn5_{nullptr};
};

}  // namespace

CifarShuffleNetV2::CifarShuffleNetV2(const CifarShuffleNetV2Design& design,
                                     const CnnOptions& options) {
  refuse_zero_init(options);
  int64_t width = 24;
  conv1_ = register_module("conv1", conv(options.in_chans, width, 1));
  bn1_ = register_module("bn1", torch::nn::BatchNorm2d(width));
  for (size_t i = 0; i < design.widths.size(); ++i) {
    torch::nn::ModuleList layer;
    layer->push_back(std::make_shared<DownUnit>(width, design.widths[i]));
    width = design.widths[i];
    for (int64_t j = 0; j < design.units[i]; ++j) {
      layer->push_back(std::make_shared<BasicUnit>(width));
    }
    layers_.emplace_back(register_module(fmt::format("layer{}", i + 1), layer));
  }
  conv2_ = register_module("conv2", conv(width, design.last_width, 1));
  bn2_ = register_module("bn2", torch::nn::BatchNorm2d(design.last_width));
  linear_ = register_module("linear", torch::nn::Linear(design.last_width, options.num_classes));
  add_distillation_layers(options, design.last_width);
}

CnnOutput CifarShuffleNetV2::forward(const torch::Tensor& images) {
  CnnOutput output;
  torch::Tensor x = output.stem = conv_norm_relu(*conv1_, *bn1_, images);
  for (size_t i = 0; i < layers_.size(); ++i) {
    output.stages.push_back(run_layer(layers_[i], fmt::format("layer{}", i + 1), x));
    x = output.stages.back().post;
  }
  x = conv_norm_relu(*conv2_, *bn2_, x);
  run_heads(transformed(x, output).mean({2, 3}), output);
  return output;
}

Entries shufflenet_v2_entries() {
  return {entry<CifarShuffleNetV2>("cifar_shufflenetv2", 32,
                                   CifarShuffleNetV2Design{{116, 232, 464}, {3, 7, 3}, 1024})};
}

}  // namespace umbra::cnn
