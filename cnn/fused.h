// Convolutions and batch norms with what surrounds them as fused operations with gradients. In bf16
// on a CPU with AMX they run on kernels/; everywhere else on ATen's own operations, with the same
// results up to rounding.
#pragma once

#include <torch/nn.h>

namespace umbra::cnn {

// norm(conv(x)) + residual, then ReLU with `relu`. x [B, C, H, W]; the residual may be undefined.
// Without gradients and in evaluation, as a teacher runs, all of it is one pass.
torch::Tensor conv_norm(torch::nn::Conv2d& conv, torch::nn::BatchNorm2d& norm,
                        const torch::Tensor& x, const torch::Tensor& residual = {},
                        bool relu = false);

// relu(norm(conv(x)) + residual), and the same before the ReLU.
struct Activated {
  torch::Tensor after, before;
};
Activated conv_norm_activated(torch::nn::Conv2d& conv, torch::nn::BatchNorm2d& norm,
                              const torch::Tensor& x, const torch::Tensor& residual = {});

inline torch::Tensor conv_norm_relu(torch::nn::Conv2d& conv, torch::nn::BatchNorm2d& norm,
                                    const torch::Tensor& x, const torch::Tensor& residual = {}) {
  return conv_norm(conv, norm, x, residual, /*relu=*/true);
}

}  // namespace umbra::cnn
