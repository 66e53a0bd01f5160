// ShuffleNetV2 (Ma et al., 2018) for CIFAR as RepDistiller has it, with its parameter names: a 1x1
// stem and no pooling after it. A stage's pre is its last unit before activation and shuffle.
#pragma once

#include <vector>

#include "cnn/backbone.h"
#include "cnn/registry.h"

namespace umbra::cnn {

struct CifarShuffleNetV2Design {
  std::vector<int64_t> widths;
  std::vector<int64_t> units;  // after the one that halves the map
  int64_t last_width;
};

class CifarShuffleNetV2 : public Backbone {
 public:
  CifarShuffleNetV2(const CifarShuffleNetV2Design& design, const CnnOptions& options);
  CnnOutput forward(const torch::Tensor& images) override;
  const torch::nn::Linear& classifier() const override { return linear_; }

 private:
  torch::nn::Conv2d conv1_{nullptr}, conv2_{nullptr};
  torch::nn::BatchNorm2d bn1_{nullptr}, bn2_{nullptr};
  std::vector<torch::nn::ModuleList> layers_;
  torch::nn::Linear linear_{nullptr};
};

Entries shufflenet_v2_entries();

}  // namespace umbra::cnn
