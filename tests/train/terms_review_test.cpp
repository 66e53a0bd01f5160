// ReviewKD and SSKD: golden values of the public code, what learns and what does not, and the terms
// and objectives as built for real networks.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/optim/sgd.h>

#include "tests/support.h"
#include "train/distill/losses.h"
#include "train/distill/sskd.h"
#include "train/distill/sskd_losses.h"
#include "train/distill/terms/terms.h"
#include "train/error.h"
#include "train/loop/precision.h"

namespace umbra {
namespace {

using test::error_of;
using test::expect_close;
using test::expect_golden;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

std::vector<int64_t> listed(const torch::Tensor& x) {
  const torch::Tensor flat = x.contiguous().to(torch::kInt64);
  return {flat.data_ptr<int64_t>(), flat.data_ptr<int64_t>() + flat.numel()};
}

// --- networks --------------------------------------------------------------------------------

struct Pair {
  std::unique_ptr<Model> student, teacher;
  torch::Tensor images;
  TermContext context;

  ModelOutput taught() const {
    const torch::NoGradGuard no_grad;
    return teacher->forward(images);
  }
};

std::unique_ptr<Model> network(const std::string& name, int64_t side) {
  ModelOptions options = named_model(name);
  options.num_classes = 10;
  options.in_chans = 3;
  if (name == "vit") {
    options.vit.img_size = side;
    options.vit.patch_size = 4;
    options.vit.embed_dim = 24;
    options.vit.depth = 6;
    options.vit.num_heads = 2;
    options.vit.distilled = true;
  }
  return create_model(options);
}

Pair network_pair(const std::string& student, const std::string& teacher, int64_t side = 32,
                  int64_t batch = 4) {
  torch::manual_seed(1);
  Pair pair{
      network(student, side), network(teacher, side), torch::randn({batch, 3, side, side}), {}};
  const torch::NoGradGuard no_grad;
  const torch::Tensor blank = torch::zeros({2, 3, side, side});
  pair.student->module().eval();
  pair.teacher->module().eval();
  pair.context.student = {pair.student.get(), pair.student->forward(blank)};
  pair.context.teacher = {pair.teacher.get(), pair.teacher->forward(blank)};
  pair.context.options = find_term_method("review_kd")->defaults;
  pair.student->module().train();
  return pair;
}

// What a TorchScript teacher gives.
ModelOutput logits_only(const ModelOutput& output) {
  ModelOutput bare;
  bare.logits = output.logits;
  return bare;
}

// Losses of some steps of SGD on student and `module`.
std::vector<double> descend(Model& student, torch::nn::Module& module, int64_t steps, double lr,
                            const std::function<torch::Tensor()>& loss) {
  std::vector<torch::Tensor> parameters = student.module().parameters();
  for (const torch::Tensor& p : module.parameters()) parameters.push_back(p);
  torch::optim::SGD sgd(parameters, torch::optim::SGDOptions(lr).momentum(0.9));
  std::vector<double> losses;
  for (int64_t step = 0; step < steps; ++step) {
    const torch::Tensor value = loss();
    EXPECT_EQ(value.dim(), 0);
    EXPECT_TRUE(std::isfinite(value.item<double>()));
    losses.push_back(value.item<double>());
    sgd.zero_grad();
    value.backward();
    sgd.step();
  }
  return losses;
}

// --- ReviewKD --------------------------------------------------------------------------------

TEST(ReviewKd, HclIsGolden) {
  const auto loss = [](torch::IntArrayRef shape) {
    return hcl_loss(test::golden_student(shape), test::golden_teacher(shape));
  };
  expect_golden(loss({4, 5, 16, 16}), 3.91278468);
  expect_golden(loss({4, 3, 8, 8}), 3.95566033);
  expect_golden(loss({4, 3, 4, 4}), 5.25662822);
  expect_golden(loss({4, 3, 1, 1}), 1.28189569);
}

TEST(ReviewKd, HclTeachesTheStudentOnly) {
  const torch::Tensor s = test::golden_student({2, 3, 8, 8}).requires_grad_(),
                      t = test::golden_teacher({2, 3, 8, 8}).requires_grad_();
  hcl_loss(s, t).backward();
  EXPECT_TRUE(s.grad().defined());
  EXPECT_FALSE(t.grad().defined());
}

TEST(ReviewKd, HclOfHalfPrecisionIsComputedInSinglePrecision) {
  const torch::Tensor s = test::golden_student({2, 3, 8, 8}).to(torch::kBFloat16),
                      t = test::golden_teacher({2, 3, 8, 8}).to(torch::kBFloat16);
  const torch::Tensor value = hcl_loss(s, t);
  EXPECT_EQ(value.scalar_type(), torch::kFloat32);
  expect_close(value, hcl_loss(s.to(torch::kFloat64), t.to(torch::kFloat64)), 1e-6);
}

struct Size {
  std::string student, teacher;
  int64_t side, parameters;
};
class ReviewKdSize : public testing::TestWithParam<Size> {};

// The public code's own modules, counted.
TEST_P(ReviewKdSize, TrainsAsManyParametersAsTheOfficialCode) {
  const Size& size = GetParam();
  const Pair pair = network_pair(size.student, size.teacher, size.side);
  EXPECT_EQ(count_parameters(*make_term(pair.context)->module()), size.parameters);
}
INSTANTIATE_TEST_SUITE_P(Official, ReviewKdSize,
                         testing::Values(Size{"resnet20", "resnet56", 32, 114278},
                                         Size{"resnet8x4", "resnet32x4", 32, 1808774},
                                         Size{"wrn_16_2", "wrn_40_2", 32, 453830},
                                         Size{"shufflenetv1", "resnet32x4", 32, 4607366},
                                         Size{"cifar_shufflenetv2", "resnet32x4", 32, 4195718},
                                         Size{"cifar_vgg8", "cifar_vgg13", 32, 9847560},
                                         Size{"cifar_mobilenetv2_050", "cifar_resnet50", 32,
                                              27933192},
                                         Size{"resnet18", "resnet34", 64, 7552904},
                                         Size{"mobilenetv1", "resnet50", 64, 14338056}),
                         [](const auto& item) { return item.param.student; });

struct Names {
  std::string student, teacher;
};
class ReviewKdPair : public testing::TestWithParam<Names> {};

TEST_P(ReviewKdPair, LowersItsLossByTraining) {
  Pair pair = network_pair(GetParam().student, GetParam().teacher);
  pair.context.options.mid_channels = 16;
  const auto term = make_term(pair.context);
  const ModelOutput teacher = pair.taught();
  const std::vector<double> losses = descend(*pair.student, *term->module(), 16, 0.1, [&] {
    return term->loss({Batch{}, pair.student->forward(pair.images), teacher});
  });
  EXPECT_LT(losses.back(), 0.9 * losses.front());
}
INSTANTIATE_TEST_SUITE_P(
    Any, ReviewKdPair,
    testing::Values(Names{"resnet20", "resnet8x4"},                // wider
                    Names{"cifar_mobilenetv2_050", "cifar_vgg8"},  // larger maps
                    Names{"cifar_vgg8", "resnet8"},                // more stages than the teacher
                    Names{"vit", "resnet8"},  // pooled to the grid, and upsampled
                    Names{"vit", "cifar_vgg8"}, Names{"vit", "vit"}, Names{"resnet8", "vit"}),
    [](const auto& item) { return item.param.student + "_from_" + item.param.teacher; });

// Tensors that must not be read hold NaN.
TEST(ReviewKd, TakesStagesBeforeOrAfterTheirActivation) {
  struct Case {
    const char *network, *activation;
    bool student_pre, teacher_pre;
  };
  for (const Case& c : {Case{"resnet8", "official", false, true},
                        {"resnet18", "official", false, false},
                        {"mobilenetv1", "official", true, false},
                        {"resnet18", "pre", true, true},
                        {"resnet8", "post", false, false}}) {
    SCOPED_TRACE(fmt::format("{} {}", c.network, c.activation));
    Pair pair = network_pair(c.network, c.network, 64);
    pair.context.options.activation = c.activation;
    const auto term = make_term(pair.context);
    ModelOutput student = pair.student->forward(pair.images), teacher = pair.taught();
    for (const auto& [output, pre] :
         {std::pair(&student, c.student_pre), std::pair(&teacher, c.teacher_pre)}) {
      for (Feature& feature : output->features) {
        (pre ? feature.post : feature.pre) = torch::full_like(feature.post, NAN);
      }
    }
    EXPECT_TRUE(term->loss({Batch{}, student, teacher}).isfinite().item<bool>());
  }
}

TEST(ReviewKd, TeachesStudentAndFusionButNotTheTeacher) {
  Pair pair = network_pair("resnet8", "resnet14");
  const auto term = make_term(pair.context);
  const ModelOutput teacher = pair.teacher->forward(pair.images);  // with gradients
  term->loss({Batch{}, pair.student->forward(pair.images), teacher}).backward();
  for (const torch::Tensor& p : pair.teacher->module().parameters()) {
    EXPECT_FALSE(p.grad().defined());
  }
  for (const auto& p : term->module()->named_parameters()) {
    EXPECT_TRUE(p.value().grad().defined()) << p.key();
  }
  for (const auto& p : pair.student->module().named_parameters()) {
    const bool is_head = p.key().starts_with("fc");
    EXPECT_EQ(p.value().grad().defined(), !is_head) << p.key();
  }
}

TEST(ReviewKd, AVitsWidthIsItsOwn) {
  const Pair pair = network_pair("vit", "resnet8");
  const auto module = make_term(pair.context)->module();
  EXPECT_EQ(module->named_parameters()["abfs.1.conv1.0.weight"].size(0), 192);
}

TEST(ReviewKd, ComparesTheStagesThatAreNamed) {
  Pair pair = network_pair("resnet8", "resnet8x4");
  pair.context.options.student_stages = {"layer3"};
  pair.context.options.teacher_stages = {"layer2"};
  const auto names = make_term(pair.context)->module()->named_parameters();
  EXPECT_TRUE(names.contains("abfs.1.conv2.0.weight"));
  EXPECT_FALSE(names.contains("abfs.2.conv2.0.weight"));
  EXPECT_EQ(names["abfs.1.conv2.0.weight"].size(0), 128);
}

TEST(ReviewKd, GrowsOverTwentyEpochsFromZeroAsPublished) {
  const TermOptions& options = find_term_method("review_kd")->defaults;
  EXPECT_EQ(options.weight, 5.0);
  EXPECT_EQ(options.warmup_epochs, 20.0);
  EXPECT_TRUE(options.warmup_from_zero);
}

TEST(ReviewKd, RefusesWhatCannotBeCompared) {
  Pair pair = network_pair("resnet8", "resnet8");
  TermContext context = pair.context;
  context.options.student_stages = context.options.teacher_stages = {"layer9"};
  EXPECT_THAT(error_of<ConfigError>([&] { make_term(context); }),
              AllOf(HasSubstr("layer9"), HasSubstr("layer1")));
  context = pair.context;
  context.teacher.example = logits_only(pair.context.teacher.example);
  EXPECT_THAT(error_of<ConfigError>([&] { make_term(context); }),
              AllOf(HasSubstr("review_kd"), HasSubstr("logits only")));
}

// --- SSKD's losses ---------------------------------------------------------------------------

TEST(SskdLosses, AreGolden) {
  const torch::Tensor labels = torch::tensor({1, 2, 3}, torch::kInt64).repeat_interleave(4);
  const SskdRows z_s = split_views(test::golden_student({12, 10})),
                 z_t = split_views(test::golden_teacher({12, 10})), y = split_views(labels);
  const torch::Tensor a_s = view_similarity(test::golden_student({12, 6})),
                      a_t = view_similarity(test::golden_teacher({12, 6})),
                      sources = view_sources(3, torch::kCPU);
  const torch::Tensor class_ranks = target_ranks(z_t.transformed, y.transformed),
                      source_ranks = target_ranks(a_t, sources);
  EXPECT_THAT(listed(class_ranks), ElementsAre(6, 8, 1, 7, 2, 8, 3, 9, 6));
  EXPECT_THAT(listed(select_rows(class_ranks, 1.0)), ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8));
  EXPECT_THAT(listed(source_ranks), ElementsAre(1, 1, 2, 1, 2, 2, 2, 2, 0));
  EXPECT_THAT(listed(select_rows(source_ranks, 0.75)), ElementsAre(0, 1, 2, 3, 4, 5, 8));

  const torch::Tensor ce = cross_entropy(z_s.normal, y.normal),
                      kd = kl_divergence(z_s.normal, z_t.normal, 4.0),
                      tf = selected_kl(z_s.transformed, z_t.transformed, y.transformed, 1.0, 4.0),
                      ss = selected_kl(a_s, a_t, sources, 0.75, 0.5);
  expect_golden(ce, 2.84962667);
  expect_golden(kd, 0.54062999);
  expect_golden(tf, 1.70613385);
  expect_golden(ss, 0.27764315);
  expect_golden(0.1 * ce + 0.9 * kd + 2.7 * tf + 10.0 * ss, 8.15452261);
  expect_golden(cross_entropy(a_t, sources), 1.45074458);
}

TEST(SskdLosses, RowRIsOfSourceRDividedByThree) {
  const SskdRows rows = split_views(torch::arange(12));
  EXPECT_THAT(listed(rows.normal), ElementsAre(0, 4, 8));
  EXPECT_THAT(listed(rows.transformed), ElementsAre(1, 2, 3, 5, 6, 7, 9, 10, 11));
  EXPECT_THAT(listed(view_sources(3, torch::kCPU)), ElementsAre(0, 0, 0, 1, 1, 1, 2, 2, 2));
  EXPECT_THROW(split_views(torch::arange(10)), c10::Error);
}

TEST(SskdLosses, OfEqualScoresTheEarlierColumnRanksHigher) {
  const torch::Tensor scores = torch::tensor({{1.0, 1.0, 1.0}, {1.0, 1.0, 1.0}, {0.0, 2.0, 0.0}});
  EXPECT_THAT(listed(target_ranks(scores, torch::tensor({0, 2, 2}, torch::kInt64))),
              ElementsAre(0, 2, 2));
}

TEST(SskdLosses, KeepsTheLeastWrongRowsAndTheirOrderAmongEquals) {
  const torch::Tensor ranks = torch::tensor({2, 0, 2, 1, 2, 0}, torch::kInt64);
  EXPECT_THAT(listed(select_rows(ranks, 0.0)), ElementsAre(1, 5));
  EXPECT_THAT(listed(select_rows(ranks, 0.25)), ElementsAre(1, 3, 5));
  EXPECT_THAT(listed(select_rows(ranks, 0.49)), ElementsAre(1, 3, 5));  // 1.96 is 1
  EXPECT_THAT(listed(select_rows(ranks, 0.5)), ElementsAre(0, 1, 3, 5));
  EXPECT_THAT(listed(select_rows(ranks, 0.75)), ElementsAre(0, 1, 2, 3, 5));
  EXPECT_THAT(listed(select_rows(ranks, 1.0)), ElementsAre(0, 1, 2, 3, 4, 5));
  const torch::Tensor right = torch::zeros({3}, torch::kInt64);
  EXPECT_THAT(listed(select_rows(right, 0.0)), ElementsAre(0, 1, 2));
}

TEST(SskdLosses, NoRowIsNoLoss) {
  const torch::Tensor s = test::golden_student({3, 4}).requires_grad_();
  const torch::Tensor t = torch::tensor({0.0, 1.0, 2.0, 3.0}).repeat({3, 1});
  const torch::Tensor loss = selected_kl(s, t, torch::zeros({3}, torch::kInt64), 0.0, 4.0);
  loss.backward();
  EXPECT_EQ(loss.item<double>(), 0.0);
  EXPECT_EQ(s.grad().abs().max().item<double>(), 0.0);
}

TEST(SskdLosses, TheTeachersSideGetsNoGradient) {
  const torch::Tensor s = test::golden_student({6, 4}).requires_grad_(),
                      t = test::golden_teacher({6, 4}).requires_grad_();
  selected_kl(s, t, torch::zeros({6}, torch::kInt64), 0.75, 4.0).backward();
  EXPECT_TRUE(s.grad().defined());
  EXPECT_FALSE(t.grad().defined());
}

TEST(SskdLosses, SimilaritiesStayInSinglePrecisionUnderAutocast) {
  const torch::Tensor rows = test::golden_student({8, 6}).to(torch::kFloat32);
  const torch::Tensor expected = view_similarity(rows);
  const AutocastGuard autocast(torch::kCPU, torch::kBFloat16);
  EXPECT_TRUE(torch::equal(view_similarity(rows), expected));
}

// --- SSKD's objective ------------------------------------------------------------------------

constexpr int64_t kTrainImages = 9;

DistillOptions sskd_options(const std::string& task) {
  DistillOptions options;
  EXPECT_TRUE(apply_preset(options, "sskd"));
  options.sskd.task = task;
  return options;
}

Setting setting_of(const Pair& pair) {
  return {pair.context.student, {pair.context.teacher}, std::vector<int64_t>(kTrainImages, 0)};
}

// Three sources in four views.
Batch views_batch() {
  Batch batch;
  batch.labels = batch.targets = torch::tensor({1, 7, 4}, torch::kInt64).repeat_interleave(4);
  batch.indices = torch::tensor({8, 0, 5}, torch::kInt64).repeat_interleave(4);
  batch.pretext_labels = torch::arange(4, torch::kInt64).repeat({3});
  batch.views = 4;
  return batch;
}

std::unique_ptr<Objective> make_sskd(const Pair& pair, const std::string& task) {
  torch::manual_seed(2);
  return make_objective(sskd_options(task), LossOptions{}, setting_of(pair));
}

class SskdTask : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(All, SskdTask,
                         testing::Values("contrastive", "rotation", "jigsaw", "exemplar"),
                         [](const auto& item) { return item.param; });

TEST_P(SskdTask, FitsTheTeachersHeadAndNothingElse) {
  Pair pair = network_pair("resnet8", "resnet14", 32, 12);
  const auto objective = make_sskd(pair, GetParam());
  const std::vector<Objective::Fit> fits = objective->fits();
  ASSERT_EQ(fits.size(), 1U);
  EXPECT_EQ(fits[0].epochs, 60.0);
  EXPECT_EQ(fits[0].lr, 0.05);
  EXPECT_THAT(fits[0].milestones, ElementsAre(30.0, 45.0));
  EXPECT_FALSE(fits[0].trains_student);

  const ModelOutput student = pair.student->forward(pair.images);
  const std::vector<ModelOutput> teachers = {pair.teacher->forward(pair.images)};  // with gradients
  const std::vector<double> losses = descend(*pair.student, *objective->module(), 30, 0.01, [&] {
    return objective->fit_loss(fits[0], views_batch(), student, teachers);
  });
  EXPECT_LT(losses.back(), losses.front());
  for (const auto& p : objective->module()->named_parameters()) {
    EXPECT_EQ(p.value().grad().defined(), p.key().starts_with("teacher_head")) << p.key();
  }
  for (const Model* model : {pair.student.get(), pair.teacher.get()}) {
    for (const torch::Tensor& p : const_cast<Model*>(model)->module().parameters()) {
      EXPECT_FALSE(p.grad().defined());
    }
  }
}

TEST_P(SskdTask, TeachesTheStudentWithTheTeachersHeadFrozen) {
  Pair pair = network_pair("resnet8", "resnet8x4", 32, 12);
  const auto objective = make_sskd(pair, GetParam());
  const std::vector<ModelOutput> teachers = {pair.teacher->forward(pair.images)};  // with gradients
  const Loss first =
      objective->compute(views_batch(), pair.student->forward(pair.images), teachers);
  std::vector<std::string> names;
  for (const LossTerm& term : first.terms) names.push_back(term.name);
  EXPECT_THAT(names, ElementsAre("task", "normal_kd", "transform_kd", "pretext"));

  const std::vector<double> losses = descend(*pair.student, *objective->module(), 8, 0.02, [&] {
    return objective->compute(views_batch(), pair.student->forward(pair.images), teachers).total;
  });
  EXPECT_LT(losses.back(), losses.front());
  for (const auto& p : objective->module()->named_parameters()) {
    EXPECT_EQ(p.value().grad().defined(), p.key().starts_with("student_head")) << p.key();
  }
  for (const torch::Tensor& p : pair.teacher->module().parameters()) {
    EXPECT_FALSE(p.grad().defined());
  }
}

TEST_P(SskdTask, TakesAVitFromACnn) {
  Pair pair = network_pair("vit", "resnet8", 32, 12);
  const auto objective = make_sskd(pair, GetParam());
  const std::vector<ModelOutput> teachers = {pair.taught()};
  const Loss loss = objective->compute(views_batch(), pair.student->forward(pair.images), teachers);
  EXPECT_TRUE(loss.total.isfinite().item<bool>());
}

TEST(SskdObjective, HeadsEndInTheClassesOfTheTask) {
  const Pair pair = network_pair("resnet8", "resnet8x4");
  for (const auto& [task, student, teacher] :
       {std::tuple("contrastive", 64, 256), std::tuple("rotation", 4, 4),
        std::tuple("jigsaw", 24, 24), std::tuple("exemplar", 9, 9)}) {
    SCOPED_TRACE(task);
    const auto parameters = make_sskd(pair, task)->module()->named_parameters();
    EXPECT_EQ(parameters["student_head.0.weight"].size(0), 64);
    EXPECT_EQ(parameters["student_head.2.weight"].size(0), student);
    EXPECT_EQ(parameters["teacher_head.0.weight"].size(0), 256);
    EXPECT_EQ(parameters["teacher_head.2.weight"].size(0), teacher);
  }
}

TEST(SskdObjective, IsTheWeightedSumOfItsLosses) {
  Pair pair = network_pair("resnet8", "resnet14", 32, 12);
  const auto objective = make_sskd(pair, "contrastive");
  const Batch batch = views_batch();
  const ModelOutput student = pair.student->forward(pair.images);
  const std::vector<ModelOutput> teachers = {pair.taught()};
  const Loss loss = objective->compute(batch, student, teachers);

  const auto project = [&](const char* head, const torch::Tensor& pooled) {
    const auto p = objective->module()->named_parameters();
    const std::string name = head;
    const torch::Tensor hidden =
        torch::relu(torch::linear(pooled, p[name + ".0.weight"], p[name + ".0.bias"]));
    return view_similarity(torch::linear(hidden, p[name + ".2.weight"], p[name + ".2.bias"]));
  };
  const SskdRows z_s = split_views(student.logits), z_t = split_views(teachers[0].logits),
                 y = split_views(batch.labels);
  const std::vector<torch::Tensor> expected = {
      0.1 * cross_entropy(z_s.normal, y.normal), 0.9 * kl_divergence(z_s.normal, z_t.normal, 4.0),
      2.7 * kl_divergence(z_s.transformed, z_t.transformed, 4.0),  // all rows are kept
      10.0 * selected_kl(project("student_head", student.pooled),
                         project("teacher_head", teachers[0].pooled), view_sources(3, torch::kCPU),
                         0.75, 0.5)};
  ASSERT_EQ(loss.terms.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    SCOPED_TRACE(loss.terms[i].name);
    expect_close(loss.terms[i].value, expected[i], 1e-6);
  }
}

TEST(SskdObjective, NeedsOneTeacherThatCanBeLookedInto) {
  const Pair pair = network_pair("resnet8", "resnet8");
  Setting setting = setting_of(pair);
  const auto message = [&] {
    return error_of<ConfigError>(
        [&] { make_objective(sskd_options("contrastive"), LossOptions{}, setting); });
  };
  setting.teachers[0].example = logits_only(setting.teachers[0].example);
  EXPECT_THAT(message(), AllOf(HasSubstr("sskd"), HasSubstr("logits only")));
  setting.teachers.push_back(pair.context.teacher);
  EXPECT_THAT(message(), HasSubstr("one teacher"));
  setting.teachers.clear();
  EXPECT_THAT(message(), HasSubstr("[teacher]"));
}

TEST(SskdObjective, WithoutTheTaskThereIsNothingToFit) {
  const Pair pair = network_pair("resnet8", "resnet8");
  DistillOptions options = sskd_options("contrastive");
  options.sskd.pretext_weight = 0.0;
  EXPECT_TRUE(make_objective(options, LossOptions{}, setting_of(pair))->fits().empty());
}

TEST(SskdObjective, PresetsAreTheCodesAndTheSupplementsWeights) {
  DistillOptions options;
  ASSERT_TRUE(apply_preset(options, "sskd-paper"));
  EXPECT_THAT((std::vector{options.task_weight, options.sskd.kd_weight,
                           options.sskd.transform_weight, options.sskd.pretext_weight}),
              ElementsAre(0.1, 0.9, 5.0, 3.0));
  ASSERT_TRUE(apply_preset(options, "sskd"));
  EXPECT_THAT((std::vector{options.task_weight, options.sskd.kd_weight,
                           options.sskd.transform_weight, options.sskd.pretext_weight}),
              ElementsAre(0.1, 0.9, 2.7, 10.0));
}

}  // namespace
}  // namespace umbra
