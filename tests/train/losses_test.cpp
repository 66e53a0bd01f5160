// Losses and whole objectives against golden values, computed in double precision with the papers'
// public code on the tensors below.
#include "train/distill/losses.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support.h"
#include "train/distill/objective.h"
#include "train/distill/shadow_branch.h"

namespace umbra {
namespace {

using test::expect_golden;
using testing::ElementsAre;

torch::Tensor student() { return test::golden_student({4, 100}); }
torch::Tensor teacher() { return test::golden_teacher({4, 100}); }
torch::Tensor shadow() { return test::wave({4, 100}, 2.0, 0.11, 3.0, /*cosine=*/false); }
torch::Tensor labels() { return torch::tensor({3, 14, 15, 92}, torch::kInt64); }

void expect_golden_row(const torch::Tensor& gradient, std::array<double, 4> first, double norm) {
  for (int64_t i = 0; i < 4; ++i) {
    SCOPED_TRACE(i);
    expect_golden(gradient[0][i], first[static_cast<size_t>(i)]);
  }
  expect_golden(gradient.norm(), norm);
}

TEST(Losses, CrossEntropyIsGolden) {
  expect_golden(cross_entropy(student(), labels()), 5.54268315);
}

TEST(Losses, CrossEntropyTakesClassesAsProbabilities) {
  const torch::Tensor targets = torch::one_hot(labels(), 100).to(torch::kFloat64);
  expect_golden(cross_entropy(student(), targets), 5.54268315);
}

TEST(Losses, CrossEntropyIsLinearInSoftTargets) {
  const torch::Tensor targets = torch::one_hot(labels(), 100).to(torch::kFloat64);
  const torch::Tensor mixed = 0.3 * targets + 0.7 * targets.flip(0);
  const double expected = 0.3 * cross_entropy(student(), labels()).item<double>() +
                          0.7 * cross_entropy(student(), labels().flip(0)).item<double>();
  expect_golden(cross_entropy(student(), mixed), expected);
}

TEST(Losses, BinaryCrossEntropyBinarisesSoftTargets) {
  const torch::Tensor targets = torch::one_hot(labels(), 100).to(torch::kFloat64);
  const torch::Tensor mixed = 0.3 * targets + 0.7 * targets.flip(0);
  const torch::Tensor both = (targets + targets.flip(0)).clamp_max(1.0);
  expect_golden(umbra::binary_cross_entropy(student(), mixed),
                umbra::binary_cross_entropy(student(), both).item<double>());
}

TEST(Losses, KlDivergenceIsGolden) {
  expect_golden(kl_divergence(student(), teacher(), 4.0), 3.00061016);
  expect_golden(kl_divergence(student(), teacher(), 1.0), 1.70038104);
  expect_golden(kl_divergence(shadow(), teacher(), 4.0), 3.03979934);
  expect_golden(kl_divergence(shadow(), student(), 4.0), 1.90619202);
  expect_golden(kl_divergence(student(), shadow(), 4.0), 1.92128536);
}

TEST(Losses, KlDivergenceOverElementsIsDeitsScale) {
  expect_golden(kl_divergence(student(), teacher(), 1.0, KlScale::kNumel), 0.01700381);
  expect_golden(kl_divergence(student(), teacher(), 3.0, KlScale::kNumel), 0.02860638);
}

TEST(Losses, KlDivergenceOfEqualLogitsIsZero) {
  EXPECT_NEAR(kl_divergence(student(), student() + 7.0, 2.0).item<double>(), 0.0, 1e-12);
}

TEST(Losses, HardDistillationTakesTheTopClass) {
  EXPECT_TRUE(torch::equal(teacher().argmax(1), torch::tensor({28, 18, 97, 57}, torch::kInt64)));
  expect_golden(hard_distillation(student(), teacher()), 5.80809166);
}

TEST(Losses, StandardisedLogitsAreGolden) {
  const auto standardised = [](const torch::Tensor& logits) {
    return normalised_logits(logits, "layer_norm", 3.1415);
  };
  const torch::Tensor s = standardised(student()), p = standardised(shadow()),
                      t = standardised(teacher());
  expect_golden(cross_entropy(s, labels()), 7.67516482);
  expect_golden(kl_divergence(p, s, 4.0), 8.53151489);
  expect_golden(kl_divergence(s, p, 4.0), 8.69759636);
  expect_golden(cross_entropy(p, labels()), 8.00570405);
  expect_golden(mean_squared_error(p, t), 20.17641433);
}

// Zero mean and unit unbiased deviation in every row, and a ratio of two logits that is unchanged.
TEST(Losses, ZScoresAreThoseOfEachRow) {
  const torch::Tensor z = normalised_logits(student(), "z_score", 3.1415);
  for (int64_t row = 0; row < z.size(0); ++row) {
    double mean = 0.0, squares = 0.0;
    for (int64_t c = 0; c < 100; ++c) mean += student()[row][c].item<double>() / 100.0;
    for (int64_t c = 0; c < 100; ++c) {
      squares += std::pow(student()[row][c].item<double>() - mean, 2);
    }
    const double expected =
        (student()[row][42].item<double>() - mean) / (std::sqrt(squares / 99.0) + 1e-7);
    EXPECT_NEAR(z[row][42].item<double>(), expected, 1e-12);
  }
  EXPECT_TRUE(normalised_logits(student(), "none", 3.1415).equal(student()));
}

TEST(TermWeights, GrowFromZeroOrFromOneStep) {
  TermOptions options;
  options.weight = 5.0;
  options.warmup_epochs = 20.0;
  for (const auto& [epoch, weight] :
       {std::pair(0.0, 0.0), {0.99, 0.0}, {1.0, 0.25}, {19.5, 4.75}, {20.0, 5.0}, {200.0, 5.0}}) {
    EXPECT_DOUBLE_EQ(weight_at(options, epoch), weight) << epoch;
  }
  options.warmup_from_zero = false;
  for (const auto& [epoch, weight] :
       {std::pair(0.0, 0.25), {0.99, 0.25}, {1.0, 0.5}, {19.5, 5.0}, {20.0, 5.0}}) {
    EXPECT_DOUBLE_EQ(weight_at(options, epoch), weight) << epoch;
  }
}

TEST(TermWeights, FollowTheirFactors) {
  TermOptions options = find_term_method("norm")->defaults;
  for (const auto& [epoch, weight] : {std::pair(0.0, 0.1),
                                      {9.9, 0.1},
                                      {10.0, 0.5},
                                      {20.0, 1.0},
                                      {179.0, 1.0},
                                      {180.0, 0.5},
                                      {239.0, 0.1}}) {
    EXPECT_DOUBLE_EQ(weight_at(options, epoch), weight) << epoch;
  }
}

TEST(Losses, TargetsGetNoGradient) {
  const torch::Tensor s = student().requires_grad_(), t = teacher().requires_grad_();
  (kl_divergence(s, t, 4.0) + hard_distillation(s, t) + mean_squared_error(s, t)).backward();
  EXPECT_TRUE(s.grad().defined());
  EXPECT_FALSE(t.grad().defined());
}

TEST(Losses, HalfPrecisionLogitsAreComputedInSinglePrecision) {
  const torch::Tensor s = student().to(torch::kBFloat16), t = teacher().to(torch::kBFloat16);
  for (const torch::Tensor& value :
       {cross_entropy(s, labels()), kl_divergence(s, t, 4.0), hard_distillation(s, t),
        mean_squared_error(s, t), umbra::binary_cross_entropy(s, labels())}) {
    EXPECT_EQ(value.scalar_type(), torch::kFloat32);
  }
  const double exact =
      kl_divergence(s.to(torch::kFloat64), t.to(torch::kFloat64), 4.0).item<double>();
  EXPECT_NEAR(kl_divergence(s, t, 4.0).item<double>(), exact, 2e-6 * exact);
}

TEST(Losses, SinglePrecisionIsGoldenToItsPrecision) {
  const torch::Tensor s = student().to(torch::kFloat32), t = teacher().to(torch::kFloat32);
  EXPECT_NEAR(cross_entropy(s, labels()).item<double>(), 5.54268315, 2e-6 * 5.54268315);
  EXPECT_NEAR(kl_divergence(s, t, 4.0).item<double>(), 3.00061016, 2e-6 * 3.00061016);
}

// One student, one shadow, one teacher, through a preset.
struct Outcome {
  Loss loss;
  torch::Tensor grad_student, grad_shadow;

  double term(const std::string& name) const {
    for (const LossTerm& item : loss.terms) {
      if (item.name == name) return item.value.item<double>();
    }
    ADD_FAILURE() << "no term " << name;
    return 0.0;
  }
  std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (const LossTerm& item : loss.terms) names.push_back(item.name);
    return names;
  }
};

Outcome run(const DistillOptions& options, const torch::Tensor& z_p = shadow()) {
  ModelOutput output;
  output.logits = student().requires_grad_();
  output.shadow_logits = {z_p.clone().requires_grad_()};
  std::vector<ModelOutput> teachers(options.method == "none" ? 0 : 1);
  if (!teachers.empty()) teachers[0].logits = teacher();
  Batch batch;
  batch.labels = batch.targets = labels();
  Outcome outcome;
  outcome.loss = make_objective(options, LossOptions{}, {})->compute(batch, output, teachers);
  outcome.loss.total.backward();
  outcome.grad_student = output.logits.grad();
  outcome.grad_shadow = output.shadow_logits[0].grad();
  return outcome;
}

Outcome run_preset(const std::string& preset, const torch::Tensor& z_p = shadow()) {
  DistillOptions options;
  EXPECT_TRUE(apply_preset(options, preset)) << preset;
  return run(options, z_p);
}

TEST(ObjectivePreset, ShakePaperIsGolden) {
  const Outcome outcome = run_preset("shake-paper");
  expect_golden(outcome.loss.total, 12.40995987);
  EXPECT_NEAR(outcome.term("task") + outcome.term("mutual"), 7.46396851, 2e-8);      // L_S
  EXPECT_NEAR(outcome.term("inherit") + outcome.term("reverse"), 4.94599136, 2e-8);  // L_T'
  EXPECT_THAT(outcome.names(), ElementsAre("task", "mutual", "inherit", "reverse"));
}

TEST(ObjectivePreset, ShakePaperGradientsAreGolden) {
  const Outcome outcome = run_preset("shake-paper");
  expect_golden_row(outcome.grad_student, {0.00276724, 0.00604929, 0.00935359, -0.23899800},
                    0.51295053);
  expect_golden_row(outcome.grad_shadow, {-0.00704433, -0.00652291, -0.00535291, -0.00330047},
                    0.18238127);
}

TEST(ObjectivePreset, ShakeCodeIsGolden) {
  const Outcome outcome = run_preset("shake-code");
  expect_golden(outcome.loss.total, 53.08639446);
  EXPECT_NEAR(outcome.term("task"), 7.67516482, 1e-7);
  EXPECT_NEAR(outcome.term("reverse"), 8.53151489, 1e-7);
  EXPECT_NEAR(outcome.term("mutual"), 8.69759636, 1e-7);
  EXPECT_NEAR(outcome.term("shadow_task"), 8.00570405, 1e-7);
  EXPECT_NEAR(outcome.term("inherit"), 20.17641433, 3e-7);
}

TEST(ObjectivePreset, ShakeCodeGradientsAreGolden) {
  const Outcome outcome = run_preset("shake-code");
  expect_golden_row(outcome.grad_student, {-0.00293936, 0.00341007, 0.01677848, -0.52393391},
                    1.13035576);
  expect_golden_row(outcome.grad_shadow, {-0.05299003, -0.05748121, -0.05907236, -0.59867381},
                    1.38647955);
}

TEST(ObjectivePreset, DeitSoftIsHalfTaskHalfKl) {
  const Outcome outcome = run_preset("deit-soft", /*z_p=*/student());
  expect_golden(outcome.loss.total, 0.5 * 5.54268315 + 0.5 * 0.01700381);
}

TEST(ObjectivePreset, DeitHardIsHalfTaskHalfTopClass) {
  const Outcome outcome = run_preset("deit-hard", /*z_p=*/student());
  expect_golden(outcome.loss.total, 0.5 * 5.54268315 + 0.5 * 5.80809166);
}

TEST(ObjectivePreset, NoneIsTheTaskAlone) {
  const Outcome outcome = run_preset("none");
  expect_golden(outcome.loss.total, 5.54268315);
  EXPECT_FALSE(outcome.grad_shadow.defined());
}

TEST(ObjectivePreset, AblationsChangeTheirOneTerm) {
  const double paper = 12.40995987;
  expect_golden(run_preset("shake-no-reverse").loss.total, paper - 1.90619202);
  expect_golden(run_preset("shake-direct").loss.total, paper + 3.00061016);
  expect_golden(run_preset("shake-gt-proxy").loss.total,
                paper + cross_entropy(shadow(), labels()).item<double>());
  expect_golden(run_preset("shake-strong-head").loss.total, paper);
}

TEST(ObjectivePreset, EveryNameAppliesAndUnknownOnesDoNot) {
  for (const std::string& name : distill_presets()) {
    DistillOptions options;
    EXPECT_TRUE(apply_preset(options, name)) << name;
    EXPECT_EQ(options.preset, name);
  }
  DistillOptions options;
  EXPECT_FALSE(apply_preset(options, "shake-papper"));
}

TEST(Objective, SeveralTeachersAreAveragedForTheStudentAndSummedForTheShadows) {
  DistillOptions options;
  ASSERT_TRUE(apply_preset(options, "shake-paper"));
  ModelOutput output;
  output.logits = student();
  output.shadow_logits = {shadow(), shadow()};
  std::vector<ModelOutput> teachers(2);
  teachers[0].logits = teachers[1].logits = teacher();
  Batch batch;
  batch.labels = batch.targets = labels();
  const Loss loss = make_objective(options, LossOptions{}, {})->compute(batch, output, teachers);
  expect_golden(loss.total, 7.46396851 + 2 * 4.94599136);
}

// With two shadows the min-norm weight has a closed form; 0.6 is the most that one may have.
TEST(Objective, AekdWeighsShadowsByTheMeanGradientsOfTheBatch) {
  DistillOptions options;
  ASSERT_TRUE(apply_preset(options, "shake-paper"));
  options.teacher_weights = "aekd";
  ModelOutput output;
  output.logits = student();
  output.shadow_logits = {shadow(), teacher()};
  std::vector<ModelOutput> teachers(2);
  teachers[0].logits = teachers[1].logits = teacher();
  Batch batch;
  batch.labels = batch.targets = labels();
  const auto gradient = [](const torch::Tensor& z) {
    return (torch::softmax(student() / 4.0, 1) - torch::softmax(z / 4.0, 1)).mean(0);
  };
  const torch::Tensor a = gradient(shadow()), b = gradient(teacher());
  const double free = ((b - a).dot(b) / (b - a).square().sum()).item<double>();
  ASSERT_TRUE(free > 0.0 && free < 1.0) << free;
  for (const double most : {0.6, 1.0}) {
    options.teacher_weight_max = most;
    const double share = std::clamp(free, 1.0 - most, most);
    const Loss loss = make_objective(options, LossOptions{}, {})->compute(batch, output, teachers);
    const auto mutual = std::find_if(loss.terms.begin(), loss.terms.end(),
                                     [](const LossTerm& term) { return term.name == "mutual"; });
    expect_golden(mutual->value, share * 1.92128536 + (1.0 - share) * 3.00061016);
  }
}

TEST(Objective, LossWeightsAreInTheTerms) {
  DistillOptions options;
  ASSERT_TRUE(apply_preset(options, "shake-paper"));
  options.reverse_weight = 0.25;
  const Outcome outcome = run(options);
  EXPECT_NEAR(outcome.term("reverse"), 0.25 * 1.90619202, 1e-8);
  double sum = 0.0;
  for (const LossTerm& term : outcome.loss.terms) sum += term.value.item<double>();
  expect_golden(outcome.loss.total, sum);
}

std::unique_ptr<Model> cifar_resnet(const std::string& name) {
  ModelOptions options;
  options.name = name;
  options.num_classes = 100;
  options.in_chans = 3;
  return create_model(options);
}

TEST(ShadowBranchSize, IsThePublicCodes) {
  const std::vector<std::pair<std::string, int64_t>> sizes = {{"resnet56", 65'536},
                                                              {"resnet32x4", 1'042'432}};
  for (const auto& [name, parameters] : sizes) {
    SCOPED_TRACE(name);
    const std::unique_ptr<Model> model = cifar_resnet(name);
    model->module().eval();
    const torch::NoGradGuard no_grad;
    const ModelOutput example = model->forward(torch::zeros({1, 3, 32, 32}));
    ShadowBranch branch(NetworkView{model.get(), example});
    EXPECT_EQ(count_parameters(*branch), parameters);
  }
}

TEST(ShadowBranch, TrainsTheBranchAndNotTheTeacher) {
  const std::unique_ptr<Model> model = cifar_resnet("resnet8");
  const ModelOutput seen = model->forward(torch::randn({2, 3, 32, 32}));
  ShadowBranch branch(NetworkView{model.get(), seen});
  const torch::Tensor logits = branch(seen);
  EXPECT_EQ(logits.sizes(), torch::IntArrayRef({2, 100}));
  logits.square().sum().backward();
  for (const auto& item : branch->named_parameters()) {
    EXPECT_TRUE(item.value().grad().defined()) << item.key();
  }
  for (const auto& item : model->module().named_parameters()) {
    EXPECT_FALSE(item.value().grad().defined()) << item.key();
  }
}

}  // namespace
}  // namespace umbra
