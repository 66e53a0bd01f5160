#include "augment/normalize.h"

#include <gtest/gtest.h>

#include "tests/support.h"

namespace umbra::augment {
namespace {

const std::vector<double> kMean = {0.5, 0.4, 0.3, 0.2}, kStd = {0.1, 0.2, 0.3, 0.4};

Normalizer normalizer(int64_t channels) {
  return {{kMean.begin(), kMean.begin() + channels},
          {kStd.begin(), kStd.begin() + channels},
          torch::kCPU};
}

torch::Tensor per_channel(const std::vector<double>& values, int64_t channels) {
  return torch::tensor(values).slice(0, 0, channels).view({1, channels, 1, 1});
}

TEST(Normalizer, MatchesTheFormula) {
  for (const int64_t channels : {1, 3, 4}) {
    const Normalizer normalize = normalizer(channels);
    const torch::Tensor bytes = torch::randint(256, {2, 37, 5, channels}, torch::kUInt8);
    const torch::Tensor mean = per_channel(kMean, channels), std = per_channel(kStd, channels);
    const torch::Tensor expected =
        (bytes.permute({0, 3, 1, 2}).to(torch::kFloat64) / 255.0 - mean) / std;
    test::expect_close(normalize(normalize.to_device(bytes)), expected.to(torch::kFloat32), 1e-6);
  }
}

TEST(Normalizer, BytesAndFloatsGiveTheSameBits) {
  for (const int64_t channels : {1, 3, 4}) {
    const Normalizer normalize = normalizer(channels);
    const torch::Tensor images =
        normalize.to_device(torch::randint(256, {3, 19, 23, channels}, torch::kUInt8));
    EXPECT_TRUE(torch::equal(normalize(images), normalize(images.to(torch::kFloat32))));
    EXPECT_TRUE(torch::equal(normalize(images), normalize(images.contiguous())));
  }
}

TEST(Normalizer, UndoGivesTheBytesBack) {
  const Normalizer normalize = normalizer(3);
  const torch::Tensor bytes = torch::arange(256 * 3).remainder(256).to(torch::kUInt8);
  const torch::Tensor images = bytes.view({1, 16, 16, 3});
  EXPECT_TRUE(torch::equal(normalize.undo(normalize(normalize.to_device(images))), images));
}

}  // namespace
}  // namespace umbra::augment
