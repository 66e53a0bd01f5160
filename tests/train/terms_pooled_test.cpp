// The terms cc, rkd, pkt, vid and ofd: golden values of the papers' public code, and how they
// train.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/optim.h>

#include "tests/support.h"
#include "train/distill/terms/terms.h"
#include "train/error.h"
#include "train/loop/precision.h"

namespace umbra::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

// Golden values have eight decimals.
TEST(PooledTerms, RelationsAreGolden) {
  const torch::Tensor s = golden_student({4, 6}), t = golden_teacher({4, 6});
  EXPECT_NEAR(congruence_loss(s, t).item<double>(), 11.09684707, 1e-8);
  EXPECT_NEAR(relational_loss(s, t, 25.0, 50.0).item<double>(), 4.62904543, 1e-8);
  EXPECT_NEAR(probabilistic_transfer_loss(s, t).item<double>(), 0.05503016, 1e-8);
}

TEST(PooledTerms, WeightsAreThePublishedOnes) {
  EXPECT_EQ(find_term_method("cc")->defaults.weight, 0.02);
  EXPECT_EQ(find_term_method("rkd")->defaults.weight, 1.0);
  EXPECT_EQ(find_term_method("pkt")->defaults.weight, 30000.0);
  EXPECT_EQ(find_term_method("vid")->defaults.weight, 1.0);
  EXPECT_EQ(find_term_method("ofd")->defaults.weight, 1e-3);
}

TEST(PooledTerms, RelationsOfOneSampleAreNone) {
  const torch::Tensor s = golden_student({4, 6}).narrow(0, 0, 1).clone().requires_grad_();
  const torch::Tensor t = golden_teacher({4, 6}).narrow(0, 0, 1);
  const torch::Tensor loss =
      congruence_loss(s, t) + relational_loss(s, t, 25.0, 50.0) + probabilistic_transfer_loss(s, t);
  loss.backward();
  EXPECT_EQ(loss.item<double>(), 0.0);
  EXPECT_LT(s.grad().abs().max().item<double>(), 1e-12);
}

TEST(PooledTerms, SamplesThatCoincideAndVectorsOfZerosHaveGradientsOfModerateSize) {
  torch::Tensor s = golden_student({4, 6});
  s[1] = s[0];
  s[2] = 0.0;
  s.requires_grad_();
  for (const torch::Tensor& loss : {relational_loss(s, golden_teacher({4, 6}), 25.0, 50.0),
                                    probabilistic_transfer_loss(s, golden_teacher({4, 6}))}) {
    s.mutable_grad() = torch::Tensor();
    loss.backward();
    EXPECT_TRUE(torch::isfinite(s.grad()).all().item<bool>());
    // A zero vector's direction turns at once, which PKT sees: 1 / 1e-7.
    EXPECT_LT(s.grad().narrow(0, 0, 2).abs().max().item<double>(), 100.0);
  }
}

TEST(PooledTerms, RelationsAreWideUnderAutocast) {
  const torch::Tensor s = torch::randn({16, 32}), t = torch::randn({16, 48});
  const auto both = [&] {
    return torch::stack({relational_loss(s, t, 25.0, 50.0), probabilistic_transfer_loss(s, t)});
  };
  const torch::Tensor expected = both();
  const AutocastGuard autocast(torch::kCPU, torch::kBFloat16);
  EXPECT_EQ(torch::mm(s, s.t()).scalar_type(), torch::kBFloat16);
  EXPECT_TRUE(torch::equal(both(), expected));
}

TEST(PooledTerms, HalfPrecisionIsComputedInSinglePrecision) {
  const auto half = [](const torch::Tensor& x) { return x.to(torch::kBFloat16); };
  const torch::Tensor s = half(golden_student({4, 6})), t = half(golden_teacher({4, 6}));
  const torch::Tensor map = half(torch::randn({2, 3, 4, 4}));
  for (const torch::Tensor& value :
       {congruence_loss(s, t), relational_loss(s, t, 25.0, 50.0), probabilistic_transfer_loss(s, t),
        variational_loss(map, map, torch::zeros(3)), overhaul_loss(map, map, torch::zeros(3))}) {
    EXPECT_EQ(value.scalar_type(), torch::kFloat32);
  }
}

TEST(PooledTerms, MarginsOfWeightsOfZeroAreTheirLimits) {
  const torch::Tensor margin = activation_margin(torch::tensor({0.0, 0.0, 0.0, 1.0, 1.0}),
                                                 torch::tensor({-2.0, 2.0, 0.0, 0.0, 4.0}));
  // The mean of the negative half of a standard normal is -sqrt(2 / pi).
  expect_close(margin, torch::tensor({-2.0, 0.0, 0.0, -0.79788456, -3.0}), 1e-6);
}

// The values of one channel: of each case one, and those that count nothing.
TEST(PooledTerms, OverhauledDistanceIgnoresWhatIsNegativeInBoth) {
  const auto loss = [](double s, double t) {
    return overhaul_loss(torch::full({1, 1, 1, 1}, s), torch::full({1, 1, 1, 1}, t),
                         torch::tensor({-0.5}))
        .item<double>();
  };
  EXPECT_NEAR(loss(0.5, -2.0), 1.0, 1e-6);      // to the margin
  EXPECT_NEAR(loss(0.5, -0.25), 0.5625, 1e-6);  // to the teacher
  EXPECT_NEAR(loss(-2.0, 1.0), 9.0, 1e-6);
  EXPECT_EQ(loss(-0.75, -2.0), 0.0);
  EXPECT_EQ(loss(-2.0, -0.25), 0.0);
}

// --- on real networks --------------------------------------------------------------------------

std::unique_ptr<Model> make_model(const std::string& name) {
  ModelOptions options = named_model(name);
  options.num_classes = 10;
  options.in_chans = 3;
  if (name == "vit") {
    options.vit.img_size = 32;
    options.vit.patch_size = 8;
    options.vit.embed_dim = 24;
    options.vit.depth = 6;
    options.vit.num_heads = 3;
  }
  return create_model(options);
}

struct Networks {
  Networks(const std::string& student_name, const std::string& teacher_name) {
    torch::manual_seed(1);
    student = make_model(student_name);
    teacher = make_model(teacher_name);
    teacher->module().eval();
  }

  TermContext context(const std::string& method) const {
    TermContext context;
    context.options = find_term_method(method)->defaults;
    context.student = view_of(*student);
    context.teacher = view_of(*teacher);
    return context;
  }

  static NetworkView view_of(Model& model) {
    const torch::NoGradGuard no_grad;
    model.module().eval();
    return {&model, model.forward(torch::zeros({2, 3, 32, 32}))};
  }

  std::unique_ptr<Model> student, teacher;
};

struct Case {
  std::string method, student, teacher;
};

class PooledTermTraining : public testing::TestWithParam<Case> {};

TEST_P(PooledTermTraining, LowersItsLoss) {
  const Networks networks(GetParam().student, GetParam().teacher);
  const auto term = make_term(networks.context(GetParam().method));
  networks.student->module().train();
  std::vector<torch::Tensor> parameters = networks.student->module().parameters();
  if (const auto module = term->module()) {
    module->train();
    for (const torch::Tensor& parameter : module->parameters()) parameters.push_back(parameter);
  }
  torch::optim::SGD optimizer(parameters, torch::optim::SGDOptions(0.005));
  const Batch batch;
  const torch::Tensor images = torch::randn({6, 3, 32, 32});
  const ModelOutput teacher = networks.teacher->forward(images);
  std::vector<double> losses;
  for (int step = 0; step < 10; ++step) {
    const torch::Tensor loss = term->loss({batch, networks.student->forward(images), teacher});
    ASSERT_EQ(loss.dim(), 0);
    losses.push_back(loss.item<double>());
    ASSERT_TRUE(std::isfinite(losses.back()));
    optimizer.zero_grad();
    loss.backward();
    torch::nn::utils::clip_grad_norm_(parameters, 1.0);
    optimizer.step();
  }
  EXPECT_LT(losses.back(), losses.front());
}

TEST_P(PooledTermTraining, GivesGradientsToTheStudentsSideOnly) {
  const Networks networks(GetParam().student, GetParam().teacher);
  const auto term = make_term(networks.context(GetParam().method));
  networks.student->module().train();
  const torch::Tensor images = torch::randn({6, 3, 32, 32});
  const Batch batch;
  term->loss({batch, networks.student->forward(images), networks.teacher->forward(images)})
      .backward();
  EXPECT_TRUE(networks.student->module().parameters().front().grad().defined());
  // Not even with a forward that keeps its graph.
  for (const torch::Tensor& parameter : networks.teacher->module().parameters()) {
    EXPECT_FALSE(parameter.grad().defined());
  }
  if (!term->module()) return;
  for (const auto& item : term->module()->named_parameters()) {
    EXPECT_TRUE(item.value().grad().defined()) << item.key();
  }
}

TEST_P(PooledTermTraining, IsWideUnderAutocast) {
  const Networks networks(GetParam().student, GetParam().teacher);
  const auto term = make_term(networks.context(GetParam().method));
  const torch::Tensor images = torch::randn({6, 3, 32, 32});
  torch::Tensor loss;
  {
    const AutocastGuard autocast(torch::kCPU, torch::kBFloat16);
    const Batch batch;
    loss =
        term->loss({batch, networks.student->forward(images), networks.teacher->forward(images)});
  }
  EXPECT_EQ(loss.scalar_type(), torch::kFloat32);
  loss.backward();
  for (const torch::Tensor& parameter : networks.student->module().parameters()) {
    if (!parameter.grad().defined()) continue;
    EXPECT_TRUE(torch::isfinite(parameter.grad()).all().item<bool>());
  }
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const char* method : {"cc", "rkd", "pkt", "vid", "ofd"}) {
    all.push_back({method, "resnet20", "resnet8x4"});
    all.push_back({method, "cifar_mobilenetv2_050", "cifar_vgg8"});
    all.push_back({method, "vit", "wrn_16_2"});
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(Pairs, PooledTermTraining, testing::ValuesIn(cases()),
                         [](const auto& test) {
                           return test.param.method + "_" + test.param.student;
                         });

TEST(PooledTerms, TheFirstVarianceIsFive) {
  const Networks networks("resnet8", "resnet8x4");
  const auto term = make_term(networks.context("vid"));
  const torch::Tensor log_scale = term->module()->named_parameters()["1.log_scale"];
  expect_close(torch::softplus(log_scale) + 1e-5, torch::full({128}, 5.0), 1e-6);
}

TEST(PooledTerms, MarginsAreTheTeachersAndAreKeptAsBuffers) {
  const Networks networks("resnet8", "resnet8x4");
  const torch::nn::BatchNorm2d norm = networks.teacher->stage_norms()[1];
  norm->bias.data().fill_(0.5);
  const auto term = make_term(networks.context("ofd"));
  const torch::Tensor margin = term->module()->named_buffers()["1.margin"];
  expect_close(margin, activation_margin(norm->weight, norm->bias), 0.0);
  EXPECT_FALSE(margin.requires_grad());
}

// --- errors ------------------------------------------------------------------------------------

std::string refusal(const TermContext& context) {
  return error_of<ConfigError>([&] { make_term(context); });
}

TEST(PooledTerms, RefuseATeacherThatGivesLogitsOnly) {
  const Networks networks("resnet8", "resnet8x4");
  for (const char* method : {"cc", "rkd", "pkt", "vid", "ofd"}) {
    TermContext context = networks.context(method);
    const torch::Tensor logits = context.teacher.example.logits;
    context.teacher.example = {};
    context.teacher.example.logits = logits;
    EXPECT_THAT(refusal(context),
                AllOf(HasSubstr(method), HasSubstr("resnet8x4"), HasSubstr("logits only")));
  }
}

TEST(PooledTerms, RefuseAStageThatIsNotThere) {
  const Networks networks("resnet8", "resnet8x4");
  for (const char* method : {"vid", "ofd"}) {
    TermContext context = networks.context(method);
    context.options.student_stages = {"layer9"};
    context.options.teacher_stages = {"layer1"};
    EXPECT_THAT(refusal(context), AllOf(HasSubstr("no stage 'layer9'"), HasSubstr("layer3")));
  }
}

TEST(PooledTerms, TakeTheStagesThatAreNamed) {
  const Networks networks("resnet8", "resnet8x4");
  TermContext context = networks.context("ofd");
  context.options.student_stages = {"layer2"};
  context.options.teacher_stages = {"layer3"};
  const auto parameters = make_term(context)->module()->named_parameters();
  EXPECT_EQ(parameters["0.conv.weight"].sizes(), torch::IntArrayRef({256, 32, 1, 1}));
}

TEST(PooledTerms, RefuseATeacherWithoutNormsBeforeItsActivations) {
  for (const char* teacher : {"vit", "cifar_shufflenetv2"}) {
    const Networks networks("resnet8", teacher);
    EXPECT_THAT(refusal(networks.context("ofd")),
                AllOf(HasSubstr("margins"), HasSubstr(teacher), HasSubstr("take a ResNet")));
  }
}

TEST(PooledTerms, TakeATransformerOfFewerBlocksThanTheTeacherHasStages) {
  const Networks networks("vit", "resnet8x4");
  TermContext context = networks.context("vid");
  context.student.example.features.resize(2);
  const auto parameters = make_term(context)->module()->named_parameters();
  EXPECT_EQ(parameters["0.log_scale"].size(0), 128);  // the teacher's last two stages
  EXPECT_EQ(parameters["1.log_scale"].size(0), 256);
  EXPECT_FALSE(parameters.contains("2.log_scale"));
}

}  // namespace
}  // namespace umbra::test
