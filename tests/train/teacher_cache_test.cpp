// A teacher's logits on disk: their few bytes, their files, and runs that learn from them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support.h"
#include "tests/train/toy_run.h"
#include "train/distill/logit_store.h"
#include "train/loop/cache_maker.h"

namespace umbra {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

torch::Tensor random_logits(int64_t rows, int64_t classes, uint64_t seed = 3) {
  torch::manual_seed(seed);
  return 4.0 * torch::randn({rows, classes});
}

torch::Tensor through(const SparseForm& form, const torch::Tensor& logits) {
  return decode(form, encode(form, logits));
}

TEST(SparseLogits, TenOfAThousandTake44Bytes) {
  const SparseForm form{1000, 10};
  EXPECT_EQ(form.row_bytes(), 44);
  EXPECT_EQ(encode(form, random_logits(3, 1000)).size(), 3u * 44u);
}

TEST(SparseLogits, KeepTheLargestAndWhichTheyAre) {
  const SparseForm form{50, 5};
  const torch::Tensor z = random_logits(7, 50), q = through(form, z);
  const auto [top, classes] = z.topk(5, 1);
  EXPECT_TRUE(std::get<1>(q.topk(5, 1)).equal(classes));
  test::expect_close(q.gather(1, classes), top, 1e-3);
}

TEST(SparseLogits, TheRestHasItsShare) {
  const torch::Tensor z = random_logits(6, 40), kept = std::get<1>(z.topk(4, 1));
  const auto rest = [&](const torch::Tensor& logits) {
    return 1.0 - torch::softmax(logits, 1).gather(1, kept).sum(1);
  };
  const torch::Tensor q = through({40, 4}, z);
  test::expect_close(rest(q), rest(z), 2e-3);
  EXPECT_EQ(std::get<0>(torch::_unique(q[0])).numel(), 5);
}

TEST(SparseLogits, AllKeptAreTheLogits) {
  const torch::Tensor z = random_logits(5, 12);
  test::expect_close(through({12, 12}, z), z, 1e-3);
}

TEST(SparseLogits, TheTopClassIsExact) {
  // Ties, as bf16 has many, classes beyond 15 bits, and logits a rounding apart.
  torch::Tensor tied = torch::zeros({1, 6});
  tied[0][4] = tied[0][2] = 3.0;
  torch::Tensor many = torch::zeros({1, 65536});
  many[0][65535] = 9.0;
  std::vector<torch::Tensor> cases = {tied, many, random_logits(500, 30).to(torch::kBFloat16)};
  for (const float largest : {15.3F, 0.3F, 0.01F, 0.0F, -0.3F, -7.9999F, -15.999F, -3000.0F}) {
    torch::Tensor near = torch::full({1, 6}, largest - 1.0F);
    near[0][5] = largest;
    near[0][1] = std::nextafter(largest, -1e9F);
    cases.push_back(near);
  }
  for (const torch::Tensor& z : cases) {
    for (const int64_t top_k : {int64_t{1}, int64_t{5}}) {
      const torch::Tensor q = through({z.size(1), top_k}, z);
      EXPECT_TRUE(q.argmax(1).equal(z.to(torch::kFloat32).argmax(1))) << top_k << z.slice(1, 0, 6);
    }
  }
}

class LogitStoreTest : public ::testing::Test {
 protected:
  static constexpr int64_t kClasses = 6;
  static constexpr uint32_t kIdentity = 77;
  const SparseForm form_{kClasses, kClasses};
  const EpochShape shape_{3, 4, 2};

  torch::Tensor step(int64_t number) {
    return random_logits(number < 2 ? 4 : 2, kClasses, static_cast<uint64_t>(number));
  }
  void fill(int64_t epoch, int64_t steps) {
    const LogitStore store(folder_.path(), kIdentity, form_, shape_);
    LogitStore::Writer writer(store, epoch);
    while (writer.next_step() < steps) writer.append(step(writer.next_step()));
  }
  void expect_whole(int64_t epoch) {
    LogitStore store(folder_.path(), kIdentity, form_, shape_);
    EXPECT_TRUE(store.has(epoch));
    for (int64_t i = 0; i < 3; ++i) {
      test::expect_close(store.read(epoch, i, 0, i < 2 ? 4 : 2), step(i), 1e-3);
    }
  }
  std::string bytes(int64_t epoch) {
    return read_file(LogitStore(folder_.path(), kIdentity, form_, shape_).path(epoch));
  }

  test::TemporaryFolder folder_;
};

TEST_F(LogitStoreTest, HoldsEverySteps) {
  fill(0, 3);
  fill(7, 3);
  expect_whole(0);
  expect_whole(7);
  LogitStore store(folder_.path(), kIdentity, form_, shape_);
  EXPECT_FALSE(store.has(1));
  test::expect_close(store.read(7, 1, 1, 2), step(1).slice(0, 1, 3), 1e-3);
  EXPECT_THAT(test::error_of([&] { store.read(1, 0, 0, 1); }), HasSubstr("epoch-00002.logits"));
}

TEST_F(LogitStoreTest, GoesOnWhereItWasCut) {
  fill(0, 3);
  const std::string whole = bytes(0);
  for (const size_t length : {size_t{0}, size_t{1}, whole.size() / 2, whole.size() - 1}) {
    std::filesystem::resize_file(LogitStore(folder_.path(), kIdentity, form_, shape_).path(0),
                                 length);
    EXPECT_FALSE(LogitStore(folder_.path(), kIdentity, form_, shape_).has(0));
    fill(0, 3);
    EXPECT_EQ(bytes(0), whole) << length;
  }
}

TEST_F(LogitStoreTest, DamageIsNamedAndMended) {
  fill(0, 3);
  const std::string whole = bytes(0);
  std::string damaged = whole;
  damaged[whole.size() / 2] ^= 1;  // in the second step
  test::write_bytes(LogitStore(folder_.path(), kIdentity, form_, shape_).path(0), damaged);
  LogitStore store(folder_.path(), kIdentity, form_, shape_);
  store.read(0, 0, 0, 4);
  EXPECT_THAT(test::error_of([&] { store.read(0, 1, 0, 4); }),
              AllOf(HasSubstr("step 2 of the epoch are damaged"), HasSubstr("--epochs 1")));
  fill(0, 3);
  EXPECT_EQ(bytes(0), whole);
}

TEST_F(LogitStoreTest, RecordsOfAnotherCacheOrEpochAreNone) {
  fill(0, 3);
  LogitStore other(folder_.path(), kIdentity + 1, form_, shape_);
  EXPECT_THAT(test::error_of([&] { other.read(0, 0, 0, 4); }), HasSubstr("of another cache"));
  LogitStore store(folder_.path(), kIdentity, form_, shape_);
  std::filesystem::rename(store.path(0), store.path(1));
  EXPECT_THAT(test::error_of([&] { store.read(1, 0, 0, 4); }), HasSubstr("of another cache"));
  EXPECT_EQ(LogitStore::Writer(store, 1).next_step(), 0);
}

TEST_F(LogitStoreTest, OneWriterPerFile) {
  const LogitStore store(folder_.path(), kIdentity, form_, shape_);
  const LogitStore::Writer writer(store, 0);
  EXPECT_THAT(test::error_of([&] { LogitStore::Writer(store, 0); }),
              HasSubstr("another process writes"));
  LogitStore::Writer(store, 1);
}

// Half precision rounds the largest logit, and a difference of up to twice as much: 2^-11 of each.
constexpr double kRounding = 3.0 / 2048.0;

class TeacherCacheTest : public test::ToyRunTest {
 protected:
  // What the tests' runs have in common.
  std::vector<std::string> overrides(std::vector<std::string> more = {}) {
    std::vector<std::string> all = {"teacher.path=" + train_teacher(), "distill.preset=deit-hard",
                                    "train.duration=20 steps",         "eval.every=20 steps",
                                    "augment.mixup_alpha=0.8",         "augment.cutmix_alpha=1",
                                    "augment.erase_prob=0.5",          "train.accum_steps=2"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  std::vector<std::string> cached(std::vector<std::string> more = {}) {
    more.insert(more.begin(), "teacher.cache=" + cache());
    return overrides(more);
  }
  std::string cache() { return (folder_ / "cache").string(); }

  CacheMaker maker(std::vector<std::string> overrides) {
    overrides.push_back("data.path=" + (folder_ / "data").string());
    return CacheMaker(load_config((folder_ / "student.toml").string(), overrides));
  }
  // All that the run asks for.
  void fill(const std::vector<std::string>& overrides, int64_t top_k = 0) {
    CacheMaker made = maker(overrides);
    std::vector<int64_t> epochs(made.epochs());
    std::iota(epochs.begin(), epochs.end(), 0);
    const StopSignal stop;
    made.write(epochs, top_k, stop, Terminal::kQuiet);
  }
  std::string refusal(const std::vector<std::string>& overrides) {
    return test::error_of([&] { train("refused", overrides); });
  }
};

TEST_F(TeacherCacheTest, HardLabelsFromOneLogitTrainToTheSameBits) {
  train("asked", overrides());
  fill(cached(), /*top_k=*/1);
  train("cached", cached());
  expect_same_bits(weights("asked"), weights("cached"));
  train("replayed", cached({"run.cuda_graph=true"}));
  expect_same_bits(weights("asked"), weights("replayed"));
  EXPECT_EQ(rows("asked", "teacher")[0]["top1"], rows("cached", "teacher")[0]["top1"]);
  EXPECT_EQ(rows("asked", "eval")[0]["agreement"], rows("cached", "eval")[0]["agreement"]);
}

TEST_F(TeacherCacheTest, EveryViewsLogitsAreTheTeachersOwn) {
  const std::vector<std::vector<std::string>> variants = {
      {"train.accum_steps=3"},
      {"augment.repeats=3", "data.drop_last=false", "train.batch_size=48"},
      {"augment.splits=3", "augment.mixup_alpha=0", "augment.cutmix_alpha=0",
       "augment.auto_augment=rand-m5"},
      {"augment.mix_off_epoch=1", "augment.mix_mode=elem", "data.train_samples=200"}};
  for (size_t i = 0; i < variants.size(); ++i) {
    std::vector<std::string> options = cached(variants[i]);
    options.push_back(fmt::format("teacher.cache={}-{}", cache(), i));
    fill(options);
    for (const CacheCheck& check : maker(options).verify(100)) {
      EXPECT_GT(check.views, 300);
      EXPECT_EQ(check.same_top1, 100.0) << check.worst;
      EXPECT_LT(check.difference, kRounding) << check.worst;
      EXPECT_LT(check.divergences[0].kl, 1e-5);
    }
  }
}

TEST_F(TeacherCacheTest, AllLogitsTrainAsTheTeacherItself) {
  const std::vector<std::string> shake = {"distill.preset=shake-paper"};
  train("asked", overrides(shake));
  fill(cached(shake));
  train("cached", cached(shake));
  const auto asked = rows("asked", "train"), read = rows("cached", "train");
  for (size_t i = 0; i < asked.size(); ++i) {
    EXPECT_NEAR(asked[i]["loss"].get<double>(), read[i]["loss"].get<double>(), 2e-3);
  }
}

TEST_F(TeacherCacheTest, ServesOtherStudentsAndSeedsAndResumes) {
  fill(cached({"data.seed=0"}));
  const std::vector<std::string> other =
      cached({"run.seed=5", "data.seed=0", "model.embed_dim=16", "checkpoint.every=7 steps",
              "checkpoint.keep=9", "augment.label_smoothing=0.1"});
  train("whole", other);
  std::filesystem::copy(folder_ / "whole", folder_ / "cut",
                        std::filesystem::copy_options::recursive);
  std::filesystem::remove(folder_ / "cut/summary.json");
  train("cut", other, "step-00000007");
  expect_same_bits(weights("whole"), weights("cut"));
}

TEST_F(TeacherCacheTest, WhatWasMadeForSomethingElseIsRefusedByName) {
  EXPECT_THAT(refusal(cached()), HasSubstr("holds no cache of a teacher"));
  fill(cached());
  const std::vector<std::pair<const char*, const char*>> changes = {
      {"augment.cutmix_alpha=0.5", "augment.cutmix_alpha: 1.0 -> 0.5"},
      {"run.seed=1", "data.seed (or run.seed): 0 -> 1"},
      {"train.batch_size=16", "train.batch_size: 32 -> 16"},
      {"train.accum_steps=1", "train.accum_steps: 2 -> 1"},
      {"data.train_samples=160", "data.train_samples: 0 -> 160"},
      {"teacher.checkpoint=step-00000020", "(other weights, or another normalisation)"},
      {"train.duration=60 steps", "lacks epochs 3-6 of 6"}};
  for (const auto& [change, message] : changes) {
    EXPECT_THAT(refusal(cached({change})), HasSubstr(message)) << change;
  }
  const std::string images = (folder_ / "data/train-images-idx3-ubyte").string();
  std::string bytes = read_file(images);
  for (size_t i = 16; i < bytes.size(); i += 7) bytes[i] ^= 8;
  test::write_bytes(images, bytes);
  EXPECT_THAT(refusal(cached()), HasSubstr("(other images or labels)"));
  EXPECT_FALSE(run("refused").exists());
}

TEST_F(TeacherCacheTest, MethodsThatNeedMoreAreRefusedByName) {
  fill(cached(), /*top_k=*/2);
  EXPECT_THAT(refusal(cached({"distill.terms=[{method = \"at\"}]"})),
              HasSubstr("the term at reads more of it"));
  EXPECT_THAT(refusal(cached({"distill.preset=shake-code", "distill.shadow=teacher"})),
              HasSubstr("distill.shadow = \"teacher\" reads more of it"));
  EXPECT_THAT(refusal(cached({"distill.preset=shake-paper", "distill.inherit=mse"})),
              AllOf(HasSubstr("distill.inherit = \"mse\""), HasSubstr("--top-k 10")));
  EXPECT_THAT(refusal(cached({"distill.terms=[{method = \"kd\", logit_norm = \"z_score\"}]"})),
              HasSubstr("distill.terms.logit_norm = \"z_score\""));
  EXPECT_THAT(test::error_of([&] {
                fill(cached({"distill.inherit=mse", "distill.preset=shake-paper"}), /*top_k=*/2);
              }),
              HasSubstr("leave --top-k out"));
  EXPECT_THAT(refusal(cached(
                  {"distill.preset=none", "distill.terms=[{method = \"kd\"}, {method = \"ft\"}]"})),
              HasSubstr("the term ft"));
  EXPECT_THAT(test::error_of([&] { fill(cached(), /*top_k=*/3); }),
              HasSubstr("keeps the 2 largest logits, not 3"));
  EXPECT_THAT(test::error_of([&] { maker(overrides()); }), HasSubstr("no teacher has a cache"));
}

TEST_F(TeacherCacheTest, OneOfTwoTeachersMayBeCached) {
  const std::string teacher = train_teacher();
  const auto teachers = [&](const std::string& first, const std::string& second) {
    return std::vector<std::string>{
        fmt::format("teacher=[{{path = \"{0}\", cache = \"{1}\"}}, {{path = \"{0}\", checkpoint = "
                    "\"last\", cache = \"{2}\"}}]",
                    teacher, first, second),
        "distill.preset=shake-paper", "train.duration=10 steps", "eval.every=10 steps"};
  };
  const std::string other = cache() + "-2";
  train("asked", teachers("", ""));
  fill(teachers(cache(), other));
  for (const auto& overrides :
       {teachers(cache(), ""), teachers("", other), teachers(cache(), other)}) {
    std::filesystem::remove_all(folder_ / "cached");
    train("cached", overrides);
    EXPECT_NEAR(rows("asked", "train").back()["loss"].get<double>(),
                rows("cached", "train").back()["loss"].get<double>(), 2e-3);
  }
  EXPECT_THAT(refusal(teachers(cache(), cache())), HasSubstr("teachers 0 and 1 have one cache"));
}

}  // namespace
}  // namespace umbra
