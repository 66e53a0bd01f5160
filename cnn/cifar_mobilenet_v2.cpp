#include "cnn/cifar_mobilenet_v2.h"

#include "cnn/fused.h"
#include "cnn/layers.h"

namespace umbra::cnn {
namespace {

constexpr int64_t kLastWidth = 1280;

struct Row {
  int64_t width, blocks, stride;
  bool is_stage;
};
constexpr Row kRows[] = {{16, 1, 1, false}, {24, 2, 1, true},   {32, 3, 2, true}, {64, 4, 2, false},
                         {96, 3, 1, true},  {160, 3, 2, false}, {320, 1, 1, true}};

torch::nn::Sequential conv_bn_relu(int64_t in, int64_t out, int64_t kernel, int64_t stride) {
  return torch::nn::Sequential(conv(in, out, kernel, stride), torch::nn::BatchNorm2d(out),
                               torch::nn::ReLU());
}

class InvertedResidual : public Block {
 public:
  InvertedResidual(int64_t in, int64_t out, int64_t stride, int64_t expansion)
      : has_sum_(stride == 1 && in == out) {
    const int64_t inner = in * expansion;
    const auto layers = register_module(
        "conv", torch::nn::Sequential(conv(in, inner, 1), torch::nn::BatchNorm2d(inner),
                                      torch::nn::ReLU(), conv(inner, inner, 3, stride, inner),
                                      torch::nn::BatchNorm2d(inner), torch::nn::ReLU()));
    inner_->extend(*layers);
    last_conv_ = conv(inner, out, 1);
    last_norm = torch::nn::BatchNorm2d(out);
    layers->push_back(last_conv_);
    layers->push_back(last_norm);
  }

  Activated forward(const torch::Tensor& x, bool /*ends_stage*/) override {
    const torch::Tensor y =
        conv_norm(*last_conv_, *last_norm, run_fused(inner_, x), has_sum_ ? x : torch::Tensor());
    return {y, y};
  }

 private:
  bool has_sum_;
  torch::nn::Sequential inner_;  // of registered layers, as the last convolution is
  torch::nn::Conv2d last_conv_{nullptr};
};

}  // namespace

CifarMobileNetV2::CifarMobileNetV2(const CifarMobileNetV2Design& design,
                                   const CnnOptions& options) {
  refuse_zero_init(options);
  const auto scaled = [&](int64_t width) { return static_cast<int64_t>(width * design.width); };
  int64_t width = scaled(32);
  conv1_ = register_module("conv1", conv_bn_relu(options.in_chans, width, 3, 2));
  const auto blocks = register_module("blocks", torch::nn::ModuleList());
  for (const Row& row : kRows) {
    torch::nn::ModuleList layer;
    for (int64_t j = 0; j < row.blocks; ++j) {
      layer->push_back(std::make_shared<InvertedResidual>(width, scaled(row.width),
                                                          j == 0 ? row.stride : 1,
                                                          layers_.empty() ? 1 : design.expansion));
      width = scaled(row.width);
    }
    blocks->push_back(layer);
    layers_.push_back(layer);
  }
  conv2_ = register_module("conv2", conv_bn_relu(width, kLastWidth, 1, 1));
  linear_ = torch::nn::Linear(kLastWidth, options.num_classes);
  register_module("classifier", torch::nn::Sequential(linear_));
  add_distillation_layers(options, kLastWidth, init_head);
  init_convolutions(*this);
  init_head(*linear_);
}

CnnOutput CifarMobileNetV2::forward(const torch::Tensor& images) {
  CnnOutput output;
  torch::Tensor x = output.stem = run_fused(conv1_, images);
  for (size_t i = 0; i < layers_.size(); ++i) {
    Stage stage = run_layer(layers_[i], fmt::format("blocks.{}", i), x);
    x = stage.post;
    if (kRows[i].is_stage) output.stages.push_back(std::move(stage));
  }
  run_heads(transformed(run_fused(conv2_, x), output).mean({2, 3}), output);
  return output;
}

std::vector<torch::nn::BatchNorm2d> CifarMobileNetV2::stage_norms() const {
  std::vector<torch::nn::BatchNorm2d> norms;
  for (size_t i = 0; i < layers_.size(); ++i) {
    if (kRows[i].is_stage) norms.push_back(last_norm_of(layers_[i]));
  }
  return norms;
}

Entries cifar_mobilenet_v2_entries() {
  return {entry<CifarMobileNetV2>("cifar_mobilenetv2_050", 32, CifarMobileNetV2Design{})};
}

}  // namespace umbra::cnn
