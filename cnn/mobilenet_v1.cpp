#include "cnn/mobilenet_v1.h"

#include "cnn/fused.h"
#include "cnn/layers.h"

namespace umbra::cnn {
namespace {

using torch::nn::BatchNorm2d;

constexpr int64_t kStemWidth = 32;
struct Shape {
  int64_t width, stride;
};
constexpr std::array<Shape, 13> kBlocks = {{{64, 1},
                                            {128, 2},
                                            {128, 1},
                                            {256, 2},
                                            {256, 1},
                                            {512, 2},
                                            {512, 1},
                                            {512, 1},
                                            {512, 1},
                                            {512, 1},
                                            {512, 1},
                                            {1024, 2},
                                            {1024, 1}}};
// Indices into `model`, where 0 is the stem.
constexpr std::array<size_t, 4> kTaps = {3, 5, 11, 13};

// A convolution of stride 2, batch norm and ReLU.
class Stem : public Block {
 public:
  explicit Stem(int64_t in_chans) {
    conv_ = register_module("0", conv(in_chans, kStemWidth, 3, 2));
    bn_ = register_module("1", BatchNorm2d(kStemWidth));
  }
  Activated forward(const torch::Tensor& x, bool /*ends_stage*/) override {
    return {conv_norm_relu(*conv_, *bn_, x), {}};
  }

 private:
  torch::nn::Conv2d conv_{nullptr};
  BatchNorm2d bn_{nullptr};
};

// Depthwise, then pointwise, each with batch norm and ReLU.
class SeparableBlock : public Block {
 public:
  SeparableBlock(int64_t in_width, int64_t width, int64_t stride) {
    depthwise_ = register_module("0", conv(in_width, in_width, 3, stride, in_width));
    bn1_ = register_module("1", BatchNorm2d(in_width));
    pointwise_ = register_module("3", conv(in_width, width, 1));
    last_norm = register_module("4", BatchNorm2d(width));
  }
  Activated forward(const torch::Tensor& x, bool ends_stage) override {
    const torch::Tensor inner = conv_norm_relu(*depthwise_, *bn1_, x);
    return conv_norm_activated(*pointwise_, *last_norm, inner, {}, ends_stage);
  }

 private:
  torch::nn::Conv2d depthwise_{nullptr}, pointwise_{nullptr};
  BatchNorm2d bn1_{nullptr};
};

bool is_tapped(size_t index) { return std::find(kTaps.begin(), kTaps.end(), index) != kTaps.end(); }

}  // namespace

MobileNetV1::MobileNetV1(const MobileNetV1Design&, const CnnOptions& options) {
  refuse_zero_init(options);
  model_->push_back(std::make_shared<Stem>(options.in_chans));
  int64_t width = kStemWidth;
  for (const Shape& block : kBlocks) {
    model_->push_back(std::make_shared<SeparableBlock>(width, block.width, block.stride));
    width = block.width;
  }
  register_module("model", model_);
  fc_ = register_module("fc", torch::nn::Linear(width, options.num_classes));
  add_distillation_layers(options, width);
}

CnnOutput MobileNetV1::forward(const torch::Tensor& images) {
  CnnOutput output;
  torch::Tensor x = images;
  for (size_t i = 0; i < model_->size(); ++i) {
    const Activated out = model_[i]->as<Block>()->forward(x, is_tapped(i));
    x = out.after;
    if (is_tapped(i)) output.stages.push_back({fmt::format("model.{}", i), x, out.before});
  }
  run_heads(transformed(x, output).mean({2, 3}), output);
  return output;
}

std::vector<torch::nn::BatchNorm2d> MobileNetV1::stage_norms() const {
  std::vector<torch::nn::BatchNorm2d> norms;
  for (const size_t tap : kTaps) norms.push_back(model_->ptr(tap)->as<Block>()->last_norm);
  return norms;
}

Entries mobilenet_v1_entries() {
  return {entry<MobileNetV1>("mobilenetv1", 224, MobileNetV1Design{})};
}

}  // namespace umbra::cnn
