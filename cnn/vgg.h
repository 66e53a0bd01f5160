// VGG for CIFAR (Simonyan & Zisserman, 2015) with batch norm and one linear layer: RepDistiller's
// vgg8 ... vgg19 and its parameter names. Images of 64 pixels are pooled once more.
#pragma once

#include <vector>

#include "cnn/backbone.h"
#include "cnn/registry.h"

namespace umbra::cnn {

struct VggDesign {
  std::vector<int64_t> convs;  // in each of the five blocks
};

class Vgg : public Backbone {
 public:
  Vgg(const VggDesign& design, const CnnOptions& options);
  CnnOutput forward(const torch::Tensor& images) override;
  const torch::nn::Linear& classifier() const override { return classifier_; }
  std::vector<torch::nn::BatchNorm2d> stage_norms() const override;

 private:
  // Of registered layers. A ReLU follows the last norm, too.
  struct ConvBlock {
    torch::nn::Sequential inner;  // all before the last convolution
    torch::nn::Conv2d last_conv{nullptr};
    torch::nn::BatchNorm2d last_norm{nullptr};
  };
  std::vector<ConvBlock> blocks_;
  torch::nn::Linear classifier_{nullptr};
};

Entries vgg_entries();

}  // namespace umbra::cnn
