// Residual networks (He et al., 2016): ImageNet's with torchvision's parameter names, their D
// variants (He et al., 2019) with timm's, the CIFAR family of RepDistiller (resnet8 ... resnet110,
// resnet8x4, resnet32x4, cifar_resnet50), and the original paper's for CIFAR with option-A
// shortcuts under the names of akamaster/pytorch_resnet_cifar10.
#pragma once

#include <string>
#include <vector>

#include "cnn/backbone.h"
#include "cnn/registry.h"

namespace umbra::cnn {

enum class ResNetKind {
  kCifar,      // stem: one 3x3 of stride 1
  kImageNet,   // stem: 7x7 of stride 2, 3x3 max-pool of stride 2
  kImageNetD,  // stem: three 3x3, max-pool; shortcuts average before their 1x1 instead of striding
};

// What the families differ in.
struct ResNetDesign {
  ResNetKind kind;
  int64_t stem_width;
  std::vector<int64_t> widths;  // of the stages' outputs
  std::vector<int64_t> blocks;
  int64_t bottleneck = 1;  // how much narrower a block is inside; 1: basic blocks of two 3x3
  bool option_a = false;   // shortcuts without parameters, and that code's first values
  std::string shortcut_name = "downsample", head_name = "fc";
};

class ResNet : public Backbone {
 public:
  ResNet(const ResNetDesign& design, const CnnOptions& options);
  CnnOutput forward(const torch::Tensor& images) override;
  const torch::nn::Linear& classifier() const override { return fc_; }
  std::vector<torch::nn::BatchNorm2d> stage_norms() const override;

 private:
  void init_option_a();
  void zero_init_residual();

  ResNetKind kind_;
  torch::nn::Sequential stem_;  // of registered layers
  std::vector<torch::nn::ModuleList> layers_;
  torch::nn::Linear fc_{nullptr};
};

Entries resnet_entries();

}  // namespace umbra::cnn
