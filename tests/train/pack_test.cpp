#include "train/data/pack.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/train/data_files.h"
#include "train/data/inspect.h"

namespace umbra::test {
namespace {

namespace fs = std::filesystem;

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Pair;

// A folder of images: cat/1.png 30 x 10, cat/2.jpg, dog/sub/1.png, dog/1.png.
class ImageFiles : public ::testing::Test {
 protected:
  ImageFiles() {
    write_bytes(folder_ / "in/train/cat/1.png", png(1, 30, 10));
    write_bytes(folder_ / "in/train/cat/2.jpg",
                text_of(augment::encode_jpeg(cv::Mat(7, 9, CV_8UC3, cv::Scalar(2, 2, 2)), 100)));
    write_bytes(folder_ / "in/train/dog/1.png", png(3, 8, 8));
    write_bytes(folder_ / "in/train/dog/sub/1.png", png(4, 6, 50));
  }

  std::shared_ptr<const Dataset> source() const {
    return open_dataset("auto", folder_ / "in").train;
  }
  std::shared_ptr<const Dataset> packed(const PackOptions& options = {}) const {
    result_ = pack(*source(), folder_ / "out.tar", options);
    return open_dataset("auto", folder_ / "out.tar").train;
  }

  const TemporaryFolder folder_;
  mutable PackResult result_;
};

// ---- inspect

TEST_F(ImageFiles, AreCountedByClassAndFormat) {
  const DataReport report = inspect(*source(), /*decode_all=*/false, /*threads=*/3);
  EXPECT_THAT(report.class_counts, ElementsAre(2, 2));
  EXPECT_THAT(report.formats, ElementsAre(Pair("JPEG", 1), Pair("PNG", 3)));
  EXPECT_EQ(report.width.min, 6);
  EXPECT_EQ(report.width.median, 8);
  EXPECT_EQ(report.width.max, 30);
  EXPECT_EQ(report.height.min, 7);
  EXPECT_EQ(report.height.median, 8);
  EXPECT_EQ(report.height.max, 50);
  EXPECT_TRUE(report.broken.empty());
}

TEST_F(ImageFiles, BrokenOnesAreListedWithTheReason) {
  write_bytes(folder_ / "in/train/cat/3.png", "");
  write_bytes(folder_ / "in/train/dog/2.png", png(5, 100, 100).substr(0, 60));
  const DataReport headers = inspect(*source(), /*decode_all=*/false, 2);
  ASSERT_EQ(headers.broken.size(), 1u);
  EXPECT_THAT(headers.broken[0].name, EndsWith("cat/3.png"));
  EXPECT_EQ(headers.broken[0].reason, "empty file");
  EXPECT_THAT(headers.class_counts, ElementsAre(3, 3));
  const auto set = source();
  fs::remove(folder_ / "in/train/cat/1.png");
  const DataReport whole = inspect(*set, /*decode_all=*/true, 2);
  ASSERT_EQ(whole.broken.size(), 3u);
  EXPECT_THAT(whole.broken[0].reason, HasSubstr("No such file"));
  EXPECT_THAT(whole.broken[2].name, EndsWith("dog/2.png"));
  EXPECT_EQ(whole.width.max, 9);
}

TEST(Inspect, CallsPixelsWhatIsInMemory) {
  int64_t last = 0;
  const DataReport report =
      inspect(ToyDataset(10, 4), true, 2, [&](int64_t done) { EXPECT_EQ(done, ++last); });
  EXPECT_EQ(last, 10);
  EXPECT_THAT(report.class_counts, ElementsAre(3, 3, 2, 2));
  EXPECT_THAT(report.formats, ElementsAre(Pair("pixels", 10)));
  EXPECT_EQ(report.width.median, 16);
}

// ---- pack

TEST_F(ImageFiles, ArePackedByteForByteInTheirOrder) {
  const auto before = source(), after = packed();
  EXPECT_EQ(result_.images, 4);
  EXPECT_EQ(after->class_names(), before->class_names());
  EXPECT_EQ(labels_of(*after), labels_of(*before));
  for (int64_t i = 0; i < before->size(); ++i) {
    const augment::LazyImage a = before->open(i), b = after->open(i);
    EXPECT_TRUE(std::equal(a.file().begin(), a.file().end(), b.file().begin(), b.file().end()))
        << i;
  }
  EXPECT_THAT(after->name(1), EndsWith("cat/2.jpg"));
}

TEST_F(ImageFiles, OfOneNameGetANumber) {
  const auto after = packed();
  EXPECT_THAT(after->name(2), EndsWith("dog/1.png"));
  EXPECT_THAT(after->name(3), EndsWith("dog/2-1.png"));
}

TEST_F(ImageFiles, AreShrunkWhereTheyAreLarger) {
  const auto before = source(), after = packed({.resize = 8});
  EXPECT_EQ(after->image(0).size(), cv::Size(24, 8));
  EXPECT_THAT(after->name(0), EndsWith("cat/1.jpg"));
  EXPECT_NEAR(pixel(after->image(0), 4, 12)[1], 7, 2);
  for (const int64_t i : {1, 2, 3}) {  // the shorter side is 7, 8, 6
    EXPECT_EQ(after->image(i).size(), before->image(i).size());
    EXPECT_EQ(after->open(i).file().size(), before->open(i).file().size());
  }
}

TEST_F(ImageFiles, JpegQualityIsAsAsked) {
  cv::Mat noise(64, 64, CV_8UC3);
  for (size_t i = 0; i < noise.total() * 3; ++i) noise.data[i] = static_cast<uint8_t>(i * i % 253);
  write_bytes(folder_ / "in/train/cat/1.png", text_of(augment::encode_png(noise)));
  const size_t coarse = packed({.resize = 32, .quality = 10})->open(0).file().size();
  fs::remove(folder_ / "out.tar");
  EXPECT_GT(packed({.resize = 32, .quality = 95})->open(0).file().size(), 2 * coarse);
}

TEST_F(ImageFiles, BrokenOnesAreAnErrorOrLeftOut) {
  write_bytes(folder_ / "in/train/cat/0.png", png(5, 100, 100).substr(0, 60));
  EXPECT_THAT(error_of([&] { packed(); }),
              AllOf(HasSubstr("cat/0.png: "), HasSubstr("--skip-broken")));
  EXPECT_FALSE(fs::exists(folder_ / "out.tar"));
  EXPECT_FALSE(fs::exists(folder_ / "out.tar.part"));
  EXPECT_EQ(packed({.skip_broken = true, .threads = 2})->size(), 4);
  ASSERT_EQ(result_.broken.size(), 1u);
  EXPECT_THAT(result_.broken[0].name, EndsWith("cat/0.png"));
}

TEST(Pack, ImagesInMemoryBecomePng) {
  const TemporaryFolder folder;
  const ToyDataset toys(130, 3, 8);
  int64_t last = 0;
  pack(toys, folder / "toys.tar", {.threads = 2}, [&](int64_t done) { last = done; });
  EXPECT_EQ(last, 130);
  const auto packed = open_dataset("auto", folder / "toys.tar").train;
  ASSERT_EQ(packed->size(), 130);
  EXPECT_EQ(packed->class_names(), toys.class_names());
  EXPECT_THAT(packed->name(1), EndsWith("class 0/003.png"));
  EXPECT_TRUE(equal(packed->image(1), toys.image(3)));
}

TEST(Pack, FolderNamesKeepTheOrderOfTheClasses) {
  EXPECT_THAT(folder_names({"cat", "dog"}), ElementsAre("cat", "dog"));
  EXPECT_THAT(folder_names({"dog", "cat"}), ElementsAre("0_dog", "1_cat"));
  EXPECT_THAT(folder_names({"crane", "crane"}), ElementsAre("0_crane", "1_crane"));
  EXPECT_THAT(folder_names({"T-shirt/top", "Z"}), ElementsAre("T-shirt_top", "Z"));
  EXPECT_THAT(folder_names({".cat", "dog"}), ElementsAre("0_.cat", "1_dog"));
  std::vector<std::string> numbers;
  for (int c = 0; c < 11; ++c) numbers.push_back(std::to_string(c));
  EXPECT_THAT(folder_names(numbers)[2], "02");
  EXPECT_THAT(folder_names(numbers)[10], "10");
  numbers.pop_back();
  EXPECT_EQ(folder_names(numbers), numbers);
}

}  // namespace
}  // namespace umbra::test
