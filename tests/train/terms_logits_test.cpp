// dkd, dist, crd, dml and one: golden values of the papers' public code, what learns and what must
// not, the sampler and the memory of CRD, and the terms on real networks.
#include <set>

#include <ATen/autocast_mode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/optim.h>

#include "tests/support.h"
#include "train/distill/losses.h"
#include "train/distill/terms/contrast_memory.h"
#include "train/distill/terms/negative_sampler.h"
#include "train/distill/terms/terms.h"
#include "train/error.h"

namespace umbra::test {
namespace {

using testing::HasSubstr;

// --- golden values ---------------------------------------------------------------------------

torch::Tensor golden_labels() { return torch::tensor({3, 14, 15, 92}, torch::kInt64); }

TEST(DkdLoss, IsGoldenAsAWholeAndInItsParts) {
  const auto loss = [](double alpha, double beta) {
    return decoupled_kd_loss(golden_student({4, 100}), golden_teacher({4, 100}), golden_labels(),
                             alpha, beta, 4.0);
  };
  expect_golden(loss(1.0, 8.0), 24.11603878);
  expect_golden(loss(1.0, 0.0), 0.02725392);
  expect_golden(loss(0.0, 1.0), 3.01109811);
}

TEST(DkdLoss, StaysFiniteWhereProbabilitiesSaturate) {
  torch::Tensor student = torch::zeros({2, 5});
  student.index_put_({0, 1}, 400.0);   // all on the label
  student.index_put_({1, 2}, -400.0);  // nothing on the label
  student.requires_grad_();
  const torch::Tensor labels = torch::tensor({1, 2}, torch::kInt64);
  const torch::Tensor loss = decoupled_kd_loss(student, -student.detach(), labels, 1.0, 8.0, 1.0);
  loss.backward();
  EXPECT_TRUE(torch::isfinite(loss).item<bool>());
  EXPECT_TRUE(torch::isfinite(student.grad()).all().item<bool>());
}

TEST(DistLoss, IsGoldenBetweenAndWithinClassesAtTwoTemperatures) {
  const auto loss = [](double alpha, double beta, double temperature) {
    return dist_loss(golden_student({4, 100}), golden_teacher({4, 100}), alpha, beta, temperature);
  };
  expect_golden(loss(1.0, 0.0, 4.0), 16.00582057);
  expect_golden(loss(0.0, 1.0, 4.0), 16.45348480);
  expect_golden(loss(1.0, 0.0, 1.0), 1.01433774);
  expect_golden(loss(0.0, 1.0, 1.0), 1.05962973);
}

TEST(DistLoss, OfASingleRowHasFiniteGradients) {
  const torch::Tensor student = golden_student({4, 100}).narrow(0, 0, 1).clone().requires_grad_();
  dist_loss(student, golden_teacher({4, 100}).narrow(0, 0, 1), 1.0, 1.0, 4.0).backward();
  EXPECT_TRUE(torch::isfinite(student.grad()).all().item<bool>());
}

TEST(ContrastiveLoss, IsGolden) {
  const torch::Tensor scores = (0.01 + 0.001 * torch::arange(12, torch::kFloat64)).view({2, 6});
  expect_golden(contrastive_loss(scores, 50000), 25.30520840);
  expect_golden(contrastive_loss(scores, 100), 2.98625454);
}

TEST(LogitLosses, GiveTheTeacherNoGradientEvenIfItAsksForOne) {
  const torch::Tensor student = golden_student({4, 100}).requires_grad_();
  const torch::Tensor teacher = golden_teacher({4, 100}).requires_grad_();
  (decoupled_kd_loss(student, teacher, golden_labels(), 1.0, 8.0, 4.0) +
   dist_loss(student, teacher, 1.0, 1.0, 4.0))
      .backward();
  EXPECT_TRUE(student.grad().defined());
  EXPECT_FALSE(teacher.grad().defined());
}

TEST(MutualLoss, OfTwoNetworksIsTheSumOfBothDirections) {
  const torch::Tensor a = golden_student({4, 100}), b = golden_teacher({4, 100});
  expect_golden(mutual_loss({a, b}, 1.0),
                (kl_divergence(a, b, 1.0) + kl_divergence(b, a, 1.0)).item<double>());
}

TEST(GatedEnsemble, WeighsTheBranchesOfEachRow) {
  const torch::Tensor a = torch::tensor({{1.0, 2.0}, {3.0, 4.0}});
  const torch::Tensor b = torch::tensor({{10.0, 20.0}, {30.0, 40.0}});
  const torch::Tensor gates = torch::tensor({{0.25, 0.75}, {1.0, 0.0}});
  expect_close(gated_ensemble({a, b}, gates), torch::tensor({{7.75, 15.5}, {3.0, 4.0}}), 1e-6);
}

// --- the sampler -----------------------------------------------------------------------------

// `count` samples in `classes` classes, in no order.
std::vector<int64_t> mixed_labels(int64_t count, int64_t classes) {
  std::vector<int64_t> labels;
  for (int64_t i = 0; i < count; ++i) labels.push_back(i * 7 % classes);
  return labels;
}

TEST(NegativeSampler, DrawsEachSampleOfOtherClassesAtMostOnce) {
  torch::manual_seed(1);
  const std::vector<int64_t> labels = mixed_labels(60, 4);
  NegativeSampler sampler(labels, 45);  // all that there are
  const torch::Tensor indices = torch::randint(0, 60, {20}, torch::kInt64);
  const torch::Tensor drawn = sampler.negatives(indices);
  ASSERT_EQ(drawn.sizes(), torch::IntArrayRef({20, 45}));
  for (int64_t row = 0; row < 20; ++row) {
    const int64_t own = labels[indices[row].item<int64_t>()];
    std::set<int64_t> seen;
    for (int64_t k = 0; k < 45; ++k) {
      const auto sample = drawn[row][k].item<int64_t>();
      EXPECT_NE(labels[sample], own);
      seen.insert(sample);
    }
    EXPECT_EQ(seen.size(), 45u);
  }
}

// Pearson's statistic of how often each of the samples of other classes occurs in `drawn`;
// `spread`: variance of a count / its expectation.
double chi_square(const torch::Tensor& drawn, const std::vector<int64_t>& labels, int64_t own,
                  double spread) {
  const torch::Tensor counts = torch::bincount(drawn.flatten(), {}, std::ssize(labels));
  const torch::Tensor others = torch::tensor(labels).ne(own);
  EXPECT_EQ(counts.masked_select(others.logical_not()).sum().item<int64_t>(), 0);
  const torch::Tensor of_others = counts.masked_select(others).to(torch::kFloat64);
  const double expected = of_others.mean().item<double>();
  return ((of_others - expected).square().sum() / (expected * spread)).item<double>();
}

// 90 samples of other classes, 89 degrees of freedom: each statistic exceeds 167.4 by chance once
// in a million.
constexpr double kChiSquare89 = 167.35;

TEST(NegativeSampler, IsUniformOverOtherClassesWithoutReplacement) {
  torch::manual_seed(2);
  const std::vector<int64_t> labels = mixed_labels(100, 10);
  const int64_t count = 30, rows = 6000;
  NegativeSampler sampler(labels, count);
  const torch::Tensor drawn = sampler.negatives(torch::full({rows}, 5, torch::kInt64));
  const int64_t own = labels[5];
  EXPECT_LT(chi_square(drawn.select(1, 0), labels, own, 1.0), kChiSquare89);
  EXPECT_LT(chi_square(drawn.select(1, count - 1), labels, own, 1.0), kChiSquare89);
  // All columns together: a sample is in a row or is not, with probability 30 / 90.
  EXPECT_LT(chi_square(drawn, labels, own, (1.0 - 30.0 / 90.0) * 90.0 / 89.0), kChiSquare89);
  // Rows know nothing of each other: two share 30 * 30 / 90 samples, with a standard error of 0.03
  // for the mean of so many.
  const torch::Tensor inside = torch::zeros({rows, 100}).scatter_(1, drawn, 1.0);
  const torch::Tensor shared = inside.narrow(0, 1, rows - 1) * inside.narrow(0, 0, rows - 1);
  EXPECT_NEAR(shared.sum(1).mean().item<double>(), 10.0, 0.15);
}

TEST(NegativeSampler, DrawsWithReplacementWhereOtherClassesHoldTooFew) {
  torch::manual_seed(3);
  const std::vector<int64_t> labels = mixed_labels(100, 10);
  NegativeSampler sampler(labels, 95);
  const torch::Tensor drawn = sampler.negatives(torch::full({300}, 5, torch::kInt64));
  EXPECT_LT(chi_square(drawn, labels, labels[5], 1.0), kChiSquare89);
  EXPECT_LT(std::get<0>(torch::_unique2(drawn[0])).size(0), 90);
}

TEST(NegativeSampler, PositivesAreUniformOverTheOwnClass) {
  torch::manual_seed(4);
  const std::vector<int64_t> labels = mixed_labels(100, 10);
  NegativeSampler sampler(labels, 10);
  const torch::Tensor drawn = sampler.positives(torch::full({4000}, 5, torch::kInt64));
  const torch::Tensor counts = torch::bincount(drawn, {}, 100);
  const torch::Tensor own = torch::tensor(labels).eq(labels[5]);
  EXPECT_EQ(counts.masked_select(own).sum().item<int64_t>(), 4000);
  // 9 degrees of freedom: exceeds 45.1 by chance less than once in a million.
  const torch::Tensor off = counts.masked_select(own).to(torch::kFloat64) - 400.0;
  EXPECT_LT((off.square().sum() / 400.0).item<double>(), 45.1);
}

TEST(NegativeSampler, FollowsTorchsSeed) {
  NegativeSampler sampler(mixed_labels(500, 6), 100);
  const auto drawn = [&](uint64_t seed) {
    torch::manual_seed(seed);
    return sampler.negatives(torch::arange(64));
  };
  EXPECT_TRUE(drawn(5).equal(drawn(5)));
  EXPECT_FALSE(drawn(5).equal(drawn(6)));
}

TEST(NegativeSampler, CopesWithClassesWithoutSamples) {
  torch::manual_seed(7);
  NegativeSampler sampler(std::vector<int64_t>{9, 2, 9, 2, 5}, 3);
  const torch::Tensor drawn = sampler.negatives(torch::tensor({0}, torch::kInt64));
  EXPECT_TRUE(std::get<0>(drawn[0].sort()).equal(torch::tensor({1, 3, 4}, torch::kInt64)));
}

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const ConfigError& error) {
    return error.what();
  }
  ADD_FAILURE() << "no ConfigError";
  return "";
}

TEST(NegativeSampler, RefusesMoreNegativesThanSamplesAndASingleClass) {
  EXPECT_THAT(message_of([] { NegativeSampler(mixed_labels(100, 10), 101); }),
              HasSubstr("set distill.terms.negatives to at most 90"));
  EXPECT_THAT(message_of([] { NegativeSampler(mixed_labels(10, 1), 2); }), HasSubstr("one class"));
}

// --- the memory ------------------------------------------------------------------------------

torch::Tensor unit_rows(int64_t rows, int64_t dim) {
  const torch::Tensor x = torch::randn({rows, dim});
  return x / x.norm(2, 1, /*keepdim=*/true);
}

TEST(ContrastMemory, RemembersByMomentumAndOnlyTheRowsOfTheBatch) {
  torch::manual_seed(10);
  ContrastMemory memory(6, 4, 0.07, 0.25);
  const auto buffers = memory->named_buffers();
  const torch::Tensor bank = buffers["student_bank"], before = bank.clone();
  const torch::Tensor student = unit_rows(2, 4), teacher = unit_rows(2, 4);
  const torch::Tensor indices = torch::tensor({4, 1}, torch::kInt64);
  memory(student, teacher, indices, torch::tensor({{4, 0, 3}, {1, 5, 2}}, torch::kInt64));
  for (int64_t row = 0; row < 2; ++row) {
    const int64_t index = indices[row].item<int64_t>();
    const torch::Tensor mixed = 0.25 * before[index] + 0.75 * student[row];
    expect_close(bank[index], mixed / mixed.norm(), 1e-6);
  }
  for (const int64_t untouched : {0, 2, 3, 5})
    EXPECT_TRUE(bank[untouched].equal(before[untouched]));
}

TEST(ContrastMemory, TakesCopiesOfASampleByTheirMean) {
  torch::manual_seed(11);
  ContrastMemory memory(3, 4, 0.07, 0.5);
  const torch::Tensor bank = memory->named_buffers()["teacher_bank"], before = bank[2].clone();
  const torch::Tensor teacher = unit_rows(2, 4);
  const torch::Tensor twice = torch::tensor({2, 2}, torch::kInt64);
  memory(unit_rows(2, 4), teacher, twice, torch::tensor({{2, 0}, {2, 1}}, torch::kInt64));
  const torch::Tensor mixed = 0.5 * before + 0.5 * teacher.mean(0);
  expect_close(bank[2], mixed / mixed.norm(), 1e-6);
}

TEST(ContrastMemory, KeepsTheConstantsOfTheFirstBatchAndGoesOnFromItsState) {
  torch::manual_seed(12);
  ContrastMemory memory(20, 8, 0.1, 0.5), resumed(20, 8, 0.1, 0.5);
  const auto step = [](ContrastMemory& which, uint64_t seed) {
    torch::manual_seed(seed);
    const torch::Tensor indices = torch::randperm(20).narrow(0, 0, 5);
    const torch::Tensor contrast =
        torch::cat({indices.unsqueeze(1), torch::randint(0, 20, {5, 7}, torch::kInt64)}, 1);
    return which(unit_rows(5, 8), unit_rows(5, 8), indices, contrast);
  };
  const torch::Tensor z = memory->named_buffers()["student_z"];
  EXPECT_EQ(z.item<float>(), 0.0f);
  step(memory, 1);
  const auto first = z.item<float>();
  // Scores of a bank of random directions are near exp(0): Z is near the number of samples.
  EXPECT_GT(first, 10.0f);
  step(memory, 2);
  EXPECT_EQ(z.item<float>(), first);

  const auto state = memory->named_buffers();
  for (const auto& buffer : resumed->named_buffers()) buffer.value().copy_(state[buffer.key()]);
  EXPECT_TRUE(step(memory, 3).equal(step(resumed, 3)));
}

TEST(ContrastMemory, ComputesInFullPrecisionUnderAutocast) {
  const auto loss = [](bool autocast) {
    torch::manual_seed(13);
    ContrastMemory memory(50, 16, 0.07, 0.5);
    const torch::Tensor student = unit_rows(4, 16), teacher = unit_rows(4, 16);
    const torch::Tensor contrast = torch::randint(0, 50, {4, 9}, torch::kInt64);
    at::autocast::set_autocast_enabled(at::kCPU, autocast);
    const torch::Tensor value = memory(student, teacher, contrast.select(1, 0), contrast);
    at::autocast::set_autocast_enabled(at::kCPU, false);
    return value;
  };
  EXPECT_TRUE(loss(true).equal(loss(false)));
}

// --- the terms on real networks --------------------------------------------------------------

constexpr int64_t kClasses = 10, kRows = 8, kSamples = 40;

ModelOptions model_options(const std::string& name, int64_t shadow_heads) {
  ModelOptions options = named_model(name);
  options.num_classes = kClasses;
  options.in_chans = 3;
  options.cnn.num_shadow_heads = shadow_heads;
  if (name != "vit") return options;
  options.vit.img_size = 32;
  options.vit.patch_size = 8;
  options.vit.embed_dim = 48;
  options.vit.depth = 3;
  options.vit.num_heads = 3;
  options.vit.distilled = shadow_heads > 0;
  options.vit.num_shadow_heads = std::max<int64_t>(1, shadow_heads);
  return options;
}

// A student, a teacher, one batch, and a term between them.
struct Bench {
  std::unique_ptr<Model> student, teacher;
  std::vector<int64_t> labels = mixed_labels(kSamples, kClasses);
  Batch batch;
  ModelOutput taught;
  std::unique_ptr<Term> term;

  Bench(const std::string& student_name, const std::string& teacher_name,
        const TermOptions& options) {
    torch::manual_seed(20);
    student = create_model(model_options(student_name, options.method == "one" ? 2 : 0));
    teacher = create_model(model_options(teacher_name, 0));
    teacher->module().eval();
    batch.images = torch::randn({kRows, 3, 32, 32});
    batch.indices = torch::randperm(kSamples).narrow(0, 0, kRows);
    batch.labels = torch::tensor(labels).index_select(0, batch.indices);
    batch.targets = batch.labels;
    const torch::NoGradGuard no_grad;
    taught = teacher->forward(batch.images);
    student->module().eval();
    const torch::Tensor blank = torch::zeros({2, 3, 32, 32});
    term = make_term({options,
                      LossOptions{},
                      {student.get(), student->forward(blank)},
                      {teacher.get(), teacher->forward(blank)},
                      labels});
    student->module().train();
    if (term->module()) term->module()->train();
  }

  torch::Tensor loss() {
    torch::manual_seed(21);
    return term->loss({batch, student->forward(batch.images), taught});
  }
  std::vector<torch::Tensor> parameters() {
    std::vector<torch::Tensor> all = student->module().parameters();
    if (const auto module = term->module()) {
      for (const torch::Tensor& parameter : module->parameters()) all.push_back(parameter);
    }
    return all;
  }
};

TermOptions small_options(const std::string& method) {
  TermOptions options = find_term_method(method)->defaults;
  options.negatives = 20;
  options.embed_dim = 16;
  return options;
}

const std::vector<std::string> kMethods = {"dkd", "dist", "crd", "dml", "one"};

TEST(LogitTerms, AreFiniteAndLearnForCnnsOfAnySizeAndForTransformers) {
  const std::vector<std::pair<std::string, std::string>> pairs = {
      {"resnet20", "resnet8x4"}, {"cifar_mobilenetv2_050", "resnet8"}, {"vit", "resnet8"}};
  for (const std::string& method : kMethods) {
    for (const auto& [student, teacher] : pairs) {
      SCOPED_TRACE(fmt::format("{}: {} from {}", method, student, teacher));
      Bench bench(student, teacher, small_options(method));
      torch::optim::SGD optimizer(bench.parameters(), torch::optim::SGDOptions(0.002));
      std::vector<double> values;
      for (int64_t step = 0; step < 6; ++step) {
        const torch::Tensor loss = bench.loss();
        ASSERT_EQ(loss.dim(), 0);
        ASSERT_TRUE(std::isfinite(loss.item<double>()));
        EXPECT_EQ(loss.scalar_type(), torch::kFloat32);
        values.push_back(loss.item<double>());
        optimizer.zero_grad();
        loss.backward();
        optimizer.step();
      }
      EXPECT_LT(values.back(), values.front()) << fmt::format("{}", fmt::join(values, " "));
    }
  }
}

TEST(LogitTerms, HaveThePublishedDefaults) {
  const TermOptions dkd = find_term_method("dkd")->defaults;
  EXPECT_EQ(std::tie(dkd.weight, dkd.alpha, dkd.beta, dkd.temperature),
            std::make_tuple(1.0, 1.0, 8.0, 4.0));
  EXPECT_EQ(dkd.warmup_epochs, 20.0);
  EXPECT_FALSE(dkd.warmup_from_zero);
  EXPECT_EQ(find_term_method("dist")->defaults.weight, 2.0);
  EXPECT_EQ(find_term_method("crd")->defaults.weight, 0.8);
  EXPECT_EQ(find_term_method("dml")->defaults.temperature, 1.0);
  EXPECT_EQ(find_term_method("one")->defaults.temperature, 3.0);
  EXPECT_FALSE(find_term_method("dml")->takes_teacher);
  EXPECT_FALSE(find_term_method("one")->takes_teacher);
}

TEST(LogitTerms, OfTheShadowHeadLeaveTheClassHeadAlone) {
  for (const char* method : {"dkd", "dist"}) {
    TermOptions options = small_options(method);
    options.head = "shadow";
    ModelOutput student, teacher;
    student.logits = torch::randn({3, 5}).requires_grad_();
    student.shadow_logits = {torch::randn({3, 5}).requires_grad_()};
    teacher.logits = torch::randn({3, 5});
    Batch batch;
    batch.labels = batch.targets = torch::tensor({0, 4, 2}, torch::kInt64);
    TermContext context;
    context.options = options;
    context.student.example = student;
    make_term(context)->loss({batch, student, teacher}).backward();
    EXPECT_FALSE(student.logits.grad().defined()) << method;
    EXPECT_TRUE(student.shadow_logits[0].grad().defined()) << method;
  }
}

TEST(CrdTerm, TeachesBothEmbeddingsAndTheStudentAndNotTheTeacher) {
  Bench bench("resnet8", "resnet8x4", small_options("crd"));
  bench.taught.pooled.requires_grad_();
  bench.loss().backward();
  EXPECT_FALSE(bench.taught.pooled.grad().defined());
  for (const auto& item : bench.term->module()->named_parameters()) {
    EXPECT_GT(item.value().grad().abs().sum().item<double>(), 0.0) << item.key();
  }
  EXPECT_EQ(bench.term->module()->named_parameters().size(), 4u);
  const auto& convolution = bench.student->module().named_parameters()["conv1.weight"];
  EXPECT_GT(convolution.grad().abs().sum().item<double>(), 0.0);
  for (const auto& item : bench.term->module()->named_buffers()) {
    EXPECT_FALSE(item.value().requires_grad()) << item.key();
  }
}

TEST(CrdTerm, GivesTheSameBitsForTheSameSeedAndState) {
  Bench one("resnet8", "resnet8x4", small_options("crd"));
  Bench two("resnet8", "resnet8x4", small_options("crd"));
  for (int64_t step = 0; step < 3; ++step) EXPECT_TRUE(one.loss().equal(two.loss()));
}

TEST(CrdTerm, TakesAnyOfTheClassAsPositiveIfRelaxed) {
  TermOptions options = small_options("crd");
  options.positives = "relax";
  Bench relaxed("resnet8", "resnet8x4", options);
  Bench exact("resnet8", "resnet8x4", small_options("crd"));
  EXPECT_FALSE(relaxed.loss().equal(exact.loss()));
}

TEST(CrdTerm, RefusesATeacherOfLogitsAndTooManyNegatives) {
  Bench bench("resnet8", "resnet8x4", small_options("crd"));
  TermContext context{small_options("crd"),
                      LossOptions{},
                      {bench.student.get(), {}},
                      {bench.teacher.get(), {}},
                      bench.labels};
  context.student.example.pooled = torch::zeros({2, 64});
  EXPECT_THAT(message_of([&] { make_term(context); }),
              HasSubstr("the teacher resnet8x4 gives logits only"));
  context.teacher.example.pooled = torch::zeros({2, 256});
  context.options.negatives = 41;
  EXPECT_THAT(message_of([&] { make_term(context); }), HasSubstr("at most 36"));
}

TEST(DmlTerm, OwnsPeersOfTheStudentsArchitectureThatStartElsewhere) {
  TermOptions options = small_options("dml");
  options.peers = 2;
  Bench bench("resnet8", "resnet8x4", options);
  const auto peers = bench.term->module()->named_parameters();
  const auto mine = bench.student->module().named_parameters();
  EXPECT_EQ(peers.size(), 2 * mine.size());
  const torch::Tensor &first = peers["peer_0.conv1.weight"], &second = peers["peer_1.conv1.weight"];
  EXPECT_EQ(first.sizes(), mine["conv1.weight"].sizes());
  EXPECT_FALSE(first.equal(second));
  EXPECT_FALSE(first.equal(mine["conv1.weight"]));
}

TEST(DmlTerm, TeachesTheStudentByItsPeersAloneAndEveryPeerByLabelsToo) {
  Bench bench("resnet8", "resnet8x4", small_options("dml"));
  const ModelOutput student = bench.student->forward(bench.batch.images);
  const torch::Tensor z = student.logits.detach().requires_grad_();
  ModelOutput output;
  output.logits = z;
  bench.term->loss({bench.batch, output, {}}).backward();
  std::unique_ptr<Model> peer = create_model(bench.student->options());
  const torch::NoGradGuard no_grad;
  auto target = peer->module().named_parameters();
  for (const auto& item : bench.term->module()->named_parameters()) {
    EXPECT_TRUE(item.value().grad().defined()) << item.key();
    target[item.key().substr(std::string("peer_0.").size())].copy_(item.value());
  }
  const torch::Tensor z_peer = peer->forward(bench.batch.images).logits;
  // d KL_1(z <- peer) / dz = (softmax(z) - softmax(peer)) / B
  const torch::Tensor expected = (torch::softmax(z, 1) - torch::softmax(z_peer, 1)) / kRows;
  expect_close(z.grad(), expected, 1e-4);
}

TEST(OneTerm, TeachesHeadsAndGateAndNeedsAShadowHead) {
  Bench bench("resnet8", "resnet8x4", small_options("one"));
  bench.loss().backward();
  const auto gate = bench.term->module()->named_parameters();
  EXPECT_EQ(gate["gate.weight"].sizes(), torch::IntArrayRef({3, 64}));
  EXPECT_GT(gate["gate.weight"].grad().abs().sum().item<double>(), 0.0);
  for (const auto& item : bench.student->module().named_parameters()) {
    EXPECT_TRUE(item.value().grad().defined()) << item.key();
  }
  EXPECT_THAT(message_of([&] {
                const std::unique_ptr<Model> single = create_model(model_options("resnet8", 0));
                const ModelOutput example = single->forward(torch::zeros({2, 3, 32, 32}));
                make_term({small_options("one"), LossOptions{}, {single.get(), example}, {}, {}});
              }),
              HasSubstr("model.num_shadow_heads"));
}

TEST(LogitTerms, WorkForImagesOfAnotherSize) {
  for (const char* method : {"dkd", "dist", "crd"}) {
    Bench bench("resnet8", "resnet8x4", small_options(method));
    bench.batch.images = torch::randn({kRows, 3, 48, 48});
    EXPECT_TRUE(std::isfinite(bench.loss().item<double>())) << method;
  }
}

}  // namespace
}  // namespace umbra::test
