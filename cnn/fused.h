// Convolutions and batch norms with what surrounds them as fused operations with gradients. In bf16
// on a CPU with AMX they run on kernels/; everywhere else on ATen's own operations, with the same
// results up to rounding.
#pragma once

#include <torch/nn.h>

namespace umbra::cnn {

// Applies the convolution to x [B, C, H, W].
torch::Tensor convolve(torch::nn::Conv2d& conv, const torch::Tensor& x);

// norm(x) + residual; the residual may be undefined.
torch::Tensor add_norm(torch::nn::BatchNorm2d& norm, const torch::Tensor& x,
                       const torch::Tensor& residual = {});

// relu(norm(x) + residual).
torch::Tensor norm_relu(torch::nn::BatchNorm2d& norm, const torch::Tensor& x,
                        const torch::Tensor& residual = {});

}  // namespace umbra::cnn
