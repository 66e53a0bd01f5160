#include "train/script_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/script.h>

#include "tests/support.h"
#include "train/distill/frozen_network.h"
#include "train/error.h"

namespace umbra {
namespace {

using test::error_of;
using test::TemporaryFolder;
using ::testing::HasSubstr;

// Saves a network with a weight [3, 5] and that body of its forward.
std::string save_script(const TemporaryFolder& folder, const std::string& body) {
  torch::manual_seed(1);
  torch::jit::Module script("network");
  script.register_parameter("weight", torch::randn({3, 5}), /*is_buffer=*/false);
  script.register_attribute("training", c10::BoolType::get(), true);
  script.define("def forward(self, x):\n  " + body + "\n");
  const std::string path = (folder / "network.pt").string();
  script.save(path);
  return path;
}

TEST(ScriptModel, GivesTheLogitsOfTheFile) {
  const TemporaryFolder folder;
  const std::string path = save_script(folder, "return x.mean([2, 3]) @ self.weight");
  const auto model = open_torchscript(path, 3, 8);
  EXPECT_EQ(model->options().num_classes, 5);
  const torch::Tensor images = torch::randn({2, 3, 8, 8});
  const torch::Tensor weight = model->module().parameters().at(0);
  const torch::NoGradGuard no_grad;
  const ModelOutput output = model->forward(images);
  EXPECT_TRUE(output.logits.equal(images.mean({2, 3}).matmul(weight)));
  EXPECT_TRUE(output.features.empty());
  EXPECT_THAT(error_of([&] { model->classifier(); }), HasSubstr("gives logits"));
}

TEST(ScriptModel, ServesAsAFrozenTeacher) {
  const TemporaryFolder folder;
  const InputForm form{{0.5, 0.5, 0.5}, {0.5, 0.5, 0.5}, 8};
  const std::string path =
      save_script(folder, "return (x.mean([2, 3]) @ self.weight, int(self.training))");
  FrozenNetwork teacher("t", open_torchscript(path, 3, 8), form, form, torch::kCPU);
  const torch::Tensor logits = teacher.forward(torch::randn({2, 3, 16, 16})).logits;
  EXPECT_EQ(logits.sizes(), torch::IntArrayRef({2, 5}));
  EXPECT_FALSE(logits.requires_grad());
}

TEST(ScriptModel, WhatIsNoClassifierIsRefused) {
  const TemporaryFolder folder;
  EXPECT_THAT(error_of([&] { open_torchscript(save_script(folder, "return x"), 3, 8); }),
              HasSubstr("gives [1, 3, 8, 8], wanted logits [1, classes]"));
  EXPECT_THAT(error_of([&] { open_torchscript(save_script(folder, "return 1"), 3, 8); }),
              HasSubstr("wanted logits"));
  const std::string wrong = save_script(folder, "return x @ self.weight");
  EXPECT_THAT(error_of([&] { open_torchscript(wrong, 3, 8); }), HasSubstr("fails on images"));
  const std::string junk = (folder / "junk.pt").string();
  test::write_bytes(junk, "no archive");
  EXPECT_THAT(error_of([&] { open_torchscript(junk, 3, 8); }),
              HasSubstr("cannot be read as TorchScript"));
}

}  // namespace
}  // namespace umbra
