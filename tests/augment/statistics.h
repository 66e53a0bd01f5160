// Statistical checks. A right function with a random seed would fail each of them with a
// probability of about one in a million; with fixed seeds they pass or fail for good.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <vector>

#include <gtest/gtest.h>

namespace umbra::test {

inline constexpr double kSigmas = 4.9;       // P(|z| > 4.9) = 1e-6
inline constexpr double kNormalTail = 4.75;  // P(z > 4.75) = 1e-6

// Of independent values with that mean and variance.
inline void expect_mean(const std::vector<double>& values, double mean, double variance) {
  ASSERT_FALSE(values.empty());
  const double n = static_cast<double>(values.size());
  EXPECT_NEAR(std::accumulate(values.begin(), values.end(), 0.0) / n, mean,
              kSigmas * std::sqrt(variance / n));
}

// Pearson's chi-square of counts against shares, which need not sum to 1; the limit by Wilson and
// Hilferty's approximation.
inline void expect_shares(const std::vector<int64_t>& counts, const std::vector<double>& shares) {
  ASSERT_EQ(counts.size(), shares.size());
  const double total = static_cast<double>(std::accumulate(counts.begin(), counts.end(), 0LL));
  const double sum = std::accumulate(shares.begin(), shares.end(), 0.0);
  double chi_square = 0;
  for (size_t i = 0; i < counts.size(); ++i) {
    const double wanted = total * shares[i] / sum;
    ASSERT_GE(wanted, 5.0) << "too few draws for bin " << i;
    chi_square += std::pow(static_cast<double>(counts[i]) - wanted, 2) / wanted;
  }
  const double freedom = static_cast<double>(counts.size()) - 1, spread = 2 / (9 * freedom);
  EXPECT_LT(chi_square, freedom * std::pow(1 - spread + kNormalTail * std::sqrt(spread), 3));
}

inline void expect_even(const std::vector<int64_t>& counts) {
  expect_shares(counts, std::vector<double>(counts.size(), 1.0));
}

}  // namespace umbra::test
