#include "augment/pipeline.h"

#include <numeric>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <opencv2/core.hpp>

#include "augment/erase.h"
#include "augment/geometry.h"
#include "tests/augment/images.h"

namespace umbra::test {
namespace {

using namespace augment;
using ::testing::ElementsAre;

AugmentOptions small_options(const std::string& crop_name) {
  AugmentOptions options;
  options.image_size = 8;
  options.crop = crop_name;
  return options;
}

std::vector<ViewDraw> draws_of(const AugmentOptions& options, const cv::Mat& image,
                               uint64_t index = 0, uint32_t repeat = 0) {
  return Pipeline(options).draw({.seed = 5, .index = index, .repeat = repeat}, image.cols,
                                image.rows);
}

std::vector<cv::Mat> views_of(const AugmentOptions& options, const cv::Mat& image,
                              uint64_t index = 0, uint32_t repeat = 0) {
  const Pipeline pipeline(options);
  std::vector<cv::Mat> views;
  for (const ViewDraw& draw : draws_of(options, image, index, repeat)) {
    views.push_back(pipeline.train_view(LazyImage(image), draw));
  }
  return views;
}

TEST(TrainView, IsASquareForAnyCropAndImage) {
  for (const char* name : {"random_resized", "pad", "simple", "none"}) {
    for (const auto& [width, height] : {std::pair{8, 8}, {20, 11}, {5, 30}}) {
      for (const int channels : {1, 3}) {
        const cv::Mat view = views_of(small_options(name), noise(width, height, channels))[0];
        EXPECT_EQ(view.size(), cv::Size(8, 8)) << name;
        EXPECT_EQ(view.channels(), channels);
      }
    }
  }
}

TEST(TrainView, FlipsAsOftenAsAsked) {
  AugmentOptions options = small_options("none");
  const cv::Mat image = noise(8, 8, 3);
  options.hflip = 0.0;
  EXPECT_TRUE(equal(views_of(options, image)[0], image));
  options.hflip = 1.0;
  EXPECT_TRUE(equal(views_of(options, image)[0], hflip(image)));
  options.hflip = 0.0;
  options.vflip = 1.0;
  EXPECT_TRUE(equal(views_of(options, image)[0], vflip(image)));
}

TEST(TrainView, PadReachesEveryOffset) {
  AugmentOptions options = small_options("pad");
  options.crop_padding = 1;
  options.hflip = 0.0;
  const cv::Mat image = noise(8, 8, 1);
  std::vector<int> seen(9);
  for (uint64_t i = 0; i < 400; ++i) {
    const cv::Mat view = views_of(options, image, i)[0];
    for (int offset = 0; offset < 9; ++offset) {
      seen[offset] +=
          equal(view, pad_and_crop(image, 1, Padding::kBlack, offset % 3, offset / 3, 8));
    }
  }
  EXPECT_EQ(std::accumulate(seen.begin(), seen.end(), 0), 400);
  EXPECT_GT(*std::min_element(seen.begin(), seen.end()), 0);
}

// DeiT-III: shorter side resized, reflection padding of 4, then any window.
TEST(TrainView, SimpleCropReachesTheMirroredBorder) {
  AugmentOptions options = small_options("simple");
  options.hflip = 0.0;
  const cv::Mat image = noise(16, 8, 1);  // the shorter side fits: nothing is resized
  int first = 100, last = 0;
  for (uint64_t i = 0; i < 400; ++i) {
    const ViewDraw draw = draws_of(options, image, i)[0];
    first = std::min(first, draw.crop.x);
    last = std::max(last, draw.crop.x);
    cv::Mat padded;
    cv::copyMakeBorder(image, padded, 4, 4, 4, 4, cv::BORDER_REFLECT_101);
    ASSERT_TRUE(
        equal(views_of(options, image, i)[0], padded(cv::Rect(draw.crop.x, draw.crop.y, 8, 8))));
  }
  EXPECT_EQ(first, 0);
  EXPECT_EQ(last, 16 + 8 - 8);
}

TEST(TrainView, TheCropDoesNotDependOnThePolicy) {
  AugmentOptions plain, policy;
  policy.auto_augment = "rand-m9-mstd0.5-inc1";
  policy.erase_prob = 1.0;
  const cv::Mat image = noise(50, 40, 3);
  for (uint64_t i = 0; i < 20; ++i) {
    const ViewDraw a = draws_of(plain, image, i)[0], b = draws_of(policy, image, i)[0];
    EXPECT_EQ(a.crop.x, b.crop.x);
    EXPECT_EQ(a.crop.width, b.crop.width);
    EXPECT_EQ(a.hflip, b.hflip);
  }
}

TEST(TrainView, RepeatsAreDifferentViews) {
  AugmentOptions options;
  const cv::Mat image = noise(50, 40, 3);
  EXPECT_FALSE(equal(views_of(options, image, 0, 0)[0], views_of(options, image, 0, 1)[0]));
  EXPECT_TRUE(equal(views_of(options, image, 0, 1)[0], views_of(options, image, 0, 1)[0]));
}

TEST(TrainView, ColorJitterStaysInItsRanges) {
  AugmentOptions options;
  options.color_jitter = {0.4, 0.3, 0.0, 0.1};
  const cv::Mat image = noise(8, 8, 3);
  std::vector<int> firsts(4);
  for (uint64_t i = 0; i < 400; ++i) {
    const ViewDraw draw = draws_of(options, image, i)[0];
    ASSERT_TRUE(draw.jitter.has_value());
    EXPECT_NEAR(draw.jitter->factors[0], 1.0, 0.4);
    EXPECT_NEAR(draw.jitter->factors[1], 1.0, 0.3);
    EXPECT_EQ(draw.jitter->factors[2], 1.0);
    EXPECT_NEAR(draw.jitter->factors[3], 0.0, 0.1);
    ++firsts[draw.jitter->order[0]];
  }
  for (const int count : firsts) EXPECT_NEAR(count, 100, 4.9 * std::sqrt(400 * 0.25 * 0.75));
}

TEST(Splits, TheFirstIsCleanAndAllShareTheCrop) {
  AugmentOptions options = small_options("random_resized");
  options.splits = 3;
  options.auto_augment = "rand-m9-n4-p1";
  options.erase_prob = 1.0;
  const auto draws = draws_of(options, noise(20, 30, 3));
  ASSERT_EQ(draws.size(), 3U);
  EXPECT_TRUE(draws[0].policy.chains.empty());
  EXPECT_TRUE(draws[0].erased.empty());
  for (size_t v = 1; v < 3; ++v) {
    EXPECT_EQ(draws[v].policy.chains.at(0).size(), 4U);
    EXPECT_EQ(draws[v].crop.x, draws[0].crop.x);
    EXPECT_EQ(draws[v].hflip, draws[0].hflip);
  }
}

// SSKD's public code: flip, then turn by 0, 90, 180, 270 degrees, then crop each on its own.
TEST(Pretext, RotationTurnsTheFlippedImage) {
  AugmentOptions options = small_options("none");
  options.pretext = "rotation";
  options.hflip = 1.0;
  const cv::Mat image = noise(8, 8, 3);
  const auto views = views_of(options, image);
  ASSERT_EQ(views.size(), 4U);
  for (int v = 0; v < 4; ++v) {
    EXPECT_TRUE(equal(views[v], rotate_quarters(hflip(image), v))) << v;
    EXPECT_EQ(draws_of(options, image)[v].pretext_label, v);
  }
  options.crop = "pad";
  std::set<std::pair<int, int>> crops;
  for (const ViewDraw& draw : draws_of(options, image)) crops.insert({draw.crop.x, draw.crop.y});
  EXPECT_GT(crops.size(), 1U);
}

TEST(Pretext, RotatedViewsOfWideImagesFit) {
  AugmentOptions options;
  options.image_size = 16;
  options.pretext = "rotation";
  for (uint64_t i = 0; i < 20; ++i) {
    for (const cv::Mat& view : views_of(options, noise(60, 20, 3), i)) {
      EXPECT_EQ(view.size(), cv::Size(16, 16));
    }
  }
}

TEST(Pretext, JigsawHas24DifferentOrders) {
  std::set<std::array<int, 4>> orders;
  for (int p = 0; p < kJigsawPermutations; ++p) orders.insert(jigsaw_order(p));
  EXPECT_EQ(orders.size(), 24U);
  EXPECT_THAT(jigsaw_order(0), ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(jigsaw_order(1), ElementsAre(0, 1, 3, 2));
  EXPECT_THAT(jigsaw_order(23), ElementsAre(3, 2, 1, 0));
  EXPECT_THROW(jigsaw_order(24), std::invalid_argument);
  cv::Mat quadrants(2, 2, CV_8UC1);
  for (int i = 0; i < 4; ++i) quadrants.data[i] = static_cast<uint8_t>(i);
  const cv::Mat moved = jigsaw(quadrants, 1);
  EXPECT_THAT(std::vector<int>(moved.data, moved.data + 4), ElementsAre(0, 1, 3, 2));
}

TEST(Pretext, PoolDrawsItsFourKindsAlikeAndInTheSeedsRanges) {
  std::vector<int> kinds(4);
  Rng rng({9});
  for (int i = 0; i < 4000; ++i) {
    const PoolOp op = draw_pool_op(rng, 32, 32);
    ++kinds[op.kind];
    if (op.kind == PoolOp::kRotation) {
      ASSERT_TRUE(op.quarters >= 1 && op.quarters <= 3);
    }
    if (op.kind == PoolOp::kCropResize) {
      const double share = op.box.width * op.box.height / 1024.0;
      ASSERT_TRUE(share > 0.06 && share <= 1.0) << share;
    }
    for (int f = 0; f < 3; ++f) ASSERT_NEAR(op.jitter.factors[f], 1.0, 0.4);
    ASSERT_NEAR(op.jitter.factors[3], 0.0, 0.1);
  }
  for (const int count : kinds) EXPECT_NEAR(count, 1000, 4.9 * std::sqrt(4000 * 0.25 * 0.75));
}

TEST(Pretext, AnExemplarIsAlwaysTransformed) {
  std::vector<int> counts(5);
  Rng rng({10});
  for (int i = 0; i < 1500; ++i) ++counts.at(draw_exemplar(rng, 32, 32).size());
  const std::vector<int> sets = {0, 4, 6, 4, 1};  // of so many transformations, 15 in all
  EXPECT_EQ(counts[0], 0);
  for (int n = 1; n <= 4; ++n) EXPECT_NEAR(counts[n], 100 * sets[n], 4.9 * std::sqrt(1500 * 0.24));
}

TEST(Pretext, TransformedViewsKeepTheSize) {
  for (const char* name : {"pool", "exemplar", "jigsaw"}) {
    AugmentOptions options;
    options.image_size = 9;
    options.pretext = name;
    for (uint64_t i = 0; i < 50; ++i) {
      const auto views = views_of(options, noise(14, 11, 3), i);
      ASSERT_EQ(views.size(), 4U);
      for (const cv::Mat& view : views) ASSERT_EQ(view.size(), cv::Size(9, 9)) << name;
    }
  }
}

TEST(EvalView, TakesAnImageOfTheRightSizeAsItIs) {
  const LazyImage image(noise(8, 8, 3));
  AugmentOptions options = small_options("pad");
  options.crop_pct = 1.0;
  EXPECT_TRUE(equal(Pipeline(options).eval_view(image), image.pixels()));
  EXPECT_TRUE(equal(Pipeline(small_options("random_resized")).eval_view(image),
                    resize_and_center_crop(image.pixels(), 8, 0.875, Interpolation::kBicubic)));
}

TEST(Presets, AreKnownByNameAndChangeWhatTheySay) {
  for (const std::string& name : augment_presets()) {
    AugmentOptions options;
    EXPECT_TRUE(apply_preset(options, name)) << name;
    EXPECT_NO_THROW(Pipeline{options}) << name;
  }
  AugmentOptions options;
  EXPECT_FALSE(apply_preset(options, "imagenet"));
  apply_preset(options, "deit");
  EXPECT_EQ(options.auto_augment, "rand-m9-mstd0.5-inc1");
  EXPECT_EQ(options.erase_prob, 0.25);
  EXPECT_EQ(options.repeats, 3);
}

// Fixed seeds; a right function with random ones would fail about once in a million (4.9 sigma).
TEST(DrawErased, AreaAspectAndCountAreTimms) {
  AugmentOptions options;
  options.erase_prob = 0.25;
  options.erase_count = 3;
  constexpr int kDraws = 20000, kSide = 1000;
  Rng rng({10});
  int erased = 0;
  std::vector<int> counts(4);
  for (int i = 0; i < kDraws; ++i) {
    const auto boxes = draw_erased(rng, options, kSide, kSide);
    erased += boxes.empty() ? 0 : 1;
    if (!boxes.empty()) ++counts[boxes.size()];
    for (const Box& box : boxes) {
      const double share = static_cast<double>(box.width) * box.height / (kSide * kSide);
      const double aspect = static_cast<double>(box.height) / box.width;
      ASSERT_TRUE(share > 0.02 / 3 * 0.98 && share < 1.0 / 3 * 1.02) << share;
      ASSERT_TRUE(aspect > 0.29 && aspect < 3.45) << aspect;
    }
  }
  EXPECT_NEAR(erased, 0.25 * kDraws, 4.9 * std::sqrt(kDraws * 0.25 * 0.75));
  for (int n = 1; n <= 3; ++n) {
    EXPECT_NEAR(counts[n], erased / 3.0, 4.9 * std::sqrt(erased * 2.0 / 9.0)) << n;
  }
}

TEST(DrawErased, MeanAreaIsTheUniforms) {
  AugmentOptions options;
  options.erase_prob = 1.0;
  constexpr int kDraws = 20000, kSide = 1000;
  Rng rng({11});
  double sum = 0.0;
  for (int i = 0; i < kDraws; ++i) {
    const auto boxes = draw_erased(rng, options, kSide, kSide);
    ASSERT_EQ(boxes.size(), 1U);
    sum += static_cast<double>(boxes[0].width) * boxes[0].height / (kSide * kSide);
  }
  // Very long boxes of a large area do not fit, are drawn again, and so are a little rarer.
  const double sigma = (1.0 / 3 - 0.02) / std::sqrt(12.0 * kDraws);
  EXPECT_NEAR(sum / kDraws, (0.02 + 1.0 / 3) / 2, 4.9 * sigma + 0.004);
}

// Draws of `rows` rows of which one is to be erased.
std::vector<ViewDraw> erasing(int64_t rows, int64_t row, Box box, uint64_t seed) {
  std::vector<ViewDraw> draws(rows);
  draws[row].erased = {box};
  draws[row].noise_seed = seed;
  return draws;
}

TEST(Erase, FillsTheBoxesOnly) {
  for (const std::string mode : {"pixel", "rand", "const"}) {
    torch::Tensor images = torch::full({2, 3, 16, 16}, 7.0);
    erase(images, erasing(2, 1, {2, 3, 5, 4}, 1), mode);
    EXPECT_TRUE(images[0].equal(torch::full({3, 16, 16}, 7.0)));
    const torch::Tensor box = images[1].narrow(1, 3, 4).narrow(2, 2, 5);
    EXPECT_EQ((images[1] != 7.0).sum().item<int64_t>(), 3 * 4 * 5);
    const double spread = box.select(0, 0).std().item<double>();
    EXPECT_EQ(spread > 0.0, mode == "pixel");
    EXPECT_EQ(box.abs().max().item<double>() == 0.0, mode == "const");
  }
}

TEST(Erase, NoiseIsNormalAndDependsOnTheSeedOnly) {
  const auto noise_of = [](uint64_t seed, int64_t row) {
    torch::Tensor images = torch::zeros({3, 3, 64, 64});
    erase(images, erasing(3, row, {0, 0, 64, 64}, seed), "pixel");
    return images[row].clone();
  };
  EXPECT_TRUE(noise_of(1, 0).equal(noise_of(1, 2)));
  EXPECT_FALSE(noise_of(1, 0).equal(noise_of(2, 0)));
  const torch::Tensor sample = noise_of(3, 1);
  EXPECT_NEAR(sample.mean().item<double>(), 0.0, 4.9 / std::sqrt(3 * 64 * 64));
  EXPECT_NEAR(sample.std().item<double>(), 1.0, 4.9 / std::sqrt(2.0 * 3 * 64 * 64));
}

}  // namespace
}  // namespace umbra::test
