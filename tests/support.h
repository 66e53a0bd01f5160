// What the tests share: comparison of tensors, and what data_support.h has.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include "tests/data_support.h"

namespace umbra::test {

inline constexpr double kFloor = 1e-6;

// Fails unless max|a-b| / max(max|b|, floor) <= tolerance. The floor serves tensors that are zero
// in truth. NaN never passes.
inline void expect_close(const torch::Tensor& actual, const torch::Tensor& expected,
                         double tolerance, double floor = kFloor) {
  ASSERT_TRUE(actual.defined());
  ASSERT_TRUE(expected.defined());
  ASSERT_EQ(actual.sizes(), expected.sizes());
  if (expected.numel() == 0) return;
  const auto flat = [](const torch::Tensor& tensor) {
    return tensor.detach().to(torch::kCPU, torch::kFloat64).flatten();
  };
  const torch::Tensor a = flat(actual), b = flat(expected);
  const torch::Tensor difference = (a - b).abs();
  const double scale = std::max(b.abs().max().item<double>(), floor);
  const double error = difference.max().item<double>() / scale;
  if (error <= tolerance) return;
  const auto worst = difference.argmax().item<int64_t>();
  std::vector<int64_t> index;
  for (int64_t d = expected.dim() - 1, rest = worst; d >= 0; rest /= expected.size(d--)) {
    index.insert(index.begin(), rest % expected.size(d));
  }
  ADD_FAILURE() << fmt::format(
      "error {:.3g} exceeds {:.3g}; worst at [{}]: got {:.9g}, wanted "
      "{:.9g}; scale {:.3g}",
      error, tolerance, fmt::join(index, ", "), a[worst].item<double>(), b[worst].item<double>(),
      scale);
}

}  // namespace umbra::test
