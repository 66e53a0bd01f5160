// Ten updates of a small distilled transformer against PyTorch's AdamW and SGD and timm's LAMB, and
// parameter groups against timm's.
#include "tests/parity/truth.h"
#include "train/distill/losses.h"
#include "train/model.h"
#include "train/optim/optimizer.h"
#include "vit/vision_transformer.h"

namespace umbra::test {
namespace {

OptimOptions options_of(const std::string& name) {
  const nlohmann::json fact = facts("optimizers").at(name);
  OptimOptions options;
  options.name = name;
  options.lr = fact.at("lr");
  options.weight_decay = fact.at("weight_decay");
  options.momentum = fact.value("momentum", options.momentum);
  options.nesterov = fact.value("nesterov", false);
  options.eps = fact.value("eps", options.eps);
  return options;
}

vit::VisionTransformer small_distilled() {
  const nlohmann::json small = facts("small_vit");
  vit::VitOptions options;
  options.img_size = small.at("img_size");
  options.patch_size = small.at("patch_size");
  options.embed_dim = small.at("embed_dim");
  options.depth = small.at("depth");
  options.num_heads = small.at("num_heads");
  options.num_classes = small.at("num_classes");
  options.distilled = true;
  return vit::VisionTransformer(options);
}

// Losses of ten updates; the model ends at the weights after them.
torch::Tensor train_ten_steps(vit::VisionTransformer& model, const OptimOptions& options,
                              const TensorMap& truth, torch::ScalarType dtype) {
  const auto optimizer = make_optimizer(options, make_param_groups(*model, options));
  const torch::Tensor images = truth.at("images").to(dtype);
  std::vector<torch::Tensor> losses;
  for (int step = 0; step < 10; ++step) {
    const vit::VitOutput output = model(images);
    const torch::Tensor loss = 4.0 * cross_entropy(output.logits, truth.at("labels")) +
                               cross_entropy(output.shadow_logits[0], truth.at("labels_dist"));
    optimizer->zero_grad();
    loss.backward();
    optimizer->step(options.lr);
    losses.push_back(loss.detach());
  }
  return torch::stack(losses);
}

class OptimizerParity : public testing::TestWithParam<std::string> {};

TEST_P(OptimizerParity, TenLossesAreTheSame) {
  const TensorMap expected = truth("optim_" + GetParam());
  vit::VisionTransformer model = small_distilled();
  load_state(*model, part(expected, "weights"));
  const torch::Tensor losses =
      train_ten_steps(model, options_of(GetParam()), expected, torch::kFloat32);
  expect_close(losses, expected.at("float32/losses"), 1e-5);
}

// In double precision, so that weights whose true gradient is zero (the key part of qkv.bias) can
// be compared, too: AdamW and LAMB would scale the rounding noise of single precision up to a full
// step.
TEST_P(OptimizerParity, WeightsAfterTenStepsAreTheSame) {
  const TensorMap expected = truth("optim_" + GetParam());
  vit::VisionTransformer model = small_distilled();
  load_state(*model, part(expected, "weights"));
  model->to(torch::kFloat64);
  const torch::Tensor losses =
      train_ten_steps(model, options_of(GetParam()), expected, torch::kFloat64);
  expect_close(losses, expected.at("float64/losses"), 1e-5);
  expect_all_close(state_of(*model), part(expected, "float64/after"), 1e-5);
}

INSTANTIATE_TEST_SUITE_P(Names, OptimizerParity, testing::Values("adamw", "sgd", "lamb"),
                         [](const auto& test) { return test.param; });

void expect_groups(const std::vector<ParamGroup>& groups, const nlohmann::json& expected) {
  size_t count = 0;
  for (const ParamGroup& group : groups) {
    for (const std::string& name : group.names) {
      SCOPED_TRACE(name);
      ASSERT_TRUE(expected.contains(name));
      EXPECT_DOUBLE_EQ(group.weight_decay, expected.at(name).at("weight_decay").get<double>());
      EXPECT_NEAR(group.lr_scale, expected.at(name).at("lr_scale").get<double>(), 1e-12);
      ++count;
    }
  }
  EXPECT_EQ(count, expected.size());
}

class ParamGroupParity : public testing::TestWithParam<std::string> {};

TEST_P(ParamGroupParity, DecayAndLayerScalesAreTimms) {
  ModelOptions options;
  options.name = GetParam();
  options.num_classes = 1000;
  options.in_chans = 3;
  if (const auto named = vit::named_options(options.name)) options.vit = *named;
  const std::unique_ptr<Model> model = create_model(options);
  const nlohmann::json expected = facts("param_groups").at(GetParam());

  OptimOptions optim;
  expect_groups(make_param_groups(model->module(), optim), expected.at("plain"));
  optim.layer_decay = 0.75;
  expect_groups(make_param_groups(model->module(), optim), expected.at("layer_decay"));
}

INSTANTIATE_TEST_SUITE_P(Names, ParamGroupParity,
                         testing::Values("deit_tiny_distilled_patch16_224", "deit_tiny_patch16_224",
                                         "resnet18"),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace umbra::test
