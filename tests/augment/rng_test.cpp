// Statistical tests have fixed seeds, so they pass or fail for good; each limit is set so that a
// right generator with a random seed would fail with a probability of about one in a million.
#include "augment/rng.h"

#include <set>

#include <gtest/gtest.h>

#include "tests/augment/statistics.h"

namespace umbra::augment {
namespace {

using test::expect_even;
using test::expect_mean;
using test::kSigmas;

constexpr int kDraws = 100000;

std::vector<uint32_t> first_numbers(const StreamKey& key, int count = 16) {
  Rng rng(key);
  std::vector<uint32_t> numbers;
  for (int i = 0; i < count; ++i) numbers.push_back(rng.next());
  return numbers;
}

template <typename Draw>
std::vector<double> sample(uint64_t seed, Draw draw) {
  Rng rng({seed});
  std::vector<double> values;
  for (int i = 0; i < kDraws; ++i) values.push_back(draw(rng));
  return values;
}

// Kolmogorov-Smirnov: the largest distance between the empirical and the true distribution
// function stays below sqrt(ln(2 / p) / 2n), by the Dvoretzky-Kiefer-Wolfowitz inequality.
template <typename Cdf>
void expect_distribution(std::vector<double> values, Cdf cdf) {
  std::sort(values.begin(), values.end());
  const double n = static_cast<double>(values.size());
  double distance = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    const double at = cdf(values[i]);
    distance = std::max({distance, at - i / n, (i + 1) / n - at});
  }
  EXPECT_LT(distance, std::sqrt(std::log(2 / 1e-6) / (2 * n)));
}

// Computed by a separate implementation that reproduces Random123's known answers. Runs can only
// be repeated while this holds.
TEST(Rng, StreamIsPhiloxOfTheHashedKey) {
  const StreamKey key{42, Purpose::kGeometry, (uint64_t{7} << 32) | 1234567, 9, 2};
  const std::vector<uint32_t> expected = {0x23ada830, 0x65185a7e, 0x0c4e4061, 0x8b111334,
                                          0x448c7475, 0x577504b3, 0xa3af7d66, 0xa8d4c826};
  EXPECT_EQ(first_numbers(key, 8), expected);
}

TEST(Rng, SameKeyGivesSameNumbers) {
  const StreamKey key{1, Purpose::kMix, 2, 3, 4};
  EXPECT_EQ(first_numbers(key), first_numbers(key));
}

TEST(Rng, EveryPartOfTheKeyChangesTheStream) {
  const std::vector<StreamKey> keys = {
      {1, Purpose::kGeometry, 2, 3, 4},
      {9, Purpose::kGeometry, 2, 3, 4},
      {1 | uint64_t{1} << 32, Purpose::kGeometry, 2, 3, 4},
      {1, Purpose::kMix, 2, 3, 4},
      {1, Purpose::kGeometry, 9, 3, 4},
      {1, Purpose::kGeometry, 2 | uint64_t{1} << 32, 3, 4},
      {1, Purpose::kGeometry, 2, 9, 4},
      {1, Purpose::kGeometry, 2, 3, 9},
      {1, Purpose::kGeometry, 3, 2, 4},  // index and epoch exchanged
  };
  std::set<uint32_t> numbers;
  std::set<uint64_t> seeds;
  for (const StreamKey& key : keys) {
    for (const uint32_t number : first_numbers(key)) numbers.insert(number);
    seeds.insert(seed_of(key));
  }
  EXPECT_EQ(numbers.size(), 16 * keys.size());
  EXPECT_EQ(seeds.size(), keys.size());
}

TEST(Rng, NeighbouringStreamsAreUncorrelated) {
  double sum = 0;
  for (int i = 0; i < kDraws; ++i) {
    Rng a({0, Purpose::kGeometry, static_cast<uint64_t>(i)});
    Rng b({0, Purpose::kGeometry, static_cast<uint64_t>(i) + 1});
    sum += (a.uniform() - 0.5) * (b.uniform() - 0.5);
  }
  EXPECT_NEAR(sum / kDraws, 0, kSigmas / 12 / std::sqrt(kDraws));
}

TEST(Rng, EveryBitIsSetHalfOfTheTime) {
  Rng rng({3});
  std::vector<double> set(32, 0);
  for (int i = 0; i < kDraws; ++i) {
    const uint32_t number = rng.next();
    for (int bit = 0; bit < 32; ++bit) set[bit] += (number >> bit) & 1;
  }
  for (const double count : set) EXPECT_NEAR(count / kDraws, 0.5, 5.5 * 0.5 / std::sqrt(kDraws));
}

TEST(Rng, UniformIsUniformOnTheHalfOpenInterval) {
  const auto values = sample(4, [](Rng& rng) { return rng.uniform(); });
  EXPECT_GE(*std::min_element(values.begin(), values.end()), 0.0);
  EXPECT_LT(*std::max_element(values.begin(), values.end()), 1.0);
  expect_mean(values, 0.5, 1.0 / 12);
  expect_distribution(values, [](double x) { return x; });
  expect_distribution(sample(5, [](Rng& rng) { return rng.uniform(-2, 6); }),
                      [](double x) { return (x + 2) / 8; });
}

TEST(Rng, UniformUsesFiftyThreeBits) {
  std::set<double> remainders;
  Rng rng({6});
  for (int i = 0; i < 100; ++i) remainders.insert(std::fmod(rng.uniform() * 0x1p32, 1.0));
  EXPECT_EQ(remainders.size(), 100u);
}

TEST(Rng, CoinFallsAsOftenAsAsked) {
  const auto heads = sample(7, [](Rng& rng) { return rng.coin(0.2) ? 1.0 : 0.0; });
  expect_mean(heads, 0.2, 0.2 * 0.8);
  Rng rng({8});
  for (int i = 0; i < 1000; ++i) {
    EXPECT_FALSE(rng.coin(0.0));
    EXPECT_TRUE(rng.coin(1.0));
  }
}

TEST(Rng, BelowReachesEveryIntegerEquallyOften) {
  for (const int64_t n : {2, 3, 10, 257}) {
    SCOPED_TRACE(n);
    std::vector<int64_t> counts(n);
    Rng rng({9, Purpose::kShuffle, static_cast<uint64_t>(n)});
    for (int i = 0; i < kDraws; ++i) ++counts.at(rng.below(n));
    expect_even(counts);
  }
  Rng rng({10});
  EXPECT_EQ(rng.below(1), 0);
}

TEST(Rng, BelowIsUnbiasedForHugeRanges) {
  const int64_t third = int64_t{1} << 61, n = 3 * third;  // a plain modulo favours the lower part
  std::vector<int64_t> counts(3);
  Rng rng({11});
  for (int i = 0; i < kDraws; ++i) ++counts.at(rng.below(n) / third);
  expect_even(counts);
}

TEST(Rng, NormalIsStandardNormal) {
  const auto values = sample(12, [](Rng& rng) { return rng.normal(); });
  expect_mean(values, 0, 1);
  std::vector<double> squares;
  for (const double value : values) squares.push_back(value * value);
  expect_mean(squares, 1, 2);
  expect_distribution(values, [](double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); });
}

TEST(Rng, GammaHasItsMoments) {
  for (const double shape : {0.3, 0.8, 1.0, 4.5}) {
    SCOPED_TRACE(shape);
    expect_mean(sample(13, [&](Rng& rng) { return rng.gamma(shape); }), shape, shape);
  }
  expect_distribution(sample(14, [](Rng& rng) { return rng.gamma(1); }),
                      [](double x) { return 1 - std::exp(-x); });
  expect_distribution(sample(15, [](Rng& rng) { return rng.gamma(0.5); }),
                      [](double x) { return std::erf(std::sqrt(x)); });
}

TEST(Rng, BetaHasItsDistribution) {
  const auto beta = [](double a, double b) {
    return sample(16, [=](Rng& rng) { return rng.beta(a, b); });
  };
  expect_distribution(beta(1, 1), [](double x) { return x; });
  expect_distribution(beta(2, 1), [](double x) { return x * x; });
  expect_distribution(beta(0.5, 0.5),
                      [](double x) { return 2 / std::numbers::pi * std::asin(std::sqrt(x)); });
  expect_mean(beta(0.8, 0.8), 0.5, 0.25 / 2.6);
  expect_mean(beta(2, 5), 2.0 / 7, 10.0 / (49 * 8));
}

TEST(Rng, BetaOfTinyParametersIsZeroOrOne) {
  const auto values = sample(17, [](Rng& rng) { return rng.beta(1e-5, 1e-5); });
  for (const double value : values) ASSERT_TRUE(value >= 0.0 && value <= 1.0) << value;
  expect_mean(values, 0.5, 0.25);
}

}  // namespace
}  // namespace umbra::augment
