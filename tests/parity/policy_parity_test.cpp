// Policies, their operations at every level, and AugMix against timm; TrivialAugment-Wide against
// torchvision. Every byte of every picture.
#include <numeric>
#include <set>

#include "augment/policy.h"
#include "augment/policy_plan.h"
#include "tests/parity/images.h"
#include "tests/parity/truth.h"

namespace umbra::test {
namespace {

using augment::DrawnOp;
using augment::Interpolation;
using augment::OpRules;
using augment::PlannedOp;
using augment::PolicyPlan;
using nlohmann::json;

const cv::Scalar kFill(124, 116, 104);

json cases_of(const std::string& subject) {
  const json cases = facts("policy").at(subject);
  TORCH_CHECK(!cases.empty(), "no cases of ", subject);
  return cases;
}

// How many bytes of the image differ.
int64_t differences(const cv::Mat& image, const torch::Tensor& expected) {
  return (to_tensor(image) != expected).sum().item<int64_t>();
}

// Of what `change` makes of every picture, against the tensors "prefix/0", "prefix/1", ...
template <typename Change>
int64_t differences_of_pictures(const TensorMap& tensors, const std::string& prefix,
                                const Change& change) {
  const TensorMap pictures = part(tensors, "picture");
  TORCH_CHECK(!pictures.empty(), "no pictures");
  int64_t different = 0;
  for (const auto& [name, picture] : pictures) {
    different += differences(change(to_image(picture)), tensors.at(prefix + "/" + name));
  }
  return different;
}

void expect_equal_options(const PolicyPlan& plan, const json& expected, OpRules rules) {
  ASSERT_EQ(plan.options.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    SCOPED_TRACE(fmt::format("option {}", i));
    ASSERT_EQ(plan.options[i].size(), expected[i].size());
    for (size_t j = 0; j < expected[i].size(); ++j) {
      const PlannedOp& actual = plan.options[i][j];
      EXPECT_EQ(actual.op, augment::find_op(expected[i][j][0], rules));
      EXPECT_EQ(actual.probability, expected[i][j][1].get<double>());
      EXPECT_EQ(actual.level, expected[i][j][2].get<double>());
    }
  }
}

TEST(PolicyParity, TextsMeanWhatTimmMakesOfThem) {
  for (const json& expected : cases_of("plans")) {
    const std::string text = expected.at("text");
    SCOPED_TRACE(text);
    const PolicyPlan plan = augment::parse_policy(text, {});
    const bool mixes = expected.contains("width");
    expect_equal_options(plan, expected.at("options"), mixes ? OpRules::kAugMix : OpRules::kTimm);
    EXPECT_EQ(plan.picks, expected.at("picks").get<int>());
    EXPECT_EQ(std::isinf(plan.level_std) ? -1.0 : plan.level_std, expected.at("std").get<double>());
    EXPECT_EQ(plan.max_level, expected.at("max").get<double>());
    const std::vector<double> weights = expected.at("weights");
    ASSERT_EQ(plan.weights.size(), weights.size());
    const double sum = std::accumulate(plan.weights.begin(), plan.weights.end(), 0.0);
    for (size_t i = 0; i < weights.size(); ++i) {
      EXPECT_NEAR(plan.weights[i] / sum, weights[i], 1e-12);
    }
    ASSERT_EQ(plan.mix.has_value(), mixes);
    if (!mixes) continue;
    EXPECT_EQ(plan.mix->width, expected.at("width").get<int>());
    EXPECT_EQ(plan.mix->alpha, expected.at("alpha").get<double>());
    EXPECT_EQ(plan.mix->stepwise, expected.at("stepwise").get<bool>());
  }
}

TEST(PolicyParity, OperationsAreTimms) {
  const TensorMap tensors = truth("policy");
  const json cases = cases_of("ops");
  for (size_t i = 0; i < cases.size(); ++i) {
    SCOPED_TRACE(cases[i].dump());
    DrawnOp op = augment::op_at_level(cases[i].at("name"), cases[i].at("level"),
                                      augment::parse_interpolation(cases[i].at("mode")));
    if (cases[i].at("sign") == -1) op.argument = op.op->argument(cases[i].at("level"), -1.0);
    EXPECT_EQ(op.argument, cases[i].at("argument").get<double>());
    const auto change = [&](const cv::Mat& image) { return op.apply(image, kFill); };
    EXPECT_EQ(differences_of_pictures(tensors, fmt::format("op_{}", i), change), 0);
  }
}

TEST(PolicyParity, TrivialAugmentIsTorchvisions) {
  const TensorMap tensors = truth("policy");
  const json cases = cases_of("trivial");
  for (size_t i = 0; i < cases.size(); ++i) {
    SCOPED_TRACE(cases[i].dump());
    const augment::Op* op = augment::find_op(cases[i].at("name"), OpRules::kTrivial);
    ASSERT_NE(op, nullptr);
    EXPECT_NEAR(op->argument(cases[i].at("bin"), cases[i].at("sign")),
                cases[i].at("argument").get<double>(), 1e-6);
    for (const std::string mode : {"bilinear", "bicubic"}) {
      const std::string prefix = fmt::format("trivial_{}/{}", i, mode);
      if (part(tensors, prefix).empty()) continue;  // some bins have no pictures
      const DrawnOp drawn = {op, cases[i].at("argument"), augment::parse_interpolation(mode)};
      const auto change = [&](const cv::Mat& image) { return drawn.apply(image, kFill); };
      EXPECT_EQ(differences_of_pictures(tensors, prefix, change), 0) << mode;
    }
  }
}

TEST(PolicyParity, TrivialAugmentDrawsFromAllBinsOfAllOperations) {
  std::set<std::pair<const augment::Op*, double>> expected, actual;
  for (const json& bin : cases_of("trivial")) {
    expected.emplace(augment::find_op(bin.at("name"), OpRules::kTrivial), bin.at("bin"));
  }
  const PolicyPlan plan = augment::parse_policy("ta_wide", {});
  for (const auto& option : plan.options) {
    ASSERT_EQ(option.size(), 1u);
    EXPECT_EQ(option[0].probability, 1.0);
    EXPECT_LE(option[0].level, plan.max_level);
    actual.emplace(option[0].op, option[0].level);
  }
  EXPECT_EQ(actual, expected);
  EXPECT_EQ(plan.options.size(), expected.size());
  EXPECT_EQ(plan.picks, 1);
}

TEST(PolicyParity, AugMixIsTimms) {
  const TensorMap tensors = truth("policy");
  const json cases = cases_of("augmix");
  for (size_t i = 0; i < cases.size(); ++i) {
    SCOPED_TRACE(cases[i].dump());
    augment::DrawnPolicy drawn;
    drawn.weights = cases[i].at("weights").get<std::vector<float>>();
    drawn.blend = cases[i].at("blend");
    drawn.stepwise = cases[i].at("stepwise");
    for (const json& chain : cases[i].at("chains")) {
      drawn.chains.emplace_back();
      for (const json& op : chain) {
        drawn.chains.back().push_back(augment::op_at_level(op[0], op[1], Interpolation::kBicubic));
      }
    }
    const auto change = [&](const cv::Mat& image) { return augment::apply(image, drawn, kFill); };
    EXPECT_EQ(differences_of_pictures(tensors, fmt::format("augmix_{}", i), change), 0);
  }
}

}  // namespace
}  // namespace umbra::test
