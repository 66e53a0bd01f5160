#include "train/config/load.h"
#include "train/data/dataset.h"

#include <atomic>
#include <numeric>
#include <set>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/train/data_files.h"
#include "train/data/view_stats.h"

namespace umbra::test {
namespace {

namespace fs = std::filesystem;

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;

std::vector<int64_t> class_counts(const Dataset& dataset) {
  std::vector<int64_t> counts(dataset.num_classes());
  for (const int64_t label : labels_of(dataset)) ++counts[label];
  return counts;
}

// ---- open_dataset

TEST(OpenDataset, TellsTheFormatsApart) {
  const TemporaryFolder folder;
  write_toy_idx(folder / "idx", 12, 10);
  write_cifar10(folder / "cifar10");
  write_cifar100(folder / "cifar100");
  write_bytes(folder / "images/train/a/1.png", png(1));
  EXPECT_EQ(open_dataset("auto", folder / "idx").train->size(), 12);
  EXPECT_EQ(open_dataset("auto", folder / "cifar10").train->size(), 15);
  EXPECT_EQ(open_dataset("auto", folder / "cifar100").train->size(), 7);
  EXPECT_EQ(open_dataset("auto", folder / "images").train->size(), 1);
}

TEST(OpenDataset, EveryFormatIsOneThatAConfigMayName) {
  for (const std::string& format : data_formats()) {
    EXPECT_NO_THROW(parse_config("", "none", {"data.format=" + format})) << format;
  }
  EXPECT_ANY_THROW(parse_config("", "none", {"data.format=lmdb"}));
}

TEST(OpenDataset, ListsWhatItLookedFor) {
  const TemporaryFolder folder;
  fs::create_directories(folder / "empty/folder");
  EXPECT_THAT(opening_error("auto", folder.path()),
              AllOf(HasSubstr(folder.path().string()), HasSubstr("t10k}-images-idx3-ubyte"),
                    HasSubstr("data_batch_1.bin"), HasSubstr("fine_label_names.txt"),
                    HasSubstr("train/CLASS")));
}

TEST(OpenDataset, AsksWhichWhenTwoFormatsFit) {
  const TemporaryFolder folder;
  write_cifar10(folder / "cifar-10-batches-bin");
  write_cifar100(folder / "cifar-100-binary");
  EXPECT_THAT(opening_error("auto", folder.path()),
              AllOf(HasSubstr("cifar10 and cifar100"), HasSubstr("data.format")));
  EXPECT_EQ(open_dataset("cifar100", folder.path()).train->size(), 7);
}

TEST(OpenDataset, RefusesUnknownFormatsAndMissingFolders) {
  const TemporaryFolder folder;
  EXPECT_THROW(open_dataset("imagenet", folder.path()), ConfigError);
  EXPECT_EQ(data_formats().front(), "auto");
  EXPECT_THAT(opening_error("imagenet", folder.path()),
              AllOf(HasSubstr("\"imagenet\""), HasSubstr("auto, idx, cifar10")));
  EXPECT_THAT(opening_error("auto", folder / "nowhere"), HasSubstr("not there"));
  write_bytes(folder / "file", "");
  EXPECT_THAT(opening_error("idx", folder / "file"), HasSubstr("not a folder"));
}

// ---- Parts of a data set

// A set of given labels whose images tell their index.
std::shared_ptr<const Dataset> labelled(std::vector<int64_t> labels, int classes) {
  std::vector<uint8_t> pixels;
  for (size_t i = 0; i < labels.size(); ++i) pixels.push_back(static_cast<uint8_t>(i));
  return std::make_shared<MemoryDataset>(pixels, std::move(labels), 1, 1, 1,
                                         std::vector<std::string>(classes, "name"));
}

std::shared_ptr<const Dataset> cycling(int64_t size, int classes) {
  std::vector<int64_t> labels;
  for (int64_t i = 0; i < size; ++i) labels.push_back(i % classes);
  return labelled(std::move(labels), classes);
}

std::vector<int> members_of(const Dataset& part) {
  std::vector<int> members;
  for (int64_t i = 0; i < part.size(); ++i) members.push_back(pixel(part.image(i), 0, 0)[0]);
  return members;
}

TEST(Subset, KeepsTheOrderGiven) {
  const auto part = subset(cycling(10, 3), {7, 2, 2});
  EXPECT_THAT(members_of(*part), ElementsAre(7, 2, 2));
  EXPECT_THAT(labels_of(*part), ElementsAre(1, 2, 2));
  EXPECT_EQ(part->num_classes(), 3);
  EXPECT_EQ(part->channels(), 1);
  EXPECT_EQ(part->name(0), "image 7");
  EXPECT_THROW(subset(cycling(10, 3), {10}), std::out_of_range);
}

// ---- keep_in_memory

// Counts how often an image is read, and has them as files or as pixels.
class Counted : public Dataset {
 public:
  explicit Counted(int64_t size, bool files = true) : files_(files), reads_(size) {}

  int64_t size() const override { return static_cast<int64_t>(reads_.size()); }
  int64_t channels() const override { return 3; }
  const std::vector<std::string>& class_names() const override { return names_; }
  int64_t label(int64_t) const override { return 0; }
  std::string name(int64_t index) const override { return fmt::format("sample {}", index); }

  augment::LazyImage open(int64_t index) const override {
    ++reads_.at(index);
    const std::string file = index == broken ? "no image" : png(static_cast<int>(index), 10, 10);
    if (files_) return augment::LazyImage(bytes_of(file), {});
    return augment::LazyImage(augment::decode_image(bytes_of(file)));
  }

  int reads(int64_t index) const { return reads_[index]; }

  int64_t broken = -1;

 private:
  bool files_;
  mutable std::vector<std::atomic<int>> reads_;
  std::vector<std::string> names_ = {"name"};
};

constexpr int64_t kImageBytes = 10 * 10 * 3;

TEST(KeepInMemory, ReadsEachImageOnce) {
  const auto whole = std::make_shared<Counted>(100);
  const auto kept = keep_in_memory(whole, 100 * kImageBytes);
  ASSERT_NE(kept, whole);
  EXPECT_EQ(kept->size(), 100);
  EXPECT_EQ(kept->name(3), "sample 3");
  const int probed = whole->reads(3);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(pixel(kept->image(3), 0, 0)[0], 3);
  EXPECT_EQ(whole->reads(3), probed + 1);
  EXPECT_TRUE(kept->open(3).file().empty());
}

TEST(KeepInMemory, LeavesASetAloneThatDoesNotFit) {
  const std::shared_ptr<const Dataset> whole = std::make_shared<Counted>(100);
  EXPECT_EQ(keep_in_memory(whole, 100 * kImageBytes - 1), whole);
  EXPECT_EQ(keep_in_memory(whole, 0), whole);
}

TEST(KeepInMemory, LeavesASetAloneThatIsInMemory) {
  const std::shared_ptr<const Dataset> whole = std::make_shared<Counted>(100, /*files=*/false);
  EXPECT_EQ(keep_in_memory(whole, int64_t{1} << 30), whole);
  const auto part = subset(std::make_shared<ToyDataset>(10), {1, 2});
  EXPECT_EQ(keep_in_memory(part, int64_t{1} << 30), part);
}

TEST(KeepInMemory, BrokenImagesStayErrors) {
  const auto whole = std::make_shared<Counted>(3);
  whole->broken = 1;
  const auto kept = keep_in_memory(whole, 100 * kImageBytes);
  ASSERT_NE(kept, whole);
  for (int i = 0; i < 2; ++i) {
    EXPECT_THROW(kept->open(1), augment::ImageError);
    EXPECT_THAT(error_of([&] { kept->image(1); }), HasSubstr("sample 1: "));
  }
  EXPECT_EQ(pixel(kept->image(2), 0, 0)[0], 2);
}

TEST(KeepInMemory, KeepsNoMoreThanTheBudget) {
  // The probes see the small images only: 64 of 128 are looked at, and the large ones have odd
  // indices.
  class Uneven : public Counted {
   public:
    Uneven() : Counted(128) {}
    augment::LazyImage open(int64_t index) const override {
      const int side = index % 2 == 0 ? 10 : 100;
      static_cast<void>(Counted::open(index));
      return augment::LazyImage(bytes_of(png(7, side, side)), {});
    }
  };
  const auto whole = std::make_shared<Uneven>();
  const auto kept = keep_in_memory(whole, 200 * kImageBytes);  // of 64 + 64 * 100
  ASSERT_NE(kept, whole);
  for (int64_t i = 1; i < 128; i += 2) EXPECT_EQ(kept->open(i).width(), 100);
  EXPECT_EQ(whole->reads(1), 1);
  kept->open(1);
  kept->open(5);
  EXPECT_EQ(whole->reads(1), 1);  // the first two were kept
  EXPECT_EQ(whole->reads(5), 2);
}

TEST(KeepInMemory, IsSafeToReadFromSeveralThreads) {
  const auto kept = keep_in_memory(std::make_shared<Counted>(40), 40 * kImageBytes);
  std::atomic<int> wrong = 0;
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int64_t i = 0; i < 200; ++i) {
        if (pixel(kept->image(i % 40), 5, 5)[0] != i % 40) ++wrong;
      }
    });
  }
  threads.clear();
  EXPECT_EQ(wrong, 0);
}

// ---- Parts by class

TEST(BalancedSubset, TakesAsManyOfEveryClass) {
  EXPECT_THAT(class_counts(*balanced_subset(cycling(200, 4), 40, 0)), ElementsAre(10, 10, 10, 10));
  const auto counts = class_counts(*balanced_subset(cycling(200, 4), 41, 0));
  EXPECT_EQ(std::accumulate(counts.begin(), counts.end(), 0), 41);
  EXPECT_EQ(*std::max_element(counts.begin(), counts.end()), 11);
  EXPECT_EQ(*std::min_element(counts.begin(), counts.end()), 10);
}

TEST(BalancedSubset, FillsUpFromTheLargerClasses) {
  const auto whole = labelled({0, 0, 0, 0, 0, 0, 1, 2, 2, 2, 2}, 4);  // class 3 has none
  EXPECT_THAT(class_counts(*balanced_subset(whole, 7, 0)), ElementsAre(3, 1, 3, 0));
}

TEST(BalancedSubset, IsDrawnFromTheSeedWithoutRepetition) {
  const auto whole = cycling(200, 4);
  const auto draw = [&](uint64_t seed) { return members_of(*balanced_subset(whole, 40, seed)); };
  EXPECT_EQ(draw(1), draw(1));
  EXPECT_NE(draw(1), draw(2));
  const std::vector<int> members = draw(1);
  EXPECT_EQ(std::set(members.begin(), members.end()).size(), 40u);
  EXPECT_TRUE(std::is_sorted(members.begin(), members.end()));
}

TEST(BalancedSubset, ALargerOneHoldsASmallerOne) {
  const auto whole = cycling(200, 7);
  const auto small = members_of(*balanced_subset(whole, 33, 5));
  const auto large = members_of(*balanced_subset(whole, 90, 5));
  EXPECT_TRUE(std::includes(large.begin(), large.end(), small.begin(), small.end()));
}

TEST(BalancedSubset, OfEverythingIsEverything) {
  EXPECT_EQ(balanced_subset(cycling(200, 4), 200, 0)->size(), 200);
  EXPECT_THAT(error_of([] { balanced_subset(cycling(20, 4), 21, 0); }),
              AllOf(HasSubstr("got 21"), HasSubstr("1 to 20")));
  EXPECT_THAT(error_of([] { balanced_subset(cycling(20, 4), 0, 0); }), HasSubstr("got 0"));
}

TEST(SplitOff, PartsTheSetByClass) {
  const auto [rest, held_out] = split_off(cycling(200, 4), 0.1, 0);
  EXPECT_THAT(class_counts(*held_out), ElementsAre(5, 5, 5, 5));
  EXPECT_THAT(class_counts(*rest), ElementsAre(45, 45, 45, 45));
  std::vector<int> all = members_of(*rest), other = members_of(*held_out);
  all.insert(all.end(), other.begin(), other.end());
  std::sort(all.begin(), all.end());
  std::vector<int> wanted(200);
  std::iota(wanted.begin(), wanted.end(), 0);
  EXPECT_THAT(all, ElementsAreArray(wanted));
}

TEST(SplitOff, IsStratifiedAsNearAsItGoes) {
  std::vector<int64_t> labels(60, 0);
  labels.insert(labels.end(), 25, 1);
  labels.insert(labels.end(), 5, 2);
  const auto [rest, held_out] = split_off(labelled(labels, 3), 0.3, 0);  // 18, 7.5, 1.5 of 27
  const auto counts = class_counts(*held_out);
  EXPECT_EQ(held_out->size(), 27);
  EXPECT_EQ(counts[0], 18);
  EXPECT_EQ(counts[1] + counts[2], 9);
  EXPECT_TRUE(counts[2] == 1 || counts[2] == 2);
}

TEST(SplitOff, IsDrawnFromTheSeed) {
  const auto draw = [](uint64_t seed) {
    return members_of(*split_off(cycling(200, 4), 0.2, seed).second);
  };
  EXPECT_EQ(draw(1), draw(1));
  EXPECT_NE(draw(1), draw(2));
}

TEST(SplitOff, RefusesSharesThatLeaveASideEmpty) {
  for (const double share : {0.0, 1.0, -0.1, 0.001, 0.999, std::nan("")}) {
    EXPECT_THAT(error_of([&] { split_off(cycling(20, 4), share, 0); }), HasSubstr("data.val_split"))
        << share;
  }
}

// ---- view_stats

TEST(ViewStats, CountsOperationsAndBlankViews) {
  augment::AugmentOptions options;
  options.image_size = 12;
  options.auto_augment = "custom";
  options.policy = {"Posterize 1 0 + Invert 1 5"};  // no bits left: black, then white
  const ViewStats stats = view_stats(ToyDataset(20, 4), options, 0, 50);
  EXPECT_EQ(stats.views, 50);
  EXPECT_EQ(stats.blank, 50);
  EXPECT_EQ(stats.operations.at("Invert").views, 50);
  options.policy = {"Invert 0.5 5"};
  const ViewStats weaker = view_stats(ToyDataset(20, 4), options, 0, 400);
  EXPECT_EQ(weaker.blank, 0);
  EXPECT_NEAR(weaker.operations.at("Invert").views, 200, 4.9 * 10);
}

}  // namespace
}  // namespace umbra::test
