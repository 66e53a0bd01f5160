// Residual networks for CIFAR whose head is called `linear`: RepDistiller's ResNet50 of bottleneck
// blocks, and the original paper's networks (He et al., 2016) with option-A shortcuts, which have
// no parameters, under the names of akamaster/pytorch_resnet_cifar10.
#pragma once

#include <vector>

#include "cnn/backbone.h"
#include "cnn/registry.h"

namespace umbra::cnn {

struct CifarResNetDesign {
  bool bottleneck;  // else basic blocks with option-A shortcuts
  int64_t stem_width;
  std::vector<int64_t> widths;  // of the stages' outputs
  std::vector<int64_t> blocks;
};

class CifarResNet : public Backbone {
 public:
  CifarResNet(const CifarResNetDesign& design, const CnnOptions& options);
  CnnOutput forward(const torch::Tensor& images) override;
  const torch::nn::Linear& classifier() const override { return linear_; }
  std::vector<torch::nn::BatchNorm2d> stage_norms() const override;

 private:
  void init_option_a();
  void zero_init_residual();

  torch::nn::Conv2d conv1_{nullptr};
  torch::nn::BatchNorm2d bn1_{nullptr};
  std::vector<torch::nn::ModuleList> layers_;
  torch::nn::Linear linear_{nullptr};
};

Entries cifar_resnet_entries();

}  // namespace umbra::cnn
