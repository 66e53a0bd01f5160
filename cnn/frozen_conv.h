// Convolutions of frozen networks in bf16, a norm folded into their weights. On a CPU they are
// oneDNN's, with residual sum and ReLU in the same operation, which torch has for its compiler
// (Inductor) only; on a GPU cuDNN's, with one pass for the rest (unmeasured); else ATen's.
#pragma once

#include <torch/nn.h>

namespace umbra::cnn {

// One convolution in the place of conv and then norm, by its running statistics: the weight
// [out, in / groups, k, k] and the bias [out].
struct FoldedConv {
  torch::Tensor weight, bias;
};
FoldedConv fold_norm(const torch::nn::Conv2dImpl& conv, const torch::nn::BatchNorm2dImpl& norm);

// Whether torch has oneDNN's operations, and this CPU the instructions for them.
bool onednn_fuses();

// norm(conv(x)) + residual, then ReLU with `relu`; the norm, if any, by its running statistics. x
// is [B, C, H, W], a residual of the result's size, or undefined; the result is bf16,
// channels-last. Weights are folded and packed once, and again when one of their tensors was
// written since.
torch::Tensor frozen_conv(const torch::nn::Conv2dImpl& conv, const torch::nn::BatchNorm2dImpl* norm,
                          const torch::Tensor& x, const torch::Tensor& residual, bool relu);

}  // namespace umbra::cnn
