// RegNetY (Radosavovic et al., 2020): residual blocks of grouped convolutions with squeeze and
// excitation, with timm's parameter names. regnety_160 is DeiT's teacher.
#pragma once

#include <array>
#include <vector>

#include "cnn/backbone.h"
#include "cnn/registry.h"

namespace umbra::cnn {

struct RegNetDesign {
  int64_t group_width;
  std::array<int64_t, 4> widths;
  std::array<int64_t, 4> blocks;
};

class RegNet : public Backbone {
 public:
  RegNet(const RegNetDesign& design, const CnnOptions& options);
  CnnOutput forward(const torch::Tensor& images) override;
  const torch::nn::Linear& classifier() const override { return fc_; }
  std::vector<torch::nn::BatchNorm2d> stage_norms() const override;

 private:
  void init_weights(bool zero_init_residual);

  torch::nn::Conv2d stem_conv_{nullptr};
  torch::nn::BatchNorm2d stem_bn_{nullptr};
  std::vector<torch::nn::ModuleList> stages_;  // of registered blocks
  torch::nn::Linear fc_{nullptr};
};

Entries regnet_entries();

}  // namespace umbra::cnn
