#include "train/loop/prepare.h"

#include <gtest/gtest.h>

#include "tests/support.h"

namespace umbra {
namespace {

using torch::indexing::Slice;

constexpr int64_t kRows = 6, kSide = 8;

augment::AugmentOptions mixing(const std::string& order) {
  augment::AugmentOptions options;
  options.image_size = kSide;
  options.mixup_alpha = 1.0;
  options.mix_order = order;
  options.erase_mode = "const";
  return options;
}

// Row 0 is to lose its left half.
RawBatch raw_batch() {
  RawBatch raw;
  raw.images = torch::randint(256, {kRows, kSide, kSide, 3}, torch::kUInt8);
  raw.labels = raw.indices = torch::arange(kRows);
  raw.pretext_labels = torch::zeros({kRows}, torch::kInt64);
  raw.draws.resize(kRows);
  raw.draws[0].erased = {{0, 0, kSide / 2, kSide}};
  return raw;
}

Batch prepared(const augment::AugmentOptions& options, const RawBatch& raw, int64_t step = 0,
               int64_t part = 0, double epoch = 0.0) {
  return Preparation(options, kRows, 7, torch::kCPU)(raw, step, part, epoch);
}

double lambda_of(const Batch& batch) { return batch.targets[0][0].item<double>(); }

TEST(Preparation, ErasesBeforeOrAfterMixing) {
  const RawBatch raw = raw_batch();
  const auto erased_half = [&](const std::string& order) {
    return prepared(mixing(order), raw).images[0].index({Slice(), Slice(), Slice(0, kSide / 2)});
  };
  // Erased after mixing, the half holds the mean; before, a share of the partner shines through.
  EXPECT_EQ(erased_half("mix_first").abs().max().item<double>(), 0.0);
  const augment::Normalizer normalize(augment::kImagenetMean, augment::kImagenetStd, torch::kCPU);
  const torch::Tensor partner = normalize(normalize.to_device(raw.images))[kRows - 1];
  const double lambda = lambda_of(prepared(mixing("erase_first"), raw));
  test::expect_close(erased_half("erase_first"),
                     partner.index({Slice(), Slice(), Slice(0, kSide / 2)}) * (1.0 - lambda), 1e-5);
}

TEST(Preparation, MixFirstMixesWholeBytes) {
  const RawBatch raw = raw_batch();
  const Batch batch = prepared(mixing("mix_first"), raw);
  const double lambda = lambda_of(batch);
  const augment::Normalizer normalize(augment::kImagenetMean, augment::kImagenetStd, torch::kCPU);
  const torch::Tensor bytes = normalize.undo(batch.images).to(torch::kFloat32);
  const torch::Tensor wanted =
      raw.images[1].to(torch::kFloat32) * lambda + raw.images[4].to(torch::kFloat32) * (1 - lambda);
  EXPECT_TRUE(bytes[1].equal(wanted.round()));
}

TEST(Preparation, MixingEndsAtItsEpoch) {
  augment::AugmentOptions options = mixing("erase_first");
  options.mix_off_epoch = 3;
  const RawBatch raw = raw_batch();
  EXPECT_LT(lambda_of(prepared(options, raw, 0, 0, 2.99)), 1.0);
  EXPECT_EQ(lambda_of(prepared(options, raw, 0, 0, 3.0)), 1.0);
}

TEST(Preparation, StepsPartsAndGroupsHaveLambdasOfTheirOwn) {
  augment::AugmentOptions options = mixing("erase_first");
  const RawBatch raw = raw_batch();
  const double lambda = lambda_of(prepared(options, raw));
  EXPECT_EQ(lambda_of(prepared(options, raw)), lambda);
  EXPECT_NE(lambda_of(prepared(options, raw, 1)), lambda);
  EXPECT_NE(lambda_of(prepared(options, raw, 0, 1)), lambda);
  options.mix_groups = 2;
  const torch::Tensor targets = prepared(options, raw).targets;
  EXPECT_EQ(targets[0][0].item<double>(), lambda) << "the first group draws as the batch would";
  EXPECT_NEAR(targets[0][4].item<double>(), 1.0 - lambda, 1e-6) << "mixed with row 4, not 5";
  EXPECT_NE(targets[1][1].item<double>(), lambda);
}

}  // namespace
}  // namespace umbra
