#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/train/data_files.h"

namespace umbra::test {
namespace {

namespace fs = std::filesystem;

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// ---- IDX

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
  write_toy_idx(folder.path(), 23, 11);
  expect_toy_idx(open_dataset("idx", folder.path()), 23, 11);
}

TEST(Idx, ReadsCompressedFilesAndNamesWithDots) {
  const TemporaryFolder folder;
  const ToyDataset train(23, 10, 16, 1, 0), test(11, 10, 16, 1, 1);
  write_bytes(folder / "train-images.idx3-ubyte.gz", gzip(idx_images(train)));
  write_bytes(folder / "train-labels-idx1-ubyte.gz", gzip(idx_labels(train)));
  write_bytes(folder / "t10k-images.idx3-ubyte", idx_images(test));
  write_bytes(folder / "t10k-labels-idx1-ubyte", idx_labels(test));
  expect_toy_idx(open_dataset("auto", folder.path()), 23, 11);
}

TEST(Idx, ClassesAreDigitsUnlessTheFolderIsFashions) {
  const TemporaryFolder folder;
  write_toy_idx(folder / "mnist", 10, 10);
  write_toy_idx(folder / "Fashion-MNIST", 10, 10);
  EXPECT_EQ(open_dataset("idx", folder / "mnist").test->class_names()[9], "9");
  const DataSplits fashion = open_dataset("idx", (folder / "Fashion-MNIST").string() + "/");
  EXPECT_EQ(fashion.train->class_names()[9], "Ankle boot");
}

TEST(Idx, HasAtLeastTenClassesAndAsManyAsTheLabelsAsk) {
  const TemporaryFolder folder;
  write_toy_idx(folder / "few", 9, 9, 3);
  write_toy_idx(folder / "many", 60, 60, 47);
  EXPECT_EQ(open_dataset("idx", folder / "few").train->num_classes(), 10);
  EXPECT_EQ(open_dataset("idx", folder / "many").train->num_classes(), 47);
}

class BrokenIdx : public ::testing::Test {
 protected:
  BrokenIdx() { write_toy_idx(folder_.path(), 20, 10); }

  std::string error() const { return opening_error("idx", folder_.path()); }

  TemporaryFolder folder_;
  const std::string name_ = "train-images-idx3-ubyte";
  const std::string whole_ = idx_images(ToyDataset(20, 10, 16, 1, 0));
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
  write_bytes(folder_ / name_, idx_labels(ToyDataset(20, 10, 16, 1)));
  EXPECT_THAT(error(), AllOf(HasSubstr(name_), HasSubstr("0x00000801"), HasSubstr("0x00000803")));
}

TEST_F(BrokenIdx, HugeDimensionsAreRefused) {
  const std::string huge = big_endian(0xFFFFFFFF);
  write_bytes(folder_ / name_, big_endian(0x803) + huge + huge + huge + whole_.substr(16));
  EXPECT_THAT(error(), AllOf(HasSubstr(name_), HasSubstr("4294967295 x 4294967295")));
  write_bytes(folder_ / name_, big_endian(0x803) + huge + whole_.substr(8));
  EXPECT_THAT(error(), AllOf(HasSubstr(name_), HasSubstr("got 5136 bytes")));
}

TEST_F(BrokenIdx, EmptySetIsRefused) {
  write_bytes(folder_ / name_, big_endian(0x803) + big_endian(0) + whole_.substr(8, 8));
  EXPECT_THAT(error(), AllOf(HasSubstr(name_), HasSubstr("at least one sample")));
}

TEST_F(BrokenIdx, CountsMustAgree) {
  write_bytes(folder_ / "train-labels-idx1-ubyte", idx_labels(ToyDataset(19, 10, 16, 1)));
  EXPECT_THAT(error(), HasSubstr("got 19 labels, wanted 20"));
}

TEST_F(BrokenIdx, ImageSizesMustAgree) {
  write_bytes(folder_ / "t10k-images-idx3-ubyte", idx_images(ToyDataset(10, 10, 8, 1)));
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

// ---- STL-10

// Images whose pixel (y, x) is (y, x, 7), and which are labelled 1, 2, ...
std::string stl10_images(int count) {
  std::string bytes;
  for (int i = 0; i < count; ++i) {
    for (int c = 0; c < 3; ++c) {
      for (int x = 0; x < 96; ++x) {
        for (int y = 0; y < 96; ++y) bytes += static_cast<char>(c == 0 ? y : c == 1 ? x : 7);
      }
    }
  }
  return bytes;
}

void write_stl10(const fs::path& folder) {
  write_bytes(folder / "train_X.bin", stl10_images(3));
  write_bytes(folder / "train_y.bin", "\x01\x0A\x02");
  write_bytes(folder / "test_X.bin", stl10_images(2));
  write_bytes(folder / "test_y.bin", "\x03\x03");
  write_bytes(folder / "class_names.txt", "airplane\nbird\nc\nd\ne\nf\ng\nh\ni\ntruck\n");
}

TEST(Stl10, ReadsColumnsAndLabelsFromOne) {
  const TemporaryFolder folder;
  write_stl10(folder / "stl10_binary");
  const DataSplits splits = open_dataset("auto", folder.path());
  EXPECT_THAT(labels_of(*splits.train), ElementsAre(0, 9, 1));
  EXPECT_THAT(labels_of(*splits.test), ElementsAre(2, 2));
  EXPECT_EQ(splits.train->class_names()[9], "truck");
  const cv::Mat image = splits.train->image(2);
  EXPECT_EQ(image.size(), cv::Size(96, 96));
  EXPECT_THAT(pixel(image, 0, 0), ElementsAre(0, 0, 7));
  EXPECT_THAT(pixel(image, 90, 5), ElementsAre(90, 5, 7));
}

TEST(Stl10, NamesTheBrokenFile) {
  const TemporaryFolder folder;
  const auto error_with = [&](const std::string& name, const std::string& bytes) {
    write_stl10(folder.path());
    write_bytes(folder / name, bytes);
    return opening_error("stl10", folder.path());
  };
  EXPECT_THAT(opening_error("stl10", folder.path()), HasSubstr("train_X.bin"));
  EXPECT_THAT(error_with("train_X.bin", stl10_images(3).substr(1)),
              AllOf(HasSubstr("train_X.bin: got 82943 bytes"), HasSubstr("multiple of 27648")));
  EXPECT_THAT(error_with("test_X.bin", ""), HasSubstr("test_X.bin: got 0 bytes"));
  EXPECT_THAT(error_with("train_y.bin", "\x01\x02"),
              HasSubstr("train_y.bin: got 2 labels, wanted 3"));
  EXPECT_THAT(error_with("train_y.bin", std::string("\x01\x00\x02", 3)),
              HasSubstr("got label 0 for image 1, wanted one of 1 to 10"));
  EXPECT_THAT(error_with("train_y.bin", "\x01\x02\x0B"), HasSubstr("got label 11 for image 2"));
  EXPECT_THAT(error_with("class_names.txt", "airplane bird"), HasSubstr("got 2 class names"));
  write_stl10(folder.path());
  fs::remove(folder / "test_y.bin");
  EXPECT_THAT(opening_error("auto", folder.path()),
              AllOf(HasSubstr("test_y.bin"), HasSubstr("No such file")));
}

// ---- All of them

TEST(BinarySets, NameTheirSamplesByPartAndNumber) {
  const TemporaryFolder folder;
  write_toy_idx(folder / "idx", 12, 10);
  write_cifar10(folder / "cifar");
  write_stl10(folder / "stl");
  for (const char* name : {"idx", "cifar", "stl"}) {
    const DataSplits splits = open_dataset("auto", folder / name);
    EXPECT_EQ(splits.train->name(2), "train image 2") << name;
    EXPECT_EQ(splits.test->name(0), "test image 0") << name;
  }
}

}  // namespace
}  // namespace umbra::test
