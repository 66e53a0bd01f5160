#include "train/weights/load.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support.h"
#include "train/error.h"
#include "train/loop/run_folder.h"
#include "train/weights/key_maps.h"

namespace umbra {
namespace {

using test::error_of;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

ModelOptions small_vit(int64_t img_size, int64_t classes, bool distilled) {
  ModelOptions options;
  options.name = "vit";
  options.num_classes = classes;
  options.in_chans = 3;
  options.vit.img_size = img_size;
  options.vit.patch_size = 8;
  options.vit.embed_dim = 16;
  options.vit.depth = 1;
  options.vit.num_heads = 2;
  options.vit.distilled = distilled;
  return options;
}

TEST(LoadState, NamesWhatDoesNotFit) {
  const auto model = create_model(small_vit(16, 4, false));
  TensorMap state;
  for (const auto& [name, tensor] : state_of(model->module()))
    state[name] = tensor.detach().clone();
  load_state(model->module(), state);  // all fits
  state.erase("norm.weight");
  state["norm.weigth"] = torch::zeros({16});
  state["head.weight"] = torch::zeros({5, 16});
  state["extra"] = torch::zeros({1});
  const std::string error = error_of([&] { load_state(model->module(), state); });
  EXPECT_THAT(error, HasSubstr("1 are missing and 1 have another shape"));
  EXPECT_THAT(error, HasSubstr("missing: norm.weight [16]; the file has norm.weigth"));
  EXPECT_THAT(error, HasSubstr("shape of head.weight: file [5, 16], model [4, 16]"));
  EXPECT_THAT(error, HasSubstr("unexpected: extra [1]"));
}

TEST(LoadWeights, StrictWantsEveryNameAndEveryShape) {
  const auto plain = create_model(small_vit(16, 4, false));
  const auto distilled = create_model(small_vit(16, 4, true));
  const auto other_classes = create_model(small_vit(16, 6, false));
  const WeightFile source{state_of(plain->module())};
  EXPECT_EQ(load_weights(*plain, source).loaded, std::ssize(source.tensors));
  EXPECT_THAT(error_of([&] { load_weights(*distilled, source); }),
              HasSubstr("missing: dist_token"));
  EXPECT_THAT(error_of([&] { load_weights(*other_classes, source); }),
              HasSubstr("shape of head.weight: file [4, 16], model [6, 16]"));
  LoadRule loose;
  loose.strict = false;  // says nothing of shapes
  EXPECT_THAT(error_of([&] { load_weights(*other_classes, source, loose); }),
              HasSubstr("shape of head.weight"));
}

TEST(LoadWeights, ANewHeadStaysFresh) {
  const auto source = create_model(small_vit(16, 4, true));
  const auto model = create_model(small_vit(16, 6, true));
  const torch::Tensor head = model->classifier()->weight.detach().clone();
  LoadRule rule;
  rule.new_head = true;
  const LoadReport load = load_weights(*model, {state_of(source->module())}, rule);
  EXPECT_THAT(load.fresh, UnorderedElementsAre("head.weight", "head.bias", "head_dist.weight",
                                               "head_dist.bias"));
  EXPECT_TRUE(model->classifier()->weight.equal(head));
  EXPECT_TRUE(state_of(model->module())
                  .at("norm.weight")
                  .equal(state_of(source->module()).at("norm.weight")));
}

// The head of a CNN may have any name.
TEST(LoadWeights, KnowsTheHeadOfEveryBackbone) {
  for (const char* name : {"convnext_tiny", "mobilenetv2_100", "regnety_004", "resnet20_a"}) {
    SCOPED_TRACE(name);
    ModelOptions options = named_model(name);
    options.in_chans = 3;
    options.num_classes = 4;
    const auto source = create_model(options);
    options.num_classes = 6;
    const auto model = create_model(options);
    LoadRule rule;
    rule.new_head = true;
    EXPECT_THAT(load_weights(*model, {state_of(source->module())}, rule).fresh, SizeIs(2));
  }
}

TEST(LoadWeights, TakesAPlainModelIntoALargerDistilledOne) {
  const auto plain = create_model(small_vit(16, 4, false));
  const auto distilled = create_model(small_vit(32, 6, true));
  const WeightFile source{state_of(plain->module())};
  const torch::Tensor dist_row = state_of(distilled->module()).at("pos_embed").select(1, 1).clone();
  LoadRule rule;
  rule.strict = false;
  rule.new_head = true;
  const LoadReport load = load_weights(*distilled, source, rule);
  const TensorMap target = state_of(distilled->module());
  EXPECT_TRUE(target.at("cls_token").equal(source.tensors.at("cls_token")));
  EXPECT_TRUE(
      target.at("pos_embed").select(1, 0).equal(source.tensors.at("pos_embed").select(1, 0)));
  EXPECT_TRUE(target.at("pos_embed").select(1, 1).equal(dist_row));
  EXPECT_EQ(target.at("pos_embed").size(1), 16 + 2);
  EXPECT_THAT(load.resized, ElementsAre("pos_embed"));
  for (const char* name : {"dist_token", "head.weight", "head_dist.weight"}) {
    EXPECT_THAT(load.fresh, Contains(name));
  }
}

TEST(OpenBareModel, ADistilledTransformerAnswersByTheMeanOfItsHeads) {
  const test::TemporaryFolder folder;
  const std::string path = (folder / "w.safetensors").string();
  for (const bool distilled : {false, true}) {
    const ModelOptions options = small_vit(16, 5, distilled);
    write_safetensors(path, state_of(create_model(options)->module()));
    EXPECT_EQ(open_bare_model(path, options, {{0.5}, {0.5}, 16}).answers_by_mean, distilled);
  }
}

TEST(LoadWeights, PatchesOfAnotherSizeEmbedAlike) {
  const auto model = create_model(small_vit(16, 4, false));
  ModelOptions options = small_vit(32, 4, false);
  options.vit.patch_size = 16;
  const auto larger = create_model(options);
  const LoadReport load = load_weights(*larger, {state_of(model->module())});
  EXPECT_THAT(load.resized, ElementsAre("patch_embed.proj.weight"));
  // A constant image stays one when it is enlarged.
  const torch::NoGradGuard no_grad;
  EXPECT_TRUE(
      model->forward(torch::ones({1, 3, 16, 16}))
          .logits.allclose(larger->forward(torch::ones({1, 3, 32, 32})).logits, 1e-4, 1e-5));
}

// Batch-norm counters are optional, and heads may be left out: neither makes a fit.
TEST(LoadWeights, NothingInCommonIsAnErrorUnderAnyRule) {
  const WeightFile foreign{{{"conv.weight", torch::zeros({1})}}};
  for (const char* name : {"resnet20", "vit_cifar_mini_patch4_32"}) {
    ModelOptions options = named_model(name);
    options.in_chans = 3;
    options.num_classes = 4;
    const auto model = create_model(options);
    for (const bool new_head : {false, true}) {
      LoadRule rule;
      rule.strict = false;
      rule.new_head = new_head;
      EXPECT_THAT(error_of([&] { load_weights(*model, foreign, rule); }), HasSubstr("unexpected"));
    }
  }
}

TEST(LoadWeights, WhatStoodBesideAPeeledNetworkMayBeLeft) {
  const auto model = create_model(small_vit(16, 4, false));
  WeightFile file;
  for (const auto& [name, tensor] : state_of(model->module())) {
    file.tensors["module.student." + name] = tensor;
    file.tensors["module.teacher." + name] = tensor;
    file.tensors["module.teacher.more." + name] = tensor;
  }
  peel_prefixes(file);
  const LoadReport load = load_weights(*model, file);
  EXPECT_EQ(load.loaded, std::ssize(state_of(model->module())));
  EXPECT_THAT(load.unused, Contains("teacher.norm.weight"));
}

TEST(LoadWeights, NumbersThatAreNoneAreRefused) {
  const auto model = create_model(small_vit(16, 4, false));
  WeightFile file;
  for (const auto& [name, tensor] : state_of(model->module())) {
    file.tensors[name] = tensor.detach().clone();
  }
  file.tensors["norm.weight"][3] = std::nan("");
  EXPECT_THAT(error_of([&] { load_weights(*model, file); }),
              HasSubstr("norm.weight holds numbers that are not finite"));
}

TEST(KeyMaps, WhatAPublisherSavesComesBack) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"regnety_004", "torchvision"},
      {"convnext_tiny", "torchvision"},
      {"convnext_tiny", "facebook"},
      {"mobilenetv2_100", "torchvision"},
      {"deit3_small_patch16_224", "facebook"},
      {"vit_tiny_patch16_224", "torchvision"},
      {"vit_tiny_patch16_224", "torchvision-2022"},
      {"cifar_mobilenetv2_050", "sskd"},
      {"tf_efficientnet_lite0", "efficientnet-lite"}};
  for (const auto& [name, publisher] : cases) {
    SCOPED_TRACE(name + " " + publisher);
    ModelOptions options = named_model(name);
    options.in_chans = 3;
    options.num_classes = 4;
    const TensorMap own = state_of(create_model(options)->module());
    const TensorMap theirs = to_publisher(name, publisher, own);
    EXPECT_EQ(theirs.size(), own.size());
    const auto same = [](const auto& a, const auto& b) { return a.first == b.first; };
    EXPECT_FALSE(std::equal(theirs.begin(), theirs.end(), own.begin(), own.end(), same));
    const TensorMap back = to_ours(name, theirs, own);
    ASSERT_EQ(back.size(), own.size());
    for (const auto& [key, tensor] : own) EXPECT_TRUE(back.at(key).equal(tensor)) << key;
  }
}

TEST(LoadWeights, RefusesAnotherArchitecture) {
  const auto model = create_model(small_vit(16, 4, false));
  ModelOptions wider = small_vit(16, 4, false);
  wider.vit.embed_dim = 32;
  const auto other = create_model(wider);
  LoadRule loose;
  loose.strict = false;
  EXPECT_THAT(error_of([&] { load_weights(*model, {state_of(other->module())}, loose); }),
              HasSubstr("have another shape"));
  EXPECT_THAT(error_of([&] {
                load_weights(*model, WeightFile{{{"conv.weight", torch::zeros({1})}}}, loose);
              }),
              HasSubstr("unexpected: conv.weight"));
}

}  // namespace
}  // namespace umbra
