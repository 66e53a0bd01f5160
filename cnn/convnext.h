// ConvNeXt (Liu et al., 2022) with timm's parameter names. A stage ends without an activation, so
// its pre is its post.
#pragma once

#include <array>
#include <vector>

#include "cnn/backbone.h"
#include "cnn/registry.h"

namespace umbra::cnn {

struct ConvNeXtDesign {
  std::array<int64_t, 4> widths;
  std::array<int64_t, 4> blocks;
};

class ConvNeXt : public Backbone {
 public:
  ConvNeXt(const ConvNeXtDesign& design, const CnnOptions& options);
  CnnOutput forward(const torch::Tensor& images) override;
  const torch::nn::Linear& classifier() const override { return fc_; }

 private:
  void init_weights();

  std::vector<torch::nn::Sequential> downsamples_;  // before each stage; the first is the stem
  std::vector<torch::nn::ModuleList> stages_;
  torch::nn::LayerNorm norm_{nullptr};
  torch::nn::Linear fc_{nullptr};
};

Entries convnext_entries();

}  // namespace umbra::cnn
