// Convolutions of frozen networks in bf16 on a CPU: oneDNN's, with norm, residual sum and ReLU in
// the same operation. Torch has these operations for its compiler (Inductor) only.
#pragma once

#include <torch/nn.h>

namespace umbra::cnn {

// One convolution in the place of conv and then norm, by its running statistics: the weight
// [out, in / groups, k, k] and the bias [out].
struct FoldedConv {
  torch::Tensor weight, bias;
};
FoldedConv fold_norm(const torch::nn::Conv2dImpl& conv, const torch::nn::BatchNorm2dImpl& norm);

// Whether torch has them, and this CPU the instructions.
bool have_frozen_conv();

// norm(conv(x)) + residual, then ReLU with `relu`; the norm by its running statistics. x is
// [B, C, H, W], a residual of the result's size, or undefined; the result is channels-last. Weights
// are folded and packed once, and again when one of their tensors was written since.
torch::Tensor frozen_conv(const torch::nn::Conv2dImpl& conv, const torch::nn::BatchNorm2dImpl& norm,
                          const torch::Tensor& x, const torch::Tensor& residual, bool relu);

}  // namespace umbra::cnn
