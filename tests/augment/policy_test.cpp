#include "augment/policy.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>
#include <stdexcept>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "augment/affine.h"
#include "augment/policy_plan.h"
#include "tests/augment/statistics.h"

namespace umbra::test {
namespace {

using namespace augment;  // NOLINT

constexpr int kDraws = 40000;
const cv::Scalar kFill(124, 116, 104);

Policy parse(const std::string& text, const std::vector<std::string>& sub_policies = {},
             OpInterpolation interpolation = OpInterpolation::kBicubic) {
  return Policy::parse(text, interpolation, sub_policies);
}

std::string error_of(const std::string& text, const std::vector<std::string>& sub_policies = {}) {
  try {
    parse(text, sub_policies);
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "no error";
}

std::vector<DrawnPolicy> draw_many(const Policy& policy, uint64_t seed, int count = kDraws) {
  std::vector<DrawnPolicy> draws;
  for (int i = 0; i < count; ++i) {
    Rng rng({seed, Purpose::kPolicy, static_cast<uint64_t>(i)});
    draws.push_back(policy.draw(rng));
  }
  return draws;
}

// All operations of many draws, with the name or all.
std::vector<DrawnOp> ops_of(const std::vector<DrawnPolicy>& draws, const std::string& name = "") {
  std::vector<DrawnOp> ops;
  for (const DrawnPolicy& drawn : draws) {
    for (const auto& chain : drawn.chains) {
      for (const DrawnOp& op : chain) {
        if (name.empty() || op.name() == name) ops.push_back(op);
      }
    }
  }
  return ops;
}

// The levels that led to these rotations.
std::vector<double> rotation_levels(const std::vector<DrawnPolicy>& draws) {
  std::vector<double> levels;
  for (const DrawnOp& op : ops_of(draws, "Rotate")) {
    levels.push_back(std::abs(op.argument) / 30.0 * 10.0);
  }
  return levels;
}

std::vector<int64_t> counts_of(const std::vector<DrawnOp>& ops,
                               const std::vector<std::string>& names) {
  std::vector<int64_t> counts;
  for (const std::string& name : names) {
    counts.push_back(std::count_if(ops.begin(), ops.end(),
                                   [&](const DrawnOp& op) { return op.name() == name; }));
  }
  return counts;
}

std::vector<int64_t> histogram(const std::vector<double>& values, double top, int bins) {
  std::vector<int64_t> counts(bins);
  for (const double value : values) ++counts.at(static_cast<size_t>(value / top * bins));
  return counts;
}

cv::Mat gradient(int width, int height) {
  cv::Mat image(height, width, CV_8UC3);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      image.at<cv::Vec3b>(y, x) = {static_cast<uint8_t>(4 * x), static_cast<uint8_t>(3 * y),
                                   static_cast<uint8_t>(x * y)};
    }
  }
  return image;
}

bool same_bytes(const cv::Mat& a, const cv::Mat& b) {
  return a.size() == b.size() && a.type() == b.type() &&
         std::equal(a.begin<cv::Vec3b>(), a.end<cv::Vec3b>(), b.begin<cv::Vec3b>());
}

// --- operations ------------------------------------------------------------------------------

TEST(Op, TellsItsArgumentToPeople) {
  const std::vector<std::pair<std::string, std::string>> texts = {
      {"AutoContrast", "AutoContrast"},
      {"Rotate", "Rotate 27.0 deg"},
      {"ShearX", "ShearX 0.27"},
      {"TranslateXRel", "TranslateXRel 0.41"},
      {"TranslateY", "TranslateY 0.90 x 45% of the shorter side"},
      {"Posterize", "Posterize 3 bits"},
      {"PosterizeIncreasing", "PosterizeIncreasing 1 bit"},
      {"Solarize", "Solarize >= 230"},
      {"SolarizeIncreasing", "SolarizeIncreasing >= 26"},
      {"SolarizeAdd", "SolarizeAdd +99"},
      {"Color", "Color 1.72"},
      {"Desaturate", "Desaturate 0.95"},
      {"GaussianBlur", "GaussianBlur radius 1.81"}};
  for (const auto& [name, text] : texts) {
    EXPECT_EQ(op_at_level(name, 9, Interpolation::kBicubic).text(), text);
  }
}

TEST(Op, EveryNameHasAnOperationThatKeepsTheImagesKind) {
  const cv::Mat image = gradient(20, 30);
  for (const std::string& name : op_names()) {
    SCOPED_TRACE(name);
    const DrawnOp op = op_at_level(name, 5, Interpolation::kBilinear);
    EXPECT_EQ(op.name(), name);
    const cv::Mat changed = op.apply(image, kFill);
    EXPECT_EQ(changed.size(), image.size());
    EXPECT_EQ(changed.type(), image.type());
  }
}

TEST(Op, PosterizeIncreasingKeepsOneBitAtTheTop) {
  EXPECT_EQ(op_at_level("PosterizeIncreasing", 10, Interpolation::kBicubic).argument, 1.0);
}

TEST(Op, TranslateXMovesByWholePixelsOfTheShorterSide) {
  const cv::Mat image = gradient(60, 35);  // 45 % of 35 is 15.75
  EXPECT_TRUE(same_bytes(op_at_level("TranslateX", 10, Interpolation::kBicubic).apply(image, kFill),
                         translate_x(image, 15, Interpolation::kBicubic, kFill)));
}

TEST(Op, RefusesUnknownNamesAndLevels) {
  const auto error = [](const std::string& name, double level) -> std::string {
    try {
      op_at_level(name, level, Interpolation::kBicubic);
    } catch (const std::invalid_argument& thrown) {
      return thrown.what();
    }
    return "no error";
  };
  EXPECT_THAT(error("Rotat", 5),
              testing::StartsWith("unknown operation 'Rotat'. Did you mean 'Rotate'? Known are "
                                  "AutoContrast, Equalize"));
  EXPECT_EQ(error("Rotate", 10.5), "the level of Rotate is 10.5: want 0 to 10");
  EXPECT_EQ(error("Rotate", -1), "the level of Rotate is -1: want 0 to 10");
  EXPECT_EQ(error("Rotate", NAN), "the level of Rotate is nan: want 0 to 10");
}

// --- texts -----------------------------------------------------------------------------------

TEST(PolicyText, SectionsComeInAnyOrder) {
  const PolicyPlan plan = parse_policy("rand-p0.75-inc1-mmax12-n3-mstd0.5-m11", {});
  EXPECT_EQ(plan.picks, 3);
  EXPECT_EQ(plan.level_std, 0.5);
  EXPECT_EQ(plan.max_level, 12.0);
  EXPECT_EQ(plan.options.size(), 15u);
  for (const auto& option : plan.options) {
    EXPECT_EQ(option.at(0).probability, 0.75);
    EXPECT_EQ(option.at(0).level, 11.0);
  }
}

TEST(PolicyText, MagnitudeMayBeAFraction) {
  EXPECT_EQ(parse_policy("rand-m9.5", {}).options[0][0].level, 9.5);
  EXPECT_EQ(parse_policy("augmix-m2.5", {}).options[0][0].level, 2.5);
}

TEST(PolicyText, NoiseAbove100IsUniform) {
  for (const std::string text : {"rand-mstdinf", "rand-mstd101", "v0-mstdinf", "augmix"}) {
    EXPECT_TRUE(std::isinf(parse_policy(text, {}).level_std)) << text;
  }
  EXPECT_EQ(parse_policy("rand-mstd100", {}).level_std, 100.0);
  EXPECT_EQ(parse_policy("augmix-mstd0", {}).level_std, 0.0);
}

TEST(PolicyText, SubPoliciesMayBeSpacedAtWill) {
  const PolicyPlan plan = parse_policy("custom", {"  Rotate  0.25 9.5+Color 1 0 ", "Invert .5 1"});
  ASSERT_EQ(plan.options.size(), 2u);
  ASSERT_EQ(plan.options[0].size(), 2u);
  EXPECT_EQ(plan.options[0][0].op, find_op("Rotate"));
  EXPECT_EQ(plan.options[0][0].probability, 0.25);
  EXPECT_EQ(plan.options[0][0].level, 9.5);
  EXPECT_EQ(plan.options[0][1].op, find_op("Color"));
  ASSERT_EQ(plan.options[1].size(), 1u);
  EXPECT_EQ(plan.options[1][0].probability, 0.5);
}

TEST(PolicyText, UnknownPoliciesAreNamedWithTheKnownOnes) {
  EXPECT_EQ(error_of("randaug-m9"),
            "unknown policy 'randaug'. Did you mean 'rand'? Known are rand (RandAugment), "
            "original, originalr, v0, v0r (AutoAugment), 3a (3-Augment), augmix, ta_wide "
            "(TrivialAugment) and custom; for example 'rand-m9-mstd0.5-inc1'");
  EXPECT_THAT(error_of(""), testing::StartsWith("unknown policy ''. Known are rand"));
}

TEST(PolicyText, UnknownSectionsAreNamedWithTheKnownOnes) {
  EXPECT_EQ(error_of("rand-m9-mst0.5"),
            "unknown section 'mst0.5' in 'rand-m9-mst0.5'. Did you mean 'mstd'? The sections of "
            "rand are m (magnitude), n (operations per image), p (probability of each operation), "
            "mstd (noise of the magnitude; inf: uniform from 0 to it), mmax (largest magnitude, "
            "otherwise 10), inc (1: operations that are stronger at higher magnitudes), t (another "
            "set of operations); for example 'rand-m9-mstd0.5-inc1'");
  EXPECT_THAT(error_of("rand-x3"), testing::StartsWith("unknown section 'x3' in 'rand-x3'. The "));
  EXPECT_THAT(error_of("rand-9"), testing::StartsWith("unknown section '9' in 'rand-9'. The "));
  EXPECT_THAT(error_of("v0-m9"), testing::HasSubstr("The sections of v0 are mstd (noise"));
  EXPECT_EQ(error_of("ta_wide-m9"), "'ta_wide' takes no sections: remove '-m9'");
  EXPECT_EQ(error_of("custom-m9", {"Rotate 1 9"}), "'custom' takes no sections: remove '-m9'");
}

TEST(PolicyText, EmptySectionsAreErrors) {
  EXPECT_EQ(error_of("rand-m9--n2"),
            "'rand-m9--n2' has an empty section between two dashes: remove the extra dash");
  EXPECT_EQ(error_of("v0-"), "'v0-' has an empty section at its end: remove the extra dash");
}

TEST(PolicyText, ValuesOutOfRangeAreErrorsThatSayTheRange) {
  const std::map<std::string, std::string> errors = {
      {"rand-m", "section 'm' of 'rand-m': m (magnitude) takes a number from 0 to 100."},
      {"rand-m9x", "section 'm9x' of 'rand-m9x': m (magnitude) takes a number from 0 to 100."},
      {"rand-p1.5",
       "section 'p1.5' of 'rand-p1.5': p (probability of each operation) takes a number from 0 to "
       "1."},
      {"rand-n0",
       "section 'n0' of 'rand-n0': n (operations per image) takes a whole number from 1 to 100."},
      {"rand-n2.5",
       "section 'n2.5' of 'rand-n2.5': n (operations per image) takes a whole number from 1 to "
       "100."},
      {"rand-inc",
       "section 'inc' of 'rand-inc': inc (1: operations that are stronger at higher magnitudes) "
       "takes 0 or 1."},
      {"v0-mstd0,5",
       "section 'mstd0,5' of 'v0-mstd0,5': mstd (noise of the magnitude; inf: uniform from 0 to "
       "it) takes a number from 0 up, or inf."},
      {"rand-t3b",
       "section 't3b' of 'rand-t3b': t (another set of operations) takes one of weights, 3a, 3aw. "
       "Did "
       "you mean '3a'?"},
      {"augmix-d-1",
       "section 'd' of 'augmix-d-1': d (operations per chain, otherwise 1 to 3 at random) takes a "
       "whole number from 1 to 100."},
      {"rand-m12", "'rand-m12' has magnitude 12 but magnitudes end at 10: lower m, or add -mmax12"},
      {"rand-m9-m5", "'rand-m9-m5' gives m (magnitude) twice: keep one of them"},
      {"rand-n15-t3aw",
       "'rand-n15-t3aw' asks for 15 operations, but t3aw draws each of its 14 once at most: lower "
       "n"}};
  for (const auto& [text, error] : errors) EXPECT_EQ(error_of(text), error);
  for (const std::string text : {"rand-minf", "rand-mstdnan", "rand-mmax0", "augmix-m11",
                                 "augmix-w0", "augmix-a0", "augmix-b2"}) {
    EXPECT_NE(error_of(text), "no error") << text;
  }
}

TEST(PolicyText, SubPolicyErrorsNameTheLine) {
  const auto second = [](const std::string& line) {
    return error_of("custom", {"Rotate 1 9", line});
  };
  EXPECT_THAT(
      second("Posterze 0.4 8"),
      testing::StartsWith("sub-policy 2 'Posterze 0.4 8': unknown operation 'Posterze'. Did "
                          "you mean 'Posterize'? Known are AutoContrast, "));
  EXPECT_EQ(second("Rotate 0.4"),
            "sub-policy 2 'Rotate 0.4': want operation, probability and magnitude, such as 'Rotate "
            "0.6 9'; got 'Rotate 0.4'");
  EXPECT_EQ(second("Rotate 0.4 9 +"),
            "sub-policy 2 'Rotate 0.4 9 +': want operation, probability and magnitude, such as "
            "'Rotate 0.6 9'; got ''");
  EXPECT_EQ(second("Rotate 4 9"),
            "sub-policy 2 'Rotate 4 9': the probability of Rotate is '4': want 0 to 1");
  EXPECT_EQ(second("Rotate 1 9 + Color 1 ten"),
            "sub-policy 2 'Rotate 1 9 + Color 1 ten': the magnitude of Color is 'ten': want 0 to "
            "10");
  EXPECT_EQ(second("Rotate 0 9 + Color 0 1"),
            "sub-policy 2 'Rotate 0 9 + Color 0 1' never does anything: every probability in it is "
            "0");
}

TEST(PolicyText, SubPoliciesAndCustomNeedEachOther) {
  EXPECT_EQ(error_of("custom"),
            "'custom' needs sub-policies: lines such as 'Posterize 0.4 8 + Rotate 0.6 9', each "
            "operation with its probability and magnitude");
  EXPECT_EQ(error_of("v0", {"Rotate 1 9"}),
            "sub-policies are for 'custom' only, but the policy is 'v0'");
}

// --- drawing ---------------------------------------------------------------------------------

TEST(PolicyDraw, DependsOnNothingButTheStream) {
  const Policy policy = parse("rand-m9-mstd0.5-inc1", {}, OpInterpolation::kRandom);
  const std::vector<DrawnPolicy> first = draw_many(policy, 1, 100);
  const std::vector<DrawnPolicy> again = draw_many(Policy(policy), 1, 100);
  std::set<std::string> texts;
  for (size_t i = 0; i < first.size(); ++i) {
    EXPECT_EQ(first[i].text(), again[i].text());
    texts.insert(first[i].text());
  }
  EXPECT_GT(texts.size(), 40u);
}

TEST(PolicyDraw, RandAugmentDrawsOperationsEvenlyAndWithReplacement) {
  const Policy policy = parse("rand-n2-p1");
  const std::vector<DrawnPolicy> draws = draw_many(policy, 2);
  EXPECT_EQ(policy.op_names().size(), 15u);
  expect_even(counts_of(ops_of(draws), policy.op_names()));
  std::vector<double> twice;
  for (const DrawnPolicy& drawn : draws) {
    ASSERT_EQ(drawn.chains[0].size(), 2u);
    twice.push_back(drawn.chains[0][0].op == drawn.chains[0][1].op ? 1.0 : 0.0);
  }
  expect_mean(twice, 1.0 / 15, 14.0 / 225);
}

TEST(PolicyDraw, WeightedSetsAreDrawnByWeight) {
  for (const std::string text : {"rand-tweights-n1-p1", "rand-t3aw-n1-p1"}) {
    SCOPED_TRACE(text);
    const Policy policy = parse(text);
    expect_shares(counts_of(ops_of(draw_many(policy, 3)), policy.op_names()),
                  parse_policy(text, {}).weights);
  }
}

// The second of two is drawn by the weights that the first leaves.
TEST(PolicyDraw, WeightedSetsAreDrawnWithoutReplacement) {
  const Policy policy = parse("rand-t3aw-n2-p1");
  const std::vector<double> weights = parse_policy("rand-t3aw", {}).weights;
  const std::vector<std::string> names = policy.op_names();
  std::map<std::string, int64_t> pairs;
  for (const DrawnPolicy& drawn : draw_many(policy, 4, 4 * kDraws)) {
    ++pairs[drawn.chains[0].at(0).name() + " " + drawn.chains[0].at(1).name()];
  }
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  std::vector<int64_t> counts;
  std::vector<double> shares;
  for (size_t i = 0; i < names.size(); ++i) {
    EXPECT_EQ(pairs[names[i] + " " + names[i]], 0);
    for (size_t j = 0; j < names.size(); ++j) {
      if (i == j) continue;
      counts.push_back(pairs[names[i] + " " + names[j]]);
      shares.push_back(weights[i] * weights[j] / (sum - weights[i]));
    }
  }
  expect_shares(counts, shares);
}

TEST(PolicyDraw, AllOfAWeightedSetCanBeDrawn) {
  for (const DrawnPolicy& drawn : draw_many(parse("rand-tweights-n15-p1"), 5, 100)) {
    std::set<std::string> names;
    for (const DrawnOp& op : drawn.chains[0]) names.insert(op.name());
    EXPECT_EQ(names.size(), 15u);
  }
}

TEST(PolicyDraw, EachOperationIsAppliedWithItsProbability) {
  std::vector<int64_t> applied(3);
  for (const DrawnPolicy& drawn : draw_many(parse("rand"), 6)) {
    ASSERT_EQ(drawn.chains.size(), 1u);
    ++applied.at(drawn.chains[0].size());
  }
  expect_shares(applied, {0.25, 0.5, 0.25});
  std::vector<int64_t> both(4);
  for (const DrawnPolicy& drawn : draw_many(parse("custom", {"Invert 0.3 0 + Rotate 0.8 9"}), 7)) {
    const std::vector<int64_t> counts = counts_of(drawn.chains[0], {"Invert", "Rotate"});
    ++both.at(counts[0] + 2 * counts[1]);
  }
  expect_shares(both, {0.7 * 0.2, 0.3 * 0.2, 0.7 * 0.8, 0.3 * 0.8});
}

TEST(PolicyDraw, SubPoliciesAreDrawnEvenly) {
  const Policy policy = parse("3a");
  expect_even(counts_of(ops_of(draw_many(policy, 8)), policy.op_names()));
}

TEST(PolicyDraw, SignsAreEven) {
  for (const std::string name : {"Rotate", "ShearY", "TranslateXRel", "ColorIncreasing"}) {
    SCOPED_TRACE(name);
    std::map<double, int64_t> counts;
    for (const DrawnOp& op : ops_of(draw_many(parse("custom", {name + " 1 8"}), 9))) {
      ++counts[op.argument];
    }
    ASSERT_EQ(counts.size(), 2u);
    expect_even({counts.begin()->second, counts.rbegin()->second});
  }
}

TEST(PolicyDraw, NoMagnitudeIsMinusZero) {
  for (const DrawnOp& op : ops_of(draw_many(parse("custom", {"Rotate 1 0"}), 10, 20))) {
    EXPECT_EQ(op.text(), "Rotate 0.0 deg");
  }
}

TEST(PolicyDraw, MagnitudeNoiseIsNormal) {
  const std::vector<double> levels = rotation_levels(draw_many(parse("rand-m5-mstd0.5-p1-n4"), 11));
  expect_mean(levels, 5.0, 0.25);
  std::vector<double> squares;
  std::vector<int64_t> counts(2);  // farther than two deviations, or not
  for (const double level : levels) {
    squares.push_back(std::pow(level - 5.0, 2));
    ++counts[std::abs(level - 5.0) < 1.0];
  }
  expect_mean(squares, 0.25, 2 * 0.25 * 0.25);
  expect_shares(counts, {0.0455003, 0.9544997});
}

TEST(PolicyDraw, MagnitudeIsClipped) {
  const auto share_at = [](const std::string& text, double level, double wanted) {
    SCOPED_TRACE(text);
    std::vector<double> clipped;
    for (const double found : rotation_levels(draw_many(parse(text), 12))) {
      ASSERT_GE(found, 0.0);
      ASSERT_LE(found, std::max(level, 10.0));
      clipped.push_back(found == level ? 1.0 : 0.0);
    }
    expect_mean(clipped, wanted, wanted * (1 - wanted));
  };
  share_at("rand-m9-mstd0.5-p1-n4", 10.0, 0.0227501);  // two deviations above m
  share_at("rand-m1-mstd0.5-p1-n4", 0.0, 0.0227501);
  share_at("rand-m12-mstd1-mmax13-p1-n4", 13.0, 0.1586553);
}

TEST(PolicyDraw, InfiniteNoiseIsUniformUpToTheMagnitude) {
  expect_even(histogram(rotation_levels(draw_many(parse("rand-m8-mstdinf-p1-n4"), 13)), 8.0, 16));
}

TEST(PolicyDraw, RandomBlurIsUniform) {
  std::vector<double> radii;
  for (const DrawnOp& op : ops_of(draw_many(parse("custom", {"GaussianBlurRand 1 5"}), 14))) {
    radii.push_back(op.argument - 0.1);
  }
  expect_even(histogram(radii, 0.9, 10));  // up to a radius of 1 at level 5
}

TEST(PolicyDraw, InterpolationIsFixedOrEven) {
  const auto bilinear = [](OpInterpolation interpolation) {
    int64_t count = 0;
    for (const DrawnOp& op :
         ops_of(draw_many(parse("custom", {"Rotate 1 9"}, interpolation), 15))) {
      count += op.interpolation == Interpolation::kBilinear;
    }
    return count;
  };
  EXPECT_EQ(bilinear(OpInterpolation::kBicubic), 0);
  EXPECT_EQ(bilinear(OpInterpolation::kBilinear), kDraws);
  const int64_t count = bilinear(OpInterpolation::kRandom);
  expect_even({count, kDraws - count});
}

TEST(PolicyDraw, AugMixWeightsAreDirichletAndItsBlendIsBeta) {
  std::vector<double> first, last, squares, blend, blend_squares;
  for (const DrawnPolicy& drawn : draw_many(parse("augmix-a0.5"), 16)) {
    ASSERT_EQ(drawn.weights.size(), 3u);
    ASSERT_NEAR(drawn.weights[0] + drawn.weights[1] + drawn.weights[2], 1.0, 1e-6);
    first.push_back(drawn.weights[0]);
    last.push_back(drawn.weights[2]);
    squares.push_back(std::pow(drawn.weights[1] - 1.0 / 3, 2));
    blend.push_back(drawn.blend);
    blend_squares.push_back(std::pow(drawn.blend - 0.5, 2));
  }
  const double variance = 2.0 / 9 / 2.5;  // of Dirichlet(0.5, 0.5, 0.5)
  expect_mean(first, 1.0 / 3, variance);
  expect_mean(last, 1.0 / 3, variance);
  expect_mean(squares, variance, 4.0 / 9 * variance);  // a bound, as no square is above 4/9
  expect_mean(blend, 0.5, 0.125);                      // of Beta(0.5, 0.5)
  expect_mean(blend_squares, 0.125, 1.0 / 128);
}

TEST(PolicyDraw, AugMixChainsHaveOneToThreeOperations) {
  const Policy policy = parse("augmix-w2");
  const std::vector<DrawnPolicy> draws = draw_many(policy, 17);
  std::vector<int64_t> depths(3);
  for (const DrawnPolicy& drawn : draws) {
    ASSERT_EQ(drawn.chains.size(), 2u);
    for (const auto& chain : drawn.chains) ++depths.at(chain.size() - 1);
  }
  expect_even(depths);
  expect_even(counts_of(ops_of(draws), policy.op_names()));
  EXPECT_EQ(policy.op_names().size(), 13u);
  for (const DrawnPolicy& drawn : draw_many(parse("augmix-w4-d2"), 18, 100)) {
    ASSERT_EQ(drawn.chains.size(), 4u);
    for (const auto& chain : drawn.chains) EXPECT_EQ(chain.size(), 2u);
  }
}

TEST(PolicyDraw, AugMixTranslatesByLess) {
  const std::vector<DrawnPolicy> draws = draw_many(parse("augmix-m10-mstd0"), 19, 1000);
  for (const std::string name : {"TranslateXRel", "TranslateYRel"}) {
    const std::vector<DrawnOp> ops = ops_of(draws, name);
    ASSERT_FALSE(ops.empty());
    for (const DrawnOp& op : ops) EXPECT_DOUBLE_EQ(std::abs(op.argument), 0.3);
  }
}

TEST(PolicyDraw, AugMixOfTinyAlphaHasWeights) {
  for (const DrawnPolicy& drawn : draw_many(parse("augmix-a0.01-w2"), 20, 2000)) {
    EXPECT_NEAR(drawn.weights[0] + drawn.weights[1], 1.0, 1e-6);
  }
}

TEST(PolicyDraw, TrivialAugmentDrawsOneOperationAndEvenBins) {
  const Policy policy = parse("ta_wide");
  const std::vector<DrawnPolicy> draws = draw_many(policy, 21);
  for (const DrawnPolicy& drawn : draws) ASSERT_EQ(drawn.chains.at(0).size(), 1u);
  EXPECT_EQ(policy.op_names().size(), 14u);
  expect_even(counts_of(ops_of(draws), policy.op_names()));
  std::vector<int64_t> bins(kTrivialBins);
  for (const DrawnOp& op : ops_of(draws, "Rotate")) {
    ++bins.at(static_cast<size_t>(std::lround(std::abs(op.argument) / 4.5)));
  }
  expect_even(bins);
}

TEST(PolicyDraw, NamesOnlyWhatItCanDraw) {
  EXPECT_EQ(parse("custom", {"ShearX 0 0 + Solarize 1 4", "Solarize 0.1 1"}).op_names(),
            std::vector<std::string>{"Solarize"});
}

// --- applying --------------------------------------------------------------------------------

DrawnOp inversion() { return op_at_level("Invert", 0, Interpolation::kBicubic); }

cv::Mat flat(int level) { return {4, 5, CV_8UC3, cv::Scalar::all(level)}; }

DrawnPolicy one_chain(std::vector<DrawnOp> chain) {
  DrawnPolicy drawn;
  drawn.chains = {std::move(chain)};
  return drawn;
}

int level_of(const cv::Mat& image) { return image.at<cv::Vec3b>(3, 4)[2]; }

TEST(PolicyApply, RunsTheChainInOrder) {
  const DrawnOp add = op_at_level("SolarizeAdd", 5, Interpolation::kBicubic);  // 55 below 128
  EXPECT_EQ(level_of(apply(flat(100), one_chain({add, inversion()}), kFill)), 100);
  EXPECT_EQ(level_of(apply(flat(100), one_chain({inversion(), add}), kFill)), 155);
}

TEST(PolicyApply, LeavesTheImageAloneWithoutOperations) {
  const cv::Mat image = gradient(9, 7), before = image.clone();
  EXPECT_TRUE(same_bytes(apply(image, {}, kFill), before));
  EXPECT_TRUE(same_bytes(apply(image, one_chain({}), kFill), before));
  EXPECT_EQ(one_chain({}).text(), "none");
}

TEST(PolicyApply, NeverChangesItsInput) {
  const cv::Mat image = gradient(40, 30), before = image.clone();
  for (const std::string text : {"rand-n3-p1", "v0", "augmix", "augmix-b1", "ta_wide"}) {
    for (const DrawnPolicy& drawn : draw_many(parse(text), 22, 60)) apply(image, drawn, kFill);
    ASSERT_TRUE(same_bytes(image, before)) << text;
  }
}

TEST(PolicyApply, AugMixBlendsTheWeightedSum) {
  // 0.25 * 100 + 0.75 * 155 = 141.25, cut to 141; 100 + 0.5 * 41 = 120.5, cut to 120.
  DrawnPolicy drawn{{{}, {inversion()}}, {0.25f, 0.75f}, 0.5f};
  EXPECT_EQ(level_of(apply(flat(100), drawn, kFill)), 120);
  EXPECT_EQ(drawn.text(), "0.50 of [0.25 (none) + 0.75 (Invert)]");
  drawn.stepwise = true;
  EXPECT_EQ(level_of(apply(flat(100), drawn, kFill)), 120);
}

TEST(PolicyApply, StepwiseMixingEndsAtALoneWeight) {
  const DrawnPolicy drawn{{{}, {inversion()}}, {0.0f, 1.0f}, 1.0f, true};
  EXPECT_EQ(level_of(apply(flat(100), drawn, kFill)), 155);
}

}  // namespace
}  // namespace umbra::test
