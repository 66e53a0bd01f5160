#include "train/data/loader.h"

#include <atomic>
#include <chrono>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support.h"
#include "train/error.h"

namespace umbra {
namespace {

using test::ToyDataset;
using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr int64_t kSize = 37;

std::shared_ptr<const Dataset> toys(int channels = 3, int64_t size = kSize) {
  return std::make_shared<ToyDataset>(size, 4, 12, channels);
}

augment::AugmentOptions small_views() {
  augment::AugmentOptions options;
  options.image_size = 8;
  return options;
}

LoaderOptions training(int64_t batch_size, int64_t workers = 2, int64_t prefetch = 4) {
  return {.batch_size = batch_size, .workers = workers, .prefetch = prefetch, .seed = 5};
}

LoaderOptions evaluation(int64_t batch_size, int64_t workers = 2) {
  return {.batch_size = batch_size, .train = false, .workers = workers, .prefetch = 3};
}

std::vector<RawBatch> take(Loader& loader, int64_t count) {
  std::vector<RawBatch> batches(count);
  for (RawBatch& batch : batches) EXPECT_TRUE(loader.next(batch));
  return batches;
}

bool same(const RawBatch& a, const RawBatch& b) {
  const auto chance = [](const RawBatch& batch) {
    std::vector<std::string> texts;
    for (const augment::ViewDraw& draw : batch.draws) {
      for (std::string& text : draw.texts()) texts.push_back(std::move(text));
      texts.push_back(std::to_string(draw.noise_seed));
    }
    return texts;
  };
  return a.images.equal(b.images) && a.labels.equal(b.labels) && a.indices.equal(b.indices) &&
         a.pretext_labels.equal(b.pretext_labels) && chance(a) == chance(b);
}

std::vector<size_t> erased_rows(const RawBatch& batch) {
  std::vector<size_t> rows;
  for (size_t i = 0; i < batch.draws.size(); ++i) {
    if (!batch.draws[i].erased.empty()) rows.push_back(i);
  }
  return rows;
}

void expect_same(const std::vector<RawBatch>& actual, const std::vector<RawBatch>& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) EXPECT_TRUE(same(actual[i], expected[i])) << i;
}

std::vector<int64_t> values(const torch::Tensor& tensor) {
  return {tensor.data_ptr<int64_t>(), tensor.data_ptr<int64_t>() + tensor.numel()};
}

// The indices of the next `count` batches, one after the other.
std::vector<int64_t> indices_of(Loader& loader, int64_t count) {
  std::vector<int64_t> all;
  for (const RawBatch& batch : take(loader, count)) {
    const auto part = values(batch.indices);
    all.insert(all.end(), part.begin(), part.end());
  }
  return all;
}

std::vector<int64_t> counting(int64_t size) {
  std::vector<int64_t> numbers(size);
  std::iota(numbers.begin(), numbers.end(), 0);
  return numbers;
}

// Fails at one sample, and takes its time over each.
class Troubled : public ToyDataset {
 public:
  Troubled(int64_t size, int64_t bad, int milliseconds = 0)
      : ToyDataset(size, 4, 12), bad_(bad), pause_(milliseconds) {}

  augment::LazyImage open(int64_t index) const override {
    std::this_thread::sleep_for(pause_);
    if (index == bad_) {
      ++failed;
      throw augment::ImageError("not an image");
    }
    ++decoded;
    return ToyDataset::open(index);
  }

  mutable std::atomic<int> decoded = 0, failed = 0;

 private:
  int64_t bad_;
  std::chrono::milliseconds pause_;
};

TEST(EpochOrder, IsAPermutationDrawnFromSeedAndEpoch) {
  const auto order = epoch_order(100, 1, 2);
  EXPECT_EQ(order, epoch_order(100, 1, 2));
  EXPECT_NE(order, epoch_order(100, 1, 3));
  EXPECT_NE(order, epoch_order(100, 2, 2));
  auto sorted = order;
  std::sort(sorted.begin(), sorted.end());
  EXPECT_EQ(sorted, counting(100));
  EXPECT_EQ(epoch_order(1, 0, 0), counting(1));
}

// Fixed seed; a right function would fail about once in a million (chi-square of 15, p = 1e-6).
TEST(EpochOrder, PutsEverySampleAnywhere) {
  constexpr int kEpochs = 16000, kCount = 16;
  std::vector<int> places(kCount);
  for (int epoch = 0; epoch < kEpochs; ++epoch) {
    const auto order = epoch_order(kCount, 0, epoch);
    ++places[std::find(order.begin(), order.end(), 3) - order.begin()];
  }
  double chi_square = 0;
  for (const int count : places) chi_square += std::pow(count - 1000.0, 2) / 1000;
  EXPECT_LT(chi_square, 56.5);
}

TEST(Loader, GivesTheSameBitsForAnyWorkersAndPrefetch) {
  Loader alone(toys(), small_views(), training(5, 0));
  const auto expected = take(alone, 17);  // two epochs and a bit
  for (const int64_t workers : {1, 2, 8}) {
    for (const int64_t prefetch : {1, 3, 40}) {
      SCOPED_TRACE(fmt::format("{} workers, prefetch {}", workers, prefetch));
      Loader loader(toys(), small_views(), training(5, workers, prefetch));
      expect_same(take(loader, 17), expected);
    }
  }
}

TEST(Loader, ASampleDependsOnItsIndexAndEpochAlone) {
  Loader fives(toys(), small_views(), training(5)), ones(toys(), small_views(), training(1));
  for (const RawBatch& batch : take(fives, 7)) {
    for (int64_t i = 0; i < 5; ++i) {
      RawBatch single;
      ASSERT_TRUE(ones.next(single));
      EXPECT_TRUE(single.images[0].equal(batch.images[i]));
    }
  }
}

TEST(Loader, SeekContinuesAsIfNothingHadHappened) {
  for (const int64_t workers : {0, 1, 2, 8}) {
    SCOPED_TRACE(workers);
    Loader whole(toys(), small_views(), training(5, workers));
    const auto expected = take(whole, 21);  // three epochs of seven batches
    Loader resumed(toys(), small_views(), training(5, workers));
    resumed.seek(1, 3);
    expect_same(take(resumed, 11), {expected.begin() + 10, expected.end()});
    resumed.seek(0, 6);  // back, with batches in flight
    expect_same(take(resumed, 2), {expected.begin() + 6, expected.begin() + 8});
    resumed.seek(2, 0);
    resumed.seek(1, 7);  // the end of an epoch is the start of the next
    expect_same(take(resumed, 1), {expected.begin() + 14, expected.begin() + 15});
  }
}

TEST(Loader, EpochsDifferInOrderAndViews) {
  Loader loader(toys(), small_views(), training(kSize));
  const auto epochs = take(loader, 2);
  EXPECT_EQ(values(epochs[0].indices), epoch_order(kSize, 5, 0));
  EXPECT_EQ(values(epochs[1].indices), epoch_order(kSize, 5, 1));
  int changed = 0;
  for (int64_t i = 0; i < kSize; ++i) {
    const torch::Tensor first = epochs[0].images.index({epochs[0].indices == i});
    changed += !first.equal(epochs[1].images.index({epochs[1].indices == i}));
  }
  EXPECT_EQ(changed, kSize);
}

TEST(Loader, SeedsDiffer) {
  LoaderOptions other = training(10);
  other.seed = 6;
  Loader a(toys(), small_views(), training(10)), b(toys(), small_views(), other);
  EXPECT_FALSE(same(take(a, 1)[0], take(b, 1)[0]));
}

TEST(Loader, BatchesHoldTheImagesAndLabels) {
  for (const int channels : {1, 3}) {
    augment::AugmentOptions options = small_views();
    options.image_size = 12;
    options.crop = "none";
    options.hflip = 0.0;
    const auto dataset = toys(channels);
    Loader loader(dataset, options, training(4));
    const RawBatch batch = take(loader, 1)[0];
    ASSERT_EQ(batch.images.sizes(), (std::vector<int64_t>{4, 12, 12, channels}));
    EXPECT_EQ(batch.images.scalar_type(), torch::kUInt8);
    for (int64_t i = 0; i < 4; ++i) {
      const int64_t index = values(batch.indices)[i];
      EXPECT_EQ(values(batch.labels)[i], dataset->label(index));
      const cv::Mat image = dataset->image(index);
      const auto wanted = torch::from_blob(image.data, {12, 12, channels}, torch::kUInt8);
      EXPECT_TRUE(batch.images[i].equal(wanted));
    }
  }
}

TEST(Loader, DropLastLeavesTheSmallerBatchOut) {
  LoaderOptions options = training(10);
  Loader dropping(toys(), small_views(), options);
  EXPECT_EQ(dropping.batches_per_epoch(), 3);
  for (const RawBatch& batch : take(dropping, 7)) EXPECT_EQ(batch.indices.size(0), 10);

  options.drop_last = false;
  Loader keeping(toys(), small_views(), options);
  EXPECT_EQ(keeping.batches_per_epoch(), 4);
  auto epoch = indices_of(keeping, 4);
  std::sort(epoch.begin(), epoch.end());
  EXPECT_EQ(epoch, counting(kSize));
  EXPECT_EQ(take(keeping, 4)[3].indices.size(0), 7);
}

TEST(Loader, RefusesASetSmallerThanABatch) {
  const auto error = [](int64_t size, LoaderOptions options) -> std::string {
    try {
      Loader(toys(3, size), small_views(), options);
    } catch (const Error& caught) {
      return caught.what();
    }
    return "";
  };
  EXPECT_THAT(error(37, training(38)),
              AllOf(HasSubstr("got 37 samples"), HasSubstr("batch of 38"), HasSubstr("drop_last")));
  EXPECT_EQ(error(37, training(37)), "");
  LoaderOptions keeping = training(38);
  keeping.drop_last = false;
  EXPECT_EQ(error(37, keeping), "");
  EXPECT_EQ(error(37, evaluation(38)), "");
  EXPECT_THAT(error(0, evaluation(38)), HasSubstr("got 0 samples"));
}

TEST(Loader, EvaluationSeesEverySampleOnceInOrder) {
  for (const int64_t workers : {0, 1, 3}) {
    for (int64_t batch_size = 1; batch_size <= kSize + 1; ++batch_size) {
      SCOPED_TRACE(fmt::format("{} workers, batch size {}", workers, batch_size));
      Loader loader(toys(), small_views(), evaluation(batch_size, workers));
      EXPECT_EQ(loader.batches_per_epoch(), (kSize + batch_size - 1) / batch_size);
      EXPECT_EQ(indices_of(loader, loader.batches_per_epoch()), counting(kSize));
      RawBatch batch;
      EXPECT_FALSE(loader.next(batch));
      EXPECT_FALSE(loader.next(batch));
      loader.seek(0, 0);
      EXPECT_EQ(indices_of(loader, loader.batches_per_epoch()), counting(kSize));
      EXPECT_FALSE(loader.next(batch));
    }
  }
}

TEST(Loader, EvaluationIsWithoutChance) {
  LoaderOptions other = evaluation(9);
  other.seed = 99;
  Loader a(toys(), small_views(), evaluation(9)), b(toys(), small_views(), other);
  expect_same(take(a, 5), take(b, 5));
}

TEST(Loader, AWorkersErrorReachesTheCallerInItsPlace) {
  for (const int64_t workers : {0, 1, 4}) {
    SCOPED_TRACE(workers);
    Loader loader(std::make_shared<Troubled>(40, 25), small_views(), evaluation(10, workers));
    RawBatch batch;
    EXPECT_TRUE(loader.next(batch));
    EXPECT_TRUE(loader.next(batch));
    try {
      loader.next(batch);
      ADD_FAILURE() << "no error";
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), ::testing::HasSubstr("not an image. Repair or remove it"));
    }
    EXPECT_TRUE(loader.next(batch));  // the batch after the broken one
    EXPECT_EQ(values(batch.indices)[0], 30);
    EXPECT_FALSE(loader.next(batch));
  }
}

TEST(Loader, EndsAtOnceWithBatchesInFlight) {
  for (int taken = 0; taken < 4; ++taken) {
    const auto dataset = std::make_shared<Troubled>(1000, -1, 1);
    const auto start = std::chrono::steady_clock::now();
    {
      Loader loader(dataset, small_views(), training(20, 4, 8));
      take(loader, taken);
    }
    EXPECT_EQ(dataset.use_count(), 1);
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
  }
}

TEST(Loader, EndsAfterAnErrorNobodyAskedFor) {
  const auto dataset = std::make_shared<Troubled>(40, 15);
  {
    Loader loader(dataset, small_views(), evaluation(10, 4));
    take(loader, 1);
    while (dataset->failed == 0) std::this_thread::yield();
  }
  EXPECT_EQ(dataset.use_count(), 1);  // and no exception left the loader's end
}

TEST(Loader, WorksNoFurtherAheadThanPrefetch) {
  const auto dataset = std::make_shared<Troubled>(400, -1);
  Loader loader(dataset, small_views(), training(10, 4, 3));
  take(loader, 2);
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  EXPECT_EQ(dataset->decoded, 50);  // two taken and three ahead
}

TEST(Loader, SurvivesManySeeks) {
  Loader reference(toys(), small_views(), training(5, 0));
  const auto expected = take(reference, 35);
  Loader loader(toys(), small_views(), training(5, 4, 6));
  augment::Rng rng({1});
  for (int i = 0; i < 200; ++i) {
    const int64_t position = rng.below(30), count = rng.below(4);
    loader.seek(position / 7, position % 7);
    const auto batches = take(loader, count);
    expect_same(batches, {expected.begin() + position, expected.begin() + position + count});
  }
}

augment::AugmentOptions everything() {
  augment::AugmentOptions options = small_views();
  augment::apply_preset(options, "deit");
  options.image_size = 8;
  options.erase_prob = 1.0;
  options.color_jitter = {0.4, 0.4, 0.4, 0.1};
  return options;
}

TEST(Loader, WorkersPrefetchAndResumeChangeNoBitOfTheWholeRecipe) {
  Loader plain(toys(), everything(), training(5, 0));
  plain.seek(2, 0);
  const std::vector<RawBatch> expected = take(plain, 12);
  EXPECT_FALSE(erased_rows(expected[0]).empty());
  for (const auto& [workers, prefetch] : {std::pair{1, 1}, {2, 7}, {8, 16}}) {
    Loader other(toys(), everything(), training(5, workers, prefetch));
    other.seek(2, 0);
    expect_same(take(other, 12), expected);
    other.seek(2, 5);
    expect_same(take(other, 7), {expected.begin() + 5, expected.end()});
  }
}

// timm's and DeiT's RepeatAugSampler: each index K times in a row, the epoch as long as before.
TEST(Loader, RepeatedAugmentationShowsAThirdOfTheImagesThreeTimes) {
  augment::AugmentOptions options = small_views();
  options.repeats = 3;
  Loader loader(toys(3, 36), options, training(6));
  loader.seek(0, 0);
  EXPECT_EQ(loader.batches_per_epoch(), 6);
  const std::vector<RawBatch> batches = take(loader, 6);
  const auto order = epoch_order(36, 5, 0);
  for (int64_t b = 0; b < 6; ++b) {
    for (int64_t i = 0; i < 6; ++i) {
      EXPECT_EQ(batches[b].indices[i].item<int64_t>(), order[(6 * b + i) / 3]);
    }
    EXPECT_FALSE(batches[b].images[0].equal(batches[b].images[1]));
  }
}

TEST(Loader, ViewsOfASampleFollowEachOther) {
  augment::AugmentOptions options = small_views();
  options.pretext = "rotation";
  Loader loader(toys(), options, training(5));
  loader.seek(0, 0);
  const RawBatch batch = take(loader, 1)[0];
  EXPECT_EQ(batch.rows(), 20);
  EXPECT_EQ(batch.samples(), 5);
  for (int64_t row = 0; row < 20; ++row) {
    EXPECT_EQ(batch.pretext_labels[row].item<int64_t>(), row % 4);
    EXPECT_EQ(batch.indices[row].item<int64_t>(), batch.indices[row - row % 4].item<int64_t>());
  }
}

TEST(RawBatch, SlicesWholeSamplesAndTheirErasing) {
  augment::AugmentOptions options = everything();
  options.splits = 2;
  Loader loader(toys(), options, training(6));
  loader.seek(0, 0);
  const RawBatch batch = take(loader, 1)[0];
  const RawBatch part = batch.slice(2, 5);
  EXPECT_EQ(part.rows(), 6);
  EXPECT_TRUE(part.images.equal(batch.images.slice(0, 4, 10)));
  EXPECT_EQ(erased_rows(part), (std::vector<size_t>{1, 3, 5})) << "the clean views are not erased";
  for (size_t i = 0; i < 6; ++i) {
    EXPECT_EQ(part.draws[i].noise_seed, batch.draws[i + 4].noise_seed);
  }
}

TEST(Loader, ABrokenSampleIsReplacedByTheNextInTrainingAndNamedOnce) {
  const auto dataset = std::make_shared<Troubled>(12, 7);
  LoaderOptions options = training(12);
  options.skip_broken = true;
  Loader loader(dataset, small_views(), options);
  loader.seek(0, 0);
  for (const RawBatch& batch : take(loader, 3)) {
    auto indices = values(batch.indices);
    std::sort(indices.begin(), indices.end());
    EXPECT_EQ(indices, (std::vector<int64_t>{0, 1, 2, 3, 4, 5, 6, 8, 8, 9, 10, 11}));
  }
  // Sample 8, in its own place and in the other's, looks different.
  loader.seek(0, 0);
  const RawBatch batch = take(loader, 1)[0];
  std::vector<int64_t> twice;
  for (int64_t i = 0; i < 12; ++i) {
    if (batch.indices[i].item<int64_t>() == 8) twice.push_back(i);
  }
  ASSERT_EQ(twice.size(), 2U);
  EXPECT_FALSE(batch.images[twice[0]].equal(batch.images[twice[1]]));
  const auto broken = loader.take_broken();
  ASSERT_EQ(broken.size(), 1U);
  EXPECT_EQ(broken[0].name, dataset->name(7));
  EXPECT_EQ(broken[0].reason, "not an image");
  EXPECT_TRUE(loader.take_broken().empty());
}

TEST(Loader, ABrokenSampleIsLeftOutOfAnEvaluation) {
  LoaderOptions options = evaluation(5);
  options.skip_broken = true;
  Loader loader(std::make_shared<Troubled>(12, 7), small_views(), options);
  EXPECT_EQ(indices_of(loader, 3), (std::vector<int64_t>{0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11}));
}

}  // namespace
}  // namespace umbra
