#include "train/distill/min_norm.h"

#include <gtest/gtest.h>

#include "tests/support.h"

namespace umbra {
namespace {

double norm_of(const torch::Tensor& gram, const torch::Tensor& w) {
  return w.dot(gram.mv(w)).item<double>();
}

TEST(MinNormWeights, OfTwoGradientsAreTheClosedForm) {
  // (g2 - g1) . g2 / |g1 - g2|^2, cut to [0, 1].
  const torch::Tensor orthogonal = torch::tensor({{1.0, 0.0}, {0.0, 4.0}}, torch::kFloat64);
  test::expect_close(min_norm_weights(orthogonal), torch::tensor({0.8, 0.2}, torch::kFloat64),
                     1e-12);
  const torch::Tensor alike = torch::tensor({{1.0, 2.0}, {2.0, 4.0}}, torch::kFloat64);
  test::expect_close(min_norm_weights(alike), torch::tensor({1.0, 0.0}, torch::kFloat64), 1e-12);
}

TEST(MinNormWeights, NothingOnTheSimplexIsShorter) {
  torch::manual_seed(3);
  for (int round = 0; round < 20; ++round) {
    const torch::Tensor gradients = torch::randn({4, 6}, torch::kFloat64);
    const torch::Tensor gram = gradients.matmul(gradients.t());
    const torch::Tensor w = min_norm_weights(gram);
    EXPECT_NEAR(w.sum().item<double>(), 1.0, 1e-12);
    EXPECT_GE(w.min().item<double>(), 0.0);
    // Optimal: no vertex has a smaller slope than the mean.
    const torch::Tensor slope = gram.mv(w);
    EXPECT_GE(slope.min().item<double>(), norm_of(gram, w) - 1e-9);
  }
}

TEST(MinNormWeights, EqualGradientsShareAsTheyStand) {
  const torch::Tensor w = min_norm_weights(torch::ones({3, 3}, torch::kFloat64));
  test::expect_close(w, torch::full({3}, 1.0 / 3.0, torch::kFloat64), 1e-12);
}

TEST(MinNormWeights, AreBounded) {
  const torch::Tensor gram = torch::diag(torch::tensor({1.0, 9.0, 10.0}, torch::kFloat64));
  const torch::Tensor w = min_norm_weights(gram, 0.6);
  // The first would get 0.83; the rest is shared as the inverse of 9 and 10.
  test::expect_close(w, torch::tensor({0.6, 0.4 * 10 / 19, 0.4 * 9 / 19}, torch::kFloat64), 1e-9);
  test::expect_close(min_norm_weights(gram, 0.1), torch::full({3}, 1.0 / 3.0, torch::kFloat64),
                     1e-12);
}

}  // namespace
}  // namespace umbra
