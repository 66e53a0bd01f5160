// Values and gradients of the losses against PyTorch in double precision.
#include "tests/parity/truth.h"
#include "train/distill/losses.h"
#include "train/distill/min_norm.h"
#include "train/distill/objective.h"

namespace umbra::test {
namespace {

constexpr double kTolerance = 1e-6;

class LossParity : public testing::Test {
 protected:
  torch::Tensor leaf(const std::string& name) const {
    return truth_.at(name).clone().requires_grad_();
  }

  // `loss` of the logits stored as <name>/z has the stored value and gradient.
  void expect_same(const std::string& name,
                   const std::function<torch::Tensor(const torch::Tensor&)>& loss) const {
    SCOPED_TRACE(name);
    const torch::Tensor z = leaf(name + "/z");
    const torch::Tensor value = loss(z);
    value.backward();
    expect_close(value, truth_.at(name + "/value"), kTolerance);
    expect_close(z.grad(), truth_.at(name + "/grad_z"), kTolerance);
  }

  const TensorMap truth_ = truth("losses");
  const nlohmann::json facts_ = facts("losses");
};

TEST_F(LossParity, CrossEntropyWithClassesAndWithProbabilities) {
  expect_same("ce_hard", [&](const auto& z) { return cross_entropy(z, truth_.at("labels")); });
  expect_same("ce_soft", [&](const auto& z) { return cross_entropy(z, truth_.at("soft")); });
}

TEST_F(LossParity, BinaryCrossEntropyBinarisesSoftTargets) {
  expect_same("bce_hard",
              [&](const auto& z) { return umbra::binary_cross_entropy(z, truth_.at("labels")); });
  expect_same("bce_soft",
              [&](const auto& z) { return umbra::binary_cross_entropy(z, truth_.at("sparse")); });
}

TEST_F(LossParity, KlDivergenceAtSeveralTemperatures) {
  for (size_t i = 0; i < facts_.at("kl").size(); ++i) {
    const double temperature = facts_.at("kl")[i];
    const std::string name = fmt::format("kl_{}", i);
    const torch::Tensor target = leaf(name + "/target");
    expect_same(name + "/batchmean",
                [&](const auto& z) { return kl_divergence(z, target, temperature); });
    expect_same(name + "/numel", [&](const auto& z) {
      return kl_divergence(z, target, temperature, KlScale::kNumel);
    });
    EXPECT_FALSE(target.grad().defined());
  }
}

TEST_F(LossParity, HardDistillationSquaredErrorAndStandardisation) {
  const torch::Tensor& target = truth_.at("hard/target");
  expect_same("hard", [&](const auto& z) { return hard_distillation(z, target); });
  expect_same("mse", [&](const auto& z) { return mean_squared_error(z, target); });
  expect_same("standardize", [&](const auto& z) {
    return (normalised_logits(z, "layer_norm", 3.1415) * target).sum();
  });
  expect_same("z_score",
              [&](const auto& z) { return (normalised_logits(z, "z_score", 1.0) * target).sum(); });
}

TEST_F(LossParity, WeightsOfLeastNorm) {
  for (size_t i = 0; i < facts_.at("min_norm").size(); ++i) {
    const std::string name = fmt::format("min_norm_{}", i);
    SCOPED_TRACE(name);
    const torch::Tensor w = min_norm_weights(truth_.at(name + "/gram"), facts_.at("min_norm")[i]);
    expect_close(w, truth_.at(name + "/weights"), kTolerance);
  }
}

TEST_F(LossParity, ShakeTotalsWithAnyWeightsAndNumberOfTeachers) {
  for (size_t i = 0; i < facts_.at("shake").size(); ++i) {
    const nlohmann::json& item = facts_.at("shake")[i];
    const std::string name = fmt::format("shake_{}", i);
    SCOPED_TRACE(name);
    DistillOptions options;
    options.method = "shake";
    options.temperature = item.at("temperature");
    const nlohmann::json& weights = item.at("weights");
    options.task_weight = weights.at("task");
    options.student_mutual_weight = weights.at("mutual");
    options.reverse_weight = weights.at("reverse");
    options.inherit_weight = weights.at("inherit");
    options.shadow_ce_weight = weights.at("shadow_ce");
    options.direct_weight = weights.at("direct");

    ModelOutput student;
    student.logits = leaf(name + "/z_s");
    std::vector<ModelOutput> teachers;
    for (int64_t n = 0; n < item.at("teachers"); ++n) {
      student.shadow_logits.push_back(leaf(fmt::format("{}/z_p{}", name, n)));
      teachers.emplace_back().logits = truth_.at(fmt::format("{}/z_t{}", name, n));
    }
    Batch batch;
    batch.labels = batch.targets = truth_.at("labels");
    const Loss loss = make_objective(options, LossOptions{}, {})->compute(batch, student, teachers);
    loss.total.backward();
    expect_close(loss.total, truth_.at(name + "/value"), kTolerance);
    expect_close(student.logits.grad(), truth_.at(name + "/grad_z_s"), kTolerance);
    for (size_t n = 0; n < teachers.size(); ++n) {
      expect_close(student.shadow_logits[n].grad(),
                   truth_.at(fmt::format("{}/grad_z_p{}", name, n)), kTolerance);
    }
  }
}

TEST_F(LossParity, ShakeCodePresetIsThePublicCodesLoss) {
  DistillOptions options;
  ASSERT_TRUE(apply_preset(options, "shake-code"));
  ModelOutput student;
  student.logits = leaf("shake_code/z_s");
  student.shadow_logits = {leaf("shake_code/z_p")};
  std::vector<ModelOutput> teachers(1);
  teachers[0].logits = truth_.at("shake_code/z_t");
  Batch batch;
  batch.labels = batch.targets = truth_.at("labels");
  const Loss loss = make_objective(options, LossOptions{}, {})->compute(batch, student, teachers);
  loss.total.backward();
  expect_close(loss.total, truth_.at("shake_code/value"), kTolerance);
  expect_close(student.logits.grad(), truth_.at("shake_code/grad_z_s"), kTolerance);
  expect_close(student.shadow_logits[0].grad(), truth_.at("shake_code/grad_z_p"), kTolerance);
}

// timm lays the batch out view by view, we sample by sample.
TEST_F(LossParity, JsdIsTimms) {
  const TensorMap expected = truth("jsd");
  const auto by_sample = [](const torch::Tensor& rows) {
    return rows.view({3, 4, 7}).transpose(0, 1).reshape({12, 7});
  };
  const torch::Tensor logits = by_sample(expected.at("logits")).clone().requires_grad_();
  const torch::Tensor labels = expected.at("labels").repeat_interleave(3);
  const torch::Tensor loss = jsd_cross_entropy(logits, labels, 3, 12.0);
  loss.backward();
  expect_close(loss.detach(), expected.at("loss"), 1e-9);
  expect_close(logits.grad(), by_sample(expected.at("gradient")), 1e-9);
}

}  // namespace
}  // namespace umbra::test
