#include "train/data/tar.h"

#include <atomic>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/train/data_files.h"
#include "train/files.h"

namespace umbra::test {
namespace {

namespace fs = std::filesystem;

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

// ---- Archives, byte by byte

std::string octal(size_t size) { return fmt::format("{:011o}", size); }

struct Header {
  Header(const char* text) : name(text) {}
  Header(std::string text, char kind = '0', std::string count = octal(0))
      : name(std::move(text)), type(kind), size(std::move(count)) {}

  std::string name;
  char type = '0';
  std::string size = octal(0);
  std::string magic = std::string("ustar\00000", 8);
  std::string prefix;
  int checksum_error = 0;
};

std::string block_of(const Header& header) {
  std::string block(512, '\0');
  block.replace(0, header.name.size(), header.name);
  block.replace(100, 7, "0000644");
  block.replace(124, header.size.size(), header.size);
  block.replace(148, 8, 8, ' ');
  block[156] = header.type;
  block.replace(257, header.magic.size(), header.magic);
  block.replace(345, header.prefix.size(), header.prefix);
  int sum = header.checksum_error;
  for (const unsigned char c : block) sum += c;
  return block.replace(148, 8, fmt::format("{:06o}", sum) + std::string("\0 ", 2));
}

std::string padded(std::string bytes) {
  bytes.resize((bytes.size() + 511) / 512 * 512, '\0');
  return bytes;
}

std::string member(Header header, const std::string& bytes) {
  header.size = octal(bytes.size());
  return block_of(header) + padded(bytes);
}

const std::string kEnd(1024, '\0');

std::vector<TarMember> parse(const std::string& archive) { return parse_tar(bytes_of(archive)); }

// "name = bytes" of each member.
std::vector<std::string> listing(const std::string& archive) {
  std::vector<std::string> list;
  for (const TarMember& found : parse(archive)) {
    list.push_back(found.name + " = " + archive.substr(found.offset, found.size));
  }
  return list;
}

std::string parsing_error(const std::string& archive) {
  return error_of([&] { parse(archive); });
}

TEST(ParseTar, ListsNamesOffsetsAndSizes) {
  const std::string archive = member("a/1.jpg", "one") + member("empty", "") +
                              member("b/2.jpg", std::string(513, 'x')) + kEnd;
  const std::vector<TarMember> members = parse(archive);
  ASSERT_EQ(members.size(), 3u);
  EXPECT_EQ(members[0].name, "a/1.jpg");
  EXPECT_EQ(members[0].offset, 512);
  EXPECT_EQ(members[0].size, 3);
  EXPECT_EQ(members[1].size, 0);
  EXPECT_EQ(members[2].offset, 512 + 512 + 512 + 512);
  EXPECT_EQ(members[2].size, 513);
}

TEST(ParseTar, LeavesOutWhatIsNoFile) {
  std::string archive = member({"folder/", '5'}, "");
  for (const char type : {'1', '2', '3', '4', '6'}) {
    archive += block_of({"link", type, octal(700)});  // the size of these means nothing
  }
  archive += member({"volume label", 'V'}, "") + member({"unknown", 'Z'}, "bytes");
  archive += member({"old folder/", '\0'}, "") + member({"old file", '\0'}, "1");
  archive += member({"contiguous", '7'}, "2") + kEnd;
  EXPECT_THAT(listing(archive), ElementsAre("old file = 1", "contiguous = 2"));
}

TEST(ParseTar, JoinsThePrefixOfUstarOnly) {
  Header ustar = "name", gnu = "name", full = std::string(100, 'n');
  ustar.prefix = "some/folder";
  gnu.magic = "ustar  ";
  gnu.prefix = "12345670123";  // a time
  EXPECT_THAT(listing(member(ustar, "1") + member(gnu, "2") + kEnd),
              ElementsAre("some/folder/name = 1", "name = 2"));
  full.prefix = std::string(155, 'p');
  EXPECT_EQ(parse(member(full, "") + kEnd)[0].name, full.prefix + "/" + full.name);
}

TEST(ParseTar, ReadsLongNamesOfGnu) {
  const std::string name = std::string(300, 'x') + "/photo.jpg";
  const std::string archive = member({"././@LongLink", 'K'}, "a long link\0") +
                              member({"././@LongLink", 'L'}, name + std::string(1, '\0')) +
                              member(name.substr(0, 100), "1") + member("short", "2") + kEnd;
  EXPECT_THAT(listing(archive), ElementsAre(name + " = 1", "short = 2"));
}

std::string pax(const std::string& records) { return member({"PaxHeaders/1", 'x'}, records); }

TEST(ParseTar, ReadsNamesAndSizesOfPax) {
  const std::string archive = pax("30 mtime=1350244992.023960108\n22 path=gr\xC3\xBC\xC3\x9F"
                                  "e/1.jpg\n9 size=4\n") +
                              block_of("short") + padded("long") + member("next", "2") + kEnd;
  EXPECT_THAT(listing(archive), ElementsAre("gr\xC3\xBC\xC3\x9F"
                                            "e/1.jpg = long",
                                            "next = 2"));
}

TEST(ParseTar, APaxHeaderForAllIsNoName) {
  const std::string archive =
      member({"pax_global_header", 'g'}, "13 path=other\n") + member("mine", "1") + kEnd;
  EXPECT_THAT(listing(archive), ElementsAre("mine = 1"));
}

TEST(ParseTar, ReadsSizesInBase256) {
  const std::string size = "\x80" + std::string(8, '\0') + std::string("\0\1\2", 3);  // 258
  const std::string bytes(258, 'b');
  const auto members = parse(block_of({"name", '0', size}) + padded(bytes) + kEnd);
  EXPECT_EQ(members.at(0).size, 258);
}

TEST(ParseTar, TakesChecksumsOfSignedCharacters) {
  Header header = "caf\xE9";
  header.checksum_error = -256;
  EXPECT_THAT(listing(member(header, "1") + kEnd), ElementsAre("caf\xE9 = 1"));
}

TEST(ParseTar, ReadsArchivesThatFollowEachOther) {
  const std::string one = member("a", "1") + kEnd, two = member("b", "2") + kEnd;
  EXPECT_THAT(listing(one + std::string(8192, '\0') + two), ElementsAre("a = 1", "b = 2"));
}

TEST(ParseTar, AnEmptyArchiveHasNoMembers) { EXPECT_TRUE(parse(std::string(10240, '\0')).empty()); }

TEST(ParseTar, WhatIsCutOffIsAnErrorAtEveryLength) {
  const std::string archive =
      member("a", "first") + pax("15 path=second\n") + member("b", std::string(600, 'x')) + kEnd;
  ASSERT_EQ(parse(archive).size(), 2u);
  for (size_t length = 0; length < archive.size() - kEnd.size(); ++length) {
    ASSERT_NE(parsing_error(archive.substr(0, length)), "(no error)") << length;
  }
  EXPECT_THAT(parsing_error(archive.substr(0, 1024)),
              AllOf(HasSubstr("byte 1024"), HasSubstr("end mark")));
  EXPECT_THAT(parsing_error(archive.substr(0, 1100)),
              AllOf(HasSubstr("byte 1024"), HasSubstr("inside a header")));
  EXPECT_THAT(parsing_error(archive.substr(0, 2700)),
              AllOf(HasSubstr("byte 2048"), HasSubstr("second has 600 bytes"),
                    HasSubstr("ends after 140")));
}

TEST(ParseTar, DamageIsNamedWithItsPlace) {
  const std::string first = member("a", "first");
  EXPECT_THAT(parsing_error("GIF89a"), StartsWith("neither a tar archive nor gzip-compressed"));
  EXPECT_THAT(parsing_error(std::string(512, 'x')), StartsWith("neither a tar archive"));
  Header wrong = "b";
  wrong.checksum_error = 1;
  EXPECT_THAT(parsing_error(first + block_of(wrong) + kEnd),
              StartsWith("damaged at byte 1024: the checksum"));
  for (const std::string size : {"0000000000x", "-0000000001", "\xFF\xFF\xFF\xFF", "\x81"}) {
    EXPECT_THAT(parsing_error(first + block_of({"b", '0', size}) + kEnd),
                StartsWith("damaged at byte 1024: the size is no number"))
        << size;
  }
  const std::string huge = "\x80" + std::string(3, '\0') + std::string(8, '\x7F');
  EXPECT_THAT(parsing_error(first + block_of({"b", '0', huge}) + kEnd), HasSubstr("truncated"));
  EXPECT_THAT(parsing_error(member({"x", 'L'}, "name") + kEnd), HasSubstr("without a member"));
}

TEST(ParseTar, MalformedPaxRecordsAreErrors) {
  for (const std::string records :
       {"path=x\n", "9 path=xy", "99 path=x\n", "5 a=b", "0 a=b\n", "3 \n", "-9 path=x\n",
        "9 pathxy\n", "18446744073709551615 a=b\n", " 9 path=x\n", "9"}) {
    EXPECT_THAT(parsing_error(pax(records) + member("a", "") + kEnd), HasSubstr("pax record"))
        << records;
  }
  for (const std::string records : {"11 size=-1\n", "11 size=1x\n", "8 size=\n"}) {
    EXPECT_THAT(parsing_error(pax(records) + member("a", "") + kEnd), HasSubstr("pax size"))
        << records;
  }
  EXPECT_THAT(parsing_error(pax("28 size=9223372036854775807\n") + member("a", "") + kEnd),
              HasSubstr("truncated"));
}

TEST(ParseTar, SparseFilesAreRefused) {
  EXPECT_THAT(parsing_error(member({"holes", 'S'}, "x") + kEnd),
              HasSubstr("holes is a sparse file"));
  EXPECT_THAT(parsing_error(pax("22 GNU.sparse.major=1\n") + member("holes", "x") + kEnd),
              HasSubstr("holes is a sparse file"));
}

// ---- TarWriter and TarFile

TEST(TarWriter, WritesWhatTarFileReads) {
  const TemporaryFolder folder;
  const std::vector<std::string> names = {
      "a.jpg",
      std::string(100, 'n'),
      std::string(101, 'n'),                                // pax: nowhere to cut
      std::string(155, 'p') + "/" + std::string(100, 'n'),  // the longest of ustar
      std::string(156, 'p') + "/" + std::string(100, 'n'),  // pax
      std::string(50, 'p') + "/" + std::string(101, 'n'),   // pax
      std::string(90, 'p') + "/q/" + std::string(90, 'n'),  // cut at the later slash
      "gr\xC3\xBC\xC3\x9F"
      "e/" +
          std::string(200, 'n') + ".png",  // pax, not ASCII
  };
  TarWriter writer(folder / "x.tar");
  for (size_t i = 0; i < names.size(); ++i)
    writer.add(names[i], bytes_of(std::string(511 + i, 'b')));
  writer.finish();
  const TarFile tar(folder / "x.tar");
  const std::vector<TarMember> members = tar.list();
  ASSERT_EQ(members.size(), names.size());
  for (size_t i = 0; i < names.size(); ++i) {
    EXPECT_EQ(members[i].name, names[i]);
    EXPECT_EQ(text_of(tar.read(members[i])), std::string(511 + i, 'b'));
  }
}

TEST(TarWriter, GivesEqualBytesForEqualMembers) {
  EXPECT_EQ(tar_header("name", 5), tar_header("name", 5));
  const TemporaryFolder folder;
  for (const char* name : {"1.tar", "2.tar"}) {
    TarWriter writer(folder / name);
    writer.add("a", bytes_of("1"));
    writer.finish();
  }
  EXPECT_EQ(read_bytes(folder / "1.tar"), read_bytes(folder / "2.tar"));
  EXPECT_EQ(fs::file_size(folder / "1.tar"), 512 + 512 + 1024u);
}

TEST(TarWriter, LengthsOfPaxRecordsCountThemselves) {
  // "size=" gives way to "path=", whose record lengths pass from 2 to 3 digits and to 4.
  for (size_t size = 85; size < 1200; ++size) {
    const std::string name = std::string(size, 'n');
    const auto members = parse(tar_header(name, 0) + kEnd);
    ASSERT_EQ(members.at(0).name, name);
  }
}

TEST(TarWriter, SizesBeyondElevenOctalDigitsGoToPax) {
  const int64_t limit = int64_t{1} << 33;
  EXPECT_EQ(tar_header("big", limit - 1).size(), 512u);
  EXPECT_THAT(parsing_error(tar_header("big", limit - 1)), HasSubstr("big has 8589934591 bytes"));
  EXPECT_EQ(tar_header("big", limit).size(), 3 * 512u);
  EXPECT_THAT(parsing_error(tar_header("big", limit)), HasSubstr("big has 8589934592 bytes"));
}

TEST(TarWriter, TheArchiveAppearsWhenItIsFinished) {
  const TemporaryFolder folder;
  {
    TarWriter writer(folder / "x.tar");
    writer.add("a", bytes_of("1"));
    EXPECT_FALSE(fs::exists(folder / "x.tar"));
    EXPECT_TRUE(fs::exists(folder / "x.tar.part"));
  }
  EXPECT_TRUE(fs::is_empty(folder.path()));
  EXPECT_THAT(error_of([&] { TarWriter(folder / "none/x.tar"); }),
              AllOf(HasSubstr("none/x.tar.part"), HasSubstr("No such file")));
}

TEST(TarWriter, AFullDiskIsAnError) {
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "no /dev/full here";
  const TemporaryFolder folder;
  fs::create_symlink("/dev/full", folder / "x.tar.part");
  EXPECT_THAT(error_of([&] {
                TarWriter writer(folder / "x.tar");
                writer.add("a", std::vector<uint8_t>(1 << 20));
                writer.finish();
              }),
              AllOf(HasSubstr("x.tar.part"), HasSubstr("No space left")));
}

TEST(TarFile, ReadsCompressedArchives) {
  const TemporaryFolder folder;
  const std::string archive = member("a", "one") + member("b", "two") + kEnd;
  write_bytes(folder / "x.tar.gz", gzip(archive));
  write_bytes(folder / "misnamed.tar", gzip(archive));
  write_bytes(folder / "misnamed.tgz", archive);
  for (const char* name : {"x.tar.gz", "misnamed.tar", "misnamed.tgz"}) {
    const TarFile tar(folder / name);
    const std::vector<TarMember> members = tar.list();
    ASSERT_EQ(members.size(), 2u);
    EXPECT_EQ(text_of(tar.read(members[1])), "two") << name;
  }
}

TEST(TarFile, DamageIsNamedWithTheFile) {
  const TemporaryFolder folder;
  std::string noise(20000, '\0');
  for (size_t i = 0; i < noise.size(); ++i) noise[i] = static_cast<char>(i * i % 251);
  const std::string archive = member("a", noise) + kEnd;
  const auto error_with = [&](const std::string& name, const std::string& bytes) {
    write_bytes(folder / name, bytes);
    return error_of([&] { TarFile(folder / name).list(); });
  };
  EXPECT_THAT(error_with("x.tar", archive.substr(0, 5000)), HasSubstr("x.tar: damaged at byte 0"));
  EXPECT_THAT(error_with("x.tar", ""), HasSubstr("x.tar: damaged at byte 0"));
  EXPECT_THAT(error_with("x.tar", "text"), HasSubstr("x.tar: neither a tar archive nor"));
  std::string packed = gzip(archive);
  EXPECT_THAT(error_with("x.tgz", packed.substr(0, packed.size() / 2)),
              AllOf(HasSubstr("x.tgz: damaged"), HasSubstr("unpacked bytes")));
  packed[packed.size() / 2] ^= 0x55;
  EXPECT_THAT(error_with("x.tgz", packed), HasSubstr("x.tgz: damaged"));
  EXPECT_THAT(error_with("x.tgz", gzip(archive.substr(0, 5000))), HasSubstr("x.tgz: damaged at"));
  EXPECT_THAT(error_of([&] { TarFile(folder / "none.tar"); }),
              AllOf(HasSubstr("none.tar"), HasSubstr("No such file")));
}

TEST(TarFile, NoticesWhenItIsCutWhileOpen) {
  const TemporaryFolder folder;
  write_bytes(folder / "x.tar", member("a", std::string(5000, 'x')) + kEnd);
  const TarFile tar(folder / "x.tar");
  const TarMember found = tar.list().at(0);
  fs::resize_file(folder / "x.tar", 3000);
  EXPECT_THAT(error_of([&] { tar.read(found); }),
              AllOf(HasSubstr("x.tar"), HasSubstr("ends at byte 3000")));
}

TEST(TarFile, IsSafeToReadFromSeveralThreads) {
  const TemporaryFolder folder;
  TarWriter writer(folder / "x.tar");
  for (int i = 0; i < 50; ++i) {
    writer.add(std::to_string(i), std::vector<uint8_t>(3000, static_cast<uint8_t>(i)));
  }
  writer.finish();
  const TarFile tar(folder / "x.tar");
  const std::vector<TarMember> members = tar.list();
  std::atomic<int> wrong = 0;
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 500; ++i) {
        const std::vector<uint8_t> bytes = tar.read(members[i % 50]);
        if (bytes != std::vector<uint8_t>(3000, static_cast<uint8_t>(i % 50))) ++wrong;
      }
    });
  }
  threads.clear();
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace umbra::test
