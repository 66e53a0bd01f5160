#include "vit/vision_transformer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/fused.h"

namespace umbra::vit {
namespace {

using testing::Contains;
using testing::ElementsAreArray;
using testing::HasSubstr;

VitOptions small() {
  VitOptions options;
  options.img_size = 16;
  options.patch_size = 4;
  options.num_classes = 7;
  options.embed_dim = 24;
  options.depth = 3;
  options.num_heads = 3;
  return options;
}

std::vector<std::string> keys_of(const torch::nn::Module& module) {
  return module.named_parameters().keys();
}

int64_t count(const torch::nn::Module& module) {
  int64_t total = 0;
  for (const torch::Tensor& parameter : module.parameters()) total += parameter.numel();
  return total;
}

struct Size {
  std::string name;
  int64_t parameters;
  size_t tensors;
};

class DeitSize : public testing::TestWithParam<Size> {};

TEST_P(DeitSize, HasThePublishedNumberOfParameters) {
  const auto options = named_options(GetParam().name);
  ASSERT_TRUE(options);
  const VisionTransformer model(*options);
  EXPECT_EQ(count(*model), GetParam().parameters);
  EXPECT_EQ(model->named_parameters().size(), GetParam().tensors);
  EXPECT_EQ(model->named_buffers().size(), 0U);
}

INSTANTIATE_TEST_SUITE_P(Names, DeitSize,
                         testing::Values(Size{"deit_tiny_patch16_224", 5'717'416, 152},
                                         Size{"deit_tiny_distilled_patch16_224", 5'910'800, 155},
                                         Size{"deit_small_patch16_224", 22'050'664, 152},
                                         Size{"deit_small_distilled_patch16_224", 22'436'432, 155},
                                         Size{"deit_base_patch16_224", 86'567'656, 152},
                                         Size{"deit_base_distilled_patch16_224", 87'338'192, 155}),
                         [](const auto& test) { return test.param.name; });

TEST(VisionTransformer, UnknownNamesHaveNoOptions) {
  EXPECT_FALSE(named_options("deit_tiny_patch16_225"));
  EXPECT_THAT(variant_names(), Contains("deit_base_distilled_patch16_224"));
}

TEST(VisionTransformer, ParameterNamesAreTimms) {
  VitOptions options = small();
  options.distilled = true;
  std::vector<std::string> expected = {"cls_token", "pos_embed", "dist_token",
                                       "patch_embed.proj.weight", "patch_embed.proj.bias"};
  for (int64_t i = 0; i < options.depth; ++i) {
    for (const std::string part :
         {"norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2"}) {
      expected.push_back(fmt::format("blocks.{}.{}.weight", i, part));
      expected.push_back(fmt::format("blocks.{}.{}.bias", i, part));
    }
  }
  for (const std::string part : {"norm", "head", "head_dist"}) {
    expected.push_back(part + ".weight");
    expected.push_back(part + ".bias");
  }
  EXPECT_THAT(keys_of(*VisionTransformer(options)), ElementsAreArray(expected));
}

TEST(VisionTransformer, ParameterShapesAreTimms) {
  VitOptions options = *named_options("deit_tiny_distilled_patch16_224");
  options.depth = 1;
  const auto parameters = VisionTransformer(options)->named_parameters();
  EXPECT_EQ(parameters["cls_token"].sizes(), torch::IntArrayRef({1, 1, 192}));
  EXPECT_EQ(parameters["dist_token"].sizes(), torch::IntArrayRef({1, 1, 192}));
  EXPECT_EQ(parameters["pos_embed"].sizes(), torch::IntArrayRef({1, 198, 192}));
  EXPECT_EQ(parameters["patch_embed.proj.weight"].sizes(), torch::IntArrayRef({192, 3, 16, 16}));
  EXPECT_EQ(parameters["blocks.0.attn.qkv.weight"].sizes(), torch::IntArrayRef({576, 192}));
  EXPECT_EQ(parameters["blocks.0.mlp.fc1.weight"].sizes(), torch::IntArrayRef({768, 192}));
  EXPECT_EQ(parameters["head_dist.weight"].sizes(), torch::IntArrayRef({1000, 192}));
}

TEST(VisionTransformer, ReturnsLogitsTokensAndPooledVector) {
  VitOptions options = small();
  options.distilled = true;
  VisionTransformer model(options);
  const VitOutput output = model(torch::randn({2, 3, 16, 16}));
  EXPECT_EQ(output.logits.sizes(), torch::IntArrayRef({2, 7}));
  ASSERT_EQ(output.shadow_logits.size(), 1U);
  EXPECT_EQ(output.shadow_logits[0].sizes(), torch::IntArrayRef({2, 7}));
  EXPECT_EQ(output.pooled.sizes(), torch::IntArrayRef({2, 24}));
  ASSERT_EQ(output.blocks.size(), 3U);
  for (const torch::Tensor& tokens : output.blocks) {
    EXPECT_EQ(tokens.sizes(), torch::IntArrayRef({2, 2 + 16, 24}));
  }
}

TEST(VisionTransformer, PlainModelHasNoShadow) {
  VisionTransformer model(small());
  const VitOutput output = model(torch::randn({2, 3, 16, 16}));
  EXPECT_TRUE(output.shadow_logits.empty());
  EXPECT_EQ(output.blocks[0].size(1), 1 + 16);
}

TEST(VisionTransformer, SeveralShadowHeadsHaveATokenEach) {
  VitOptions options = small();
  options.distilled = true;
  options.num_shadow_heads = 3;
  VisionTransformer model(options);
  const auto keys = keys_of(*model);
  for (const std::string key : {"dist_token", "dist_token.1", "dist_token.2", "head_dist.weight",
                                "head_shadow.1.weight", "head_shadow.2.bias"}) {
    EXPECT_THAT(keys, Contains(key));
  }
  EXPECT_EQ(model->named_parameters()["pos_embed"].size(1), 4 + 16);
  const VitOutput output = model(torch::randn({2, 3, 16, 16}));
  ASSERT_EQ(output.shadow_logits.size(), 3U);
  EXPECT_FALSE(torch::allclose(output.shadow_logits[1], output.shadow_logits[2]));
}

TEST(VisionTransformer, ShadowHeadMayBeAnMlp) {
  VitOptions options = small();
  options.distilled = true;
  options.shadow_head = "mlp";
  VisionTransformer model(options);
  const auto keys = keys_of(*model);
  for (const std::string key :
       {"head_dist.norm.weight", "head_dist.fc1.weight", "head_dist.fc2.bias", "head.weight"}) {
    EXPECT_THAT(keys, Contains(key));
  }
  EXPECT_EQ(model(torch::randn({2, 3, 16, 16})).shadow_logits[0].size(1), 7);
}

TEST(VisionTransformer, EveryParameterGetsAGradientFromBothHeads) {
  VitOptions options = small();
  options.distilled = true;
  VisionTransformer model(options);
  const VitOutput output = model(torch::randn({2, 3, 16, 16}));
  (output.logits.square().sum() + output.shadow_logits[0].square().sum()).backward();
  for (const auto& item : model->named_parameters()) {
    EXPECT_TRUE(item.value().grad().defined()) << item.key();
  }
}

TEST(VisionTransformer, RefusesImagesOfAnotherSize) {
  VisionTransformer model(small());
  try {
    model(torch::randn({1, 3, 20, 16}));
    FAIL() << "took a 20 x 16 image";
  } catch (const c10::Error& error) {
    EXPECT_THAT(error.what_without_backtrace(), HasSubstr("16 x 16"));
    EXPECT_THAT(error.what_without_backtrace(), HasSubstr("20 x 16"));
  }
}

TEST(VisionTransformer, RefusesSizesThatDoNotDivide) {
  VitOptions options = small();
  options.patch_size = 5;
  EXPECT_THROW(VisionTransformer{options}, c10::Error);
  options = small();
  options.num_heads = 5;
  EXPECT_THROW(VisionTransformer{options}, c10::Error);
}

TEST(VisionTransformer, InitialWeightsAreDeits) {
  torch::manual_seed(1);
  VitOptions options = *named_options("deit_tiny_distilled_patch16_224");
  options.depth = 1;
  const VisionTransformer model(options);
  const auto parameters = model->named_parameters();
  for (const std::string name :
       {"pos_embed", "blocks.0.attn.qkv.weight", "blocks.0.mlp.fc1.weight", "head_dist.weight"}) {
    EXPECT_NEAR(parameters[name].std().item<double>(), 0.02, 0.001) << name;
    EXPECT_NEAR(parameters[name].mean().item<double>(), 0.0, 0.001) << name;
  }
  EXPECT_NEAR(parameters["cls_token"].std().item<double>(), 0.02, 0.005);
  EXPECT_NEAR(parameters["dist_token"].std().item<double>(), 0.02, 0.005);
  for (const std::string name : {"blocks.0.attn.qkv.bias", "head.bias", "norm.bias"}) {
    EXPECT_EQ(parameters[name].abs().max().item<double>(), 0.0) << name;
  }
  EXPECT_TRUE(torch::equal(parameters["norm.weight"], torch::ones({192})));
}

TEST(VisionTransformer, SameSeedDrawsTheSameWeights) {
  torch::manual_seed(7);
  const VisionTransformer first(small());
  torch::manual_seed(7);
  const VisionTransformer second(small());
  const auto a = first->parameters(), b = second->parameters();
  for (size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(torch::equal(a[i], b[i]));
}

// Every bit: outputs, gradients, and the random numbers that come next.
TEST(GradCheckpointing, ChangesNothingButMemory) {
  VitOptions options = small();
  options.drop_path_rate = 0.4;
  options.proj_drop_rate = 0.1;
  options.attn_drop_rate = 0.1;
  for (const bool bf16 : {false, true}) {
    std::vector<std::vector<torch::Tensor>> results;
    for (const bool recompute : {false, true}) {
      options.grad_checkpointing = recompute;
      torch::manual_seed(3);
      VisionTransformer model(options);
      model->train();
      const torch::Tensor images =
          torch::randn({5, options.in_chans, options.img_size, options.img_size});
      VitOutput output;
      {
        std::optional<test::CpuAutocast> autocast;
        if (bf16) autocast.emplace();
        output = model->forward(images);
      }
      torch::Tensor loss = output.logits.to(torch::kFloat32).square().sum();
      for (const torch::Tensor& block : output.blocks) {
        loss = loss + block.to(torch::kFloat32).pow(3).mean();
      }
      loss.backward();
      results.push_back({output.logits, torch::rand({4})});
      for (const torch::Tensor& parameter : model->parameters()) {
        if (parameter.grad().defined()) results.back().push_back(parameter.grad());
      }
    }
    ASSERT_EQ(results[0].size(), results[1].size());
    for (size_t i = 0; i < results[0].size(); ++i) {
      EXPECT_TRUE(results[0][i].equal(results[1][i])) << i << (bf16 ? " bf16" : " fp32");
    }
  }
}

TEST(DropPath, KeepsTheMeanAndDropsWholeSamples) {
  torch::manual_seed(3);
  const torch::Tensor kept = draw_kept_paths(torch::ones({20'000, 2, 3}), 0.3);
  EXPECT_EQ(kept.sizes(), at::IntArrayRef({20'000}));
  EXPECT_NEAR((kept == 0).to(torch::kFloat64).mean().item<double>(), 0.3, 0.015);
  EXPECT_NEAR(kept.mean().item<double>(), 1.0, 0.02);
  EXPECT_NEAR(kept.max().item<double>(), 1.0 / 0.7, 1e-6);
}

TEST(DropPath, IsOnlyInTraining) {
  VitOptions options = small();
  options.drop_path_rate = 0.9;
  options.drop_path_schedule = "constant";
  VisionTransformer model(options);
  const torch::Tensor images = torch::randn({4, 3, options.img_size, options.img_size});
  const torch::NoGradGuard no_grad;
  model->eval();
  EXPECT_TRUE(torch::equal(model(images).logits, model(images).logits));
  model->train();
  EXPECT_FALSE(torch::equal(model(images).logits, model(images).logits));
}

TEST(DropPath, RisesLinearlyOverTheBlocks) {
  torch::manual_seed(5);
  VitOptions options = small();
  options.depth = 3;
  options.drop_path_rate = 0.4;
  VisionTransformer model(options);
  model->train();
  const torch::NoGradGuard no_grad;
  const VitOutput output = model(torch::randn({4000, 3, 16, 16}));
  // A sample whose two branches are both dropped leaves the block as it came.
  const auto unchanged = [&](size_t block) {
    const torch::Tensor same = output.blocks[block] == output.blocks[block - 1];
    return same.flatten(1).all(1).to(torch::kFloat64).mean().item<double>();
  };
  EXPECT_NEAR(unchanged(1), 0.2 * 0.2, 0.015);
  EXPECT_NEAR(unchanged(2), 0.4 * 0.4, 0.025);
}

}  // namespace
}  // namespace umbra::vit
