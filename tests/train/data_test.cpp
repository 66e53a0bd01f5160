#include "train/data/dataset.h"

#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <png.h>
#include <zlib.h>
#include <opencv2/core.hpp>

#include "tests/support.h"
#include "train/error.h"

namespace umbra {
namespace {

namespace fs = std::filesystem;

using test::TemporaryFolder;
using test::ToyDataset;
using test::write_bytes;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using ::testing::Not;

template <typename Action>
std::string error_of(Action action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "(no error)";
}

std::string opening_error(const std::string& format, const fs::path& path) {
  return error_of([&] { open_dataset(format, path); });
}

std::vector<int> pixel(const cv::Mat& image, int y, int x) {
  const uint8_t* values = image.ptr(y, x);
  return {values, values + image.channels()};
}

bool equal(const cv::Mat& a, const cv::Mat& b) {
  return a.type() == b.type() && a.size() == b.size() && cv::norm(a, b, cv::NORM_L1) == 0;
}

std::vector<int64_t> labels_of(const Dataset& dataset) {
  std::vector<int64_t> labels;
  for (int64_t i = 0; i < dataset.size(); ++i) labels.push_back(dataset.label(i));
  return labels;
}

std::vector<int64_t> class_counts(const Dataset& dataset) {
  std::vector<int64_t> counts(dataset.num_classes());
  for (const int64_t label : labels_of(dataset)) ++counts[label];
  return counts;
}

// ---- IDX

std::string gzip(const std::string& bytes) {
  const TemporaryFolder folder;
  const std::string path = folder / "file.gz";
  gzFile file = gzopen(path.c_str(), "wb");
  gzwrite(file, bytes.data(), static_cast<unsigned>(bytes.size()));
  gzclose(file);
  std::ifstream packed(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(packed), {}};
}

void expect_toy_idx(const DataSplits& splits, int64_t train_size, int64_t test_size) {
  const ToyDataset train(train_size, 10, 16, 1, 0), test(test_size, 10, 16, 1, 1);
  for (const auto& [actual, expected] :
       {std::pair<const Dataset*, const Dataset*>(splits.train.get(), &train),
        {splits.test.get(), &test}}) {
    ASSERT_EQ(actual->size(), expected->size());
    EXPECT_EQ(actual->channels(), 1);
    EXPECT_EQ(actual->num_classes(), 10);
    EXPECT_EQ(labels_of(*actual), labels_of(*expected));
    for (int64_t i = 0; i < actual->size(); ++i) {
      ASSERT_TRUE(equal(actual->image(i), expected->image(i))) << i;
    }
  }
}

TEST(Idx, ReadsPlainFiles) {
  const TemporaryFolder folder;
  test::write_toy_idx(folder.path(), 23, 11);
  expect_toy_idx(open_dataset("idx", folder.path()), 23, 11);
}

TEST(Idx, ReadsCompressedFilesAndNamesWithDots) {
  const TemporaryFolder folder;
  const ToyDataset train(23, 10, 16, 1, 0), test(11, 10, 16, 1, 1);
  write_bytes(folder / "train-images.idx3-ubyte.gz", gzip(test::idx_images(train)));
  write_bytes(folder / "train-labels-idx1-ubyte.gz", gzip(test::idx_labels(train)));
  write_bytes(folder / "t10k-images.idx3-ubyte", test::idx_images(test));
  write_bytes(folder / "t10k-labels-idx1-ubyte", test::idx_labels(test));
  expect_toy_idx(open_dataset("auto", folder.path()), 23, 11);
}

TEST(Idx, ClassesAreDigitsUnlessTheFolderIsFashions) {
  const TemporaryFolder folder;
  test::write_toy_idx(folder / "mnist", 10, 10);
  test::write_toy_idx(folder / "Fashion-MNIST", 10, 10);
  EXPECT_EQ(open_dataset("idx", folder / "mnist").test->class_names()[9], "9");
  const DataSplits fashion = open_dataset("idx", (folder / "Fashion-MNIST").string() + "/");
  EXPECT_EQ(fashion.train->class_names()[9], "Ankle boot");
}

TEST(Idx, HasAtLeastTenClassesAndAsManyAsTheLabelsAsk) {
  const TemporaryFolder folder;
  test::write_toy_idx(folder / "few", 9, 9, 3);
  test::write_toy_idx(folder / "many", 60, 60, 47);
  EXPECT_EQ(open_dataset("idx", folder / "few").train->num_classes(), 10);
  EXPECT_EQ(open_dataset("idx", folder / "many").train->num_classes(), 47);
}

class BrokenIdx : public ::testing::Test {
 protected:
  BrokenIdx() { test::write_toy_idx(folder_.path(), 20, 10); }

  std::string error() const { return opening_error("idx", folder_.path()); }

  TemporaryFolder folder_;
  const std::string name_ = "train-images-idx3-ubyte";
  const std::string whole_ = test::idx_images(ToyDataset(20, 10, 16, 1, 0));
};

TEST_F(BrokenIdx, MissingFileIsNamed) {
  fs::remove(folder_ / "t10k-labels-idx1-ubyte");
  EXPECT_THAT(error(), HasSubstr("t10k-labels-idx1-ubyte"));
  EXPECT_EQ(opening_error("auto", folder_.path()), error());
}

TEST_F(BrokenIdx, TruncatedFileIsNamedWithItsLength) {
  write_bytes(folder_ / name_, whole_.substr(0, 5000));
  EXPECT_THAT(error(), AllOf(HasSubstr(name_), HasSubstr("got 5000 bytes, wanted 5136")));
  write_bytes(folder_ / name_, whole_.substr(0, 10));
  EXPECT_THAT(error(), AllOf(HasSubstr(name_), HasSubstr("got 10 bytes")));
  write_bytes(folder_ / name_, "");
  EXPECT_THAT(error(), AllOf(HasSubstr(name_), HasSubstr("got 0 bytes")));
}

TEST_F(BrokenIdx, TooLongFileIsNamedWithItsLength) {
  write_bytes(folder_ / name_, whole_ + "x");
  EXPECT_THAT(error(), HasSubstr("got 5137 bytes, wanted 5136"));
}

TEST_F(BrokenIdx, ForeignFileIsNamedWithItsMagicNumber) {
  write_bytes(folder_ / name_, test::idx_labels(ToyDataset(20, 10, 16, 1)));
  EXPECT_THAT(error(), AllOf(HasSubstr(name_), HasSubstr("0x00000801"), HasSubstr("0x00000803")));
}

TEST_F(BrokenIdx, HugeDimensionsAreRefused) {
  const std::string huge = test::big_endian(0xFFFFFFFF);
  write_bytes(folder_ / name_, test::big_endian(0x803) + huge + huge + huge + whole_.substr(16));
  EXPECT_THAT(error(), AllOf(HasSubstr(name_), HasSubstr("4294967295 x 4294967295")));
  write_bytes(folder_ / name_, test::big_endian(0x803) + huge + whole_.substr(8));
  EXPECT_THAT(error(), AllOf(HasSubstr(name_), HasSubstr("got 5136 bytes")));
}

TEST_F(BrokenIdx, EmptySetIsRefused) {
  write_bytes(folder_ / name_, test::big_endian(0x803) + test::big_endian(0) + whole_.substr(8, 8));
  EXPECT_THAT(error(), AllOf(HasSubstr(name_), HasSubstr("at least one sample")));
}

TEST_F(BrokenIdx, CountsMustAgree) {
  write_bytes(folder_ / "train-labels-idx1-ubyte", test::idx_labels(ToyDataset(19, 10, 16, 1)));
  EXPECT_THAT(error(), HasSubstr("got 19 labels, wanted 20"));
}

TEST_F(BrokenIdx, ImageSizesMustAgree) {
  write_bytes(folder_ / "t10k-images-idx3-ubyte", test::idx_images(ToyDataset(10, 10, 8, 1)));
  EXPECT_THAT(error(), HasSubstr("got test images of 8 x 8 pixels, wanted 16 x 16"));
}

TEST_F(BrokenIdx, DamagedCompressionIsNoticed) {
  fs::remove(folder_ / name_);
  std::string packed = gzip(whole_);
  write_bytes(folder_ / (name_ + ".gz"), packed.substr(0, packed.size() / 2));
  EXPECT_THAT(error(), AllOf(HasSubstr(name_ + ".gz"), HasSubstr("damaged")));
  packed[packed.size() / 2] ^= 0x55;
  write_bytes(folder_ / (name_ + ".gz"), packed);
  EXPECT_THAT(error(), AllOf(HasSubstr(name_ + ".gz"), HasSubstr("damaged")));
}

// ---- CIFAR

// Sample i of a file: label (first + i) mod classes, and planes full of 10 i, 10 i + 1, 10 i + 2
// but for the second pixel, which is 200, 201, 202.
std::string cifar_records(int count, int first, int classes) {
  std::string bytes;
  for (int i = 0; i < count; ++i) {
    if (classes == 100) bytes += static_cast<char>(19);  // the coarse label
    bytes += static_cast<char>((first + i) % classes);
    for (int c = 0; c < 3; ++c) {
      std::string plane(1024, static_cast<char>(10 * i + c));
      plane[1] = static_cast<char>(200 + c);
      bytes += plane;
    }
  }
  return bytes;
}

std::string class_list(int classes) {
  std::string text;
  for (int c = 0; c < classes; ++c) text += fmt::format("name {}\n", c);
  return text + "\n";
}

void write_cifar10(const fs::path& folder) {
  for (int b = 1; b <= 5; ++b) {
    write_bytes(folder / fmt::format("data_batch_{}.bin", b), cifar_records(3, 3 * b, 10));
  }
  write_bytes(folder / "test_batch.bin", cifar_records(4, 0, 10));
  write_bytes(folder / "batches.meta.txt", class_list(10));
}

void write_cifar100(const fs::path& folder) {
  write_bytes(folder / "train.bin", cifar_records(7, 90, 100));
  write_bytes(folder / "test.bin", cifar_records(2, 5, 100));
  write_bytes(folder / "fine_label_names.txt", class_list(100));
}

TEST(Cifar10, ReadsTheBatchesInOrder) {
  const TemporaryFolder folder;
  write_cifar10(folder.path());
  const DataSplits splits = open_dataset("cifar10", folder.path());
  EXPECT_THAT(labels_of(*splits.train), ElementsAre(3, 4, 5, 6, 7, 8, 9, 0, 1, 2, 3, 4, 5, 6, 7));
  EXPECT_THAT(labels_of(*splits.test), ElementsAre(0, 1, 2, 3));
  EXPECT_EQ(splits.train->channels(), 3);
  EXPECT_EQ(splits.train->class_names()[9], "name 9");
}

TEST(Cifar10, TurnsPlanesToRgbPixels) {
  const TemporaryFolder folder;
  write_cifar10(folder.path());
  const cv::Mat image = open_dataset("cifar10", folder.path()).train->image(5);
  EXPECT_EQ(image.size(), cv::Size(32, 32));
  EXPECT_THAT(pixel(image, 0, 0), ElementsAre(20, 21, 22));
  EXPECT_THAT(pixel(image, 0, 1), ElementsAre(200, 201, 202));
  EXPECT_THAT(pixel(image, 31, 31), ElementsAre(20, 21, 22));
}

TEST(Cifar10, FindsTheArchivesSubfolder) {
  const TemporaryFolder folder;
  write_cifar10(folder / "cifar-10-batches-bin");
  EXPECT_EQ(open_dataset("cifar10", folder.path()).train->size(), 15);
  EXPECT_EQ(open_dataset("auto", folder.path()).train->size(), 15);
}

TEST(Cifar10, NamesTheBrokenFile) {
  const TemporaryFolder folder;
  const auto error = [&] { return opening_error("cifar10", folder.path()); };
  EXPECT_THAT(error(), HasSubstr("data_batch_1.bin"));
  write_cifar10(folder.path());

  fs::remove(folder / "data_batch_3.bin");
  EXPECT_THAT(error(), HasSubstr("data_batch_3.bin is missing"));
  write_bytes(folder / "data_batch_3.bin", cifar_records(3, 0, 10).substr(0, 5000));
  EXPECT_THAT(error(), AllOf(HasSubstr("data_batch_3.bin"), HasSubstr("got 5000 bytes")));
  write_bytes(folder / "data_batch_3.bin", "");
  EXPECT_THAT(error(), AllOf(HasSubstr("data_batch_3.bin"), HasSubstr("got 0 bytes")));
  write_bytes(folder / "data_batch_3.bin", cifar_records(2, 0, 10));
  EXPECT_THAT(error(), AllOf(HasSubstr("data_batch_3.bin"), HasSubstr("got 2 records, wanted 3")));
  write_bytes(folder / "data_batch_3.bin", cifar_records(3, 0, 10).replace(3073, 1, "\x0A"));
  EXPECT_THAT(error(), AllOf(HasSubstr("data_batch_3.bin"), HasSubstr("label 10 in record 1")));

  write_cifar10(folder.path());
  write_bytes(folder / "batches.meta.txt", class_list(9));
  EXPECT_THAT(error(), AllOf(HasSubstr("batches.meta.txt"), HasSubstr("got 9 class names")));
  fs::remove(folder / "batches.meta.txt");
  EXPECT_THAT(error(), HasSubstr("batches.meta.txt"));
}

TEST(Cifar100, ReadsTheFineLabels) {
  const TemporaryFolder folder;
  write_cifar100(folder / "cifar-100-binary");
  const DataSplits splits = open_dataset("cifar100", folder.path());
  EXPECT_THAT(labels_of(*splits.train), ElementsAre(90, 91, 92, 93, 94, 95, 96));
  EXPECT_THAT(labels_of(*splits.test), ElementsAre(5, 6));
  EXPECT_EQ(splits.test->num_classes(), 100);
  EXPECT_THAT(pixel(splits.test->image(1), 0, 0), ElementsAre(10, 11, 12));
}

TEST(Cifar100, RefusesTheFilesOfCifar10) {
  const TemporaryFolder folder;
  write_cifar100(folder.path());
  write_bytes(folder / "train.bin", cifar_records(3, 0, 10));
  EXPECT_THAT(opening_error("cifar100", folder.path()),
              AllOf(HasSubstr("train.bin"), HasSubstr("multiple of 3074")));
}

// ---- Image folders

void write_png(const fs::path& path, int red) {
  fs::create_directories(path.parent_path());
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = image.height = 2;
  image.format = PNG_FORMAT_RGB;
  std::vector<uint8_t> pixels(12, 7);
  for (size_t i = 0; i < pixels.size(); i += 3) pixels[i] = static_cast<uint8_t>(red);
  ASSERT_TRUE(png_image_write_to_file(&image, path.c_str(), 0, pixels.data(), 0, nullptr));
}

// The red of each image, which tells where it comes from.
std::vector<int> reds_of(const Dataset& dataset) {
  std::vector<int> reds;
  for (int64_t i = 0; i < dataset.size(); ++i) reds.push_back(pixel(dataset.image(i), 1, 1)[0]);
  return reds;
}

TEST(ImageFolder, OrdersClassesAndFilesAsTorchvisionDoes) {
  const TemporaryFolder folder;
  write_png(folder / "train/b/z.png", 50);
  write_png(folder / "train/a/z.png", 11);       // a folder's own files
  write_png(folder / "train/a/k.PNG", 10);       // come
  write_png(folder / "train/a/deep/a.png", 12);  // before those of its sub-folders
  write_png(folder / "train/a/deep/er/a.png", 13);
  write_png(folder / "train/B/z.png", 1);  // upper case before lower case
  write_bytes(folder / "train/a/notes.txt", "no image");
  write_bytes(folder / "train/readme.txt", "no class");
  write_png(folder / "train/.hidden/a.png", 99);
  const DataSplits splits = open_dataset("image_folder", folder.path());
  EXPECT_THAT(splits.train->class_names(), ElementsAre("B", "a", "b"));
  EXPECT_THAT(labels_of(*splits.train), ElementsAre(0, 1, 1, 1, 1, 2));
  EXPECT_THAT(reds_of(*splits.train), ElementsAre(1, 10, 11, 12, 13, 50));
  EXPECT_EQ(splits.train->channels(), 3);
  EXPECT_EQ(splits.test, nullptr);
}

TEST(ImageFolder, TakesValOrElseTest) {
  const TemporaryFolder folder;
  write_png(folder / "train/a/1.png", 1);
  write_png(folder / "test/a/1.png", 2);
  EXPECT_THAT(reds_of(*open_dataset("image_folder", folder.path()).test), ElementsAre(2));
  write_png(folder / "val/a/1.png", 3);
  EXPECT_THAT(reds_of(*open_dataset("image_folder", folder.path()).test), ElementsAre(3));
}

TEST(ImageFolder, WithoutTrainTheRootIsTheTrainingSet) {
  const TemporaryFolder folder;
  write_png(folder / "cat/1.png", 1);
  write_png(folder / "dog/1.png", 2);
  const DataSplits splits = open_dataset("auto", folder.path());
  EXPECT_THAT(splits.train->class_names(), ElementsAre("cat", "dog"));
  EXPECT_EQ(splits.test, nullptr);
}

TEST(ImageFolder, TestImagesAloneAreNoTrainingSet) {
  const TemporaryFolder folder;
  write_png(folder / "val/cat/1.png", 1);
  EXPECT_THAT(opening_error("auto", folder.path()), HasSubstr("no train/"));
}

TEST(ImageFolder, NamesTheClassesThatDiffer) {
  const TemporaryFolder folder;
  for (const char* name : {"train/zebra", "train/bee", "train/cow", "val/zebra", "val/bat"}) {
    write_png(folder / (std::string(name) + "/1.png"), 1);
  }
  EXPECT_THAT(opening_error("image_folder", folder.path()),
              AllOf(HasSubstr("Missing: bee, cow;"), HasSubstr("not in train/: bat."),
                    Not(HasSubstr("zebra"))));
}

TEST(ImageFolder, EmptyClassesAreNamed) {
  const TemporaryFolder folder;
  write_png(folder / "train/ant/1.png", 1);
  fs::create_directories(folder / "train/bee");
  write_bytes(folder / "train/cow/notes.txt", "");
  EXPECT_THAT(opening_error("image_folder", folder.path()), HasSubstr("bee, cow"));
  fs::remove_all(folder / "train");
  fs::create_directories(folder / "train");
  EXPECT_THAT(opening_error("image_folder", folder.path()), HasSubstr("no class folders"));
}

TEST(ImageFolder, RefusesImagesItCannotRead) {
  const TemporaryFolder folder;
  write_png(folder / "train/ant/1.png", 1);
  write_bytes(folder / "train/ant/2.webp", "RIFF");
  EXPECT_THAT(opening_error("image_folder", folder.path()),
              AllOf(HasSubstr("2.webp"), HasSubstr("wanted JPEG or PNG")));
}

TEST(ImageFolder, ABrokenImageIsNamedWhenItIsAskedFor) {
  const TemporaryFolder folder;
  write_png(folder / "train/ant/1.png", 1);
  write_bytes(folder / "train/ant/2.jpg", "GIF89a");
  write_png(folder / "train/ant/3.png", 3);
  const auto train = open_dataset("image_folder", folder.path()).train;
  EXPECT_THAT(error_of([&] { train->image(1); }),
              AllOf(HasSubstr("train/ant/2.jpg"), HasSubstr("neither JPEG nor PNG")));
  EXPECT_EQ(pixel(train->image(2), 0, 0)[0], 3);
  fs::remove(folder / "train/ant/3.png");
  EXPECT_THAT(error_of([&] { train->image(2); }), HasSubstr("train/ant/3.png"));
}

// ---- open_dataset

TEST(OpenDataset, TellsTheFormatsApart) {
  const TemporaryFolder folder;
  test::write_toy_idx(folder / "idx", 12, 10);
  write_cifar10(folder / "cifar10");
  write_cifar100(folder / "cifar100");
  write_png(folder / "images/train/a/1.png", 1);
  EXPECT_EQ(open_dataset("auto", folder / "idx").train->size(), 12);
  EXPECT_EQ(open_dataset("auto", folder / "cifar10").train->size(), 15);
  EXPECT_EQ(open_dataset("auto", folder / "cifar100").train->size(), 7);
  EXPECT_EQ(open_dataset("auto", folder / "images").train->size(), 1);
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
  EXPECT_THROW(subset(cycling(10, 3), {10}), c10::Error);
}

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

}  // namespace
}  // namespace umbra
