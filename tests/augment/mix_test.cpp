#include "augment/mix.h"

#include <gtest/gtest.h>

#include "tests/support.h"

namespace umbra::augment {
namespace {

using test::expect_close;

constexpr double kTolerance = 1e-6;

AugmentOptions mix_options(double mixup, double cutmix) {
  AugmentOptions options;
  options.mixup_alpha = mixup;
  options.cutmix_alpha = cutmix;
  return options;
}

MixDraw mixup(double lambda) { return {{.lambda = lambda}}; }
MixDraw nothing() { return {Mix{}}; }
Mix draw_one(Rng& rng, const AugmentOptions& options, int64_t height, int64_t width) {
  return draw_mix(rng, options, 2, height, width).at(0);
}

// Image i is full of the number 10 * i + 1, all channels alike.
torch::Tensor numbered_images(int64_t count, int64_t height, int64_t width) {
  return (torch::arange(count) * 10 + 1)
      .to(torch::kFloat32)
      .view({count, 1, 1, 1})
      .expand({count, 3, height, width})
      .contiguous();
}

TEST(MixTargets, AreSmoothedAndMixed) {
  const torch::Tensor targets = mix_targets(torch::tensor({0, 1}), 4, 0.1, mixup(0.7));
  const torch::Tensor wanted =
      torch::tensor({{0.655, 0.295, 0.025, 0.025}, {0.295, 0.655, 0.025, 0.025}}, torch::kFloat32);
  EXPECT_EQ(targets.scalar_type(), torch::kFloat32);
  expect_close(targets, wanted, kTolerance);
}

TEST(MixTargets, AreOneHotWithoutSmoothingAndMixing) {
  const torch::Tensor targets = mix_targets(torch::tensor({2, 0}), 3, 0.0, nothing());
  EXPECT_TRUE(targets.equal(torch::tensor({{0, 0, 1}, {1, 0, 0}}, torch::kFloat32)));
}

TEST(MixTargets, SumToOne) {
  const torch::Tensor targets = mix_targets(torch::tensor({0, 3, 2, 2, 4}), 5, 0.1, mixup(0.3));
  expect_close(targets.sum(1), torch::ones(5), kTolerance);
}

TEST(MixTargets, OddBatchLeavesTheMiddleToItself) {
  const torch::Tensor targets = mix_targets(torch::tensor({0, 1, 2}), 3, 0.0, mixup(0.75));
  const torch::Tensor wanted =
      torch::tensor({{0.75, 0.0, 0.25}, {0.0, 1.0, 0.0}, {0.25, 0.0, 0.75}}, torch::kFloat32);
  expect_close(targets, wanted, kTolerance);
}

TEST(MixImages, MixupIsTheWeightedSumWithTheMirroredPartner) {
  const torch::Tensor mixed = mix_images(numbered_images(3, 2, 2), mixup(0.75));
  const torch::Tensor wanted = torch::tensor({0.75 * 1 + 0.25 * 21, 11.0, 0.75 * 21 + 0.25 * 1});
  expect_close(mixed, wanted.view({3, 1, 1, 1}).expand({3, 3, 2, 2}), kTolerance);
}

TEST(MixImages, CutMixPastesThePartnersBox) {
  const MixDraw draw{{.lambda = 1 - 2.0 / 12, .cutmix = true, .y0 = 1, .y1 = 2, .x0 = 1, .x1 = 3}};
  const torch::Tensor mixed = mix_images(numbered_images(3, 3, 4), draw);
  const torch::Tensor first =
      torch::tensor({{1, 1, 1, 1}, {1, 21, 21, 1}, {1, 1, 1, 1}}, torch::kFloat32);
  const torch::Tensor last =
      torch::tensor({{21, 21, 21, 21}, {21, 1, 1, 21}, {21, 21, 21, 21}}, torch::kFloat32);
  for (int64_t channel = 0; channel < 3; ++channel) {
    EXPECT_TRUE(mixed[0][channel].equal(first));
    EXPECT_TRUE(mixed[1][channel].equal(torch::full({3, 4}, 11.0)));
    EXPECT_TRUE(mixed[2][channel].equal(last));
  }
}

TEST(MixImages, LeavesItsInputAlone) {
  const torch::Tensor images = numbered_images(2, 4, 4), before = images.clone();
  mix_images(images, mixup(0.5));
  mix_images(images, {{.lambda = 0.75, .cutmix = true, .y0 = 0, .y1 = 2, .x0 = 0, .x1 = 2}});
  EXPECT_TRUE(images.equal(before));
}

TEST(MixImages, WithoutADrawChangesNothing) {
  const torch::Tensor images = numbered_images(2, 4, 4);
  EXPECT_TRUE(mix_images(images, nothing()).equal(images));
}

TEST(DrawMix, DrawsNothingWhenOff) {
  AugmentOptions never = mix_options(0.8, 1.0);
  never.mix_prob = 0.0;
  Rng rng({0});
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(draw_one(rng, mix_options(0, 0), 8, 8).lambda, 1.0);
    EXPECT_EQ(draw_one(rng, never, 8, 8).lambda, 1.0);
  }
}

TEST(DrawMix, CutMixLambdaIsTheShareOutsideTheBox) {
  Rng rng({1});
  double smallest = 1.0;
  for (int i = 0; i < 2000; ++i) {
    const Mix draw = draw_one(rng, mix_options(0, 1.0), 12, 20);
    ASSERT_TRUE(draw.cutmix);
    ASSERT_TRUE(0 <= draw.y0 && draw.y0 <= draw.y1 && draw.y1 <= 12);
    ASSERT_TRUE(0 <= draw.x0 && draw.x0 <= draw.x1 && draw.x1 <= 20);
    const double area = static_cast<double>((draw.y1 - draw.y0) * (draw.x1 - draw.x0));
    ASSERT_DOUBLE_EQ(draw.lambda, 1 - area / 240);
    smallest = std::min(smallest, draw.lambda);
  }
  EXPECT_LT(smallest, 0.3);
}

TEST(DrawMix, CutMixBoxAgreesWithTheImage) {
  Rng rng({2});
  for (int i = 0; i < 50; ++i) {
    const Mix draw = draw_one(rng, mix_options(0, 1.0), 9, 7);
    const torch::Tensor mixed = mix_images(numbered_images(2, 9, 7), {draw});
    const double own = (mixed[0][0] == 1).to(torch::kFloat64).mean().item<double>();
    ASSERT_NEAR(own, draw.lambda, 1e-12);
  }
}

// Fixed seeds; a right function with random ones would fail about once in a million (4.9 sigma).
TEST(DrawMix, MixupLambdaIsBeta) {
  constexpr int kDraws = 20000;
  Rng rng({3});
  double sum = 0, squares = 0;
  for (int i = 0; i < kDraws; ++i) {
    const Mix draw = draw_one(rng, mix_options(0.8, 0), 8, 8);
    ASSERT_FALSE(draw.cutmix);
    sum += draw.lambda;
    squares += std::pow(draw.lambda - 0.5, 2);
  }
  const double variance = 0.25 / 2.6;  // of Beta(0.8, 0.8)
  EXPECT_NEAR(sum / kDraws, 0.5, 4.9 * std::sqrt(variance / kDraws));
  EXPECT_NEAR(squares / kDraws, variance, 4.9 * 0.25 / std::sqrt(12.0 * kDraws));
}

TEST(DrawMix, SwitchesAsOftenAsAsked) {
  constexpr int kDraws = 20000;
  AugmentOptions options = mix_options(0.8, 1.0);
  options.mix_prob = 0.5;
  options.switch_prob = 0.3;
  Rng rng({4});
  int cutmix = 0, mixups = 0;
  for (int i = 0; i < kDraws; ++i) {
    const Mix draw = draw_one(rng, options, 32, 32);
    (draw.cutmix ? cutmix : mixups) += draw.cutmix || draw.lambda != 1.0;
  }
  const auto near = [](int count, double wanted) {
    const double sigma = std::sqrt(wanted * (1 - wanted) / kDraws);
    EXPECT_NEAR(static_cast<double>(count) / kDraws, wanted, 4.9 * sigma);
  };
  near(cutmix, 0.5 * 0.3);
  near(mixups, 0.5 * 0.7);
}

// By hand from timm 0.3.2's rand_bbox: cut = int(side * sqrt(1 - lambda)), half of it, rounded
// down, to either side of the centre, clipped. Odd cuts lose a pixel.
TEST(CutmixBox, FollowsTimm032) {
  struct Case {
    double lambda;
    int64_t cy, cx, y0, y1, x0, x1;
  };
  for (const Case& c : std::vector<Case>{{0.75, 5, 5, 3, 7, 3, 7},    // cut int(4.5) = 4 of 9
                                         {0.64, 4, 4, 2, 6, 2, 6},    // cut 5, odd: a side of 4
                                         {0.75, 0, 8, 0, 2, 6, 9},    // clipped at two edges
                                         {0.0, 4, 4, 0, 8, 0, 8}}) {  // cut 9, odd
    const Mix draw = cutmix_around(c.lambda, c.cy, c.cx, 9, 9, /*keep_odd=*/false);
    EXPECT_EQ(draw.y0, c.y0);
    EXPECT_EQ(draw.y1, c.y1);
    EXPECT_EQ(draw.x0, c.x0);
    EXPECT_EQ(draw.x1, c.x1);
    const double area = static_cast<double>((c.y1 - c.y0) * (c.x1 - c.x0));
    EXPECT_DOUBLE_EQ(draw.lambda, 1.0 - area / 81.0);
  }
}

// timm 1.0.31 reaches (cut + 1) / 2 to the far side.
TEST(CutmixBox, KeepsOddSidesAsTimm1031) {
  const Mix draw = cutmix_around(0.64, 4, 4, 9, 9, /*keep_odd=*/true);
  EXPECT_EQ(draw.y1 - draw.y0, 5);
  EXPECT_EQ(draw.y0, 2);
}

TEST(DrawMix, MinmaxBoxesHaveTheAskedSides) {
  AugmentOptions options;
  options.cutmix_minmax = {0.2, 0.8};
  Rng rng({6});
  int64_t smallest = 100, largest = 0;
  for (int i = 0; i < 2000; ++i) {
    const Mix draw = draw_one(rng, options, 10, 20);
    ASSERT_TRUE(draw.cutmix);
    ASSERT_TRUE(0 <= draw.y0 && draw.y1 <= 10 && 0 <= draw.x0 && draw.x1 <= 20);
    smallest = std::min(smallest, draw.y1 - draw.y0);
    largest = std::max(largest, draw.y1 - draw.y0);
    const auto area = static_cast<double>((draw.y1 - draw.y0) * (draw.x1 - draw.x0));
    ASSERT_DOUBLE_EQ(draw.lambda, 1.0 - area / 200.0);
  }
  EXPECT_EQ(smallest, 2);
  EXPECT_EQ(largest, 7);  // numpy's randint leaves out the upper end
}

TEST(DrawMix, PairsShareWhatElementsDrawAlone) {
  AugmentOptions options = mix_options(0.8, 1.0);
  options.mix_mode = "pair";
  Rng rng({7});
  const MixDraw pairs = draw_mix(rng, options, 7, 16, 16);
  ASSERT_EQ(pairs.size(), 7U);
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(pairs[i].lambda, pairs[6 - i].lambda);
  EXPECT_EQ(pairs[3].lambda, 1.0);  // the middle one has no partner
  options.mix_mode = "elem";
  const MixDraw elements = draw_mix(rng, options, 7, 16, 16);
  EXPECT_NE(elements[0].lambda, elements[6].lambda);
}

TEST(MixImages, EachSampleIsMixedByItsOwnDraw) {
  const MixDraw draw = {
      {.lambda = 0.75}, {}, {.lambda = 0.5, .cutmix = true, .y0 = 0, .y1 = 1, .x0 = 0, .x1 = 2}};
  const torch::Tensor mixed = mix_images(numbered_images(3, 2, 2), draw);
  expect_close(mixed[0], torch::full({3, 2, 2}, 0.75 * 1 + 0.25 * 21), kTolerance);
  EXPECT_TRUE(mixed[1].equal(torch::full({3, 2, 2}, 11.0)));
  EXPECT_TRUE(mixed[2][0].equal(torch::tensor({{1, 1}, {21, 21}}, torch::kFloat32)));
  const torch::Tensor targets = mix_targets(torch::tensor({0, 1, 2}), 3, 0.0, draw);
  expect_close(targets, torch::tensor({{.75, 0., .25}, {0., 1., 0.}, {.5, 0., .5}}), kTolerance);
}

TEST(MixGroups, AreMixedAsProcessesWouldMixTheirShares) {
  const torch::Tensor images = torch::randn({7, 3, 6, 5}), labels = torch::arange(7);
  const GroupedMixDraw draws = {mixup(0.7), nothing(), {cutmix_around(0.5, 2, 2, 6, 5, true)}};
  const torch::Tensor mixed = mix_images(images, draws);
  const torch::Tensor targets = mix_targets(labels, 7, 0.1, draws);
  for (int64_t group = 0; group < 3; ++group) {
    const auto share = [&](const torch::Tensor& all) { return all.slice(0, group, 7, 3); };
    EXPECT_TRUE(torch::equal(share(mixed), mix_images(share(images), draws[group])));
    EXPECT_TRUE(torch::equal(share(targets), mix_targets(share(labels), 7, 0.1, draws[group])));
  }
}

TEST(MixGroups, PartnersAreTheMirroredRowsOfTheGroup) {
  std::vector<int64_t> partners;
  for (int64_t row = 0; row < 7; ++row) partners.push_back(mix_partner(row, 7, 3));
  EXPECT_EQ(partners, (std::vector<int64_t>{6, 4, 5, 3, 1, 2, 0}));
  EXPECT_EQ(mix_partner(2, 8, 1), 5);
}

TEST(MixGroups, MoreGroupsThanRowsAreFine) {
  const torch::Tensor images = torch::randn({2, 3, 4, 4});
  const GroupedMixDraw draws(5, mixup(0.5));
  EXPECT_TRUE(torch::equal(mix_images(images, draws), images)) << "each is its own partner";
}

}  // namespace
}  // namespace umbra::augment
