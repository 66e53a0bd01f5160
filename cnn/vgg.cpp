#include "cnn/vgg.h"

#include "cnn/fused.h"
#include "cnn/layers.h"

namespace umbra::cnn {

Vgg::Vgg(const VggDesign& design, const CnnOptions& options) {
  refuse_zero_init(options);
  int64_t width = options.in_chans;
  for (size_t i = 0; i < design.convs.size(); ++i) {
    const int64_t block_width = std::min<int64_t>(64 << i, 512);
    const auto conv3x3 = [&] {
      const auto same_size = torch::nn::Conv2dOptions(width, block_width, 3).padding(1);
      width = block_width;
      return torch::nn::Conv2d(same_size);
    };
    ConvBlock& block = blocks_.emplace_back();
    for (int64_t j = 1; j < design.convs[i]; ++j) {
      block.inner->push_back(conv3x3());
      block.inner->push_back(torch::nn::BatchNorm2d(width));
      block.inner->push_back(torch::nn::ReLU());
    }
    block.last_conv = conv3x3();
    block.last_norm = torch::nn::BatchNorm2d(width);
    const auto layers = register_module(fmt::format("block{}", i), torch::nn::Sequential());
    layers->extend(*block.inner);
    layers->push_back(block.last_conv);
    layers->push_back(block.last_norm);
  }
  classifier_ = register_module("classifier", torch::nn::Linear(width, options.num_classes));
  add_distillation_layers(options, width, init_head);
  init_convolutions(*this);
  init_head(*classifier_);
}

CnnOutput Vgg::forward(const torch::Tensor& images) {
  CnnOutput output;
  torch::Tensor x = images;
  for (size_t i = 0; i < blocks_.size(); ++i) {
    auto& [inner, last_conv, last_norm] = blocks_[i];
    const Activated out =
        conv_norm_activated(*last_conv, *last_norm, run_fused(inner, x), {}, /*keep_before=*/i > 0);
    x = out.after;
    if (i == 0) {
      output.stem = x;
    } else {
      output.stages.push_back({fmt::format("block{}", i), x, out.before});
    }
    if (i < 3 || (i == 3 && images.size(2) == 64)) x = torch::max_pool2d(x, 2);
  }
  run_heads(transformed(x, output).mean({2, 3}), output);
  return output;
}

std::vector<torch::nn::BatchNorm2d> Vgg::stage_norms() const {
  std::vector<torch::nn::BatchNorm2d> norms;
  for (size_t i = 1; i < blocks_.size(); ++i) norms.push_back(blocks_[i].last_norm);
  return norms;
}

Entries vgg_entries() {
  const auto vgg = [](std::string name, std::vector<int64_t> convs) {
    return entry<Vgg>(std::move(name), 32, VggDesign{std::move(convs)});
  };
  return {vgg("cifar_vgg8", {1, 1, 1, 1, 1}), vgg("cifar_vgg11", {1, 1, 2, 2, 2}),
          vgg("cifar_vgg13", {2, 2, 2, 2, 2}), vgg("cifar_vgg16", {2, 2, 3, 3, 3}),
          vgg("cifar_vgg19", {2, 2, 4, 4, 4})};
}

}  // namespace umbra::cnn
