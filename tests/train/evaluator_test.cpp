#include "train/loop/evaluator.h"

#include <gtest/gtest.h>

#include "tests/support.h"

namespace umbra {
namespace {

augment::AugmentOptions plain_view(int64_t size) {
  augment::AugmentOptions options;
  options.image_size = size;
  options.crop = "none";
  options.mean = {0.5, 0.5, 0.5};
  options.std = {0.25, 0.25, 0.25};
  return options;
}

// Scores by a fixed projection of the pixels: any function of the images will do.
Forward fixed_network(int64_t pixels, int64_t classes, bool shadow) {
  torch::manual_seed(3);
  const torch::Tensor a = torch::randn({pixels, classes}), b = torch::randn({pixels, classes});
  return [=](const torch::Tensor& images) {
    const torch::Tensor x = images.flatten(1) * 0.05;
    ModelOutput output;
    output.logits = x.matmul(a);
    if (shadow) output.shadow_logits = {x.matmul(b)};
    return output;
  };
}

EvalResult score(int64_t batch_size, bool shadow) {
  const augment::AugmentOptions options = plain_view(8);
  LoaderOptions loading;
  loading.train = false;
  loading.batch_size = batch_size;
  Loader loader(std::make_shared<test::ToyDataset>(101, 7, 8), options, loading);
  return evaluate(fixed_network(3 * 8 * 8, 7, shadow), loader,
                  augment::Normalizer(options.mean, options.std, torch::kCPU));
}

TEST(Evaluator, CountsAreExactForAnyBatchSize) {
  const EvalResult whole = score(101, true);
  EXPECT_EQ(whole.images, 101);
  ASSERT_EQ(whole.heads.size(), 3u);
  for (const int64_t batch_size : {1, 7, 64, 1000}) {
    const EvalResult parts = score(batch_size, true);
    for (size_t i = 0; i < whole.heads.size(); ++i) {
      EXPECT_EQ(parts.heads[i].correct1, whole.heads[i].correct1);
      EXPECT_EQ(parts.heads[i].correct5, whole.heads[i].correct5);
      EXPECT_NEAR(parts.heads[i].loss, whole.heads[i].loss, 1e-6);
      EXPECT_NEAR(parts.heads[i].ece, whole.heads[i].ece, 1e-6);
    }
  }
}

// Two classes, certain answers: confidence 0.9 when right on 3 of 4 images.
TEST(Evaluator, LossAndCalibrationErrorByHand) {
  const augment::AugmentOptions options = plain_view(8);
  LoaderOptions loading;
  loading.train = false;
  loading.batch_size = 3;
  Loader loader(std::make_shared<test::ToyDataset>(4, 2, 8), options, loading);  // labels 0 1 0 1
  int64_t seen = 0;
  const Forward network = [&](const torch::Tensor& images) {
    ModelOutput output;
    output.logits = torch::zeros({images.size(0), 2});
    for (int64_t i = 0; i < images.size(0); ++i, ++seen) {
      const int64_t answer = seen == 3 ? 0 : seen % 2;  // wrong on the last
      output.logits[i][answer] = std::log(9.0);
    }
    return output;
  };
  const EvalResult result =
      evaluate(network, loader, augment::Normalizer(options.mean, options.std, torch::kCPU));
  const HeadScore& head = result.head("class");
  EXPECT_EQ(head.correct1, 3);
  EXPECT_DOUBLE_EQ(head.top1, 75.0);
  EXPECT_DOUBLE_EQ(head.top5, 100.0) << "two classes: top-2";
  EXPECT_NEAR(head.loss, (3 * -std::log(0.9) - std::log(0.1)) / 4, 1e-6);
  EXPECT_NEAR(head.ece, 0.9 - 0.75, 1e-6);
  EXPECT_EQ(&result.head("mean"), &result.heads.front()) << "one head: the mean is that head";
}

// Seven classes, one image of label 6. The class head ranks it second, the shadow sixth; their mean
// puts it first, though neither head does.
TEST(Evaluator, MeanAndTopFiveByHand) {
  const augment::AugmentOptions options = plain_view(8);
  LoaderOptions loading;
  loading.train = false;
  const auto one = subset(std::make_shared<test::ToyDataset>(7, 7, 8), {6});
  Loader loader(one, options, loading);
  const Forward network = [](const torch::Tensor&) {
    ModelOutput output;
    output.logits = torch::tensor({{9.f, 0.f, 0.f, 0.f, 0.f, 0.f, 8.f}});
    output.shadow_logits = {torch::tensor({{-9.f, 3.f, 3.f, 3.f, 3.f, 3.f, 2.f}})};
    return output;
  };
  const EvalResult result =
      evaluate(network, loader, augment::Normalizer(options.mean, options.std, torch::kCPU));
  EXPECT_EQ(result.head("class").correct1, 0);
  EXPECT_EQ(result.head("class").correct5, 1);
  EXPECT_EQ(result.head("shadow").correct5, 0) << "rank six is not in the top five";
  EXPECT_EQ(result.head("mean").correct1, 1);
}

// Equal logits are common in bf16: the class of the smaller index comes first, in every count.
TEST(Evaluator, TiesAreBrokenByIndex) {
  const augment::AugmentOptions options = plain_view(8);
  LoaderOptions loading;
  loading.train = false;
  Loader loader(std::make_shared<test::ToyDataset>(14, 7, 8), options, loading);
  const Forward network = [](const torch::Tensor& images) {
    ModelOutput output;
    output.logits = torch::ones({images.size(0), 7});
    return output;
  };
  const EvalResult result =
      evaluate(network, loader, augment::Normalizer(options.mean, options.std, torch::kCPU));
  EXPECT_EQ(result.head("class").correct1, 2);   // the two of class 0
  EXPECT_EQ(result.head("class").correct5, 10);  // classes 0 to 4
  EXPECT_EQ(result.correct.sum().item<int64_t>(), 2);
}

TEST(Evaluator, AgreementIsTheShareOfEqualAnswers) {
  const augment::AugmentOptions options = plain_view(8);
  LoaderOptions loading;
  loading.train = false;
  Loader loader(std::make_shared<test::ToyDataset>(40, 7, 8), options, loading);
  const augment::Normalizer normalize(options.mean, options.std, torch::kCPU);
  const Forward network = fixed_network(3 * 8 * 8, 7, false);
  const EvalResult first = evaluate(network, loader, normalize);
  EXPECT_LT(first.agreement, 0.0) << "no teacher";
  torch::Tensor other = first.predictions.clone();
  other.slice(0, 0, 10).add_(1).remainder_(7);
  EXPECT_DOUBLE_EQ(evaluate(network, loader, normalize, other).agreement, 75.0);
}

}  // namespace
}  // namespace umbra
