// Steps that are replayed, without a GPU: the work is called again in the place of a recording, on
// the tensors that the recording would read and write.
#include "train/loop/replay.h"

#include <ATen/record_function.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support.h"
#include "tests/train/toy_run.h"

namespace umbra {
namespace {

using ::testing::HasSubstr;

// Calls, in all threads, of operations that would wait for a GPU: a value is read back, or a
// result's size depends on values.
std::atomic<int> waits = 0;

std::unique_ptr<at::ObserverContext> count_waits(const at::RecordFunction& function) {
  static const std::set<std::string> names = {"aten::_local_scalar_dense", "aten::nonzero",
                                              "aten::masked_select", "aten::equal"};
  if (names.contains(function.name())) ++waits;
  return nullptr;
}

class WaitCount {
 public:
  WaitCount() : handle_(at::addGlobalCallback(at::RecordFunctionCallback(count_waits))) {
    waits = 0;
  }
  ~WaitCount() { at::removeCallback(handle_); }
  int count() const { return waits; }

 private:
  at::CallbackHandle handle_;
};

class ReplayTest : public test::ToyRunTest {
 protected:
  // Waits of the device in a few steps of training.
  int waits_in(const std::string& name, std::vector<std::string> overrides) {
    overrides.push_back("data.path=" + (folder_ / "data").string());
    overrides.push_back("optim.name=sgd");  // Adam's on a CPU reads its count of steps
    Trainer trainer(load_config((folder_ / "student.toml").string(), overrides), run(name),
                    std::nullopt);
    const WaitCount counted;
    trainer.measure(/*warm_up=*/1, /*steps=*/4);
    return counted.count();
  }
};

TEST_F(ReplayTest, EndsWithTheBitsOfStepsThatAreNotReplayed) {
  const std::string teacher = train_teacher();
  for (const std::string weights_change :
       {"warmup_epochs = 2.0", "factors = [1.0, 0.0], factor_epochs = [2.0]"}) {
    SCOPED_TRACE(weights_change);
    std::vector<std::string> overrides = {
        "teacher.path=" + teacher,
        "distill.preset=shake-paper",
        "distill.terms=[{method = \"fitnet\", " + weights_change + "}]",
        "train.accum_steps=2",
        "train.ema_decay=0.9",
        "model.drop_path_rate=0.2",
        "augment.mixup_alpha=0.8",
        "augment.mix_mode=elem",
        "augment.erase_prob=0.25",
        "optim.clip_grad_norm=1.0",
        "log.every=1 steps",
        "data.drop_last=false",
        "train.batch_size=48"};
    std::filesystem::remove_all(folder_ / "plain");
    std::filesystem::remove_all(folder_ / "replayed");
    const auto plain = train("plain", overrides);
    overrides.emplace_back("run.cuda_graph=true");
    const auto replayed = train("replayed", overrides);
    for (const char* group : {"model", "ema", "objective", "optimizer"}) {
      expect_same_bits(weights("plain", group), weights("replayed", group));
    }
    EXPECT_EQ(plain["last"], replayed["last"]);
    const auto before = rows("plain", "train"), after = rows("replayed", "train");
    ASSERT_EQ(before.size(), after.size());
    for (size_t i = 0; i < before.size(); ++i) {
      for (const char* key : {"loss", "terms", "agreement", "grad_norm"}) {
        EXPECT_EQ(before[i][key], after[i][key]) << key << " of step " << i + 1;
      }
    }
  }
}

TEST_F(ReplayTest, GradientsStayWhereTheyAre) {
  const std::vector<std::string> overrides = {"run.cuda_graph=true",
                                              "data.path=" + (folder_ / "data").string()};
  Trainer trainer(load_config((folder_ / "student.toml").string(), overrides), run("run"),
                  std::nullopt);
  const auto gradients = [&] {
    trainer.measure(/*warm_up=*/0, /*steps=*/6);
    std::vector<torch::Tensor> found;
    for (const torch::Tensor& p : trainer.parts().model->module().parameters()) {
      if (p.grad().defined()) found.push_back(p.grad());
    }
    return found;
  };
  const auto first = gradients(), then = gradients();
  EXPECT_GT(first.size(), 10u);
  ASSERT_EQ(then.size(), first.size());
  for (size_t i = 0; i < first.size(); ++i) EXPECT_TRUE(then[i].is_same(first[i]));
}

TEST(StepReplay, RecordsEachKindOnceAndReadsTheNewestBatch) {
  StepReplay replay(torch::kCPU);
  std::vector<torch::Tensor> read;  // the images that the work was given
  const auto sum_of = [&](double value, int64_t rows) {
    Batch batch;
    batch.images = torch::full({rows, 1, 2, 2}, value);
    batch.labels = batch.targets = batch.pretext_labels = torch::zeros({rows}, torch::kLong);
    return replay
        .run(batch, {1.0, batch.images.sizes().vec()},
             [&](const Batch& given) {
               read.push_back(given.images);
               Lesson lesson;
               lesson.loss.total = given.images.sum();
               return lesson;
             })
        .loss.total;
  };
  std::vector<torch::Tensor> small, large;
  for (int i = 1; i <= 8; ++i) {
    small.push_back(sum_of(i, 1));
    large.push_back(sum_of(i, 3));
  }
  for (int i = 0; i < 8; ++i) {  // a later replay leaves what an earlier one gave
    EXPECT_EQ(small[i].item<double>(), 4.0 * (i + 1));
    EXPECT_EQ(large[i].item<double>(), 12.0 * (i + 1));
  }
  std::set<const void*> places;
  for (const torch::Tensor& images : read) places.insert(images.const_data_ptr());
  EXPECT_EQ(places.size(), 3u + 3u + 1u + 1u);  // three batches of each kind as they are
}

TEST_F(ReplayTest, WhatChangesFromStepToStepIsRefused) {
  const std::string teacher = train_teacher();
  test::write_bytes(folder_ / "student.toml", teacher_config());
  const auto message = [&](std::vector<std::string> overrides) {
    overrides.emplace_back("run.cuda_graph=true");
    return test::error_of<ConfigError>([&] { train("refused", overrides); });
  };
  const std::string crd = "distill.terms=[{method = \"crd\", negatives = 64}]";
  EXPECT_THAT(message({"teacher.path=" + teacher, crd}),
              HasSubstr("the objective (crd 0.8) decides"));
  EXPECT_THAT(message({"teacher.path=" + teacher, "distill.preset=sskd", "augment.pretext=rotation",
                       "distill.fit_epochs=1"}),
              HasSubstr("the objective (sskd) decides"));
  const std::string two = "teacher=[{path=\"" + teacher + "\"}, {path=\"" + teacher + "\"}]";
  EXPECT_THAT(message({two, "distill.preset=shake-code", "distill.teacher_weights=aekd"}),
              HasSubstr("the objective (shake-code) decides"));
  test::write_bytes(folder_ / "student.toml", test::kStudent);
  EXPECT_THAT(message({"model.grad_checkpointing=true"}), HasSubstr("model.grad_checkpointing"));
  EXPECT_THAT(message({"teacher.path=" + teacher, "distill.preset=review-kd"}),
              HasSubstr("changes until epoch 20, which the run does not reach"));
}

TEST_F(ReplayTest, WhatMayBeReplayedNeverWaitsForTheDevice) {
  const std::string teacher = train_teacher();
  for (auto [preset, overrides] : vit_presets()) {
    overrides.insert(overrides.end(), {"augment.mixup_alpha=0.8", "augment.mix_mode=elem",
                                       "augment.erase_prob=0.25", "train.ema_decay=0.9"});
    EXPECT_EQ(waits_in("preset-" + preset, overrides), 0) << preset;
  }
  test::write_bytes(folder_ / "student.toml", teacher_config());
  for (const TermMethod& method : term_methods()) {
    if (method.name == "crd") continue;  // refused
    std::vector<std::string> overrides = one_term(method, "weight = 1.0, warmup_epochs = 0.0");
    if (method.name == "norm") overrides.emplace_back("model.expanded_channels=512");
    if (method.name == "one") overrides.emplace_back("model.num_shadow_heads=2");
    EXPECT_EQ(waits_in("term-" + method.name, overrides), 0) << method.name;
  }
  EXPECT_GT(waits_in("sskd",
                     {"teacher.path=" + teacher, "distill.preset=sskd", "augment.pretext=rotation",
                      "distill.fit_epochs=0.2", "distill.fit_milestones=[]"}),
            0);
}

// The memory format of a GPU, here.
TEST(ChannelsLast, ChangesNoAnswerAndNoGradient) {
  for (const char* name : {"resnet8", "vit"}) {
    const std::string text = fmt::format(
        "augment.image_size = 32\n[model]\nname = \"{}\"\nnum_classes = 5\nin_chans = 3\n", name);
    const auto model = create_model(parse_config(text, "test").config.model);
    const torch::Tensor images = torch::randn({4, 3, 32, 32});
    const auto run = [&] {
      const torch::Tensor logits = model->forward(images).logits;
      model->module().zero_grad();
      logits.square().sum().backward();
      std::vector<torch::Tensor> found = {logits.detach()};
      for (const torch::Tensor& p : model->module().parameters()) {
        if (p.grad().defined()) found.push_back(p.grad().clone());
      }
      return found;
    };
    const auto before = run();
    use_channels_last(model->module());
    int64_t changed = 0;
    for (const torch::Tensor& p : model->module().parameters()) {
      changed += p.dim() == 4 && p.size(2) > 1 && !p.is_contiguous() ? 1 : 0;
    }
    EXPECT_GT(changed, 0) << name;
    const auto after = run();
    ASSERT_EQ(before.size(), after.size());
    for (size_t i = 0; i < before.size(); ++i) test::expect_close(after[i], before[i], 1e-4);
  }
}

}  // namespace
}  // namespace umbra
