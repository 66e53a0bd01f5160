// NORM's feature transform, in one network of each family.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/nn.h>

#include "cnn/backbone.h"
#include "tests/support.h"

namespace umbra::cnn {
namespace {

class FeatureTransform : public testing::TestWithParam<const char*> {};

TEST_P(FeatureTransform, IsAddedToTheLastMapBeforeThePooling) {
  const torch::NoGradGuard no_grad;
  CnnOptions options;
  options.num_classes = 10;
  const auto plain = create(GetParam(), options);
  options.expanded_channels = 24;
  const auto widened = create(GetParam(), options);

  // The same network but for the transform, whose last batch norm is silent at first.
  const auto parameters = widened->named_parameters();
  for (const auto& item : plain->named_parameters()) parameters[item.key()].copy_(item.value());
  const torch::Tensor &scale = parameters["feature_transform.restore.1.weight"],
                      &shift = parameters["feature_transform.restore.1.bias"];
  ASSERT_EQ(parameters.size(), plain->named_parameters().size() + 6);
  ASSERT_EQ(scale.size(0), plain->classifier()->weight.size(1));
  scale.zero_();
  for (const auto& model : {plain, widened}) model->eval();

  const torch::Tensor images = torch::randn({2, 3, 64, 64});
  const CnnOutput before = plain->forward(images), silent = widened->forward(images);
  EXPECT_FALSE(before.expanded.defined());
  EXPECT_EQ(silent.expanded.size(1), 24);
  EXPECT_TRUE(torch::equal(silent.logits, before.logits));

  shift.fill_(1.0);
  const CnnOutput shifted = widened->forward(images);
  EXPECT_FALSE(torch::equal(shifted.logits, before.logits));
  EXPECT_TRUE(torch::equal(shifted.stages.back().post, before.stages.back().post));
}

INSTANTIATE_TEST_SUITE_P(Families, FeatureTransform,
                         testing::Values("resnet8", "resnet18", "wrn_16_1", "cifar_vgg8",
                                         "cifar_mobilenetv2_050", "shufflenetv1",
                                         "cifar_shufflenetv2", "regnety_004", "mobilenetv1",
                                         "mobilenetv2_100", "tf_efficientnet_lite0",
                                         "convnext_tiny"));

}  // namespace
}  // namespace umbra::cnn
