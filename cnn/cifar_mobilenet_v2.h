// MobileNetV2 for CIFAR (Sandler et al., 2018) as RepDistiller has it, with its parameter names:
// plain ReLU, stem of stride 2, an expanding convolution in every block. A stage ends without an
// activation, so its pre is its post.
#pragma once

#include <vector>

#include "cnn/backbone.h"
#include "cnn/registry.h"

namespace umbra::cnn {

struct CifarMobileNetV2Design {
  double width = 0.5;     // factor on every width but the last one, 1280
  int64_t expansion = 6;  // of all blocks but the first
};

class CifarMobileNetV2 : public Backbone {
 public:
  CifarMobileNetV2(const CifarMobileNetV2Design& design, const CnnOptions& options);
  CnnOutput forward(const torch::Tensor& images) override;
  const torch::nn::Linear& classifier() const override { return linear_; }
  // That which ends the stage: there is no activation.
  std::vector<torch::nn::BatchNorm2d> stage_norms() const override;

 private:
  torch::nn::Sequential conv1_{nullptr}, conv2_{nullptr};
  std::vector<torch::nn::ModuleList> layers_;
  torch::nn::Linear linear_{nullptr};
};

Entries cifar_mobilenet_v2_entries();

}  // namespace umbra::cnn
