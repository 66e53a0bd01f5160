// Convolutions and batch norms with what surrounds them as fused operations with gradients. In bf16
// they run on kernels/, convolutions on a CPU with AMX, norms already on one with AVX-512
// (support.h says which), those of frozen networks, on GPUs too, on frozen_conv.h; everywhere else
// on ATen's own operations, with the same results up to rounding.
#pragma once

#include <torch/nn.h>

namespace umbra::cnn {

// x is [B, C, H, W] throughout, a residual of the result's size, or undefined.

// conv(x) + residual.
torch::Tensor convolve(torch::nn::Conv2dImpl& conv, const torch::Tensor& x,
                       const torch::Tensor& residual = {});

// norm(conv(x)) + residual, then ReLU with `relu`. Where the norm is in evaluation and nothing asks
// for gradients, as in a teacher, bf16 has it folded into the convolution.
torch::Tensor conv_norm(torch::nn::Conv2dImpl& conv, torch::nn::BatchNorm2dImpl& norm,
                        const torch::Tensor& x, const torch::Tensor& residual = {},
                        bool relu = false);

inline torch::Tensor conv_norm_relu(torch::nn::Conv2dImpl& conv, torch::nn::BatchNorm2dImpl& norm,
                                    const torch::Tensor& x, const torch::Tensor& residual = {}) {
  return conv_norm(conv, norm, x, residual, /*relu=*/true);
}

// What comes out of a ReLU, and what went in if that was to be kept, else undefined.
struct Activated {
  torch::Tensor after, before;
};

// relu(norm(conv(x)) + residual).
Activated conv_norm_activated(torch::nn::Conv2dImpl& conv, torch::nn::BatchNorm2dImpl& norm,
                              const torch::Tensor& x, const torch::Tensor& residual,
                              bool keep_before);

// relu(norm(x)).
Activated norm_activated(torch::nn::BatchNorm2dImpl& norm, const torch::Tensor& x,
                         bool keep_before);

// The layers one after the other. A batch norm after a convolution, and a ReLU after that, are
// fused with it. Convolutions must be torch's own Conv2d.
torch::Tensor run_fused(torch::nn::Sequential& layers, torch::Tensor x);

}  // namespace umbra::cnn
