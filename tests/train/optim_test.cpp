// Parameter groups, gradient clipping and what the optimisers skip; their numbers are compared with
// PyTorch and timm in tests/parity.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "train/error.h"
#include "train/model.h"
#include "train/optim/optimizer.h"
#include "vit/vision_transformer.h"

namespace umbra {
namespace {

using testing::Contains;
using testing::UnorderedElementsAre;

vit::VisionTransformer deit_tiny_distilled() {
  return vit::VisionTransformer(*vit::named_options("deit_tiny_distilled_patch16_224"));
}

const ParamGroup& labelled(const std::vector<ParamGroup>& groups, const std::string& label) {
  for (const ParamGroup& group : groups) {
    if (group.label == label) return group;
  }
  throw std::out_of_range("no group " + label);
}

int64_t size_of(const ParamGroup& group) {
  int64_t count = 0;
  for (const torch::Tensor& parameter : group.params) count += parameter.numel();
  return count;
}

TEST(ParamGroups, OfADistilledDeitAreTimms) {
  const auto model = deit_tiny_distilled();
  const auto groups = make_param_groups(*model, OptimOptions{});
  ASSERT_EQ(groups.size(), 2U);
  const ParamGroup &decay = labelled(groups, "decay"), &none = labelled(groups, "no_decay");
  EXPECT_EQ(none.params.size(), 104U);
  EXPECT_EQ(size_of(none), 70'928);
  EXPECT_EQ(none.weight_decay, 0.0);
  EXPECT_EQ(decay.params.size(), 51U);
  EXPECT_EQ(size_of(decay), 5'839'872);
  EXPECT_EQ(decay.weight_decay, 0.05);
  EXPECT_EQ(decay.lr_scale, 1.0);
}

TEST(ParamGroups, DecayTheDistillationTokenAsDeitsOwnScriptDoes) {
  const auto model = deit_tiny_distilled();
  OptimOptions options;
  options.no_decay = {"cls_token", "pos_embed"};
  const auto groups = make_param_groups(*model, options);
  EXPECT_THAT(labelled(groups, "decay").names, Contains("dist_token"));
  EXPECT_EQ(labelled(groups, "decay").params.size(), 52U);
  EXPECT_EQ(size_of(labelled(groups, "decay")), 5'839'872 + 192);
  EXPECT_EQ(size_of(labelled(groups, "no_decay")), 70'928 - 192);
}

TEST(ParamGroups, FurtherDistillationTokensDoNotDecayEither) {
  vit::VitOptions options;
  options.img_size = 16;
  options.patch_size = 8;
  options.embed_dim = 24;
  options.depth = 1;
  options.num_heads = 3;
  options.distilled = true;
  options.num_shadow_heads = 3;
  const vit::VisionTransformer model(options);
  const auto groups = make_param_groups(*model, OptimOptions{});
  const auto& names = labelled(groups, "no_decay").names;
  EXPECT_THAT(names, Contains("dist_token"));
  EXPECT_THAT(names, Contains("dist_token.1"));
  EXPECT_THAT(names, Contains("dist_token.2"));
}

TEST(ParamGroups, TokensOfNetworksInsideDoNotDecayEither) {
  torch::nn::Module outer;
  outer.register_module("peer_0", deit_tiny_distilled().ptr());
  const auto groups = make_param_groups(outer, OptimOptions{});
  const auto& names = labelled(groups, "no_decay").names;
  EXPECT_THAT(names, Contains("peer_0.pos_embed"));
  EXPECT_THAT(names, Contains("peer_0.dist_token"));
  EXPECT_THAT(labelled(groups, "decay").names, Contains("peer_0.blocks.0.mlp.fc1.weight"));
}

TEST(ParamGroups, MayDecayNormsAndBiases) {
  const auto model = deit_tiny_distilled();
  OptimOptions options;
  options.decay_norm_and_bias = true;
  const auto groups = make_param_groups(*model, options);
  EXPECT_THAT(labelled(groups, "no_decay").names,
              UnorderedElementsAre("cls_token", "dist_token", "pos_embed"));
}

TEST(ParamGroups, LeaveOutFrozenParameters) {
  const auto model = deit_tiny_distilled();
  for (auto& item : model->named_parameters()) {
    item.value().requires_grad_(item.key().starts_with("head"));
  }
  const auto groups = make_param_groups(*model, OptimOptions{});
  EXPECT_THAT(labelled(groups, "decay").names,
              UnorderedElementsAre("head.weight", "head_dist.weight"));
  EXPECT_THAT(labelled(groups, "no_decay").names,
              UnorderedElementsAre("head.bias", "head_dist.bias"));
}

double lr_scale_of(const torch::nn::Module& module, const std::string& name) {
  OptimOptions options;
  options.layer_decay = 0.5;
  for (const ParamGroup& group : make_param_groups(module, options)) {
    if (std::find(group.names.begin(), group.names.end(), name) != group.names.end()) {
      return group.lr_scale;
    }
  }
  throw std::out_of_range("no parameter " + name);
}

TEST(ParamGroups, LayerDecayScalesFromTheStemToTheHeads) {
  const auto model = deit_tiny_distilled();
  const auto scale_of = [&](const std::string& name) { return lr_scale_of(*model, name); };
  EXPECT_EQ(scale_of("dist_token"), std::pow(0.5, 13));
  EXPECT_EQ(scale_of("patch_embed.proj.weight"), std::pow(0.5, 13));
  EXPECT_EQ(scale_of("blocks.0.norm1.weight"), std::pow(0.5, 12));
  EXPECT_EQ(scale_of("blocks.11.mlp.fc2.weight"), 0.5);
  EXPECT_EQ(scale_of("norm.bias"), 0.5);
  EXPECT_EQ(scale_of("head.weight"), 1.0);
  EXPECT_EQ(scale_of("head_dist.bias"), 1.0);
}

std::unique_ptr<Model> small_classifier(const std::string& name) {
  ModelOptions options = named_model(name);
  options.num_classes = 10;
  options.in_chans = 3;
  return create_model(options);
}

TEST(ParamGroups, LayerDecayScalesResNetsByBlock) {
  const auto stem_and_head = [](const std::string& name, const std::string& head) {
    const auto model = small_classifier(name);
    return std::pair(lr_scale_of(model->module(), "conv1.weight"),
                     lr_scale_of(model->module(), head));
  };
  EXPECT_EQ(stem_and_head("resnet18", "fc.weight"), std::pair(std::pow(0.5, 9), 1.0));
  EXPECT_EQ(stem_and_head("resnet20", "fc.weight"), std::pair(std::pow(0.5, 10), 1.0));
  EXPECT_EQ(stem_and_head("resnet20_a", "linear.bias").second, 1.0);
}

TEST(ParamGroups, LayerDecayRefusesModelsWhoseLayersItDoesNotKnow) {
  for (const char* name : {"wrn_16_2", "cifar_vgg8", "mobilenetv2_100", "convnext_tiny"}) {
    const auto model = small_classifier(name);
    EXPECT_THROW(lr_scale_of(model->module(), "any"), ConfigError) << name;
  }
}

ParamGroup group_of(std::vector<torch::Tensor> params, double weight_decay = 0.1) {
  ParamGroup group;
  group.label = "decay";
  for (size_t i = 0; i < params.size(); ++i) group.names.push_back(fmt::format("p{}", i));
  group.params = std::move(params);
  group.weight_decay = weight_decay;
  return group;
}

torch::Tensor parameter(std::vector<double> values) {
  return torch::tensor(values, torch::kFloat32).requires_grad_();
}

TEST(ClipGradNorm, ScalesAllGradientsToTheCommonNorm) {
  const std::vector<ParamGroup> groups = {group_of({parameter({0.0, 0.0})}),
                                          group_of({parameter({0.0})})};
  groups[0].params[0].mutable_grad() = torch::tensor({3.0F, 0.0F});
  groups[1].params[0].mutable_grad() = torch::tensor({-4.0F});
  EXPECT_FLOAT_EQ(clip_grad_norm(groups, 1.0).item<float>(), 5.0F);
  EXPECT_NEAR(groups[0].params[0].grad()[0].item<float>(), 0.6F, 1e-6);
  EXPECT_NEAR(groups[1].params[0].grad()[0].item<float>(), -0.8F, 1e-6);
}

TEST(ClipGradNorm, LeavesSmallGradientsAlone) {
  const std::vector<ParamGroup> groups = {group_of({parameter({0.0, 0.0}), parameter({1.0})})};
  groups[0].params[0].mutable_grad() = torch::tensor({3.0F, -4.0F});
  EXPECT_FLOAT_EQ(clip_grad_norm(groups, 7.0).item<float>(), 5.0F);
  EXPECT_TRUE(torch::equal(groups[0].params[0].grad(), torch::tensor({3.0F, -4.0F})));
}

TEST(ClipGradNorm, OfZeroOnlyMeasures) {
  const std::vector<ParamGroup> groups = {group_of({parameter({0.0, 0.0})})};
  groups[0].params[0].mutable_grad() = torch::tensor({3.0F, -4.0F});
  EXPECT_FLOAT_EQ(clip_grad_norm(groups, 0.0).item<float>(), 5.0F);
  EXPECT_TRUE(torch::equal(groups[0].params[0].grad(), torch::tensor({3.0F, -4.0F})));
}

class EveryOptimizer : public testing::TestWithParam<std::string> {
 protected:
  static OptimOptions options() {
    OptimOptions options;
    options.name = GetParam();
    return options;
  }
};

TEST_P(EveryOptimizer, SkipsParametersWithoutGradient) {
  const torch::Tensor used = parameter({1.0, 2.0}), unused = parameter({3.0, 4.0});
  const auto optimizer = make_optimizer(options(), {group_of({used, unused})});
  used.mutable_grad() = torch::tensor({0.5F, -0.5F});
  optimizer->step(0.1);
  EXPECT_FALSE(torch::equal(used.detach(), torch::tensor({1.0F, 2.0F})));
  // Not even its weight decay is applied, and its state stays at zero.
  EXPECT_TRUE(torch::equal(unused.detach(), torch::tensor({3.0F, 4.0F})));
  for (const auto& [name, tensor] : optimizer->state()) {
    if (name.ends_with("p1")) {
      EXPECT_EQ(tensor.abs().sum().item<float>(), 0.0F) << name;
    }
  }
}

TEST_P(EveryOptimizer, RunsAGroupAtItsShareOfTheRate) {
  const torch::Tensor full = parameter({1.0}), half = parameter({1.0});
  std::vector<ParamGroup> groups = {group_of({full}, 0.0), group_of({half}, 0.0)};
  groups[1].lr_scale = 0.5;
  const auto optimizer = make_optimizer(options(), std::move(groups));
  full.mutable_grad() = torch::tensor({0.3F});
  half.mutable_grad() = torch::tensor({0.3F});
  optimizer->step(0.1);
  EXPECT_NEAR(1.0F - half.item<float>(), 0.5F * (1.0F - full.item<float>()), 1e-6);
}

TEST_P(EveryOptimizer, ZeroGradForgetsTheGradients) {
  const torch::Tensor p = parameter({1.0});
  const auto optimizer = make_optimizer(options(), {group_of({p})});
  p.mutable_grad() = torch::tensor({0.3F});
  const torch::Tensor kept = p.grad();
  optimizer->zero_grad(/*set_to_none=*/false);
  EXPECT_EQ(p.grad().const_data_ptr(), kept.const_data_ptr());
  EXPECT_EQ(p.grad().item<float>(), 0.0F);
  optimizer->zero_grad();
  EXPECT_FALSE(p.grad().defined());
}

TEST_P(EveryOptimizer, IsSeenToHaveWritten) {  // by what was made of the weights before
  const torch::Tensor p = parameter({1.0});
  const auto optimizer = make_optimizer(options(), {group_of({p})});
  p.mutable_grad() = torch::tensor({0.3F});
  const uint32_t before = p._version();
  optimizer->step(0.1);
  EXPECT_GT(p._version(), before);
}

TEST_P(EveryOptimizer, GoesOnBitForBitFromItsSavedState) {
  const auto train = [](Optimizer& optimizer, torch::Tensor p, int steps) {
    for (int i = 0; i < steps; ++i) {
      p.mutable_grad() = p.detach().sin() + 0.1;
      optimizer.step(0.05);
    }
  };
  const torch::Tensor straight = parameter({1.0, -2.0, 0.5});
  const auto uninterrupted = make_optimizer(options(), {group_of({straight})});
  train(*uninterrupted, straight, 6);

  const torch::Tensor first = parameter({1.0, -2.0, 0.5});
  const auto before = make_optimizer(options(), {group_of({first})});
  train(*before, first, 3);
  const torch::Tensor second = first.detach().clone().requires_grad_();
  const auto after = make_optimizer(options(), {group_of({second})});
  const NamedTensors saved = before->state(), restored = after->state();
  ASSERT_EQ(saved.size(), restored.size());
  for (size_t i = 0; i < saved.size(); ++i) {
    EXPECT_EQ(saved[i].first, restored[i].first);
    restored[i].second.copy_(saved[i].second);
  }
  train(*after, second, 3);
  EXPECT_TRUE(torch::equal(straight, second));
}

INSTANTIATE_TEST_SUITE_P(Names, EveryOptimizer, testing::Values("adamw", "sgd", "lamb"),
                         [](const auto& test) { return test.param; });

TEST(Sgd, WithNesterovMomentumFollowsItsDefinition) {
  OptimOptions options;
  options.name = "sgd";
  options.nesterov = true;
  const torch::Tensor p = parameter({1.0});
  const auto optimizer = make_optimizer(options, {group_of({p}, /*weight_decay=*/0.1)});
  double expected = 1.0, momentum = 0.0;
  for (int i = 0; i < 4; ++i) {
    p.mutable_grad() = torch::tensor({0.5F});
    optimizer->step(0.1);
    const double gradient = 0.5 + 0.1 * expected;
    momentum = 0.9 * momentum + gradient;
    expected -= 0.1 * (gradient + 0.9 * momentum);
    EXPECT_NEAR(p.item<double>(), expected, 1e-6);
  }
}

}  // namespace
}  // namespace umbra
