#include "train/config/load.h"

#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/data_support.h"
#include "train/config/dump.h"
#include "train/files.h"

namespace umbra {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

namespace fs = std::filesystem;

const fs::path kSource = UMBRA_SOURCE_DIR;

std::string error_of(const std::string& text, const std::vector<std::string>& overrides = {}) {
  try {
    parse_config(text, "test.toml", overrides);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "(no error)";
}

std::vector<fs::path> config_files() {
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(kSource / "configs")) {
    if (entry.path().extension() == ".toml") files.push_back(entry.path());
  }
  return files;
}

TEST(Config, EveryConfigFileLoadsDumpsAndReloadsEqual) {
  ASSERT_GE(config_files().size(), 5u);
  for (const fs::path& file : config_files()) {
    const Config config = load_config(file.string()).config;
    for (const bool plain : {false, true}) {
      const Config again = parse_config(dump_config(config, plain), "dumped.toml").config;
      EXPECT_THAT(config_differences(config, again), ::testing::IsEmpty()) << file;
    }
  }
}

TEST(Config, EveryConfigFileOpensWithItsCommandTimeAndSource) {
  for (const fs::path& file : config_files()) {
    EXPECT_THAT(read_file(file), StartsWith("# ")) << file;
    if (file.stem() == "base") continue;
    for (const char* part : {"#   umbra train ", "# Time: ", "# Source: "}) {
      EXPECT_THAT(read_file(file), HasSubstr(part)) << file;
    }
  }
}

TEST(Config, ReferenceInDocsIsCurrent) {
  EXPECT_EQ(read_file(kSource / "docs/config.md"), config_reference())
      << "run: umbra config --reference > docs/config.md";
}

TEST(Config, DifferencesNameTheField) {
  Config a, b;
  b.optim.lr = 0.25;
  b.teachers.emplace_back();
  const auto differences = config_differences(a, b);
  ASSERT_FALSE(differences.empty());
  const auto names = [](const char* text) {
    return ::testing::Contains(::testing::Field(&ConfigDifference::text, text));
  };
  EXPECT_THAT(differences, names("optim.lr: 0.0005 -> 0.25"));
  EXPECT_THAT(differences, names("teacher.path: (absent) -> \"\""));
}

TEST(Config, UnknownKeyNamesPlaceAndNearest) {
  const std::string error = error_of("[optim]\nlr = 1e-3\nweigth_decay = 0.1\n");
  EXPECT_THAT(error, StartsWith("test.toml:3:"));
  EXPECT_THAT(error, HasSubstr("unknown key 'weigth_decay' in [optim]"));
  EXPECT_THAT(error, HasSubstr("Did you mean 'weight_decay'?"));
}

TEST(Config, UnknownTableNamesNearest) {
  const std::string error = error_of("[optimiser]\nlr = 1e-3\n");
  EXPECT_THAT(error, StartsWith("test.toml:1:"));
  EXPECT_THAT(error, HasSubstr("unknown table 'optimiser'"));
  EXPECT_THAT(error, HasSubstr("Did you mean 'optim'?"));
}

TEST(Config, WrongTypeNamesBothTypes) {
  const std::string error = error_of("[train]\nbatch_size = \"big\"\n");
  EXPECT_THAT(error, StartsWith("test.toml:2:14: "));
  EXPECT_THAT(error, HasSubstr("train.batch_size must be an integer, not string"));
}

TEST(Config, OutOfRangeNamesTheRange) {
  EXPECT_THAT(error_of("[augment]\nhflip = 1.5\n"),
              HasSubstr("augment.hflip = 1.5 is out of range: want 0 <= x <= 1"));
  EXPECT_THAT(error_of("[optim]\nlr = 0.0\n"), HasSubstr("want x > 0"));
  EXPECT_THAT(error_of("[optim]\nlr = nan\n"), HasSubstr("out of range"));
}

TEST(Config, UnknownChoiceNamesTheChoices) {
  const std::string error = error_of("[distill]\npreset = \"shake_paper\"\n");
  EXPECT_THAT(error, HasSubstr("Did you mean 'shake-paper'?"));
  EXPECT_THAT(error, HasSubstr("deit-hard"));
}

TEST(Config, UnknownModelNamesNearest) {
  EXPECT_THAT(error_of("[model]\nname = \"resnet21\"\n"), HasSubstr("Did you mean 'resnet20'?"));
}

TEST(Config, KeyOfAnotherFamilyIsUnknown) {
  EXPECT_THAT(error_of("[model]\nname = \"resnet20\"\npatch_size = 4\n"),
              HasSubstr("model.patch_size is for transformers, and resnet20 is a CNN"));
}

TEST(Config, PatchSizeMustDivideTheImage) {
  const std::string error = error_of("[model]\nname = \"vit\"\nimg_size = 28\npatch_size = 5\n");
  EXPECT_THAT(error, StartsWith("test.toml:4:14: "));
  EXPECT_THAT(error, HasSubstr("model.patch_size = 5 does not divide the image size 28"));
}

TEST(Config, HeadsMustDivideTheWidth) {
  EXPECT_THAT(error_of("[model]\nname = \"vit\"\nembed_dim = 64\nnum_heads = 5\n"),
              HasSubstr("model.num_heads = 5 does not divide model.embed_dim = 64"));
}

TEST(Config, DistillationNeedsASecondHead) {
  const std::string error = error_of(
      "[model]\nname = \"deit_tiny_patch16_224\"\n[teacher]\npath = \"t\"\n"
      "[distill]\npreset = \"deit-hard\"\n");
  EXPECT_THAT(error, HasSubstr("needs a second head"));
  EXPECT_THAT(error, HasSubstr("model.distilled = true"));
}

TEST(Config, DistillationNeedsATeacher) {
  EXPECT_THAT(error_of("[distill]\npreset = \"shake-paper\"\n"), HasSubstr("needs a [teacher]"));
}

TEST(Config, TeacherWithoutAMethodIsRefused) {
  EXPECT_THAT(error_of("[teacher]\npath = \"t\"\n"), HasSubstr("does not use it"));
}

TEST(Config, ATeacherThatNoTermReadsIsRefused) {
  EXPECT_THAT(error_of("[[teacher]]\npath = \"a\"\n[[teacher]]\npath = \"b\"\n"
                       "[[distill.terms]]\nmethod = \"kd\"\n"),
              HasSubstr("a teacher is given, but distill.preset = \"none\" does not use it"));
}

TEST(Config, SomethingMustTrainTheStudentFromTheFirstEpochOn) {
  const std::string silent = "[teacher]\npath = \"t\"\n[distill]\ntask_weight = 0.0\n";
  EXPECT_THAT(error_of(silent + "[[distill.terms]]\nmethod = \"review_kd\"\n"),
              HasSubstr("nothing trains the student's class head"));
  EXPECT_THAT(error_of(silent + "[[distill.terms]]\nmethod = \"ab\"\n"),
              HasSubstr("nothing trains the student's class head"));
}

TEST(Config, LossesOnFeaturesTrainNoClassHead) {
  const std::string text =
      "[teacher]\npath = \"t\"\n[model]\nname = \"resnet20\"\nnum_shadow_heads = 1\n"
      "[distill]\ntask_weight = 0.0\n[[distill.terms]]\n";
  for (const std::string term :
       {"method = \"at\"", "method = \"crd\"", "method = \"kd\"\nhead = \"shadow\""}) {
    EXPECT_THAT(error_of(text + term), HasSubstr("nothing trains the student's class head"))
        << term;
  }
  EXPECT_NO_THROW(parse_config(text + "method = \"kd\"", "test.toml", {}));
  EXPECT_NO_THROW(
      parse_config("[model]\nname = \"resnet20\"\n[distill]\ntask_weight = 0.0\n[[distill.terms]]\n"
                   "method = \"dml\"",
                   "test.toml", {}));
}

TEST(Config, DeitTrainsBothHeads) {
  const std::string text =
      "[teacher]\npath = \"t\"\n[model]\nname = \"vit\"\ndistilled = true\n"
      "[distill]\npreset = \"deit-hard\"\nalpha = ";
  EXPECT_THAT(error_of(text + "1.0\n"), HasSubstr("set distill.alpha below 1"));
  EXPECT_THAT(error_of(text + "0.0\n"), HasSubstr("leaves the distillation head untrained"));
  EXPECT_NO_THROW(parse_config(text + "0.1\n", "test.toml", {}));
}

TEST(Config, ATeacherThatShakeDoesNotHearIsRefused) {
  const std::string text =
      "[[teacher]]\npath = \"a\"\n[model]\nname = \"resnet20\"\nnum_shadow_heads = 1\n"
      "[distill]\npreset = \"shake-paper\"\n";
  EXPECT_THAT(error_of(text + "inherit_weight = 0.0\n"), HasSubstr("does not use it"));
  EXPECT_THAT(error_of(text + "inherit = \"none\"\n"), HasSubstr("does not use it"));
  EXPECT_NO_THROW(parse_config(text, "test.toml", {}));
}

TEST(Config, SomethingMustTrainTheStudentToTheEnd) {
  const std::string kd =
      "[teacher]\npath = \"t\"\n[distill]\ntask_weight = 0.0\n"
      "[[distill.terms]]\nmethod = \"kd\"\nfactor_epochs = [60, 120]\n";
  EXPECT_THAT(error_of(kd + "factors = [1.0, 0.5, 0.0]\n"),
              HasSubstr("nothing trains the student's class head from epoch 120 on"));
  EXPECT_NO_THROW(parse_config(kd + "factors = [1.0, 0.5, 0.1]\n", "test.toml", {}));
}

TEST(Config, AMethodThatIsAllInItsFitNeedsOne) {
  const std::string teacher = "[teacher]\npath = \"t\"\n", none = "fit_epochs = 0.0\n";
  for (const std::string method : {"ab", "fsp", "ft"}) {
    EXPECT_THAT(error_of(teacher + "[[distill.terms]]\nmethod = \"" + method + "\"\n" + none),
                HasSubstr("without its fit teaches nothing"));
  }
  const std::string sskd =
      "[augment]\npretext = \"rotation\"\n" + teacher + "[distill]\npreset = \"sskd\"\n" + none;
  EXPECT_THAT(error_of(sskd), HasSubstr("leaves the teacher's head random"));
  EXPECT_NO_THROW(parse_config(sskd + "pretext_weight = 0.0\n", "test.toml", {}));
}

TEST(Config, PretextViewsAreForSskd) {
  EXPECT_THAT(error_of("[augment]\npretext = \"rotation\"\n"),
              HasSubstr("set distill.preset = \"sskd\""));
}

TEST(Config, SskdAndNetworksOfTheTermsOwnDoNotMix) {
  EXPECT_THAT(error_of("[augment]\npretext = \"rotation\"\n[teacher]\npath = \"t\"\n[distill]\n"
                       "preset = \"sskd\"\n[[distill.terms]]\nmethod = \"dml\"\n"),
              HasSubstr("three of four views are transformed"));
}

TEST(Config, APresetsOnlyTermCanBeChangedByItsKeys) {
  const auto loaded = parse_config("[teacher]\npath = \"t\"\n[distill]\npreset = \"kd\"\n",
                                   "test.toml", {"distill.preset=dkd", "distill.terms.beta=6"});
  const TermOptions& term = loaded.config.distill.terms.at(0);
  EXPECT_EQ(term.method, "dkd");
  EXPECT_EQ(term.beta, 6.0);
  EXPECT_EQ(term.warmup_epochs, 20.0);
  EXPECT_THAT(test::error_of([] {
                parse_config("[teacher]\npath = \"t\"\n", "test.toml",
                             {"distill.preset=dkd", "distill.terms.negatives=6"});
              }),
              HasSubstr("distill.terms.negatives is not read by method \"dkd\": it is for crd"));
}

TEST(Config, APresetsTermIsNotLeftOutInSilence) {
  EXPECT_THAT(error_of("[teacher]\npath = \"t\"\n[distill]\npreset = \"kd\"\n[[distill.terms]]\n"
                       "method = \"crd\"\n"),
              HasSubstr("is the term kd, which [[distill.terms]] leaves out"));
}

TEST(Config, KeysThatTheMethodDoesNotReadAreRefused) {
  EXPECT_THAT(error_of("[teacher]\npath = \"t\"\n[distill]\npreset = \"kd\"\ntemperature = 1.0\n"),
              HasSubstr("distill.method = \"none\" does not read distill.temperature: that is for "
                        "shake, deit_soft, sskd"));
}

TEST(Config, AFrozenBackboneComesFromSomewhereAndIsNotTaught) {
  EXPECT_THAT(error_of("[model]\nfreeze = \"backbone\"\n"), HasSubstr("random weights"));
  EXPECT_THAT(
      error_of("[model]\nfreeze = \"backbone\"\ninit_from = \"r\"\n[teacher]\npath = \"t\"\n"
               "[[distill.terms]]\nmethod = \"at\"\n"),
      HasSubstr("method \"at\" teaches the backbone"));
}

TEST(Config, AListOfOneTableIsReachedByKey) {
  const auto loaded = parse_config("[teacher]\npath = \"t\"\n[[distill.terms]]\nmethod = \"crd\"\n",
                                   "test.toml", {"distill.terms.negatives=7"});
  EXPECT_EQ(loaded.config.distill.terms.at(0).negatives, 7);
}

TEST(Config, FactorsHaveOneMoreValueThanTheirEpochs) {
  const std::string term = "[teacher]\npath = \"t\"\n[[distill.terms]]\nmethod = \"kd\"\n";
  EXPECT_THAT(error_of(term + "factors = [1.0, 0.0]\n"), HasSubstr("needs one value more"));
  EXPECT_THAT(error_of(term + "factors = [1.0, 0.5, 0.0]\nfactor_epochs = [20, 10]\n"),
              HasSubstr("ascending"));
}

TEST(Config, BadDurationShowsAGoodOne) {
  EXPECT_THAT(error_of("[train]\nduration = \"3 weeks\"\n"), HasSubstr("300 epochs"));
}

TEST(Config, WarmupMustEndBeforeTheTraining) {
  EXPECT_THAT(error_of("[train]\nduration = \"5 epochs\"\n"),
              HasSubstr("schedule.warmup = 5 epochs (5 epochs unless set) does not end before "
                        "train.duration = 5 epochs"));
}

TEST(Config, SmoothedBceIsRefused) {
  EXPECT_THAT(error_of("[augment]\nlabel_smoothing = 0.1\n[loss]\nname = \"bce\"\n"),
              HasSubstr("label_smoothing = 0"));
}

TEST(Config, SyntaxErrorNamesThePlace) {
  EXPECT_THAT(error_of("[optim\nlr = 1\n"), StartsWith("test.toml:1:"));
}

TEST(Config, OverridesWinAndNameThemselves) {
  const auto loaded = parse_config("[optim]\nlr = 1e-3\n", "test.toml",
                                   {"optim.lr=2e-3", "data.path=/data/set", "run.seed=7"});
  EXPECT_EQ(loaded.config.optim.lr, 2e-3);
  EXPECT_EQ(loaded.config.data.path, "/data/set");
  EXPECT_EQ(loaded.config.run.seed, 7);
  EXPECT_THAT(error_of("", {"optim.lrr=1"}), StartsWith("--set optim.lrr=1: unknown key"));
  EXPECT_THAT(error_of("", {"optim"}), HasSubstr("want table.key=value"));
}

TEST(Config, OverrideReachesIntoAListOfTeachers) {
  const std::string text =
      "[model]\nname = \"resnet20\"\n[distill]\npreset = \"shake-paper\"\n"
      "[[teacher]]\npath = \"a\"\n[[teacher]]\npath = \"b\"\n";
  const Config config = parse_config(text, "test.toml", {"teacher.1.path=c"}).config;
  ASSERT_EQ(config.teachers.size(), 2u);
  EXPECT_EQ(config.teachers[0].path, "a");
  EXPECT_EQ(config.teachers[1].path, "c");
  EXPECT_EQ(config.model.cnn.num_shadow_heads, 2) << "one shadow head per teacher";
  EXPECT_THAT(error_of(text, {"teacher.2.path=c"}), HasSubstr("N from 0 to 1"));
}

TEST(Config, PresetSetsDefaultsThatKeysOverride) {
  const std::string text =
      "[teacher]\npath = \"t\"\n[distill]\npreset = \"shake-code\"\nreverse_weight = 0.5\n";
  const DistillOptions distill = parse_config(text, "test.toml").config.distill;
  EXPECT_EQ(distill.inherit, "mse");
  EXPECT_EQ(distill.logit_norm, "layer_norm");
  EXPECT_EQ(distill.shadow_ce_weight, 1.0);
  EXPECT_EQ(distill.reverse_weight, 0.5);
}

TEST(Config, NamedModelSetsItsSizes) {
  const Config config =
      parse_config("[model]\nname = \"deit_small_distilled_patch16_224\"\ndepth = 6\n", "t").config;
  EXPECT_EQ(config.model.vit.embed_dim, 384);
  EXPECT_EQ(config.model.vit.num_heads, 6);
  EXPECT_EQ(config.model.vit.depth, 6);
}

TEST(Config, ImageSizeIsSaidOnce) {
  const auto size = [](const std::string& text) {
    const Config config = parse_config(text, "t").config;
    return std::pair(config.augment.image_size, config.model.vit.img_size);
  };
  EXPECT_EQ(size("[augment]\nimage_size = 384\n"), std::pair(int64_t{384}, int64_t{384}));
  EXPECT_EQ(size("[model]\nimg_size = 384\n"), std::pair(int64_t{384}, int64_t{384}));
  EXPECT_THAT(error_of("[augment]\nimage_size = 224\n[model]\nimg_size = 384\n"),
              HasSubstr("model.img_size = 384 but augment.image_size = 224"));
}

TEST(Config, OtherKeysDecideDefaults) {
  EXPECT_EQ(parse_config("", "t").config.augment.crop_pct, 0.875);
  EXPECT_EQ(parse_config("[augment]\ncrop = \"pad\"\n", "t").config.augment.crop_pct, 1.0);
  EXPECT_EQ(
      parse_config("[augment]\ncrop = \"pad\"\ncrop_pct = 0.9\n", "t").config.augment.crop_pct,
      0.9);
  EXPECT_EQ(parse_config("[optim]\nname = \"lamb\"\n", "t").config.optim.eps, 1e-6);
  const std::string strong = "[teacher]\npath = \"t\"\n[distill]\npreset = \"shake-strong-head\"\n";
  EXPECT_EQ(parse_config(strong, "t").config.model.vit.shadow_head, "mlp");
  EXPECT_EQ(parse_config(strong, "t", {"model.name=resnet20"}).config.model.cnn.shadow_head, "mlp");
  EXPECT_THAT(error_of(strong, {"model.name=resnet20", "distill.shadow=teacher"}),
              HasSubstr("no effect"));
}

TEST(Config, ExtendsTakesTheOtherFileFirst) {
  const fs::path folder = fs::temp_directory_path() / "umbra_extends_test";
  fs::create_directories(folder);
  std::ofstream(folder / "base.toml") << "[optim]\nlr = 1e-3\neps = 1e-6\n";
  std::ofstream(folder / "top.toml") << "extends = \"base.toml\"\n[optim]\nlr = 2e-3\n";
  std::ofstream(folder / "bad.toml") << "extends = \"base.toml\"\n[optim]\nbogus = 1\n";
  std::ofstream(folder / "cycle.toml") << "extends = \"cycle.toml\"\n";
  const Config config = load_config((folder / "top.toml").string()).config;
  EXPECT_EQ(config.optim.lr, 2e-3);
  EXPECT_EQ(config.optim.eps, 1e-6);
  const auto error = [&](const char* file) -> std::string {
    try {
      load_config((folder / file).string());
    } catch (const ConfigError& e) {
      return e.what();
    }
    return "(no error)";
  };
  EXPECT_THAT(error("bad.toml"), HasSubstr("bad.toml:3:1: unknown key 'bogus'"));
  EXPECT_THAT(error("cycle.toml"), HasSubstr("cycle"));
  EXPECT_THAT(error("absent.toml"), HasSubstr("cannot read"));
  fs::remove_all(folder);
}

TEST(Config, DataDecidesClassesAndChannels) {
  LoadedConfig loaded = parse_config("[augment]\nmean = [0.5]\nstd = [0.5]\n", "t");
  check_against_data(loaded.config, loaded.sources, 10, 1);
  EXPECT_EQ(loaded.config.model.num_classes, 10);
  EXPECT_EQ(loaded.config.model.in_chans, 1);
  LoadedConfig colour = parse_config("", "t");
  EXPECT_THROW(check_against_data(colour.config, colour.sources, 10, 1), ConfigError);
  LoadedConfig fewer = parse_config("[model]\nnum_classes = 5\n", "t");
  EXPECT_THROW(check_against_data(fewer.config, fewer.sources, 10, 3), ConfigError);
}

TEST(Duration, ParsesEpochsStepsAndSamples) {
  EXPECT_EQ(Duration::parse("300 epochs"), Duration::epochs(300));
  EXPECT_EQ(Duration::parse("0.5 epochs"), Duration::epochs(0.5));
  EXPECT_EQ(Duration::parse("20_000 steps"), Duration::steps(20000));
  EXPECT_EQ(Duration::parse("7"), Duration::epochs(7));
  for (const char* bad : {"", "steps", "1.5 steps", "-3 epochs", "3 weeks", "1e3 steps",
                          "99999999999999999999 steps", "0.00001 epochs"}) {
    EXPECT_EQ(Duration::parse(bad), std::nullopt) << bad;
  }
}

TEST(Duration, BecomesSteps) {
  const StepMath math{.steps_per_epoch = 15, .samples_per_step = 64};
  EXPECT_EQ(math.steps(Duration::epochs(2)), 30);
  EXPECT_EQ(math.steps(Duration::steps(7)), 7);
  EXPECT_EQ(math.steps({640, Duration::Unit::kSamples}), 10);
  EXPECT_DOUBLE_EQ(math.epochs(Duration::steps(30)), 2.0);
}

}  // namespace
}  // namespace umbra
