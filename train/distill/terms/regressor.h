#pragma once

#include <torch/nn.h>

namespace umbra {

// Brings a map [B, C_s, H_s, W_s] to the shape [B, C_t, H_t, W_t]: RepDistiller's ConvReg. A stride
// of 2 halves, a transposed convolution doubles; otherwise the kernel leaves as many pixels as
// wanted. Then batch norm, and ReLU if asked for.
class RegressorImpl : public torch::nn::Module {
 public:
  // Throws ConfigError for a student's map that is smaller than the teacher's, but not half as
  // large.
  RegressorImpl(torch::IntArrayRef student, torch::IntArrayRef teacher, bool relu = true);

  torch::Tensor forward(const torch::Tensor& map);

 private:
  torch::nn::AnyModule conv_;
  torch::nn::BatchNorm2d norm_{nullptr};
  bool relu_;
};
TORCH_MODULE(Regressor);

}  // namespace umbra
