#include "cnn/regnet.h"

#include "cnn/fused.h"
#include "cnn/layers.h"

namespace umbra::cnn {
namespace {

constexpr int64_t kStemWidth = 32;

class ConvNormImpl : public torch::nn::Module {
 public:
  ConvNormImpl(int64_t in_width, int64_t width, int64_t kernel, int64_t stride = 1,
               int64_t groups = 1) {
    conv = register_module("conv", cnn::conv(in_width, width, kernel, stride, groups));
    bn = register_module("bn", torch::nn::BatchNorm2d(width));
  }
  torch::nn::Conv2d conv{nullptr};
  torch::nn::BatchNorm2d bn{nullptr};
};
TORCH_MODULE(ConvNorm);

class SqueezeExciteImpl : public torch::nn::Module {
 public:
  SqueezeExciteImpl(int64_t width, int64_t squeezed) {
    using Options = torch::nn::Conv2dOptions;
    fc1_ = register_module("fc1", torch::nn::Conv2d(Options(width, squeezed, 1)));
    fc2_ = register_module("fc2", torch::nn::Conv2d(Options(squeezed, width, 1)));
  }
  torch::Tensor forward(const torch::Tensor& x) {
    const torch::Tensor mean = x.mean({2, 3}, /*keepdim=*/true);  // [B, C, 1, 1]
    return x * torch::sigmoid(fc2_(torch::relu(fc1_(mean))));
  }

 private:
  torch::nn::Conv2d fc1_{nullptr}, fc2_{nullptr};
};
TORCH_MODULE(SqueezeExcite);

class RegNetBlock : public Block {
 public:
  RegNetBlock(int64_t in_width, int64_t width, int64_t stride, int64_t group_width) {
    conv1_ = register_module("conv1", ConvNorm(in_width, width, 1));
    conv2_ = register_module("conv2", ConvNorm(width, width, 3, stride, width / group_width));
    se_ = register_module("se", SqueezeExcite(width, in_width / 4));
    conv3_ = register_module("conv3", ConvNorm(width, width, 1));
    last_norm = conv3_->bn;
    if (stride != 1 || in_width != width) {
      downsample_ = register_module("downsample", ConvNorm(in_width, width, 1, stride));
    }
  }

  Activated forward(const torch::Tensor& x, bool ends_stage) override {
    torch::Tensor y = conv_norm_relu(*conv1_->conv, *conv1_->bn, x);
    y = se_(conv_norm_relu(*conv2_->conv, *conv2_->bn, y));
    const torch::Tensor shortcut =
        downsample_ ? conv_norm(*downsample_->conv, *downsample_->bn, x) : x;
    return conv_norm_activated(*conv3_->conv, *conv3_->bn, y, shortcut, ends_stage);
  }

 private:
  ConvNorm conv1_{nullptr}, conv2_{nullptr}, conv3_{nullptr}, downsample_{nullptr};
  SqueezeExcite se_{nullptr};
};

Entry regnety(std::string name, RegNetDesign design) {
  return entry<RegNet>(std::move(name), 224, design);
}

}  // namespace

RegNet::RegNet(const RegNetDesign& design, const CnnOptions& options) {
  const auto stem = register_module("stem", std::make_shared<torch::nn::Module>());
  stem_conv_ = stem->register_module("conv", conv(options.in_chans, kStemWidth, 3, 2));
  stem_bn_ = stem->register_module("bn", torch::nn::BatchNorm2d(kStemWidth));
  int64_t width = kStemWidth;
  for (size_t i = 0; i < design.widths.size(); ++i) {
    const auto stage =
        register_module(fmt::format("s{}", i + 1), std::make_shared<torch::nn::Module>());
    torch::nn::ModuleList& blocks = stages_.emplace_back();
    for (int64_t j = 0; j < design.blocks[i]; ++j) {
      blocks->push_back(
          stage->register_module(fmt::format("b{}", j + 1),
                                 std::make_shared<RegNetBlock>(
                                     width, design.widths[i], j == 0 ? 2 : 1, design.group_width)));
      width = design.widths[i];
    }
  }
  const auto head = register_module("head", std::make_shared<torch::nn::Module>());
  fc_ = head->register_module("fc", torch::nn::Linear(width, options.num_classes));
  add_distillation_layers(options, width, init_head);
  init_weights(options.zero_init_residual);
}

void RegNet::init_weights(bool zero_init_residual) {
  init_grouped_convolutions(*this);
  init_head(*fc_);
  if (!zero_init_residual) return;
  for (const auto& blocks : stages_) {
    for (const auto& block : *blocks) {
      torch::nn::init::zeros_(block->as<Block>()->last_norm->weight);
    }
  }
}

CnnOutput RegNet::forward(const torch::Tensor& images) {
  CnnOutput output;
  torch::Tensor x = conv_norm_relu(*stem_conv_, *stem_bn_, images);
  for (size_t i = 0; i < stages_.size(); ++i) {
    output.stages.push_back(run_layer(stages_[i], fmt::format("s{}", i + 1), x));
    x = output.stages.back().post;
  }
  run_heads(transformed(x, output).mean({2, 3}), output);
  return output;
}

std::vector<torch::nn::BatchNorm2d> RegNet::stage_norms() const {
  std::vector<torch::nn::BatchNorm2d> norms;
  for (const auto& blocks : stages_) norms.push_back(last_norm_of(blocks));
  return norms;
}

Entries regnet_entries() {
  return {
      regnety("regnety_004", {8, {48, 104, 208, 440}, {1, 3, 6, 6}}),
      regnety("regnety_006", {16, {48, 112, 256, 608}, {1, 3, 7, 4}}),
      regnety("regnety_008", {16, {64, 128, 320, 768}, {1, 3, 8, 2}}),
      regnety("regnety_016", {24, {48, 120, 336, 888}, {2, 6, 17, 2}}),
      regnety("regnety_032", {24, {72, 216, 576, 1512}, {2, 5, 13, 1}}),
      regnety("regnety_040", {64, {128, 192, 512, 1088}, {2, 6, 12, 2}}),
      regnety("regnety_064", {72, {144, 288, 576, 1296}, {2, 7, 14, 2}}),
      regnety("regnety_080", {56, {168, 448, 896, 2016}, {2, 4, 10, 1}}),
      regnety("regnety_120", {112, {224, 448, 896, 2240}, {2, 5, 11, 1}}),
      regnety("regnety_160", {112, {224, 448, 1232, 3024}, {2, 4, 11, 1}}),
  };
}

}  // namespace umbra::cnn
