// The loop as a whole, on toy images: every objective learns, a run cut anywhere ends with the same
// bits, and what a run leaves behind can be read again.
#include "train/loop/trainer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support.h"
#include "tests/train/toy_run.h"
#include "train/files.h"

namespace umbra {
namespace {

using test::kStudent;
using test::TemporaryFolder;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class TrainerTest : public test::ToyRunTest {};

TEST_F(TrainerTest, LearnsTheToyTask) {
  const auto summary = train("run", {"train.duration=120 steps"});
  EXPECT_GT(summary["last"]["raw"]["class"]["top1"].get<double>(), 80.0);
  const auto train_rows = rows("run", "train");
  ASSERT_EQ(train_rows.size(), 24u);
  EXPECT_LT(train_rows.back()["loss"], train_rows.front()["loss"]);
  EXPECT_GT(train_rows.back()["images_per_second"], 0.0);
  for (const char* file : {"resolved.toml", "metrics.jsonl", "log.txt", "summary.json"}) {
    EXPECT_TRUE(std::filesystem::exists(folder_ / "run" / file)) << file;
  }
}

TEST_F(TrainerTest, EveryPresetTrainsAViTFromATeacherOfOtherNormalisation) {
  for (const auto& [preset, overrides] : vit_presets()) {
    const auto summary = train("vit-" + preset, overrides);
    EXPECT_TRUE(summary["last"]["raw"].contains("shadow")) << preset;
    EXPECT_TRUE(summary["last"]["raw"].contains("mean")) << preset;
    if (preset == "none") continue;
    const auto last = rows("vit-" + preset, "train").back();
    EXPECT_GE(last["terms"].size(), 2u) << preset;
    EXPECT_EQ(last.contains("agreement"), preset != "dml-heads") << preset;
  }
}

TEST_F(TrainerTest, EveryTermTrainsAViTOrSaysWhyNot) {
  for (const TermMethod& method : term_methods()) {
    SCOPED_TRACE(method.name);
    std::vector<std::string> overrides = one_term(method, "warmup_epochs = 0.0");
    overrides.insert(overrides.end(), {"train.duration=6 steps", "schedule.warmup=0"});
    const std::string name = "term-" + method.name;
    if (method.name == "fsp" || method.name == "ab" ||  // channels; maps larger than the tokens'
        method.name == "norm") {                        // no CNN
      EXPECT_THROW(train(name, overrides), ConfigError);
      continue;
    }
    train(name, overrides);
    const auto last = rows(name, "train").back();
    EXPECT_TRUE(last["terms"].contains(method.name));
  }
}

TEST_F(TrainerTest, SskdFitsTheTeachersHeadThenTrains) {
  const std::string teacher = train_teacher();
  test::write_bytes(folder_ / "student.toml", teacher_config());
  for (const std::string task : {"contrastive", "rotation", "jigsaw", "exemplar"}) {
    SCOPED_TRACE(task);
    train(task, {"teacher.path=" + teacher, "distill.preset=sskd", "distill.pretext_task=" + task,
                 "augment.pretext=" + (task == "contrastive" ? "rotation" : task),
                 "distill.fit_epochs=4", "distill.fit_milestones=[]", "train.duration=6 steps",
                 "schedule.warmup=0", "log.every=4 steps"});
    const auto fits = rows(task, "fit");
    ASSERT_EQ(fits.size(), 10U);
    EXPECT_LT(fits.back()["loss"], fits.front()["loss"]);
    EXPECT_GE(rows(task, "train").back()["terms"].size(), 4U);
  }
}

TEST_F(TrainerTest, TeacherScoresWhatItScoredInItsOwnRun) {
  const std::string teacher = train_teacher();
  train("run", {"distill.preset=shake-paper", "teacher.path=" + teacher});
  const auto scored = rows("run", "teacher").at(0);
  const auto own = nlohmann::json::parse(read_file(folder_ / "teacher/summary.json"));
  EXPECT_NEAR(scored["top1"], own["best"]["top1"], 1e-9);
}

TEST_F(TrainerTest, CnnStudentsLearnByBothFormsOfShake) {
  const std::string teacher = train_teacher();
  test::write_bytes(folder_ / "student.toml", teacher_config());
  train("v1", {"distill.preset=shake-paper", "teacher.path=" + teacher});
  EXPECT_TRUE(weights("v1").contains("fc_shadow.0.weight"));
  train("v2", {"distill.preset=shake-code", "distill.shadow=teacher", "teacher.path=" + teacher});
  EXPECT_FALSE(weights("v2").contains("fc_shadow.0.weight"));
  EXPECT_TRUE(weights("v2", "objective").contains("shadow_0.fuse.0.weight"));
  EXPECT_TRUE(weights("v2", "optimizer").contains("momentum.objective.shadow_0.fuse.0.weight"));
}

TEST_F(TrainerTest, SeveralTeachersGetAHeadEach) {
  const std::string teacher = train_teacher();
  test::write_bytes(folder_ / "student.toml",
                    std::string(kStudent) +
                        "[distill]\npreset = \"shake-paper\"\n[[teacher]]\npath = \"" + teacher +
                        "\"\n[[teacher]]\npath = \"" + teacher + "\"\n");
  const auto summary = train("run", {});
  EXPECT_TRUE(summary["last"]["raw"].contains("shadow_1"));
  EXPECT_TRUE(weights("run").contains("dist_token.1"));
  EXPECT_EQ(rows("run", "teacher").size(), 2u);
}

TEST_F(TrainerTest, ResumesToTheLastBit) {
  const std::string teacher = train_teacher();
  const std::vector<std::string> overrides = {
      "distill.preset=shake-paper", "teacher.path=" + teacher, "train.ema_decay=0.9",
      "augment.mixup_alpha=0.8",    "augment.cutmix_alpha=1",  "model.drop_path_rate=0.2",
      "checkpoint.every=7 steps",   "checkpoint.keep=100",     "train.accum_steps=2"};
  train("whole", overrides);
  std::filesystem::copy(folder_ / "whole", folder_ / "cut",
                        std::filesystem::copy_options::recursive);
  for (const int64_t step : {int64_t{7}, int64_t{21}, int64_t{35}}) {
    std::filesystem::remove(folder_ / "cut/summary.json");
    train("cut", overrides, fmt::format("step-{:08}", step));
    for (const char* group : {"model", "ema", "optimizer"}) {
      expect_same_bits(weights("whole", group), weights("cut", group));
    }
  }
  EXPECT_EQ(rows("whole", "train").size(), rows("cut", "train").size());
  EXPECT_EQ(rows("whole", "train").back()["loss"], rows("cut", "train").back()["loss"]);
}

TEST_F(TrainerTest, WorkersAndPrefetchChangeNothing) {
  train("one", {"data.workers=0"});
  train("two", {"data.workers=3", "data.prefetch=2"});
  expect_same_bits(weights("one"), weights("two"));
}

// SGD, so that a wrong scale of the gradient shows; 30 in four parts, so that the last is smaller.
TEST_F(TrainerTest, AccumulationMatchesTheWholeBatch) {
  const std::vector<std::string> overrides = {"train.duration=5 steps", "schedule.warmup=0",
                                              "optim.name=sgd",         "optim.lr=0.1",
                                              "log.every=1 steps",      "train.batch_size=30"};
  std::vector<std::string> in_parts = overrides;
  in_parts.push_back("train.accum_steps=4");
  train("whole", overrides);
  train("parts", in_parts);
  const TensorMap a = weights("whole"), b = weights("parts");
  for (const auto& [name, tensor] : a) test::expect_close(b.at(name), tensor, 1e-4);
  const auto whole = rows("whole", "train"), parts = rows("parts", "train");
  ASSERT_EQ(whole.size(), parts.size());
  for (size_t i = 0; i < whole.size(); ++i) {
    for (const char* fact : {"loss", "grad_norm"}) {
      EXPECT_NEAR(parts[i][fact].get<double>(), whole[i][fact].get<double>(), 1e-4) << fact;
    }
  }
}

TEST_F(TrainerTest, EveryOptimiserAndLossRuns) {
  const std::vector<std::vector<std::string>> cases = {
      {"optim.name=lamb", "optim.lr=5e-3"},
      {"optim.name=sgd", "optim.nesterov=true", "optim.lr=0.05", "optim.clip_grad_norm=1.0"},
      {"optim.layer_decay=0.7", "loss.name=bce"},
      {"optim.lr_batch_size=512", "schedule.name=constant", "train.ema_decay=0.9",
       "train.ema_warmup=true"},
      {"data.drop_last=false", "train.batch_size=48", "schedule.per=epoch",
       "schedule.deit_epoch_lag=true", "train.duration=6 epochs", "schedule.warmup=1 epochs"},
      {"schedule.name=multistep", "schedule.milestones=[2, 3]", "schedule.warmup=0",
       "train.duration=4 epochs", "data.val_split=0.25", "data.train_samples=200"},
      {"run.precision=bf16"}};
  for (size_t i = 0; i < cases.size(); ++i) {
    const std::string name = fmt::format("run{}", i);
    train(name, cases[i]);
    const auto losses = rows(name, "train");
    EXPECT_LT(losses.back()["loss"], losses.front()["loss"])
        << fmt::format("{}", fmt::join(cases[i], " "));
  }
}

TEST_F(TrainerTest, FineTunesAtAnotherSizeAndClassCountWithATeacher) {
  train("base", {});
  const std::string start = "model.init_from=" + (folder_ / "base").string();
  test::write_toy_idx(folder_ / "data", 320, 80, 12, 16);  // other classes, so other heads
  // The teacher of the new task works at 16 pixels, the student at 24.
  const std::string anew = "model.init_head=new";
  train("large",
        {start, anew, "augment.image_size=24", "train.duration=3 steps", "schedule.warmup=0"});
  EXPECT_EQ(weights("large").at("pos_embed").size(1), 36 + 2);
  EXPECT_EQ(weights("large").at("head.weight").size(0), 12);
  const std::string teacher = train_teacher();
  train("taught", {start, anew, "augment.image_size=24", "teacher.path=" + teacher,
                   "distill.preset=deit-hard", "train.duration=3 steps", "schedule.warmup=0"});
  EXPECT_THAT(read_file(folder_ / "taught/log.txt"), HasSubstr("resized: pos_embed"));
  EXPECT_THAT(read_file(folder_ / "taught/log.txt"), HasSubstr("fresh: head.bias"));
}

// A paraphraser is fitted first, then frozen; a run cut in the fit, at its end or after it ends
// with the same bits.
TEST_F(TrainerTest, FitsComeFirstAndAreResumedToTheBit) {
  const std::vector<std::string> overrides = {
      "teacher.path=" + train_teacher(),
      "distill.terms=[{method = \"ft\", fit_epochs = 1.2}]",  // 12 steps
      "train.duration=8 steps",
      "schedule.warmup=0",
      "checkpoint.every=4 steps",
      "checkpoint.keep=20",
      "train.ema_decay=0.9",
      "log.every=4 steps"};
  train("whole", overrides);
  const TensorMap fitted =
      read_checkpoint(run("whole").checkpoints().path(12)).tensors.at("objective");
  const TensorMap ended = weights("whole", "objective");
  int64_t frozen = 0, learned = 0;
  for (const auto& [name, tensor] : ended) (tensor.equal(fitted.at(name)) ? frozen : learned) += 1;
  EXPECT_GT(frozen, 0) << "the paraphraser";
  EXPECT_GT(learned, 0) << "the translator";
  const auto fits = rows("whole", "fit");
  ASSERT_EQ(fits.size(), 3U);
  EXPECT_FALSE(fits.front()["terms"].contains("task"));
  EXPECT_EQ(rows("whole", "train").size(), 2U);
  const TensorMap first = read_checkpoint(run("whole").checkpoints().path(4)).tensors.at("model");
  expect_same_bits(first, read_checkpoint(run("whole").checkpoints().path(12)).tensors.at("model"));

  for (const int64_t step : {4, 12, 16}) {
    SCOPED_TRACE(step);
    const std::string name = fmt::format("cut{}", step);
    std::filesystem::copy(folder_ / "whole", folder_ / name,
                          std::filesystem::copy_options::recursive);
    train(name, overrides, run("whole").checkpoints().path(step).filename().string());
    expect_same_bits(weights(name), weights("whole"));
    expect_same_bits(weights(name, "objective"), ended);
    expect_same_bits(weights(name, "ema"), weights("whole", "ema"));
  }
}

// A row of the log never mixes the steps of a fit with those of the training; intervals count from
// the start of each.
TEST_F(TrainerTest, AFitsLastRowIsAtItsEnd) {
  train("run",
        {"teacher.path=" + train_teacher(), "distill.terms=[{method = \"ft\", fit_epochs = 1.2}]",
         "train.duration=9 steps", "schedule.warmup=0", "log.every=5 steps"});
  std::vector<int64_t> fits, steps;
  for (const auto& row : rows("run", "fit")) fits.push_back(row["step"]);
  for (const auto& row : rows("run", "train")) steps.push_back(row["step"]);
  EXPECT_THAT(fits, ElementsAre(5, 10, 12));
  EXPECT_THAT(steps, ElementsAre(12 + 5, 12 + 9));
}

// Memory banks, peers and the batch norms of a fusion are in the checkpoint.
TEST_F(TrainerTest, WhatTermsKeepIsResumedToTheBit) {
  const std::vector<std::string> overrides = {
      "teacher.path=" + train_teacher(),
      "distill.terms=[{method = \"crd\", negatives = 64}, {method = \"dml\"}, "
      "{method = \"review_kd\", warmup_epochs = 0}]",
      "train.duration=9 steps",
      "schedule.warmup=0",
      "checkpoint.every=3 steps",
      "checkpoint.keep=20",
      "augment.repeats=2",
      "train.accum_steps=2"};
  train("whole", overrides);
  std::filesystem::copy(folder_ / "whole", folder_ / "cut",
                        std::filesystem::copy_options::recursive);
  std::filesystem::remove(folder_ / "cut/summary.json");
  train("cut", overrides, "step-00000006");
  for (const char* group : {"model", "objective", "optimizer"}) {
    expect_same_bits(weights("cut", group), weights("whole", group));
  }
  EXPECT_TRUE(weights("cut", "objective").contains("term_0.memory.student_bank"));
}

// SGD's rate and L2 penalty are not AdamW's rate and decay.
TEST_F(TrainerTest, AFitTakesNeitherRateNorDecayFromAdamW) {
  const std::vector<std::string> overrides = {"teacher.path=" + train_teacher(),
                                              "train.duration=2 steps", "schedule.warmup=0",
                                              "checkpoint.every=1 steps", "checkpoint.keep=5"};
  const auto fit = [&](const std::string& name, const std::string& lr, const std::string& decay) {
    std::vector<std::string> all = overrides;
    all.push_back("distill.terms=[{method = \"ft\", fit_epochs = 0.2, fit_lr = " + lr + "}]");
    all.push_back("optim.weight_decay=" + decay);
    train(name, all);
    return read_checkpoint(run(name).checkpoints().path(2)).tensors.at("objective");
  };
  expect_same_bits(fit("some", "0.01", "0.05"), fit("more", "0.01", "0.3"));
  EXPECT_THAT(test::error_of([&] { fit("none", "0.0", "0.05"); }),
              HasSubstr("the training's rate is adamw's: set fit_lr, for example to 0.05"));
}

TEST_F(TrainerTest, TermsOfOneMethodAreLoggedApart) {
  train("run", {"teacher.path=" + train_teacher(), "train.duration=5 steps", "schedule.warmup=0",
                "distill.terms=[{method = \"kd\"}, {method = \"at\"}, {method = \"kd\", "
                "head = \"shadow\"}]"});
  const auto terms = rows("run", "train").back()["terms"];
  EXPECT_TRUE(terms.contains("kd") && terms.contains("kd_2") && terms.contains("at"));
}

TEST_F(TrainerTest, AWrongTermIsNamed) {
  EXPECT_THAT(test::error_of([&] {
                train("run", {"teacher.path=" + train_teacher(),
                              "distill.terms=[{method = \"kd\"}, {method = \"at\", "
                              "student_stages = [\"layer9\"], teacher_stages = [\"layer1\"]}]"});
              }),
              HasSubstr("[[distill.terms]] 1, at: the student vit has no stage 'layer9'"));
}

TEST_F(TrainerTest, AFrozenBackboneKeepsEveryBit) {
  test::write_bytes(folder_ / "student.toml", teacher_config());
  train("base", {});
  train("probe", {"model.init_from=" + (folder_ / "base").string(), "model.init_head=new",
                  "model.freeze=backbone", "train.duration=8 steps", "schedule.warmup=0"});
  const TensorMap before = weights("base"), after = weights("probe");
  for (const auto& [name, tensor] : after) {
    EXPECT_EQ(tensor.equal(before.at(name)), !name.starts_with("fc.")) << name;
  }
}

TEST_F(TrainerTest, DivergenceStopsWithTheLastGoodCheckpoint) {
  try {
    train("run", {"optim.name=sgd", "optim.lr=1e30", "optim.momentum=0", "checkpoint.every=1 steps",
                  "schedule.warmup=3 steps", "schedule.warmup_lr=0"});
    FAIL() << "an infinite loss went unnoticed";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("diverged"));
    EXPECT_THAT(error.what(), HasSubstr("step-"));
  }
}

// Weights that are no longer finite are never saved, however rarely the run logs.
TEST_F(TrainerTest, NothingDivergedIsSaved) {
  EXPECT_THROW(
      train("run", {"optim.name=sgd", "optim.lr=1e30", "optim.momentum=0",
                    "checkpoint.every=2 steps", "log.every=40 steps", "schedule.warmup=9 steps",
                    "schedule.warmup_lr=0", "checkpoint.keep=1"}),
      Error);
  for (const auto& [name, tensor] : weights("run")) {
    EXPECT_TRUE(tensor.isfinite().all().item<bool>()) << name;
  }
}

TEST_F(TrainerTest, ARefusedTeacherLeavesNoRunBehind) {
  train("untrained", {"train.duration=1 steps", "schedule.warmup=0", "optim.lr=1e-9"});
  EXPECT_THROW(train("run", {"distill.preset=shake-paper", "teacher.expect_top1=95",
                             "teacher.path=" + (folder_ / "untrained").string()}),
               ConfigError);
  EXPECT_FALSE(run("run").exists());
}

TEST_F(TrainerTest, LengthsAreCheckedInSteps) {
  const auto refused = [&](std::vector<std::string> overrides) {
    overrides.push_back("checkpoint.every=1 steps");
    EXPECT_THROW(train("run", overrides), ConfigError)
        << fmt::format("{}", fmt::join(overrides, " "));
    EXPECT_FALSE(run("run").exists());
  };
  refused({"train.duration=20 steps", "schedule.warmup=5 epochs"});
  refused({"train.duration=0.01 epochs", "schedule.warmup=0"});
  test::write_bytes(folder_ / "student.toml", teacher_config());
  refused({"train.batch_size=29", "data.drop_last=false"});  // 320 = 11 * 29 + 1: one image alone
}

TEST_F(TrainerTest, AnotherProcessIsKeptOut) {
  train("run", {});
  const FolderLock lock(folder_ / "run", FolderLock::IfTaken::kRefuse);
  EXPECT_THROW(FolderLock(folder_ / "run", FolderLock::IfTaken::kRefuse), Error);
  EXPECT_THAT(test::error_of([&] { train("run", {}, "last"); }),
              HasSubstr("another process is training in"));
}

// Both have found the folder free; the second must not write over what the first has begun.
TEST_F(TrainerTest, OfTwoNewRunsInOneFolderTheFirstStays) {
  const std::string data = "data.path=" + (folder_ / "data").string();
  const auto trainer = [&](const char* seed) {
    return std::make_unique<Trainer>(
        load_config((folder_ / "student.toml").string(), {data, "train.duration=5 steps", seed}),
        run("run"), std::nullopt);
  };
  const auto first = trainer("run.seed=1"), second = trainer("run.seed=2");
  const StopSignal stop;
  first->fit(stop, Terminal::kQuiet);
  EXPECT_THAT(test::error_of([&] { second->fit(stop, Terminal::kQuiet); }),
              HasSubstr("another process is training in"));
  EXPECT_EQ(run("run").config().run.seed, 1);
}

TEST_F(TrainerTest, ARunBegunMeanwhileIsNotWrittenOver) {
  const std::string data = "data.path=" + (folder_ / "data").string();
  const auto config = load_config((folder_ / "student.toml").string(), {data, "run.seed=2"});
  Trainer second(config, run("run"), std::nullopt);
  train("run", {"train.duration=5 steps", "run.seed=1"});
  const StopSignal stop;
  EXPECT_THAT(test::error_of([&] { second.fit(stop, Terminal::kQuiet); }),
              HasSubstr("another process has begun a run in"));
  EXPECT_EQ(run("run").config().run.seed, 1);
}

TEST_F(TrainerTest, TeacherOfAnotherClassCountIsRefused) {
  const std::string teacher = train_teacher();
  try {
    train("run", {"distill.preset=shake-paper", "teacher.path=" + teacher, "model.num_classes=20"});
    FAIL() << "accepted";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), HasSubstr("the teacher has 10 classes, the student 20"));
    EXPECT_THAT(error.what(), HasSubstr("--set teacher.path="));
  }
  EXPECT_FALSE(run("run").exists()) << "nothing may be written";
}

TEST_F(TrainerTest, TeacherOfTheSameClassesInAnotherOrderIsRefused) {
  const std::string teacher = train_teacher();
  const auto file = run("teacher").checkpoints().resolve("best") / "state.json";
  auto state = nlohmann::json::parse(read_file(file));
  ASSERT_EQ(state["class_names"].size(), 10);
  std::swap(state["class_names"][2], state["class_names"][5]);
  test::write_bytes(file, state.dump());
  try {
    train("run", {"distill.preset=shake-paper", "teacher.path=" + teacher});
    FAIL() << "accepted";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), HasSubstr("the same classes in another order: its class 2 is"));
  }
}

TEST_F(TrainerTest, BranchOnATransformerTeacherIsRefused) {
  train("base", {});
  try {
    train("run", {"distill.preset=shake-code", "distill.shadow=teacher",
                  "teacher.path=" + (folder_ / "base").string()});
    FAIL() << "accepted";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), HasSubstr("needs a convolutional teacher"));
  }
}

TEST_F(TrainerTest, AResumedRunKeepsItsTeacherAndItsData) {
  train_teacher();
  TensorMap teacher = weights("teacher");
  const std::string file = (folder_ / "teacher.safetensors").string();
  write_safetensors(file, teacher);
  const std::vector<std::string> overrides = {"distill.preset=shake-paper", "teacher.path=" + file,
                                              "teacher.model=resnet8", "checkpoint.every=10 steps",
                                              "checkpoint.keep=10"};
  train("run", overrides);
  const auto error_of_resuming = [&] {
    return test::error_of([&] { train("run", overrides, "step-00000020"); });
  };
  TensorMap other = teacher;
  other.at("fc.bias") = teacher.at("fc.bias") + 1.0;
  write_safetensors(file, other);
  EXPECT_THAT(error_of_resuming(), HasSubstr("has other weights"));
  write_safetensors(file, teacher);
  test::write_toy_idx(folder_ / "data", 352, 80, 4, 16);
  EXPECT_THAT(error_of_resuming(), HasSubstr("320 images then, 352 now"));
  test::write_toy_idx(folder_ / "data", 320, 80, 4, 16);
  EXPECT_EQ(error_of_resuming(), "(no error)");
}

TEST_F(TrainerTest, ABestCheckpointThatIsGoneIsNotTheBest) {
  const std::vector<std::string> overrides = {"checkpoint.every=10 steps", "checkpoint.keep=10"};
  const auto resume_without_best = [&](int64_t step) {
    const auto folder = run("run").checkpoints().path(step);
    auto state = nlohmann::json::parse(read_file(folder / "state.json"));
    state["best_step"] = 5;  // as if it had been the best, and removed
    state["best_top1"] = 100.0;
    test::write_bytes(folder / "state.json", state.dump());
    std::filesystem::remove(folder_ / "run/summary.json");
    return train("run", overrides, folder.filename().string())["best"];
  };
  const auto best = train("run", overrides)["best"];
  EXPECT_EQ(resume_without_best(40)["step"], 40);  // scored there
  EXPECT_EQ(resume_without_best(30)["step"], 40);  // not scored there
  EXPECT_LE(resume_without_best(20)["top1"], best["top1"]);
}

TEST_F(TrainerTest, TheLogTellsWhatIsNotTrained) {
  const std::string teacher = train_teacher();
  const auto notes = [&](std::vector<std::string> overrides) {
    overrides.push_back("data.path=" + (folder_ / "data").string());
    overrides.push_back("teacher.path=" + teacher);
    LoadedConfig loaded = load_config((folder_ / "student.toml").string(), overrides);
    return build_parts(loaded, /*fresh=*/true).notes;
  };
  const auto second_head = HasSubstr("nothing trains the student's second head");
  const auto warm_up = HasSubstr("never has its full weight: its warmup_epochs are 20");
  EXPECT_THAT(notes({"distill.preset=kd"}), Contains(second_head));
  EXPECT_THAT(notes({"distill.preset=shake-paper"}), Not(Contains(second_head)));
  EXPECT_THAT(notes({"distill.preset=review-kd"}), Contains(warm_up));
  const auto dkd = [&](const std::string& length) {
    return notes({"distill.preset=dkd", "train.duration=" + length});
  };
  EXPECT_THAT(dkd("19 epochs"), Contains(warm_up));
  EXPECT_THAT(dkd("20 epochs"), Not(Contains(warm_up)));
}

TEST_F(TrainerTest, DamagedCheckpointNamesTheNextIntactOne) {
  train("run", {"checkpoint.every=10 steps", "checkpoint.keep=10"});
  std::filesystem::remove(folder_ / "run/summary.json");
  const auto newest = run("run").checkpoints().resolve("last");
  const std::string whole = read_file(newest / "model.safetensors");
  std::string damaged = whole;
  damaged[damaged.size() / 2] ^= 1;
  const auto error_of = [&](const std::string& bytes) -> std::string {
    test::write_bytes(newest / "model.safetensors", bytes);
    try {
      train("run", {}, "last");
    } catch (const Error& error) {
      return error.what();
    }
    return "(no error)";
  };
  EXPECT_THAT(error_of(damaged), HasSubstr("its checksum is wrong"));
  EXPECT_THAT(error_of(damaged), HasSubstr("--resume=step-00000030"));
  EXPECT_THAT(error_of(whole.substr(0, 100)), HasSubstr("100 bytes instead of"));
  train("run", {}, "step-00000030");
  EXPECT_EQ(read_file(newest / "model.safetensors"), whole);
}

}  // namespace
}  // namespace umbra
