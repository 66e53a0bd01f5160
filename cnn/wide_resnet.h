// Wide residual networks for CIFAR (Zagoruyko & Komodakis, 2016) with RepDistiller's parameter
// names: wrn_16_1, wrn_16_2, wrn_40_1, wrn_40_2. Blocks start with their activation, so a stage's
// post is the raw sum, and its pre is the batch norm that follows it.
#pragma once

#include <vector>

#include "cnn/backbone.h"
#include "cnn/registry.h"

namespace umbra::cnn {

struct WideResNetDesign {
  int64_t depth;  // 6 n + 4
  int64_t widen;
};

class WideResNet : public Backbone {
 public:
  WideResNet(const WideResNetDesign& design, const CnnOptions& options);
  CnnOutput forward(const torch::Tensor& images) override;
  const torch::nn::Linear& classifier() const override { return fc_; }
  std::vector<torch::nn::BatchNorm2d> stage_norms() const override;

 private:
  torch::nn::Conv2d conv1_{nullptr};
  std::vector<torch::nn::ModuleList> layers_;
  torch::nn::BatchNorm2d bn1_{nullptr};
  torch::nn::Linear fc_{nullptr};
};

Entries wide_resnet_entries();

}  // namespace umbra::cnn
