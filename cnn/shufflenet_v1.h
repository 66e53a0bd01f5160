// ShuffleNet (Zhang et al., 2018) for CIFAR as RepDistiller has it, with its parameter names:
// three groups, a 1x1 stem, an activation after the depthwise convolution too.
#pragma once

#include <vector>

#include "cnn/backbone.h"
#include "cnn/registry.h"

namespace umbra::cnn {

struct ShuffleNetV1Design {
  int64_t groups;
  std::vector<int64_t> widths;
  std::vector<int64_t> blocks;
};

class ShuffleNetV1 : public Backbone {
 public:
  ShuffleNetV1(const ShuffleNetV1Design& design, const CnnOptions& options);
  CnnOutput forward(const torch::Tensor& images) override;
  const torch::nn::Linear& classifier() const override { return linear_; }

 private:
  torch::nn::Conv2d conv1_{nullptr};
  torch::nn::BatchNorm2d bn1_{nullptr};
  std::vector<torch::nn::ModuleList> layers_;
  torch::nn::Linear linear_{nullptr};
};

Entries shufflenet_v1_entries();

}  // namespace umbra::cnn
