#include "cnn/vgg.h"

#include "cnn/fused.h"
#include "cnn/layers.h"

namespace umbra::cnn {
namespace {

// The last activation is left to the caller.
torch::nn::Sequential conv_block(int64_t in, int64_t width, int64_t convs) {
  torch::nn::Sequential block;
  for (int64_t i = 0; i < convs; ++i) {
    if (i > 0) block->push_back(torch::nn::ReLU());
    const auto conv3x3 = torch::nn::Conv2dOptions(i == 0 ? in : width, width, 3).padding(1);
    block->push_back(torch::nn::Conv2d(conv3x3));
    block->push_back(torch::nn::BatchNorm2d(width));
  }
  return block;
}

}  // namespace

Vgg::Vgg(const VggDesign& design, const CnnOptions& options) {
  refuse_zero_init(options);
  int64_t width = options.in_chans;
  for (size_t i = 0; i < design.convs.size(); ++i) {
    const int64_t block_width = std::min<int64_t>(64 << i, 512);
    blocks_.emplace_back(register_module(fmt::format("block{}", i),
                                         conv_block(width, block_width, design.convs[i])));
    width = block_width;
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
    const torch::Tensor pre = run_fused(blocks_[i], x);
    x = torch::relu(pre);
    if (i == 0) {
      output.stem = x;
    } else {
      output.stages.push_back({fmt::format("block{}", i), x, pre});
    }
    if (i < 3 || (i == 3 && images.size(2) == 64)) x = torch::max_pool2d(x, 2);
  }
  run_heads(transformed(x, output).mean({2, 3}), output);
  return output;
}

std::vector<torch::nn::BatchNorm2d> Vgg::stage_norms() const {
  std::vector<torch::nn::BatchNorm2d> norms;
  for (size_t i = 1; i < blocks_.size(); ++i) {
    norms.emplace_back(std::dynamic_pointer_cast<torch::nn::BatchNorm2dImpl>(
        blocks_[i]->ptr(blocks_[i]->size() - 1)));
  }
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
