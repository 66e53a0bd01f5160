// Losses on maps: golden values computed in double precision with RepDistiller's code, what learns
// from them and what does not, and their terms on real networks.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/nn/utils/clip_grad.h>
#include <torch/optim/sgd.h>

#include "tests/support.h"
#include "train/distill/losses.h"
#include "train/distill/stages.h"
#include "train/distill/terms/terms.h"
#include "train/error.h"
#include "train/loop/precision.h"

namespace umbra {
namespace {

using test::expect_golden;
using test::golden_student;
using test::golden_teacher;
using testing::HasSubstr;
using Maps = std::vector<torch::Tensor>;

TEST(TermsMapsLoss, SimilarityPreservingIsGolden) {
  expect_golden(
      similarity_preserving_loss(golden_student({4, 3, 8, 8}), golden_teacher({4, 3, 8, 8})),
      0.26135693);
}

TEST(TermsMapsLoss, AttentionAndHintsAreGolden) {
  const torch::Tensor teacher = golden_teacher({4, 3, 8, 8});
  expect_golden(attention_loss(golden_student({4, 3, 8, 8}), teacher), 0.00108916970);
  expect_golden(attention_loss(golden_student({4, 5, 16, 16}), teacher), 0.00107378317);
  expect_golden(mean_squared_error(golden_student({4, 3, 8, 8}), teacher), 6.40403992);
}

TEST(TermsMapsLoss, NeuronSelectivityIsGolden) {
  const torch::Tensor teacher = golden_teacher({4, 3, 8, 8});
  expect_golden(neuron_selectivity_loss(golden_student({4, 3, 8, 8}), teacher), 1.04135679);
  expect_golden(neuron_selectivity_loss(golden_student({4, 5, 16, 16}), teacher), 1.07038471);
}

TEST(TermsMapsLoss, FlowIsGolden) {
  expect_golden(flow_loss({golden_student({4, 5, 16, 16}), golden_student({4, 5, 8, 8})},
                          {golden_teacher({4, 5, 16, 16}), golden_teacher({4, 5, 8, 8})}),
                0.01415537);
}

TEST(TermsMapsLoss, BoundariesAreGoldenAndTheLastLevelWeighsMost) {
  const Maps student = {golden_student({4, 3, 8, 8}), golden_student({4, 5, 16, 16})},
             teacher = {golden_teacher({4, 3, 8, 8}), golden_teacher({4, 5, 16, 16})};
  expect_golden(0.5 * boundary_loss({student[0]}, {teacher[0]}), 0.80250444);
  expect_golden(boundary_loss({student[1]}, {teacher[1]}), 10.83084883);
  expect_golden(boundary_loss(student, teacher), 0.80250444 + 10.83084883);
}

TEST(TermsMapsLoss, ATeacherOfZeroIsAnInactiveNeuron) {
  const torch::Tensor zero = torch::zeros({1, 1, 1, 1}, torch::kFloat64);
  expect_golden(boundary_loss({zero - 1.0}, {zero}), 0.0);
  expect_golden(boundary_loss({zero + 1.0}, {zero}), 4.0 * 0.003);
  expect_golden(boundary_loss({zero + 1.0}, {zero + 1e-9}), 0.0);
}

TEST(TermsMapsLoss, FactorsAreGolden) {
  expect_golden(factor_loss(golden_student({4, 3, 8, 8}), golden_teacher({4, 3, 8, 8})),
                0.02732439);
}

// Every loss of two levels of maps, by name.
std::vector<std::pair<std::string, torch::Tensor>> all_losses(const Maps& s, const Maps& t) {
  return {{"sp", similarity_preserving_loss(s[0], t[0])},
          {"nst", neuron_selectivity_loss(s[0], t[0])},
          {"fsp", flow_loss(s, t)},
          {"ab", boundary_loss(s, t)},
          {"ft", factor_loss(s[0], t[0])}};
}

TEST(TermsMapsLoss, TeachersGetNoGradient) {
  const Maps s = {golden_student({4, 6, 4, 4}).requires_grad_(),
                  golden_student({4, 5, 2, 2}).requires_grad_()},
             t = {golden_teacher({4, 6, 4, 4}).requires_grad_(),
                  golden_teacher({4, 5, 2, 2}).requires_grad_()};
  for (const auto& [name, loss] : all_losses(s, t)) {
    SCOPED_TRACE(name);
    s[0].mutable_grad() = torch::Tensor();
    loss.backward();
    ASSERT_TRUE(s[0].grad().defined());
    EXPECT_GT(s[0].grad().abs().sum().item<double>(), 0.0);
    for (const torch::Tensor& map : t) EXPECT_FALSE(map.grad().defined());
  }
}

TEST(TermsMapsLoss, AreComputedInSinglePrecisionUnderAutocast) {
  Maps s = {golden_student({4, 6, 8, 8}), golden_student({4, 5, 2, 2})},
       t = {golden_teacher({4, 6, 8, 8}), golden_teacher({4, 5, 2, 2})};
  for (Maps* maps : {&s, &t}) {
    for (torch::Tensor& map : *maps) map = map.to(torch::kBFloat16);
  }
  const auto single = all_losses(s, t);
  const AutocastGuard autocast(torch::kCPU, torch::kBFloat16);
  const auto autocasted = all_losses(s, t);
  for (size_t i = 0; i < single.size(); ++i) {
    SCOPED_TRACE(single[i].first);
    EXPECT_EQ(autocasted[i].second.scalar_type(), torch::kFloat32);
    EXPECT_TRUE(autocasted[i].second.equal(single[i].second));
  }
}

std::unique_ptr<Model> network(const std::string& name, int64_t expanded_channels = 0) {
  ModelOptions options = named_model(canonical_model_name(name));
  options.cnn.expanded_channels = expanded_channels;
  options.num_classes = 10;
  options.in_chans = 3;
  options.vit.img_size = 32;
  options.vit.patch_size = 4;
  options.vit.embed_dim = 24;
  options.vit.depth = 3;
  options.vit.num_heads = 2;
  return create_model(options);
}

NetworkView view_of(Model& model) {
  const torch::NoGradGuard no_grad;
  model.module().eval();
  NetworkView view{&model, model.forward(torch::zeros({2, 3, 32, 32}))};
  model.module().train();
  return view;
}

std::vector<torch::Tensor> gradients_of(const torch::nn::Module& module) {
  std::vector<torch::Tensor> gradients;
  for (const torch::Tensor& parameter : module.parameters()) gradients.push_back(parameter.grad());
  return gradients;
}

bool all_defined(const std::vector<torch::Tensor>& tensors) {
  return std::all_of(tensors.begin(), tensors.end(), [](const auto& t) { return t.defined(); });
}

bool none_defined(const std::vector<torch::Tensor>& tensors) {
  return std::none_of(tensors.begin(), tensors.end(), [](const auto& t) { return t.defined(); });
}

// A student and a teacher, and eight images.
class Lesson {
 public:
  Lesson(const std::string& student, const std::string& teacher, int64_t expanded_channels = 0) {
    torch::manual_seed(7);
    student_ = network(student, expanded_channels);
    teacher_ = network(teacher);
    images_ = torch::randn({8, 3, 32, 32});
    teacher_->module().eval();
  }

  // One pair of stages by name, or the method's own.
  TermContext context(const std::string& method, const std::string& student_stage = "",
                      const std::string& teacher_stage = "") {
    TermContext context{
        find_term_method(method)->defaults, {}, view_of(*student_), view_of(*teacher_), {}};
    teacher_->module().eval();
    if (!student_stage.empty()) context.options.student_stages = {student_stage};
    if (!teacher_stage.empty()) context.options.teacher_stages = {teacher_stage};
    return context;
  }

  // The teacher's outputs carry gradients here, so that the losses have to stop them.
  torch::Tensor loss(Term& term, bool fit) {
    const ModelOutput student = student_->forward(images_), teacher = teacher_->forward(images_);
    const TermInput input{Batch{}, student, teacher};
    return fit ? term.fit_loss(input) : term.loss(input);
  }

  // A few steps of SGD on the term alone lower it; each would take off a tenth, were it linear.
  void expect_learns(Term& term, bool fit = false) {
    std::vector<torch::Tensor> parameters = student_->module().parameters();
    if (const auto module = term.module()) {
      for (const torch::Tensor& parameter : module->parameters()) parameters.push_back(parameter);
    }
    torch::optim::SGD optimizer(parameters, torch::optim::SGDOptions(0.0));
    std::vector<double> losses;
    for (int step = 0; step < 6; ++step) {
      optimizer.zero_grad();
      const torch::Tensor value = loss(term, fit);
      EXPECT_EQ(value.dim(), 0);
      losses.push_back(value.item<double>());
      value.backward();
      const double norm = torch::nn::utils::clip_grad_norm_(parameters, 1e9);
      optimizer.param_groups()[0].options().set_lr(0.1 * losses.back() / (norm * norm));
      optimizer.step();
    }
    EXPECT_LT(losses.back(), 0.99 * losses.front()) << fmt::format("{}", fmt::join(losses, " "));
    EXPECT_TRUE(none_defined(gradients_of(teacher_->module())));
  }

  Model& student() { return *student_; }

 private:
  std::unique_ptr<Model> student_, teacher_;
  torch::Tensor images_;
};

struct Case {
  std::string method, student, teacher, student_stage, teacher_stage;
};

std::string name_of(const testing::TestParamInfo<Case>& info) {
  return fmt::format("{}_{}_from_{}", info.param.method, info.param.student, info.param.teacher);
}

class TermsMaps : public testing::TestWithParam<Case> {};

TEST_P(TermsMaps, TrainTheStudent) {
  const Case& c = GetParam();
  Lesson lesson(c.student, c.teacher);
  lesson.expect_learns(*make_term(lesson.context(c.method, c.student_stage, c.teacher_stage)));
}

INSTANTIATE_TEST_SUITE_P(
    Pairs, TermsMaps,
    testing::Values(
        Case{"sp", "resnet20", "resnet8x4", "", ""}, Case{"sp", "MobileNetV2", "vgg8", "", ""},
        Case{"sp", "vit", "resnet8x4", "", ""}, Case{"nst", "resnet20", "resnet8x4", "", ""},
        Case{"nst", "MobileNetV2", "vgg8", "", ""}, Case{"nst", "vit", "resnet8x4", "", ""},
        Case{"fsp", "resnet8", "resnet20", "", ""}, Case{"fsp", "vit", "vit", "", ""},
        Case{"ab", "resnet20", "resnet8x4", "", ""}, Case{"ab", "MobileNetV2", "vgg8", "", ""},
        Case{"ab", "vit", "resnet8x4", "blocks.2", "layer3"},
        Case{"ft", "resnet20", "resnet8x4", "", ""}, Case{"ft", "MobileNetV2", "vgg8", "", ""},
        Case{"ft", "vit", "resnet8x4", "", ""}),
    name_of);

TEST(TermsMapsNorm, TrainsTheStudent) {
  for (const auto& [student, teacher] :
       {std::pair("resnet8", "resnet8x4"), std::pair("vgg8", "resnet8x4"),
        std::pair("wrn_16_1", "wrn_16_2")}) {
    SCOPED_TRACE(student);
    Lesson lesson(student, teacher, /*expanded_channels=*/1024);
    lesson.expect_learns(*make_term(lesson.context("norm")));
  }
}

// RepDistiller's f0, f1, f2 and f3.
TEST(TermsMapsFsp, FlowsFromTheStem) {
  Lesson lesson("resnet8", "resnet20");
  const TermContext context = lesson.context("fsp");
  const ModelOutput &s = context.student.example, &t = context.teacher.example;
  const torch::Tensor got = make_term(context)->loss({Batch{}, s, t});
  const torch::Tensor want =
      flow_loss({s.stem, s.features[0].post, s.features[1].post, s.features[2].post},
                {t.stem, t.features[0].post, t.features[1].post, t.features[2].post});
  EXPECT_EQ(s.stem.sizes(), torch::IntArrayRef({2, 16, 32, 32}));
  EXPECT_EQ(got.item<double>(), want.item<double>());
}

class TermsMapsFitted : public testing::TestWithParam<Case> {};

TEST_P(TermsMapsFitted, LearnsInTheFitAndReachesTheStudentOnlyIfItSaysSo) {
  const Case& c = GetParam();
  Lesson lesson(c.student, c.teacher);
  const auto term = make_term(lesson.context(c.method));
  lesson.expect_learns(*term, /*fit=*/true);
  const bool reached = !none_defined(gradients_of(lesson.student().module()));
  EXPECT_EQ(reached, term->fit()->trains_student);
}

INSTANTIATE_TEST_SUITE_P(Pairs, TermsMapsFitted,
                         testing::Values(Case{"fsp", "resnet8", "resnet20", "", ""},
                                         Case{"ab", "resnet8", "resnet8x4", "", ""},
                                         Case{"ft", "resnet8", "resnet8x4", "", ""},
                                         Case{"ft", "MobileNetV2", "vgg8", "", ""}),
                         name_of);

TEST(TermsMapsDefaults, AreThePublishedWeightsAndFits) {
  struct Expected {
    std::string method;
    double weight;
    std::optional<Term::Fit> fit;
  };
  const Term::Fit with_student{.epochs = 30.0, .trains_student = true},
      alone{.epochs = 30.0, .lr = 0.01};
  for (const Expected& expected : {Expected{"sp", 3000.0, {}},
                                   {"nst", 50.0, {}},
                                   {"fsp", 0.0, with_student},
                                   {"ab", 0.0, with_student},
                                   {"ft", 200.0, alone}}) {
    SCOPED_TRACE(expected.method);
    Lesson lesson("resnet8", "resnet20");
    const TermContext context = lesson.context(expected.method);
    EXPECT_EQ(context.options.weight, expected.weight);
    const std::optional<Term::Fit> fit = make_term(context)->fit();
    ASSERT_EQ(fit.has_value(), expected.fit.has_value());
    if (!fit) continue;
    EXPECT_EQ(fit->epochs, expected.fit->epochs);
    EXPECT_EQ(fit->lr, expected.fit->lr);
    EXPECT_EQ(fit->trains_student, expected.fit->trains_student);
  }
}

TEST(TermsMapsFit, TakesItsLengthAndRateFromTheOptions) {
  Lesson lesson("resnet8", "resnet20");
  for (const std::string method : {"fsp", "ab", "ft"}) {
    TermContext context = lesson.context(method);
    context.options.fit_epochs = 2.5;
    context.options.fit_lr = 0.125;
    const std::optional<Term::Fit> fit = make_term(context)->fit();
    ASSERT_TRUE(fit.has_value()) << method;
    EXPECT_EQ(fit->epochs, 2.5);
    EXPECT_EQ(fit->lr, 0.125);
  }
}

TEST(TermsMapsFit, FreezesTheParaphraserAndLeavesTheTranslator) {
  Lesson lesson("resnet8", "resnet8x4");
  const auto term = make_term(lesson.context("ft"));
  const auto children = term->module()->named_children();
  const auto gradients = [&](const std::string& child) { return gradients_of(*children[child]); };

  lesson.loss(*term, /*fit=*/true).backward();
  EXPECT_TRUE(all_defined(gradients("encoder")));
  EXPECT_TRUE(all_defined(gradients("decoder")));
  EXPECT_TRUE(none_defined(gradients("translator")));

  term->module()->zero_grad();
  lesson.loss(*term, /*fit=*/false).backward();
  EXPECT_TRUE(none_defined(gradients("encoder")));
  EXPECT_TRUE(none_defined(gradients("decoder")));
  EXPECT_TRUE(all_defined(gradients("translator")));
}

TEST(TermsMapsFit, BoundariesNeedNoConnectorsBetweenEqualShapes) {
  Lesson equal("resnet8", "resnet20"), unequal("resnet8", "resnet8x4");
  EXPECT_EQ(make_term(equal.context("ab"))->module(), nullptr);
  EXPECT_EQ(make_term(unequal.context("ab"))->module()->children().size(), 3U);
}

TEST(TermsMapsFit, BoundariesLieBeforeTheActivation) {
  Lesson lesson("resnet8", "resnet20");
  const auto term = make_term(lesson.context("ab"));
  const torch::Tensor on = torch::ones({2, 1, 1, 1}), off = torch::zeros({2, 1, 1, 1});
  ModelOutput student, teacher;
  for (const char* stage : {"layer1", "layer2", "layer3"}) {
    student.features.push_back({stage, off, -on});
    teacher.features.push_back({stage, off, -on});
  }
  EXPECT_EQ(term->loss({Batch{}, student, teacher}).item<double>(), 0.0);
}

// What the user is told.
std::string refusal(const TermContext& context) {
  return test::error_of<ConfigError>([&] { make_term(context); });
}

TEST(TermsMapsErrors, FlowsOfOtherWidthsAreRefusedWithThem) {
  Lesson lesson("resnet20", "resnet8x4");
  const std::string message = refusal(lesson.context("fsp"));
  EXPECT_THAT(message, HasSubstr("resnet20 has 16, 16, 32, 64"));
  EXPECT_THAT(message, HasSubstr("resnet8x4 has 32, 64, 128, 256"));
  EXPECT_THAT(message, HasSubstr("take a method for any widths"));
}

TEST(TermsMapsErrors, AFlowNeedsTwoStages) {
  Lesson lesson("resnet8", "resnet20");
  EXPECT_THAT(refusal(lesson.context("fsp", "layer1", "layer1")),
              HasSubstr("name two or more with student_stages and teacher_stages"));
}

TEST(TermsMapsErrors, MapsThatNoConnectorBringsTogetherAreRefusedWithTheirSizes) {
  Lesson lesson("vit", "resnet8x4");
  EXPECT_THAT(refusal(lesson.context("ab")),
              HasSubstr("8 x 8 pixels cannot be brought to the teacher's 32 x 32"));
}

TEST(TermsMapsErrors, AnUnknownStageIsAnsweredWithThoseThereAre) {
  Lesson lesson("resnet8", "resnet20");
  for (const std::string method : {"sp", "nst", "fsp", "ab", "ft"}) {
    EXPECT_THAT(refusal(lesson.context(method, "layer9", "layer1")),
                HasSubstr("no stage 'layer9': it has layer1, layer2, layer3"))
        << method;
  }
}

TEST(TermsMapsErrors, ATeacherWithoutStagesIsRefused) {
  Lesson lesson("resnet8", "resnet20");
  for (const std::string method : {"sp", "nst", "fsp", "ab", "ft"}) {
    TermContext context = lesson.context(method);
    context.teacher.example.features.clear();
    EXPECT_THAT(refusal(context), HasSubstr("the teacher resnet20 gives logits only")) << method;
  }
}

TEST(TermsMapsErrors, NormSaysWhatItNeeds) {
  Lesson plain("resnet8", "resnet20");
  EXPECT_THAT(refusal(plain.context("norm")),
              HasSubstr("wide, got 0: set model.expanded_channels, 512 for N = 8"));
  Lesson odd("resnet8", "resnet20", /*expanded_channels=*/100);
  EXPECT_THAT(refusal(odd.context("norm")),
              HasSubstr("a multiple N of the 64 channels of resnet20's last stage wide, got 100"));
  Lesson transformer("vit", "resnet20");
  EXPECT_THAT(refusal(transformer.context("norm")),
              HasSubstr("the student vit is a transformer: take a CNN"));
}

TEST(TermsMapsErrors, StagesGoFromShallowToDeep) {
  Lesson lesson("resnet8", "resnet20");
  TermContext context = lesson.context("at");
  context.options.student_stages = {"layer3", "layer1"};
  context.options.teacher_stages = {"layer3", "layer1"};
  EXPECT_THAT(refusal(context), HasSubstr("go from shallow to deep"));
}

TEST(TermsMapsErrors, AParaphraserTakesOneStage) {
  Lesson lesson("resnet8", "resnet20");
  TermContext context = lesson.context("ft");
  context.options.student_stages = context.options.teacher_stages = {"layer1", "layer2"};
  EXPECT_THAT(refusal(context), HasSubstr("got 2 pairs"));
}

// A hint for each pair of stages, and their sum.
TEST(TermsMapsHints, OfSeveralStagesAreSummed) {
  Lesson lesson("resnet8", "resnet20");
  TermContext context = lesson.context("fitnet");
  context.options.student_stages = context.options.teacher_stages = {"layer1", "layer3"};
  const auto term = make_term(context);
  EXPECT_EQ(term->module()->children().size(), 2U);
  lesson.expect_learns(*term);
}

TEST(TermsMapsStages, OfTheLongerListAreTheLast) {
  Lesson lesson("resnet8", "MobileNetV2");  // three stages; four
  const auto pairs = stage_pairs(lesson.context("at"), StageChoice::kAll);
  ASSERT_EQ(pairs.size(), 3U);
  EXPECT_EQ(pairs.front().student, 0U);
  EXPECT_EQ(pairs.front().teacher, 1U);
  EXPECT_EQ(pairs.back().teacher, 3U);
}

TEST(TermsMapsErrors, AParaphraserWithoutFactorsIsRefused) {
  Lesson lesson("resnet8", "resnet20");
  TermContext context = lesson.context("ft");
  context.options.paraphrase_rate = 0.01;
  EXPECT_THAT(refusal(context), HasSubstr("leaves no factor of the 64 channels of resnet20"));
}

}  // namespace
}  // namespace umbra
