// What the tests of fused operations in bf16 share.
#pragma once

#include "tests/support.h"
#include "train/loop/precision.h"

namespace umbra::test {

constexpr double kBf16 = 1.0 / 256;  // half a unit in the last place, relative

inline double relative_error(const torch::Tensor& got, const torch::Tensor& want) {
  const double size = std::max(want.norm().item<double>(), 1e-6);  // some are zero in truth
  return (got.to(torch::kFloat64) - want).norm().item<double>() / size;
}

// Values that bf16 can hold, so that both sides start from the same numbers.
inline torch::Tensor random_bf16(at::IntArrayRef shape, double scale = 1.0) {
  return (torch::randn(shape) * scale).to(torch::kBFloat16);
}

inline torch::Tensor leaf(const torch::Tensor& x, torch::ScalarType type) {
  return x.to(type).detach().clone().requires_grad_();
}

struct CpuAutocast : AutocastGuard {
  CpuAutocast() : AutocastGuard(torch::kCPU, torch::kBFloat16) {}
};

}  // namespace umbra::test
