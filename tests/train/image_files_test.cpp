#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "tests/train/data_files.h"

namespace umbra::test {
namespace {

namespace fs = std::filesystem;

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
TEST(ImageFolder, OrdersClassesAndFilesAsTorchvisionDoes) {
  const TemporaryFolder folder;
  write_bytes(folder / "train/b/z.png", png(50));
  write_bytes(folder / "train/a/z.png", png(11));       // a folder's own files
  write_bytes(folder / "train/a/k.PNG", png(10));       // come
  write_bytes(folder / "train/a/deep/a.png", png(12));  // before those of its sub-folders
  write_bytes(folder / "train/a/deep/er/a.png", png(13));
  write_bytes(folder / "train/B/z.png", png(1));  // upper case before lower case
  write_bytes(folder / "train/a/notes.txt", "no image");
  write_bytes(folder / "train/readme.txt", "no class");
  write_bytes(folder / "train/.hidden/a.png", png(99));
  const DataSplits splits = open_dataset("image_folder", folder.path());
  EXPECT_THAT(splits.train->class_names(), ElementsAre("B", "a", "b"));
  EXPECT_THAT(labels_of(*splits.train), ElementsAre(0, 1, 1, 1, 1, 2));
  EXPECT_THAT(reds_of(*splits.train), ElementsAre(1, 10, 11, 12, 13, 50));
  EXPECT_EQ(splits.train->channels(), 3);
  EXPECT_EQ(splits.test, nullptr);
}

TEST(ImageFolder, TakesValOrElseTest) {
  const TemporaryFolder folder;
  write_bytes(folder / "train/a/1.png", png(1));
  write_bytes(folder / "test/a/1.png", png(2));
  EXPECT_THAT(reds_of(*open_dataset("image_folder", folder.path()).test), ElementsAre(2));
  write_bytes(folder / "val/a/1.png", png(3));
  EXPECT_THAT(reds_of(*open_dataset("image_folder", folder.path()).test), ElementsAre(3));
}

TEST(ImageFolder, WithoutTrainTheRootIsTheTrainingSet) {
  const TemporaryFolder folder;
  write_bytes(folder / "cat/1.png", png(1));
  write_bytes(folder / "dog/1.png", png(2));
  const DataSplits splits = open_dataset("auto", folder.path());
  EXPECT_THAT(splits.train->class_names(), ElementsAre("cat", "dog"));
  EXPECT_EQ(splits.test, nullptr);
}

TEST(ImageFolder, TestImagesAloneAreNoTrainingSet) {
  const TemporaryFolder folder;
  write_bytes(folder / "val/cat/1.png", png(1));
  EXPECT_THAT(opening_error("auto", folder.path()), HasSubstr("no train/"));
}

TEST(ImageFolder, NamesTheClassesThatDiffer) {
  const TemporaryFolder folder;
  for (const char* name : {"train/zebra", "train/bee", "train/cow", "val/zebra", "val/bat"}) {
    write_bytes(folder / (std::string(name) + "/1.png"), png(1));
  }
  EXPECT_THAT(opening_error("image_folder", folder.path()),
              AllOf(HasSubstr("Missing: bee, cow;"), HasSubstr("not in the training part: bat."),
                    Not(HasSubstr("zebra"))));
}

TEST(ImageFolder, EmptyClassesAreNamed) {
  const TemporaryFolder folder;
  write_bytes(folder / "train/ant/1.png", png(1));
  fs::create_directories(folder / "train/bee");
  write_bytes(folder / "train/cow/notes.txt", "");
  EXPECT_THAT(opening_error("image_folder", folder.path()), HasSubstr("bee, cow"));
  fs::remove_all(folder / "train");
  fs::create_directories(folder / "train");
  EXPECT_THAT(opening_error("image_folder", folder.path()), HasSubstr("no class folders"));
}

TEST(ImageFolder, RefusesImagesItCannotRead) {
  const TemporaryFolder folder;
  write_bytes(folder / "train/ant/1.png", png(1));
  write_bytes(folder / "train/ant/2.TIFF", "II*");
  EXPECT_THAT(opening_error("image_folder", folder.path()),
              AllOf(HasSubstr("2.TIFF"), HasSubstr("wanted JPEG, PNG or WebP")));
}

TEST(ImageFolder, ABrokenImageIsNamedWhenItIsAskedFor) {
  const TemporaryFolder folder;
  write_bytes(folder / "train/ant/1.png", png(1));
  write_bytes(folder / "train/ant/2.jpg", "GIF89a");
  write_bytes(folder / "train/ant/3.png", png(3));
  const auto train = open_dataset("image_folder", folder.path()).train;
  EXPECT_THAT(error_of([&] { train->image(1); }), HasSubstr("train/ant/2.jpg: "));
  EXPECT_THROW(train->open(1), augment::ImageError);
  EXPECT_EQ(pixel(train->image(2), 0, 0)[0], 3);
  fs::remove(folder / "train/ant/3.png");
  EXPECT_THAT(error_of([&] { train->image(2); }), HasSubstr("train/ant/3.png"));
}

TEST(ImageFolder, EmptyAndTruncatedFilesAreBrokenImages) {
  const TemporaryFolder folder;
  write_bytes(folder / "train/ant/1.jpg", "");
  write_bytes(folder / "train/ant/2.png", png(1, 50, 50).substr(0, 60));
  const auto train = open_dataset("image_folder", folder.path()).train;
  EXPECT_THAT(error_of([&] { train->image(0); }), HasSubstr("1.jpg: empty file"));
  EXPECT_THAT(error_of([&] { train->image(1); }), HasSubstr("2.png: "));
}

TEST(ImageFolder, OpensNoMoreThanTheHeader) {
  const TemporaryFolder folder;
  write_bytes(folder / "train/ant/1.png", png(1, 50, 40).substr(0, 60));
  const auto train = open_dataset("image_folder", folder.path()).train;
  const augment::LazyImage image = train->open(0);
  EXPECT_EQ(image.width(), 50);
  EXPECT_EQ(image.height(), 40);
  EXPECT_EQ(image.file().size(), 60u);
}

TEST(ImageFolder, PassesTheDecodeOptionsOn) {
  const TemporaryFolder folder;
  write_bytes(folder / "train/ant/1.png", png(1, 50, 40));
  ReadOptions read;
  read.decode.max_pixels = 1999;
  const auto train = open_dataset("image_folder", folder.path(), read).train;
  EXPECT_THAT(error_of([&] { train->image(0); }), HasSubstr("1.png: "));
}

// Root may read everything.
TEST(ImageFolder, FilesAndFoldersThatMayNotBeReadAreNamed) {
  if (geteuid() == 0) GTEST_SKIP() << "root may read everything";
  const TemporaryFolder folder;
  write_bytes(folder / "train/ant/1.png", png(1));
  fs::permissions(folder / "train/ant/1.png", fs::perms::none);
  const auto train = open_dataset("image_folder", folder.path()).train;
  EXPECT_THAT(error_of([&] { train->image(0); }),
              AllOf(HasSubstr("1.png"), HasSubstr("Permission denied")));
  fs::permissions(folder / "train/ant", fs::perms::none);
  EXPECT_THAT(opening_error("image_folder", folder.path()),
              AllOf(HasSubstr("train/ant"), HasSubstr("Permission denied")));
  fs::permissions(folder / "train/ant", fs::perms::owner_all);
}

// ---- Tiny ImageNet

void write_tiny_imagenet(const fs::path& folder) {
  write_bytes(folder / "train/n02/images/n02_0.JPEG", png(20));
  write_bytes(folder / "train/n02/n02_boxes.txt", "n02_0.JPEG\t0\t0\t9\t9\n");
  write_bytes(folder / "train/n01/images/n01_1.JPEG", png(11));
  write_bytes(folder / "train/n01/images/n01_0.JPEG", png(10));
  write_bytes(folder / "val/images/val_0.JPEG", png(100));
  write_bytes(folder / "val/images/val_1.JPEG", png(101));
  write_bytes(folder / "val/images/val_2.JPEG", png(102));
  write_bytes(folder / "val/val_annotations.txt",
              "val_0.JPEG\tn02\t0\t0\t9\t9\nval_2.JPEG\tn01\t0\t0\t9\t9\n"
              "val_1.JPEG\tn02\t1\t1\t9\t9\n");
  write_bytes(folder / "wnids.txt", "n02\nn01\n");
  write_bytes(folder / "words.txt", "n01\tgoldfish\nn02\tbullfrog\nn03\tother\n");
  write_bytes(folder / "test/images/test_0.JPEG", png(200));
}

TEST(TinyImagenet, IsPreferredToAnImageFolder) {
  const TemporaryFolder folder;
  write_tiny_imagenet(folder.path());
  const DataSplits splits = open_dataset("auto", folder.path());
  EXPECT_THAT(splits.train->class_names(), ElementsAre("n01", "n02"));
  EXPECT_THAT(reds_of(*splits.train), ElementsAre(10, 11, 20));
  EXPECT_THAT(labels_of(*splits.train), ElementsAre(0, 0, 1));
  EXPECT_THAT(reds_of(*splits.test), ElementsAre(102, 100, 101));
  EXPECT_THAT(labels_of(*splits.test), ElementsAre(0, 1, 1));
  EXPECT_THAT(splits.test->name(0), ::testing::EndsWith("val/images/val_2.JPEG"));
}

TEST(TinyImagenet, FindsTheArchivesSubfolder) {
  const TemporaryFolder folder;
  write_tiny_imagenet(folder / "tiny-imagenet-200");
  EXPECT_EQ(open_dataset("auto", folder.path()).test->size(), 3);
}

TEST(TinyImagenet, SortedIntoClassFoldersItIsAnImageFolder) {
  const TemporaryFolder folder;
  write_tiny_imagenet(folder.path());
  fs::rename(folder / "val/images", folder / "val/n01");
  write_bytes(folder / "val/n02/val_3.JPEG", png(103));
  EXPECT_EQ(open_dataset("auto", folder.path()).test->size(), 4);
}

TEST(TinyImagenet, ListsAndFilesMustAgree) {
  const TemporaryFolder folder;
  const auto error_with = [&](const std::string& name, const std::string& text) {
    write_tiny_imagenet(folder.path());
    write_bytes(folder / name, text);
    return opening_error("tiny_imagenet", folder.path());
  };
  const std::string list = "val/val_annotations.txt";
  EXPECT_THAT(error_with(list, "val_0.JPEG\tn09\t0\n"),
              AllOf(HasSubstr("val_annotations.txt:1"), HasSubstr("the class n09")));
  EXPECT_THAT(error_with(list, "val_0.JPEG\tn01\n\nval_0.JPEG n02\n"),
              AllOf(HasSubstr("val_annotations.txt:3"), HasSubstr("separated by a tab")));
  EXPECT_THAT(error_with(list, "val_0.JPEG\tn01\nval_1.JPEG\tn01\n"),
              HasSubstr("has no line for val_2.JPEG"));
  EXPECT_THAT(error_with(list, "val_9.JPEG\tn01\n"), HasSubstr("lists val_9.JPEG"));
  EXPECT_THAT(error_with(list, "val_0.JPEG\tn01\nval_0.JPEG\tn02\n"), HasSubstr("listed twice"));
  EXPECT_THAT(error_with(list, ""), HasSubstr("has no line for"));
  EXPECT_THAT(error_with("wnids.txt", "n01\nn02\nn03\n"), HasSubstr("lists n03"));
  EXPECT_THAT(error_with("wnids.txt", "n01\n"), HasSubstr("does not list n02"));
  write_tiny_imagenet(folder.path());
  fs::remove(folder / list);
  EXPECT_THAT(opening_error("auto", folder.path()), HasSubstr("val_annotations.txt"));
  EXPECT_THAT(opening_error("tiny_imagenet", folder / "test"), HasSubstr("no train/"));
}

}  // namespace
}  // namespace umbra::test
