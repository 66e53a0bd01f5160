// The transformer against timm: same weights and images, same logits and gradients.
#include "tests/parity/truth.h"
#include "train/model.h"
#include "vit/pos_embed.h"
#include "vit/vision_transformer.h"

namespace umbra::test {
namespace {

constexpr double kTolerance = 1e-5;

vit::VitOptions small_options(bool distilled) {
  const nlohmann::json small = facts("small_vit");
  vit::VitOptions options;
  options.img_size = small.at("img_size");
  options.patch_size = small.at("patch_size");
  options.embed_dim = small.at("embed_dim");
  options.depth = small.at("depth");
  options.num_heads = small.at("num_heads");
  options.num_classes = small.at("num_classes");
  options.distilled = distilled;
  return options;
}

void expect_same_as_timm(const vit::VitOptions& options, const TensorMap& expected) {
  vit::VisionTransformer model(options);
  load_state(*model, part(expected, "weights"));
  const torch::Tensor& images = expected.at("input");

  model->train();
  const vit::VitOutput output = model(images);
  ASSERT_EQ(output.shadow_logits.size(), options.distilled ? 1U : 0U);
  expect_close(output.logits, expected.at("logits"), kTolerance);
  torch::Tensor loss = (output.logits * expected.at("projection_logits")).sum();
  if (options.distilled) {
    expect_close(output.shadow_logits[0], expected.at("logits_dist"), kTolerance);
    loss = loss + (output.shadow_logits[0] * expected.at("projection_logits_dist")).sum();
  }
  loss.backward();
  expect_all_close(gradients_of(*model), part(expected, "grad"), kTolerance);

  const torch::NoGradGuard no_grad;
  model->eval();
  vit::VitOutput evaluated = model(images);
  if (options.distilled) evaluated.logits = (evaluated.logits + evaluated.shadow_logits[0]) / 2;
  expect_close(evaluated.logits, expected.at("logits_eval"), kTolerance);
}

TEST(VitParity, PlainModelHasTimmsLogitsAndGradients) {
  expect_same_as_timm(small_options(/*distilled=*/false), truth("vit_plain"));
}

TEST(VitParity, DistilledModelHasTimmsLogitsAndGradients) {
  expect_same_as_timm(small_options(/*distilled=*/true), truth("vit_distilled"));
}

TEST(VitParity, Deit3HasTimmsLogitsAndGradients) {
  vit::VitOptions options = small_options(/*distilled=*/false);
  options.no_embed_class = true;
  options.init_values = 1e-4;
  expect_same_as_timm(options, truth("vit_deit3"));
}

TEST(VitParity, EveryNameHasTimmsParametersLogitsAndBlocks) {
  const torch::NoGradGuard no_grad;
  const nlohmann::json zoo = facts("vit_zoo"), models = zoo.at("models");
  const TensorMap expected = truth("vit_zoo");
  for (const std::string& name : vit::variant_names()) {
    if (name == "vit") continue;  // all options
    SCOPED_TRACE(name);
    ASSERT_TRUE(models.contains(name));
    vit::VitOptions options = vit::named_options(name).value();
    options.num_classes = zoo.at("num_classes");
    vit::VisionTransformer model(options);
    // The heads are of ten classes here, of 1000 there.
    const int64_t heads = options.distilled ? 2 : 1;
    const int64_t missing = heads * (1000 - options.num_classes) * (options.embed_dim + 1);
    EXPECT_EQ(count_parameters(*model) + missing, models.at(name).at("parameters").get<int64_t>());

    fill(state_of(*model), expected.at("noise"));
    model->eval();
    const vit::VitOutput output = model(expected.at(fmt::format("input/{}", options.img_size)));
    torch::Tensor logits = output.logits;
    if (options.distilled) logits = (logits + output.shadow_logits[0]) / 2;
    expect_close(logits, expected.at(name + "/logits"), kTolerance);
    ASSERT_EQ(output.blocks.size(), models.at(name).at("blocks").get<size_t>());
    for (size_t i = 0; i < output.blocks.size(); ++i) {
      const torch::Tensor sample =
          output.blocks[i].flatten().slice(0, 0, std::nullopt, zoo.at("step").get<int64_t>());
      expect_close(sample, expected.at(fmt::format("{}/block/{}", name, i)), kTolerance);
    }
  }
}

TEST(VitParity, DeitTinyDistilledHasTimmsLogitsAndGradients) {
  const auto options = vit::named_options("deit_tiny_distilled_patch16_224");
  ASSERT_TRUE(options);
  expect_same_as_timm(*options, truth("deit_tiny_distilled"));
}

TEST(PosEmbedParity, ResizesAsTimmAndAsDeit) {
  const TensorMap expected = truth("pos_embed");
  for (const nlohmann::json& item : facts("pos_embed")) {
    const std::string name = item.at("name");
    SCOPED_TRACE(name);
    const auto resized = [&](vit::PosEmbedResize rule) {
      return vit::resize_pos_embed(expected.at(name + "/input"), item.at("prefix"), item.at("grid"),
                                   rule);
    };
    expect_close(resized(vit::PosEmbedResize::kTimm), expected.at(name + "/timm"), kTolerance);
    expect_close(resized(vit::PosEmbedResize::kDeit), expected.at(name + "/deit"), kTolerance);
  }
}

TEST(PatchEmbedParity, ResizesAsTimm) {
  const TensorMap expected = truth("pos_embed");
  for (const nlohmann::json& sizes : facts("patch_embed")) {
    const std::string name =
        fmt::format("patch_{}_to_{}", sizes[0].get<int>(), sizes[1].get<int>());
    SCOPED_TRACE(name);
    expect_close(vit::resize_patch_embed(expected.at(name + "/input"), sizes[1]),
                 expected.at(name + "/timm"), kTolerance);
  }
}

}  // namespace
}  // namespace umbra::test
