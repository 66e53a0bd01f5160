// What the tests of the loop share.
#pragma once

#include <map>
#include <sstream>

#include <gtest/gtest.h>

#include "tests/data_support.h"
#include "train/files.h"
#include "train/loop/trainer.h"

namespace umbra::test {

inline constexpr const char* kStudent = R"(
[run]
device = "cpu"
precision = "fp32"
[augment]
image_size = 16
crop = "pad"
crop_padding = 2
mean = [0.5]
std = [0.5]
[model]
name = "vit"
patch_size = 4
embed_dim = 32
depth = 2
num_heads = 2
distilled = true
[optim]
lr = 3e-3
[schedule]
warmup = "4 steps"
[train]
duration = "40 steps"
batch_size = 32
[log]
every = "5 steps"
[eval]
every = "20 steps"
[checkpoint]
every = "20 steps"
)";

// Runs of a small ViT on toy images, and of a CNN that teaches it, in a temporary folder.
class ToyRunTest : public ::testing::Test {
 protected:
  void SetUp() override {
    write_toy_idx(folder_ / "data", 320, 80, 4, 16);
    write_bytes(folder_ / "student.toml", kStudent);
  }

  // Trains in the run folder `name`; returns the run's summary.
  nlohmann::json train(const std::string& name, std::vector<std::string> overrides,
                       const std::optional<std::string>& resume = std::nullopt) {
    overrides.push_back("data.path=" + (folder_ / "data").string());
    const StopSignal stop;
    Trainer trainer(load_config((folder_ / "student.toml").string(), overrides), run(name), resume);
    return trainer.fit(stop, Terminal::kQuiet);
  }

  std::string train_teacher() {
    const std::string name = "teacher";
    if (!run(name).exists()) {
      write_bytes(folder_ / "teacher.toml", teacher_config());
      const StopSignal stop;
      Trainer trainer(load_config((folder_ / "teacher.toml").string(),
                                  {"data.path=" + (folder_ / "data").string()}),
                      run(name), std::nullopt);
      trainer.fit(stop, Terminal::kQuiet);
    }
    return (folder_ / name).string();
  }

  // What a run of a ViT takes for each preset that it can train with, by the preset's name.
  std::map<std::string, std::vector<std::string>> vit_presets() {
    std::map<std::string, std::vector<std::string>> presets;
    for (const std::string& preset : distill_presets()) {
      DistillOptions options;
      EXPECT_TRUE(apply_preset(options, preset));
      if (options.method == "sskd" || (options.method == "none" && preset != "none")) continue;
      std::vector<std::string>& overrides = presets[preset];
      overrides = {"distill.preset=" + preset};
      if (preset == "none" || preset == "dml-heads") continue;
      overrides.push_back("teacher.path=" + train_teacher());
    }
    return presets;
  }

  // What a run takes for one term: the fields given, and what toys need.
  std::vector<std::string> one_term(const TermMethod& method, const std::string& given) {
    std::string fields = fmt::format("method = \"{}\", {}", method.name, given);
    if (method.reads("negatives")) fields += ", negatives = 64";
    if (method.reads("fit_epochs")) fields += ", fit_epochs = 0.2";
    std::vector<std::string> overrides = {"distill.terms=[{" + fields + "}]"};
    if (method.takes_teacher) overrides.push_back("teacher.path=" + train_teacher());
    return overrides;
  }

  // The student's config with a CNN in place of the ViT.
  static std::string teacher_config() {
    std::string text = kStudent;
    const size_t begin = text.find("name = \"vit\""), end = text.find("[optim]");
    text.replace(begin, end - begin, "name = \"resnet8\"\n");
    text.replace(text.find("mean = [0.5]"), 12, "mean = [0.4]");
    text.replace(text.find("lr = 3e-3"), 9, "name = \"sgd\"\nlr = 0.1");
    return text;
  }

  RunFolder run(const std::string& name) { return RunFolder(folder_ / name); }

  TensorMap weights(const std::string& name, const std::string& group = "model") {
    return read_checkpoint(run(name).checkpoints().resolve("last")).tensors.at(group);
  }

  std::vector<nlohmann::json> rows(const std::string& name, const std::string& kind) {
    std::vector<nlohmann::json> rows;
    std::istringstream file(read_file(folder_ / name / "metrics.jsonl"));
    for (std::string line; std::getline(file, line);) {
      const auto row = nlohmann::json::parse(line);
      if (row["kind"] == kind) rows.push_back(row);
    }
    return rows;
  }

  static void expect_same_bits(const TensorMap& a, const TensorMap& b) {
    ASSERT_EQ(a.size(), b.size());
    for (const auto& [name, tensor] : a) EXPECT_TRUE(tensor.equal(b.at(name))) << name;
  }

  TemporaryFolder folder_;
};

}  // namespace umbra::test
