#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cnn/backbone.h"

namespace umbra::cnn {
namespace {

using testing::Contains;
using testing::Not;

CnnOptions with_classes(int64_t num_classes) {
  CnnOptions options;
  options.num_classes = num_classes;
  return options;
}

int64_t count(const torch::nn::Module& module) {
  int64_t total = 0;
  for (const torch::Tensor& parameter : module.parameters()) total += parameter.numel();
  return total;
}

struct Size {
  std::string name;
  int64_t num_classes;
  int64_t parameters;
  size_t tensors;  // parameters and buffers; 0 where the papers' code gives no number
};

class ResNetSize : public testing::TestWithParam<Size> {};

TEST_P(ResNetSize, HasThePublishedNumberOfParameters) {
  const auto model = create(GetParam().name, with_classes(GetParam().num_classes));
  EXPECT_EQ(count(*model), GetParam().parameters);
  if (GetParam().tensors > 0) {
    EXPECT_EQ(model->named_parameters().size() + model->named_buffers().size(), GetParam().tensors);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Names, ResNetSize,
    testing::Values(Size{"resnet8", 100, 83'892, 0}, Size{"resnet14", 100, 181'108, 0},
                    Size{"resnet20", 100, 278'324, 128}, Size{"resnet32", 100, 472'756, 0},
                    Size{"resnet44", 100, 667'188, 0}, Size{"resnet56", 100, 861'620, 0},
                    Size{"resnet110", 100, 1'736'564, 668}, Size{"resnet8x4", 100, 1'233'540, 62},
                    Size{"resnet32x4", 100, 7'433'860, 206},
                    Size{"resnet18", 1000, 11'689'512, 122},
                    Size{"resnet34", 1000, 21'797'672, 218}),
    [](const auto& test) { return test.param.name; });

TEST(ResNet, ParameterNamesAreTheReferences) {
  const auto keys = create("resnet20", with_classes(100))->named_parameters().keys();
  for (const std::string key :
       {"conv1.weight", "bn1.weight", "layer1.0.conv1.weight", "layer1.2.bn2.bias",
        "layer2.0.downsample.0.weight", "layer2.0.downsample.1.weight", "fc.weight", "fc.bias"}) {
    EXPECT_THAT(keys, Contains(key));
  }
  EXPECT_THAT(keys, Not(Contains("layer1.0.downsample.0.weight")));
  EXPECT_THAT(create("resnet8x4", with_classes(100))->named_parameters().keys(),
              Contains("layer1.0.downsample.0.weight"));
  EXPECT_THAT(create("resnet18", with_classes(100))->named_buffers().keys(),
              Contains("layer4.1.bn2.num_batches_tracked"));
}

struct Shapes {
  std::string name;
  int64_t image;
  std::vector<std::pair<int64_t, int64_t>> stages;  // channels, side
};

class ResNetShapes : public testing::TestWithParam<Shapes> {};

TEST_P(ResNetShapes, StagesHaveTheirChannelsAndSizes) {
  const auto model = create(GetParam().name, with_classes(10));
  const torch::NoGradGuard no_grad;
  const CnnOutput output = model->forward(torch::randn({2, 3, GetParam().image, GetParam().image}));
  ASSERT_EQ(output.stages.size(), GetParam().stages.size());
  for (size_t i = 0; i < output.stages.size(); ++i) {
    const auto [channels, side] = GetParam().stages[i];
    const Stage& stage = output.stages[i];
    EXPECT_EQ(stage.name, fmt::format("layer{}", i + 1));
    EXPECT_EQ(stage.post.sizes(), torch::IntArrayRef({2, channels, side, side}));
    EXPECT_TRUE(torch::equal(stage.post, torch::relu(stage.pre)));
    EXPECT_LT(stage.pre.min().item<float>(), 0.0F);
  }
  EXPECT_EQ(output.pooled.sizes(), torch::IntArrayRef({2, GetParam().stages.back().first}));
  EXPECT_EQ(output.logits.sizes(), torch::IntArrayRef({2, 10}));
  EXPECT_TRUE(output.shadow_logits.empty());
  EXPECT_TRUE(torch::allclose(
      output.logits,
      model->classifier()->weight.matmul(output.pooled.t()).t() + model->classifier()->bias, 1e-4,
      1e-5));
}

INSTANTIATE_TEST_SUITE_P(
    Names, ResNetShapes,
    testing::Values(Shapes{"resnet8", 32, {{16, 32}, {32, 16}, {64, 8}}},
                    Shapes{"resnet8x4", 32, {{64, 32}, {128, 16}, {256, 8}}},
                    Shapes{"resnet18", 64, {{64, 16}, {128, 8}, {256, 4}, {512, 2}}}),
    [](const auto& test) { return test.param.name; });

TEST(ResNet, TakesGreyImages) {
  CnnOptions options = with_classes(10);
  options.in_chans = 1;
  const torch::NoGradGuard no_grad;
  EXPECT_EQ(create("resnet8", options)->forward(torch::randn({2, 1, 28, 28})).logits.size(1), 10);
}

TEST(ResNet, ShadowHeadsReadThePooledVector) {
  CnnOptions options = with_classes(10);
  options.num_shadow_heads = 2;
  const auto model = create("resnet8", options);
  const CnnOutput output = model->forward(torch::randn({2, 3, 32, 32}));
  ASSERT_EQ(output.shadow_logits.size(), 2U);
  EXPECT_EQ(output.shadow_logits[1].sizes(), torch::IntArrayRef({2, 10}));
  const auto keys = model->named_parameters().keys();
  EXPECT_THAT(keys, Contains("fc_shadow.0.weight"));
  EXPECT_THAT(keys, Contains("fc_shadow.1.bias"));
}

TEST(ResNet, ZeroInitMakesEveryBlockStartAsItsShortcut) {
  CnnOptions options = with_classes(10);
  options.zero_init_residual = true;
  const auto parameters = create("resnet18", options)->named_parameters();
  EXPECT_EQ(parameters["layer3.1.bn2.weight"].abs().max().item<float>(), 0.0F);
  EXPECT_EQ(parameters["layer3.1.bn1.weight"].min().item<float>(), 1.0F);
}

TEST(ResNet, ConvolutionsStartAsKaimingsNormalOverTheirOutputs) {
  torch::manual_seed(1);
  const auto parameters = create("resnet18", with_classes(10))->named_parameters();
  const torch::Tensor& weight = parameters["layer3.1.conv1.weight"];
  EXPECT_NEAR(weight.std().item<double>(), std::sqrt(2.0 / (256 * 9)), 1e-4);
}

TEST(Backbones, AreKnownByName) {
  EXPECT_THAT(names(), Contains("resnet34"));
  EXPECT_THROW(create("resnet9", with_classes(10)), c10::Error);
}

}  // namespace
}  // namespace umbra::cnn
