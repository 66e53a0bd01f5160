#include "cnn/mobilenet_v2.h"

#include "cnn/fused.h"
#include "cnn/layers.h"

namespace umbra::cnn {
namespace {

using torch::nn::BatchNorm2d;
using torch::nn::Conv2d;

constexpr int64_t kStemWidth = 32;
constexpr int64_t kHeadWidth = 1280;
constexpr std::array<int64_t, 7> kStrides = {1, 2, 2, 2, 1, 2, 1};
constexpr int64_t kExpansion = 6;  // of all stages but the first, which has none

BatchNorm2d norm(int64_t width, bool tensorflow) {
  return BatchNorm2d(torch::nn::BatchNorm2dOptions(width).eps(tensorflow ? 1e-3 : 1e-5));
}

// What TensorFlow's 'same' adds on both sides together; the smaller half goes first.
int64_t same_padding(int64_t side, int64_t kernel, int64_t stride) {
  return std::max<int64_t>(((side + stride - 1) / stride - 1) * stride + kernel - side, 0);
}

// Of stride 2 TensorFlow's padding depends on the image: conv_norm_relu6 does it.
Conv2d strided_conv(int64_t in, int64_t out, int64_t kernel, int64_t stride, int64_t groups,
                    bool tensorflow) {
  Conv2d result = conv(in, out, kernel, stride, groups);
  if (tensorflow && stride > 1) result->options.padding(0);
  return result;
}

// x, padded where the convolution leaves TensorFlow's padding to its caller.
torch::Tensor padded(const Conv2d& conv, const torch::Tensor& x) {
  const auto& options = conv->options;
  const int64_t kernel = options.kernel_size()->at(0), stride = options.stride()->at(0);
  const bool pads = std::get<torch::ExpandingArray<2>>(options.padding())->at(0) > 0;
  if (pads || stride == 1) return x;
  const int64_t rows = same_padding(x.size(2), kernel, stride);
  const int64_t columns = same_padding(x.size(3), kernel, stride);
  return torch::constant_pad_nd(x, {columns / 2, columns - columns / 2, rows / 2, rows - rows / 2});
}

torch::Tensor conv_norm_relu6(Conv2d& conv, BatchNorm2d& norm, const torch::Tensor& x) {
  return torch::relu6(conv_norm(*conv, *norm, padded(conv, x)));
}

struct BlockShape {
  int64_t in, out, kernel, stride;
  bool tensorflow;
};

// Depthwise, then pointwise: the first stage's block.
class SeparableBlock : public Block {
 public:
  explicit SeparableBlock(const BlockShape& s) {
    conv_dw_ = register_module("conv_dw",
                               strided_conv(s.in, s.in, s.kernel, s.stride, s.in, s.tensorflow));
    bn1_ = register_module("bn1", norm(s.in, s.tensorflow));
    conv_pw_ = register_module("conv_pw", conv(s.in, s.out, 1));
    bn2_ = register_module("bn2", norm(s.out, s.tensorflow));
  }

  Activated forward(const torch::Tensor& x, bool /*ends_stage*/) override {
    const torch::Tensor inner = conv_norm_relu6(conv_dw_, bn1_, x);
    const torch::Tensor y = conv_norm(*conv_pw_, *bn2_, inner);
    return {y, y};
  }

 private:
  Conv2d conv_dw_{nullptr}, conv_pw_{nullptr};
  BatchNorm2d bn1_{nullptr}, bn2_{nullptr};
};

// Expand, depthwise, project; with a shortcut where the shape stays.
class InvertedResidual : public Block {
 public:
  explicit InvertedResidual(const BlockShape& s) : shortcut_(s.stride == 1 && s.in == s.out) {
    const int64_t inner = kExpansion * s.in;
    conv_pw_ = register_module("conv_pw", conv(s.in, inner, 1));
    bn1_ = register_module("bn1", norm(inner, s.tensorflow));
    conv_dw_ = register_module("conv_dw",
                               strided_conv(inner, inner, s.kernel, s.stride, inner, s.tensorflow));
    bn2_ = register_module("bn2", norm(inner, s.tensorflow));
    conv_pwl_ = register_module("conv_pwl", conv(inner, s.out, 1));
    bn3_ = register_module("bn3", norm(s.out, s.tensorflow));
  }

  Activated forward(const torch::Tensor& x, bool /*ends_stage*/) override {
    torch::Tensor y = conv_norm_relu6(conv_pw_, bn1_, x);
    y = conv_norm_relu6(conv_dw_, bn2_, y);
    y = conv_norm(*conv_pwl_, *bn3_, y, shortcut_ ? x : torch::Tensor());
    return {y, y};
  }

 private:
  bool shortcut_;
  Conv2d conv_pw_{nullptr}, conv_dw_{nullptr}, conv_pwl_{nullptr};
  BatchNorm2d bn1_{nullptr}, bn2_{nullptr}, bn3_{nullptr};
};

// The last stage of its resolution.
bool ends_resolution(size_t stage) {
  return stage + 1 == kStrides.size() || kStrides.at(stage + 1) == 2;
}

// timm's: uniform within 1 / sqrt(classes), bias 0.
void init_classifier(torch::nn::LinearImpl& head) {
  const double range = 1.0 / std::sqrt(static_cast<double>(head.options.out_features()));
  torch::nn::init::uniform_(head.weight, -range, range);
  torch::nn::init::zeros_(head.bias);
}

}  // namespace

MobileNetV2::MobileNetV2(const MobileNetV2Design& design, const CnnOptions& options) {
  refuse_zero_init(options);
  conv_stem_ = register_module(
      "conv_stem", strided_conv(options.in_chans, kStemWidth, 3, 2, 1, design.tensorflow));
  bn1_ = register_module("bn1", norm(kStemWidth, design.tensorflow));
  torch::nn::ModuleList blocks;
  int64_t width = kStemWidth;
  for (size_t i = 0; i < design.widths.size(); ++i) {
    torch::nn::ModuleList stage;
    for (int64_t j = 0; j < design.blocks[i]; ++j) {
      const BlockShape shape{width, design.widths[i], design.kernels[i], j == 0 ? kStrides[i] : 1,
                             design.tensorflow};
      if (i == 0) {
        stage->push_back(std::make_shared<SeparableBlock>(shape));
      } else {
        stage->push_back(std::make_shared<InvertedResidual>(shape));
      }
      width = design.widths[i];
    }
    blocks->push_back(stage);
    stages_.push_back(stage);
  }
  register_module("blocks", blocks);
  conv_head_ = register_module("conv_head", conv(width, kHeadWidth, 1));
  bn2_ = register_module("bn2", norm(kHeadWidth, design.tensorflow));
  classifier_ = register_module("classifier", torch::nn::Linear(kHeadWidth, options.num_classes));
  add_distillation_layers(options, kHeadWidth, init_classifier);
  init_grouped_convolutions(*this);
  init_classifier(*classifier_);
}

CnnOutput MobileNetV2::forward(const torch::Tensor& images) {
  CnnOutput output;
  torch::Tensor x = conv_norm_relu6(conv_stem_, bn1_, images);
  for (size_t i = 0; i < stages_.size(); ++i) {
    Stage stage = run_layer(stages_[i], fmt::format("blocks.{}", i), x);
    x = stage.post;
    if (ends_resolution(i)) output.stages.push_back(std::move(stage));
  }
  x = conv_norm_relu6(conv_head_, bn2_, x);
  run_heads(transformed(x, output).mean({2, 3}), output);
  return output;
}

Entries mobilenet_v2_entries() {
  return {entry<MobileNetV2>("mobilenetv2_100", 224, MobileNetV2Design{})};
}

}  // namespace umbra::cnn
