// Residual networks of basic blocks (He et al., 2016): ImageNet's resnet18 and resnet34 with
// torchvision's parameter names, and the CIFAR family of RepDistiller (resnet8 ... resnet110,
// resnet8x4, resnet32x4).
#pragma once

#include <vector>

#include "cnn/backbone.h"
#include "cnn/registry.h"

namespace umbra::cnn {

// What the two families differ in.
struct ResNetDesign {
  int64_t stem_width = 64;
  bool imagenet_stem = true;  // 7x7 stride 2 and 3x3 max-pool stride 2; else one 3x3 stride 1
  std::vector<int64_t> widths;
  std::vector<int64_t> blocks;
};

class BasicBlockImpl : public torch::nn::Module {
 public:
  BasicBlockImpl(int64_t in_width, int64_t width, int64_t stride);
  Stage forward(const torch::Tensor& x);  // post and pre of the block's last activation
  torch::nn::BatchNorm2d bn2{nullptr};

 private:
  torch::nn::Conv2d conv1_{nullptr}, conv2_{nullptr};
  torch::nn::BatchNorm2d bn1_{nullptr};
  torch::nn::Sequential downsample_{nullptr};
};
TORCH_MODULE(BasicBlock);

class ResNet : public Backbone {
 public:
  ResNet(const ResNetDesign& design, const CnnOptions& options);
  CnnOutput forward(const torch::Tensor& images) override;
  const torch::nn::Linear& classifier() const override { return fc_; }

 private:
  void init_weights(bool zero_init_residual);

  bool imagenet_stem_;
  torch::nn::Conv2d conv1_{nullptr};
  torch::nn::BatchNorm2d bn1_{nullptr};
  std::vector<torch::nn::ModuleList> layers_;
  torch::nn::Linear fc_{nullptr};
};

Entries resnet_entries();

}  // namespace umbra::cnn
