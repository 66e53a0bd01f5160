#include <fmt/format.h>
#include <gtest/gtest.h>

#include "cnn/backbone.h"

namespace umbra::cnn {
namespace {

class StageNorms : public testing::TestWithParam<std::string> {};

// The norm's bias enters `pre` as it stands, and nothing before it.
TEST_P(StageNorms, EndTheirStagesBeforeTheActivation) {
  CnnOptions options;
  options.num_classes = 10;
  torch::manual_seed(0);
  const auto model = create(GetParam(), options);
  model->eval();
  const torch::NoGradGuard no_grad;
  const torch::Tensor images = torch::randn({2, 3, 32, 32});
  const std::vector<Stage> before = model->forward(images).stages;
  const std::vector<torch::nn::BatchNorm2d> norms = model->stage_norms();
  ASSERT_EQ(norms.size(), before.size());
  for (size_t i = 0; i < norms.size(); ++i) {
    SCOPED_TRACE(before[i].name);
    norms[i]->bias.add_(1.0);
    const std::vector<Stage> after = model->forward(images).stages;
    norms[i]->bias.sub_(1.0);
    EXPECT_TRUE(torch::allclose(after[i].pre, before[i].pre + 1.0, 1e-4, 1e-4));
    for (size_t j = 0; j < i; ++j) EXPECT_TRUE(torch::equal(after[j].post, before[j].post));
  }
}

INSTANTIATE_TEST_SUITE_P(Families, StageNorms,
                         testing::Values("resnet20", "resnet8x4", "resnet20_a", "cifar_resnet50",
                                         "wrn_16_2", "cifar_vgg8", "cifar_mobilenetv2_050",
                                         "resnet18", "resnet50", "resnet18d", "regnety_004",
                                         "mobilenetv1"),
                         [](const auto& test) { return test.param; });

TEST(StageNormsOfOtherFamilies, AreNone) {
  for (const std::string name : {"cifar_shufflenetv2", "mobilenetv2_100", "convnext_tiny"}) {
    SCOPED_TRACE(name);
    EXPECT_TRUE(create(name, {})->stage_norms().empty());
  }
}

}  // namespace
}  // namespace umbra::cnn
