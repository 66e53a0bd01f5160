// MobileNetV2 (Sandler et al., 2018) with timm's parameter names. EfficientNet-Lite is the same
// network with other tables. A stage ends without an activation, so its pre is its post.
#pragma once

#include <array>
#include <vector>

#include "cnn/backbone.h"
#include "cnn/registry.h"

namespace umbra::cnn {

struct MobileNetV2Design {
  std::array<int64_t, 7> widths = {16, 24, 32, 64, 96, 160, 320};
  std::array<int64_t, 7> blocks = {1, 2, 3, 4, 3, 3, 1};
  std::array<int64_t, 7> kernels = {3, 3, 3, 3, 3, 3, 3};
  bool tensorflow = false;  // its uneven 'same' padding, and 1e-3 in batch norms
};

class MobileNetV2 : public Backbone {
 public:
  MobileNetV2(const MobileNetV2Design& design, const CnnOptions& options);
  CnnOutput forward(const torch::Tensor& images) override;
  const torch::nn::Linear& classifier() const override { return classifier_; }

 private:
  torch::nn::Conv2d conv_stem_{nullptr}, conv_head_{nullptr};
  torch::nn::BatchNorm2d bn1_{nullptr}, bn2_{nullptr};
  std::vector<torch::nn::ModuleList> stages_;
  torch::nn::Linear classifier_{nullptr};
};

Entries mobilenet_v2_entries();

}  // namespace umbra::cnn
