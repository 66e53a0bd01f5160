#include "train/data/tar_dataset.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/train/data_files.h"
#include "train/data/tar.h"
#include "train/files.h"

namespace umbra::test {
namespace {

namespace fs = std::filesystem;

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;

using Members = std::vector<std::pair<std::string, std::string>>;  // name and bytes

void write_tar(const fs::path& path, const Members& members) {
  fs::create_directories(path.parent_path());
  TarWriter tar(path);
  for (const auto& [name, bytes] : members) tar.add(name, bytes_of(bytes));
  tar.finish();
}

void write_tar_gz(const fs::path& path, const Members& members) {
  write_tar(path.string() + ".tar", members);
  write_bytes(path, gzip(text_of(read_bytes(path.string() + ".tar"))));
  fs::remove(path.string() + ".tar");
}

const Members kPets = {{"cat/1.png", png(1)}, {"dog/1.png", png(2)}};

std::string error_with(const Members& members) {
  const TemporaryFolder folder;
  write_tar(folder / "train.tar", members);
  return opening_error("tar", folder.path());
}

// ---- Class folders

TEST(TarFolders, AreReadAsAnImageFolder) {
  const TemporaryFolder folder;
  const Members members = {
      {"b/z.png", png(50)},        {"a-b/1.png", png(20)},   {"a/deep/er/a.png", png(13)},
      {"a/deep/a.png", png(12)},   {"a/z.png", png(11)},     {"a/k.PNG", png(10)},
      {"a/notes.txt", "no image"}, {"B/z.png", png(1)},      {"readme.txt", "no class"},
      {".hidden/a.png", png(99)},  {"a/._z.png", "no image"}};
  for (const auto& [name, bytes] : members) write_bytes(folder / "files/train" / name, bytes);
  fs::remove(folder / "files/train/a/._z.png");  // what macOS adds to archives
  write_tar(folder / "tar/train.tar", members);
  const auto files = open_dataset("image_folder", folder / "files").train;
  const auto packed = open_dataset("auto", folder / "tar").train;
  EXPECT_THAT(packed->class_names(), ElementsAre("B", "a", "a-b", "b"));
  EXPECT_EQ(packed->class_names(), files->class_names());
  EXPECT_EQ(labels_of(*packed), labels_of(*files));
  EXPECT_EQ(reds_of(*packed), reds_of(*files));
  EXPECT_EQ(packed->channels(), 3);
  EXPECT_THAT(packed->name(1), EndsWith("train.tar/a/k.PNG"));
}

TEST(TarFolders, FoldersThatAllShareDoNotCount) {
  const TemporaryFolder folder;
  write_tar(folder / "train.tar", {{"./set/train/cat/1.png", png(1)},
                                   {"set/readme.txt", ""},
                                   {"/set//train/dog/1.png", png(2)}});
  write_tar(folder / "test.tar", {{"cat/1.png", png(3)}, {"dog/1.png", png(4)}});
  const DataSplits splits = open_dataset("tar", folder.path());
  EXPECT_THAT(splits.train->class_names(), ElementsAre("cat", "dog"));
  EXPECT_THAT(reds_of(*splits.train), ElementsAre(1, 2));
  EXPECT_THAT(reds_of(*splits.test), ElementsAre(3, 4));
}

TEST(TarFolders, TheOnlyClassIsOne) {
  const TemporaryFolder folder;
  write_tar(folder / "train.tar", {{"set/cat/1.png", png(1)}, {"set/cat/2.png", png(2)}});
  EXPECT_THAT(open_dataset("tar", folder.path()).train->class_names(), ElementsAre("cat"));
}

TEST(TarFolders, AFilePutInAgainReplacesTheEarlier) {
  const TemporaryFolder folder;
  write_tar(folder / "train.tar",
            {{"cat/1.png", png(1)}, {"cat/2.png", png(2)}, {"cat/1.png", png(9)}});
  EXPECT_THAT(reds_of(*open_dataset("tar", folder.path()).train), ElementsAre(9, 2));
}

TEST(TarFolders, ClassesThatDifferAreNamed) {
  const TemporaryFolder folder;
  write_tar(folder / "train.tar", kPets);
  write_tar(folder / "val.tar", {{"cat/1.png", png(1)}, {"fox/1.png", png(2)}});
  EXPECT_THAT(opening_error("auto", folder.path()),
              AllOf(HasSubstr("val.tar"), HasSubstr("Missing: dog"), HasSubstr("part: fox")));
}

TEST(TarFolders, ImagesWithoutAClassAreErrors) {
  EXPECT_THAT(error_with({{"cat/1.png", png(1)}, {"2.png", png(1)}}),
              AllOf(HasSubstr("train.tar/2.png"), HasSubstr("no class folder")));
  EXPECT_THAT(error_with({{"1.png", png(1)}, {"2.png", png(1)}}), HasSubstr("no class folder"));
  EXPECT_THAT(error_with({{"1.png", png(1)}, {"1.json", "{\"caption\": \"a cat\"}"}}),
              HasSubstr("no class folder"));
}

TEST(TarFolders, NoImagesAreAnError) {
  EXPECT_THAT(error_with({}), AllOf(HasSubstr("train.tar"), HasSubstr("no JPEG, PNG or WebP")));
  EXPECT_THAT(error_with({{"cat/readme.txt", ""}}), HasSubstr("no JPEG, PNG or WebP"));
  EXPECT_THAT(error_with({{"n01440764.tar", "tar"}}), HasSubstr("tar files inside"));
}

TEST(TarFolders, RefuseImagesTheyCannotRead) {
  EXPECT_THAT(error_with({{"cat/1.png", png(1)}, {"cat/2.bmp", "BM"}}),
              AllOf(HasSubstr("cat/2.bmp"), HasSubstr("wanted JPEG, PNG or WebP")));
}

TEST(TarFolders, ABrokenImageIsNamedWhenItIsAskedFor) {
  const TemporaryFolder folder;
  write_tar(folder / "train.tar", {{"cat/1.png", png(1)}, {"cat/2.jpg", ""}, {"dog/3.jpg", "GIF"}});
  const auto train = open_dataset("tar", folder.path()).train;
  EXPECT_EQ(pixel(train->image(0), 0, 0)[0], 1);
  EXPECT_THAT(error_of([&] { train->image(1); }), HasSubstr("train.tar/cat/2.jpg: empty"));
  EXPECT_THAT(error_of([&] { train->image(2); }), HasSubstr("train.tar/dog/3.jpg: "));
}

// ---- WebDataset

TEST(WebDataset, ReadsLabelsFromClsAndJson) {
  const TemporaryFolder folder;
  write_tar(folder / "train-000.tar", {{"b.png", png(2)},
                                       {"b.cls", " 2\n"},
                                       {"a.cls", "0"},
                                       {"a.PNG", png(1)},
                                       {"a.mask.png", png(77)},
                                       {"a.json", "{\"label\": 9}"}});  // .cls goes first
  write_tar(folder / "train-001.tar", {{"dir.x/a.json", "{\"cls\": 1}"}, {"dir.x/a.png", png(3)}});
  write_tar(folder / "val.tar", {{"0.json", "{\"id\": \"x\", \"label\": 4}"}, {"0.png", png(4)}});
  const DataSplits splits = open_dataset("auto", folder.path());
  EXPECT_THAT(labels_of(*splits.train), ElementsAre(2, 0, 1));
  EXPECT_THAT(reds_of(*splits.train), ElementsAre(2, 1, 3));
  EXPECT_THAT(splits.train->class_names(), ElementsAre("0", "1", "2", "3", "4"));
  EXPECT_EQ(splits.test->class_names(), splits.train->class_names());
  EXPECT_THAT(splits.train->name(2), EndsWith("train-001.tar/dir.x/a.png"));
}

TEST(WebDataset, SamplesWithoutLabelOrImageAreErrors) {
  EXPECT_THAT(error_with({{"a.png", png(1)}, {"a.cls", "0"}, {"b.png", png(1)}}),
              AllOf(HasSubstr("train.tar/b.png"), HasSubstr("no label")));
  EXPECT_THAT(error_with({{"a.png", png(1)}, {"a.cls", "0"}, {"b.cls", "0"}}),
              AllOf(HasSubstr("train.tar/b.cls"), HasSubstr("no JPEG, PNG or WebP image")));
  EXPECT_THAT(error_with({{"a.png", png(1)}, {"a.cls", "0"}, {"a.jpg", "x"}}),
              HasSubstr("the sample a has two images"));
  EXPECT_THAT(error_with({{"a.png", png(1)}, {"a.cls", "0"}, {"b.png", ""}, {"b.json", "{}"}}),
              AllOf(HasSubstr("train.tar/b.json"), HasSubstr("got no class number")));
  EXPECT_THAT(error_with({{"a.png", png(1)}, {"a.cls", "0"}, {"info.json", "{}"}}), "(no error)");
}

TEST(WebDataset, LabelsThatAreNoClassNumbersAreErrors) {
  for (const char* text : {"", "cat", "1 2", "1.0", "99999999999999999999"}) {
    EXPECT_THAT(error_with({{"a.png", png(1)}, {"a.cls", text}}),
                AllOf(HasSubstr("train.tar/a.cls"), HasSubstr("got no class number")))
        << text;
  }
  for (const char* text : {"-1", "1048576"}) {
    EXPECT_THAT(error_with({{"a.png", png(1)}, {"a.cls", text}}),
                HasSubstr(std::string("got ") + text + ", wanted one number from 0 to 99999"));
  }
}

TEST(WebDataset, BothPartsMustHaveOneLayout) {
  const TemporaryFolder folder;
  write_tar(folder / "train.tar", kPets);
  write_tar(folder / "val.tar", {{"a.png", png(1)}, {"a.cls", "0"}});
  EXPECT_THAT(opening_error("tar", folder.path()), HasSubstr("WebDataset samples"));
}

// ---- Which files are read

TEST(TarFiles, AreFoundByTheWordsInTheirNames) {
  const TemporaryFolder folder;
  write_tar(folder / "pets_Train-001.tar", {{"cat/b.png", png(2)}});
  write_tar(folder / "pets_Train-000.tar", {{"cat/c.png", png(1)}, {"dog/1.png", png(3)}});
  write_tar_gz(folder / "pets-test.tar.gz", kPets);
  EXPECT_THAT(reds_of(*open_dataset("auto", folder.path()).train), ElementsAre(2, 1, 3));
  EXPECT_THAT(reds_of(*open_dataset("auto", folder.path()).test), ElementsAre(1, 2));
  write_tar_gz(folder / "pets.validation.tgz", {{"cat/1.png", png(5)}, {"dog/1.png", png(6)}});
  EXPECT_THAT(reds_of(*open_dataset("auto", folder.path()).test), ElementsAre(5, 6));
  write_tar(folder / "constrained.tar", {{"fox/1.png", png(9)}});
  EXPECT_THAT(opening_error("auto", folder.path()),
              AllOf(HasSubstr("constrained.tar"), HasSubstr("none of the words")));
}

TEST(TarFiles, ASingleFileIsTheTrainingPart) {
  const TemporaryFolder folder;
  write_tar(folder / "pets.tar", kPets);
  for (const char* format : {"auto", "tar"}) {
    const DataSplits splits = open_dataset(format, folder / "pets.tar");
    EXPECT_THAT(reds_of(*splits.train), ElementsAre(1, 2));
    EXPECT_EQ(splits.test, nullptr);
  }
  EXPECT_THAT(opening_error("idx", folder / "pets.tar"), HasSubstr("not a folder"));
}

TEST(TarFiles, ASingleFileMayHoldBothPartsInFolders) {
  const TemporaryFolder folder;
  write_tar_gz(folder / "pets.tgz", {{"pets/labels.csv", ""},
                                     {"pets/val/cat/1.png", png(3)},
                                     {"pets/val/dog/1.png", png(4)},
                                     {"pets/train/cat/1.png", png(1)},
                                     {"pets/train/dog/1.png", png(2)}});
  write_tar(
      folder / "numbered.tar",
      {{"train/a.png", png(5)}, {"train/a.cls", "0"}, {"test/a.png", png(6)}, {"test/a.cls", "1"}});
  const DataSplits pets = open_dataset("auto", folder / "pets.tgz");
  EXPECT_THAT(pets.train->class_names(), ElementsAre("cat", "dog"));
  EXPECT_THAT(reds_of(*pets.train), ElementsAre(1, 2));
  EXPECT_THAT(reds_of(*pets.test), ElementsAre(3, 4));
  const DataSplits numbered = open_dataset("auto", folder / "numbered.tar");
  EXPECT_THAT(reds_of(*numbered.train), ElementsAre(5));
  EXPECT_THAT(reds_of(*numbered.test), ElementsAre(6));
  EXPECT_EQ(numbered.train->num_classes(), 2);
}

TEST(TarFiles, ATrainingPartIsNeeded) {
  const TemporaryFolder folder;
  write_tar(folder / "val.tar", kPets);
  EXPECT_THAT(opening_error("auto", folder.path()), HasSubstr("the word train"));
  EXPECT_THAT(opening_error("tar", folder.path()), HasSubstr("the word train"));
}

TEST(TarFiles, ANameOfBothPartsIsAnError) {
  const TemporaryFolder folder;
  write_tar(folder / "train-and-test.tar", kPets);
  EXPECT_THAT(opening_error("auto", folder.path()),
              AllOf(HasSubstr("train-and-test.tar"), HasSubstr("test and train")));
}

TEST(TarFiles, DoNotDisturbOtherFormats) {
  const TemporaryFolder folder;
  write_cifar10(folder.path());
  write_tar(folder / "cifar-10-binary.tar.gz", {});
  EXPECT_EQ(open_dataset("auto", folder.path()).train->size(), 15);
  write_bytes(folder / "cifar10-train.tar.gz", "");
  EXPECT_THAT(opening_error("auto", folder.path()), HasSubstr("cifar10 and tar"));
}

TEST(TarFiles, DamagedAndForeignFilesAreNamed) {
  const TemporaryFolder folder;
  write_tar(folder / "train.tar", kPets);
  const std::string whole = text_of(read_bytes(folder / "train.tar"));
  write_bytes(folder / "train.tar", whole.substr(0, whole.size() / 2));
  EXPECT_THAT(opening_error("auto", folder.path()), HasSubstr("train.tar: damaged at byte"));
  write_bytes(folder / "train.tar", "");
  EXPECT_THAT(opening_error("auto", folder.path()), HasSubstr("train.tar: damaged at byte 0"));
  fs::rename(folder / "train.tar", folder / "train.tar.gz");
  const std::string packed = gzip(whole);
  write_bytes(folder / "train.tar.gz", packed.substr(0, packed.size() - 20));
  EXPECT_THAT(opening_error("auto", folder.path()), HasSubstr("train.tar.gz: damaged after"));
  fs::remove(folder / "train.tar.gz");
  write_bytes(folder / "train.tar.zst", "\x28\xB5\x2F\xFD zstd");
  EXPECT_THAT(opening_error("auto", folder.path()),
              HasSubstr("train.tar.zst: neither a tar archive nor gzip-compressed"));
}

TEST(TarFiles, PassTheDecodeOptionsOn) {
  const TemporaryFolder folder;
  write_tar(folder / "train.tar", {{"cat/1.png", png(1, 50, 40)}});
  ReadOptions read;
  read.decode.max_pixels = 1999;
  const auto train = open_dataset("tar", folder.path(), read).train;
  EXPECT_THAT(error_of([&] { train->image(0); }), HasSubstr("cat/1.png: "));
}

}  // namespace
}  // namespace umbra::test
