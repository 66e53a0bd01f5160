// MobileNetV1 (Howard et al., 2017) for ImageNet, with the parameter names of the distillation
// papers' code (OFD, ReviewKD). Its stages are those that ReviewKD taps: model.3, 5, 11, 13.
#pragma once

#include "cnn/backbone.h"
#include "cnn/registry.h"

namespace umbra::cnn {

// There is one width only.
struct MobileNetV1Design {};

class MobileNetV1 : public Backbone {
 public:
  MobileNetV1(const MobileNetV1Design& design, const CnnOptions& options);
  CnnOutput forward(const torch::Tensor& images) override;
  const torch::nn::Linear& classifier() const override { return fc_; }
  std::vector<torch::nn::BatchNorm2d> stage_norms() const override;

 private:
  torch::nn::ModuleList model_;
  torch::nn::Linear fc_{nullptr};
};

Entries mobilenet_v1_entries();

}  // namespace umbra::cnn
