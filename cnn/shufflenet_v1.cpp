#include "cnn/shufflenet_v1.h"

#include "cnn/fused.h"
#include "cnn/layers.h"

namespace umbra::cnn {
namespace {

constexpr int64_t kStemWidth = 24;

// Stride 1 adds the branch to the input; stride 2 puts it beside the pooled input.
class ShuffleUnit : public Block {
 public:
  ShuffleUnit(int64_t in, int64_t out, int64_t stride, int64_t groups)
      : stride_(stride), first_groups_(in == kStemWidth ? 1 : groups) {
    const int64_t inner = out / 4;
    conv1_ = register_module("conv1", conv(in, inner, 1, 1, first_groups_));
    bn1_ = register_module("bn1", torch::nn::BatchNorm2d(inner));
    conv2_ = register_module("conv2", conv(inner, inner, 3, stride, inner));
    bn2_ = register_module("bn2", torch::nn::BatchNorm2d(inner));
    conv3_ = register_module("conv3", conv(inner, out, 1, 1, groups));
    bn3_ = register_module("bn3", torch::nn::BatchNorm2d(out));
  }

  Activated forward(const torch::Tensor& x, bool ends_stage) override {
    torch::Tensor y = conv_norm_relu(*conv1_, *bn1_, x);
    y = conv_norm_relu(*conv2_, *bn2_, torch::channel_shuffle(y, first_groups_));
    if (stride_ == 1) {
      return conv_norm_activated(*conv3_, *bn3_, y, x, ends_stage);
    }
    const torch::Tensor pre =
        torch::cat({conv_norm(*conv3_, *bn3_, y), torch::avg_pool2d(x, 3, 2, 1)}, 1);
    return {torch::relu(pre), pre};
  }

 private:
  int64_t stride_, first_groups_;
  torch::nn::Conv2d conv1_{nullptr}, conv2_{nullptr}, conv3_{nullptr};
  torch::nn::BatchNorm2d bn1_{nullptr}, bn2_{nullptr}, bn3_{nullptr};
};

}  // namespace

ShuffleNetV1::ShuffleNetV1(const ShuffleNetV1Design& design, const CnnOptions& options) {
  refuse_zero_init(options);
  int64_t width = kStemWidth;
  conv1_ = register_module("conv1", conv(options.in_chans, width, 1));
  bn1_ = register_module("bn1", torch::nn::BatchNorm2d(width));
  for (size_t i = 0; i < design.widths.size(); ++i) {
    torch::nn::ModuleList layer;
    for (int64_t j = 0; j < design.blocks[i]; ++j) {
      const int64_t branch = design.widths[i] - (j == 0 ? width : 0);
      layer->push_back(std::make_shared<ShuffleUnit>(width, branch, j == 0 ? 2 : 1, design.groups));
      width = design.widths[i];
    }
    layers_.emplace_back(register_module(fmt::format("layer{}", i + 1), layer));
  }
  linear_ = register_module("linear", torch::nn::Linear(width, options.num_classes));
  add_distillation_layers(options, width);
}

CnnOutput ShuffleNetV1::forward(const torch::Tensor& images) {
  CnnOutput output;
  torch::Tensor x = output.stem = conv_norm_relu(*conv1_, *bn1_, images);
  for (size_t i = 0; i < layers_.size(); ++i) {
    output.stages.push_back(run_layer(layers_[i], fmt::format("layer{}", i + 1), x));
    x = output.stages.back().post;
  }
  run_heads(transformed(x, output).mean({2, 3}), output);
  return output;
}

Entries shufflenet_v1_entries() {
  return {
      entry<ShuffleNetV1>("shufflenetv1", 32, ShuffleNetV1Design{3, {240, 480, 960}, {4, 8, 4}})};
}

}  // namespace umbra::cnn
