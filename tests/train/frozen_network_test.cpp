#include "train/distill/frozen_network.h"

#include <gtest/gtest.h>

#include "tests/support.h"

namespace umbra {
namespace {

std::unique_ptr<Model> make(const std::string& name, bool distilled = false) {
  torch::manual_seed(5);
  ModelOptions options;
  options.name = name;
  options.num_classes = 4;
  options.in_chans = 3;
  options.vit.img_size = 16;
  options.vit.patch_size = 4;
  options.vit.embed_dim = 24;
  options.vit.depth = 1;
  options.vit.num_heads = 2;
  options.vit.distilled = distilled;
  return create_model(options);
}

TEST(FrozenNetwork, SeesItsOwnNormalisation) {
  const InputForm student{{0.5, 0.4, 0.3}, {0.2, 0.3, 0.4}, 16},
      own{{0.1, 0.2, 0.7}, {0.9, 0.5, 0.3}, 16};
  FrozenNetwork teacher("t", make("resnet8"), own, student, torch::kCPU);
  const torch::Tensor pixels = torch::rand({3, 3, 16, 16});
  const auto normalised = [&](const InputForm& form) {
    const torch::Tensor mean = torch::tensor(form.mean).view({1, 3, 1, 1});
    return ((pixels - mean) / torch::tensor(form.std).view({1, 3, 1, 1})).to(torch::kFloat32);
  };
  const auto model = make("resnet8");
  model->module().eval();
  const torch::NoGradGuard no_grad;
  const torch::Tensor expected = model->forward(normalised(own)).logits;
  test::expect_close(teacher.forward(normalised(student)).logits, expected, 1e-5);
  const torch::Tensor untranslated = model->forward(normalised(student)).logits;
  EXPECT_GT((untranslated - expected).abs().max().item<double>(), 1e-2)
      << "the test must be able to fail";
}

TEST(FrozenNetwork, ResizesToItsOwnInputSize) {
  const InputForm student{{0.5}, {0.5}, 32}, own{{0.5}, {0.5}, 16};
  FrozenNetwork teacher("t", make("vit"), own, student, torch::kCPU);
  EXPECT_EQ(teacher.forward(torch::randn({2, 3, 32, 32})).logits.sizes(),
            torch::IntArrayRef({2, 4}));
}

TEST(FrozenNetwork, HasNoGradientsAndKeepsItsStatistics) {
  const InputForm form{{0.5}, {0.5}, 16};
  FrozenNetwork teacher("t", make("resnet8"), form, form, torch::kCPU);
  const torch::Tensor before = teacher.model().module().buffers()[0].clone();
  const torch::Tensor images = torch::randn({4, 3, 16, 16}).requires_grad_();
  EXPECT_FALSE(teacher.forward(images).logits.requires_grad());
  EXPECT_TRUE(teacher.model().module().buffers()[0].equal(before));
}

TEST(FrozenNetwork, AnswersByTheMeanOfItsHeadsWhereThatIsItsHeadline) {
  const InputForm form{{0.5}, {0.5}, 16};
  const torch::Tensor images = torch::randn({2, 3, 16, 16});
  const auto model = make("vit", true);
  model->module().eval();
  const torch::NoGradGuard no_grad;
  const ModelOutput both = model->forward(images);
  FrozenNetwork by_class("t", make("vit", true), form, form, torch::kCPU);
  FrozenNetwork by_mean("t", make("vit", true), form, form, torch::kCPU, true);
  test::expect_close(by_class.forward(images).logits, both.logits, 1e-6);
  test::expect_close(by_mean.forward(images).logits, (both.logits + both.shadow_logits[0]) / 2,
                     1e-6);
}

}  // namespace
}  // namespace umbra
