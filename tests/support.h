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

// The tensors of the golden values, in double precision: amplitude * sin(frequency * (k + shift)),
// or the cosine, at flat index k.
inline torch::Tensor wave(torch::IntArrayRef shape, double amplitude, double frequency,
                          double shift, bool cosine) {
  const int64_t count = c10::multiply_integers(shape);
  const torch::Tensor phase = (torch::arange(count, torch::kFloat64) + shift) * frequency;
  return (amplitude * (cosine ? phase.cos() : phase.sin())).view(shape);
}

// The student's and the teacher's tensor of the golden values, and how near to these one must be:
// they have eight decimals.
inline torch::Tensor golden_student(torch::IntArrayRef shape) {
  return wave(shape, 2.0, 0.37, 1.0, /*cosine=*/false);
}
inline torch::Tensor golden_teacher(torch::IntArrayRef shape) {
  return wave(shape, 3.0, 0.21, 2.0, /*cosine=*/true);
}
inline void expect_golden(const torch::Tensor& value, double golden) {
  EXPECT_NEAR(value.item<double>(), golden, 1e-8 + 1e-8 * std::abs(golden));
}

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
