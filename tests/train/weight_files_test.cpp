#include "train/weights/files.h"

#include <zlib.h>

#include <fstream>
#include <iterator>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support.h"
#include "train/error.h"
#include "train/weights/pickle.h"
#include "train/weights/views.h"
#include "train/weights/zip.h"

namespace umbra {
namespace {

using namespace std::string_literals;
using test::error_of;
using test::TemporaryFolder;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Made by tools/make_pth_fixtures.py.
std::string fixture(const std::string& name) {
  return std::string(UMBRA_SOURCE_DIR) + "/tests/fixtures/" + name;
}

std::string bytes_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("cannot read " + path);
  return {std::istreambuf_iterator<char>(file), {}};
}

TensorMap read_tensors(const std::string& path) { return read_weight_file(path).tensors; }

std::span<const uint8_t> span_of(const std::string& bytes) {
  return {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()};
}

// Little-endian.
std::string number(uint64_t value, size_t bytes) {
  std::string text;
  for (size_t i = 0; i < bytes; ++i) text += static_cast<char>(value >> 8 * i);
  return text;
}

std::string str(const std::string& text) { return "X" + number(text.size(), 4) + text; }
std::string integer(int64_t value) { return "\x8a\x08" + number(static_cast<uint64_t>(value), 8); }
std::string tuple(const std::vector<int64_t>& values) {
  std::string text = "(";
  for (const int64_t value : values) text += integer(value);
  return text + "t";
}

// A float storage and a tensor in it, as opcodes.
std::string storage(const std::string& key, int64_t count, const std::string& view = "N") {
  return "(" + str("storage") + "ctorch\nFloatStorage\n" + str(key) + str("cpu") + integer(count) +
         view + "tQ";
}
std::string tensor(const std::string& in, int64_t offset, const std::vector<int64_t>& sizes,
                   const std::vector<int64_t>& strides) {
  return "ctorch._utils\n_rebuild_tensor_v2\n(" + in + integer(offset) + tuple(sizes) +
         tuple(strides) + "\x89}tR";
}
const std::string kTensor = tensor(storage("0", 4), 0, {4}, {1});

// A legacy file of that pickle and, if it speaks of one, a storage "0" of so many floats 0, 1, 2,
// ...
std::string legacy(const std::string& pickle, int64_t count = 4) {
  const std::string head =
      "\x80\x02\x8a\x0al\xfc\x9c\x46\xf9\x20\x6a\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}." + pickle +
      ".";
  if (pickle.find("FloatStorage") == std::string::npos) return head + "].";
  std::string data;
  for (int64_t i = 0; i < count; ++i) {
    data += number(std::bit_cast<uint32_t>(static_cast<float>(i)), 4);
  }
  return head + "](" + str("0") + "e." + number(static_cast<uint64_t>(count), 8) + data;
}

// A legacy file whose state dict is {"a": kTensor} and, before it, "x": what these opcodes make.
std::string with(const std::string& opcodes) {
  return legacy("}(" + str("x") + opcodes + str("a") + kTensor + "u");
}

TensorViews view(const std::string& file) { return view_pth(span_of(file)); }

std::string refused(const std::string& file) {
  return error_of([&] { view(file); });
}

void expect_same_bits(const TensorMap& actual, const TensorMap& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (const auto& [name, truth] : expected) {
    SCOPED_TRACE(name);
    ASSERT_TRUE(actual.contains(name));
    const torch::Tensor& tensor = actual.at(name);
    EXPECT_EQ(tensor.scalar_type(), truth.scalar_type());
    EXPECT_EQ(tensor.sizes(), truth.sizes());
    EXPECT_TRUE(tensor.is_contiguous());
    ASSERT_EQ(tensor.nbytes(), truth.nbytes());
    EXPECT_TRUE(truth.nbytes() == 0 ||
                std::memcmp(tensor.data_ptr(), truth.data_ptr(), truth.nbytes()) == 0);
  }
}

// The bytes of a safetensors file with that header and that many bytes of data.
std::string safetensors(const std::string& header, size_t data_bytes) {
  std::string bytes(8, '\0');
  const uint64_t size = header.size();
  std::memcpy(bytes.data(), &size, 8);
  return bytes + header + std::string(data_bytes, '\1');
}

TEST(Safetensors, RoundTripKeepsEveryBitOfEveryType) {
  const TemporaryFolder folder;
  const std::string path = (folder / "x.safetensors").string();
  const TensorMap written = {{"f32", torch::randn({3, 4})},
                             {"f64", torch::randn({2}, torch::kFloat64)},
                             {"bf16", torch::randn({5}).to(torch::kBFloat16)},
                             {"i64", torch::arange(7)},
                             {"bool", torch::tensor({true, false})},
                             {"u8", torch::arange(9).to(torch::kUInt8)},
                             {"scalar", torch::tensor(3.5f)},
                             {"empty", torch::empty({0, 4})},
                             {"strided", torch::randn({4, 6}).t()}};
  write_safetensors(path, written);
  const TensorMap read = read_safetensors(path);
  ASSERT_EQ(read.size(), written.size());
  for (const auto& [name, tensor] : written) {
    EXPECT_EQ(read.at(name).scalar_type(), tensor.scalar_type()) << name;
    EXPECT_TRUE(read.at(name).equal(tensor)) << name;
  }
}

TEST(Safetensors, HostileFilesAreRefused) {
  const TemporaryFolder folder;
  const std::string path = (folder / "x.safetensors").string();
  const auto refused = [&](const std::string& bytes) {
    test::write_bytes(path, bytes);
    return error_of([&] { read_safetensors(path); });
  };
  const std::string good = R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
  test::write_bytes(path, safetensors(good, 8));
  EXPECT_EQ(read_safetensors(path).at("a").numel(), 2);

  EXPECT_THAT(refused(""), HasSubstr("only 0 bytes"));
  EXPECT_THAT(refused(std::string(8, '\xff')), HasSubstr("header of"));
  EXPECT_THAT(refused(safetensors("[1, 2]", 0)), HasSubstr("not a JSON object"));
  EXPECT_THAT(refused(safetensors("{\"a\":", 0)), HasSubstr("not a JSON object"));
  EXPECT_THAT(refused(safetensors(good, 4)), HasSubstr("'a' wants 8 bytes"));
  EXPECT_THAT(refused(safetensors(good, 12)), HasSubstr("belong to no tensor"));
  EXPECT_THAT(refused(safetensors(R"({"a":{"dtype":"F31","shape":[2],"data_offsets":[0,8]}})", 8)),
              HasSubstr("unknown dtype"));
  EXPECT_THAT(refused(safetensors(R"({"a":{"dtype":"F32","shape":[2]}})", 8)), HasSubstr("lacks"));
  EXPECT_THAT(refused(safetensors(R"({"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})", 8)),
              HasSubstr("impossible shape"));
  EXPECT_THAT(
      refused(safetensors(
          R"({"a":{"dtype":"F32","shape":[4611686018427387905],"data_offsets":[0,8]}})", 8)),
      HasSubstr("impossible shape"));
  EXPECT_THAT(refused(safetensors(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                                  R"("b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})",
                                  12)),
              HasSubstr("starts at 4 instead of 8"));
}

TEST(Pth, EveryBitIsTorchs) {
  const TensorMap truth = read_safetensors(fixture("truth.safetensors"));
  ASSERT_GT(truth.size(), 15U);
  for (const char* name : {"zip", "legacy", "zip_protocol_1", "zip_protocol_3", "zip_protocol_4",
                           "zip_protocol_5", "legacy_protocol_1", "legacy_protocol_3",
                           "legacy_protocol_4", "legacy_protocol_5", "without_checksums"}) {
    SCOPED_TRACE(name);
    expect_same_bits(read_tensors(fixture(name + ".pth"s)), truth);
  }
  expect_same_bits(read_tensors(fixture("new_dtypes.pth")),
                   read_safetensors(fixture("new_dtypes.safetensors")));
}

TEST(Pth, TheStateDictIsTimms) {
  const TensorMap truth = read_safetensors(fixture("truth.safetensors"));
  expect_same_bits(read_tensors(fixture("ema.pth")), truth);
  EXPECT_EQ(read_weight_file(fixture("ema.pth")).wrapper, "state_dict_ema");
  EXPECT_TRUE(read_tensors(fixture("parallel.pth")).contains("module.float32"));
  expect_same_bits(open_weight_file(fixture("parallel.pth")).tensors, truth);
}

TEST(Pth, TensorsOwnTheirMemory) {
  TensorMap tensors = read_tensors(fixture("zip.pth"));
  const torch::Tensor before = tensors.at("shared.rows").clone();
  tensors.at("shared.whole").zero_();
  EXPECT_TRUE(tensors.at("shared.rows").equal(before));
}

TEST(Pth, WhatIsNoStateDictIsRefusedWithAdvice) {
  const auto error = [](const char* name) {
    return error_of([&] { read_tensors(fixture(name)); });
  };
  EXPECT_THAT(error("whole_model.pth"),
              AllOf(HasSubstr("whole_model.pth: holds torch.nn.modules.linear.Linear"),
                    HasSubstr("torch.save(model.state_dict()")));
  EXPECT_THAT(error("quantised.pth"), HasSubstr("'a' is built by torch._utils._rebuild_qtensor"));
  EXPECT_THAT(error("torchscript.pth"),
              AllOf(HasSubstr("TorchScript"), HasSubstr("torch.jit.load")));
  EXPECT_THAT(error("none.pth"), HasSubstr("cannot open"));
  EXPECT_THAT(refused(legacy("}(" + str("epoch") + "K\x03u")),
              AllOf(HasSubstr("no tensors among its keys (epoch)"), HasSubstr("state_dict_ema")));
  EXPECT_THAT(refused(legacy("]")), HasSubstr("holds a list"));
  EXPECT_THAT(refused(""), HasSubstr("empty"));
  EXPECT_THAT(refused("<!DOCTYPE html>"), HasSubstr("a web page"));
  EXPECT_THAT(refused("version https://git-lfs.github.com/spec/v1\n"), HasSubstr("git lfs pull"));
  EXPECT_THAT(refused("\x1f\x8b\x08"), HasSubstr("gunzip"));
  EXPECT_THAT(refused("GGUF\x03"), HasSubstr("starts with bytes 47 47 55 46"));
  EXPECT_THAT(refused("\x80\x02}."), HasSubstr("a pickle of a dict that torch.save has not"));
  EXPECT_THAT(refused(std::string(257, 'x') + "ustar"), HasSubstr("a tar archive"));
  EXPECT_THAT(refused(with("P0\n")), HasSubstr("protocol 0"));
}

TEST(Pth, NothingIsExecuted) {
  const TemporaryFolder folder;
  const std::string mark = (folder / "executed").string();
  const std::string command = str("touch " + mark);
  for (const std::string& attack :
       {"cposix\nsystem\n(" + command + "tR", "cposix\nsystem\n(" + command + "t\x81",
        "(" + command + "iposix\nsystem\n", "(cposix\nsystem\n" + command + "o",
        "cos\nsystem\n(" + command + "t}\x92", str("os") + str("system") + "\x93(" + command + "tR",
        "cbuiltins\neval\n(" + command + "tR}(" + str("a") + "Nub",
        "c__builtin__\ngetattr\n(cos\nsystem\n" + command + "tR(" + command + "tR"}) {
    const TensorViews views = view(with(attack));
    EXPECT_EQ(views.size(), 1U);
    EXPECT_TRUE(views.contains("a"));
  }
  EXPECT_FALSE(std::filesystem::exists(mark));
  EXPECT_THAT(refused(legacy("cposix\nsystem\n(" + command + "tR")), HasSubstr("posix.system"));
}

TEST(Pth, CyclesAndDepthDoNoHarm) {
  EXPECT_EQ(view(with("]q\x01h\x01"s + "a")).size(), 1U);                 // a = [a]
  EXPECT_EQ(view(with("}q\x01"s + str("model") + "h\x01s")).size(), 1U);  // d = {"model": d}
  EXPECT_EQ(view(legacy("}q\x01(" + str("model") + "h\x01" + str("a") + kTensor + "u")).size(), 1U);
  EXPECT_EQ(view(with("]q\x01(h\x01h\x01tq\x02"s + "a")).size(), 1U);
  const size_t depth = 100'000;
  const auto repeated = [&](const std::string& text) {
    std::string all;
    for (size_t i = 0; i < depth; ++i) all += text;
    return all;
  };
  EXPECT_EQ(view(with(std::string(depth, ']') + std::string(depth - 1, 'a'))).size(), 1U);
  EXPECT_EQ(view(with("N" + std::string(depth, '\x85'))).size(), 1U);
  EXPECT_EQ(view(with(std::string(depth, '(') + std::string(depth, 't'))).size(), 1U);
  EXPECT_EQ(view(with("cos\nsystem\n" + repeated(")R"))).size(), 1U);
  EXPECT_EQ(view(with("}" + repeated("K\x01}"s) + std::string(depth, 's'))).size(), 1U);
  EXPECT_THAT(refused(with(std::string(3'000'000, ']'))), HasSubstr("Python objects"));
  EXPECT_THAT(refused(with(std::string(3'000'000, '('))), HasSubstr("Python objects"));
  EXPECT_THAT(refused(with("N" + std::string(3'000'000, '\x94'))), HasSubstr("Python objects"));
}

TEST(Pth, LengthsThatLieAreRefused) {
  for (const std::string& text :
       {"X\xff\xff\xff\xff"s, "\x8d" + std::string(8, '\xff'), "\x8e" + std::string(8, '\x7f'),
        "B\xff\xff\xff\xff"s, "\x8b\xff\xff\xff\xff"s, "T\xff\xff\xff\xff"s,
        "\x96" + std::string(8, '\xff'), "\x95" + std::string(8, '\xff'), "Vno end"s, "cno end"s}) {
    EXPECT_THAT(refused(legacy(text)), HasSubstr("truncated")) << text;
  }
  EXPECT_THAT(refused(with("h\x07")), HasSubstr("memo"));
  EXPECT_THAT(refused(with("00")), HasSubstr("on the stack"));
  EXPECT_THAT(refused(with("t")), HasSubstr("damaged pickle"));
  EXPECT_THAT(refused(with("]K\x01s")), HasSubstr("damaged pickle"));
  EXPECT_THAT(refused(with("\xfe")), HasSubstr("unknown opcode 0xfe"));
  EXPECT_THAT(refused(with("\x80\x09")), HasSubstr("protocol 9"));
}

TEST(Pth, TruncatedAndChangedFilesDoNoHarm) {
  for (const char* name :
       {"zip.pth", "legacy.pth", "zip_protocol_4.pth", "without_checksums.pth"}) {
    const std::string file = bytes_of(fixture(name));
    for (size_t size = 0; size < file.size(); size += 7) {
      EXPECT_NE(refused(file.substr(0, size)), "(no error)") << name << " of " << size << " bytes";
    }
    for (size_t i = 0; i < file.size(); ++i) {
      std::string changed = file;
      changed[i] = static_cast<char>(changed[i] ^ (1 << i % 8));
      refused(changed);
    }
  }
}

TEST(Pth, NoTensorReachesOutOfItsStorage) {
  const auto in_dict = [](const std::string& opcodes, int64_t count = 4) {
    return legacy("}(" + str("a") + opcodes + "u", count);
  };
  const auto strided = [&](int64_t offset, const std::vector<int64_t>& sizes,
                           const std::vector<int64_t>& strides) {
    return refused(in_dict(tensor(storage("0", 4), offset, sizes, strides)));
  };
  const int64_t huge = int64_t{1} << 62;
  EXPECT_EQ(strided(1, {3}, {1}), "(no error)");
  EXPECT_EQ(strided(0, {2, 2}, {1, 2}), "(no error)");
  EXPECT_EQ(strided(0, {0, 5}, {5, 1}), "(no error)");
  EXPECT_THAT(strided(1, {4}, {1}), HasSubstr("'a': elements outside its storage of 16 bytes"));
  EXPECT_THAT(strided(0, {2, 2}, {3, 1}), HasSubstr("outside"));
  EXPECT_THAT(strided(-1, {2}, {1}), HasSubstr("outside"));
  EXPECT_THAT(strided(3, {2}, {-1}), HasSubstr("outside"));
  EXPECT_THAT(strided(huge, {1}, {1}), HasSubstr("outside"));
  EXPECT_THAT(strided(0, {2, 2}, {huge, huge}), HasSubstr("outside"));
  EXPECT_THAT(strided(0, {-4}, {1}), HasSubstr("impossible shape"));
  EXPECT_THAT(strided(0, {huge, huge}, {1, 1}), HasSubstr("impossible shape"));
  EXPECT_THAT(strided(0, {huge, 0, huge}, {0, 0, 0}), HasSubstr("impossible shape"));
  EXPECT_THAT(strided(0, {4}, {1, 1}), HasSubstr("impossible shape"));
  EXPECT_THAT(strided(0, std::vector<int64_t>(17, 1), std::vector<int64_t>(17, 1)),
              HasSubstr("impossible shape"));
  EXPECT_THAT(strided(0, {1 << 30}, {0}), HasSubstr("share or repeat"));
  EXPECT_THAT(refused(in_dict(tensor(storage("0", 5), 0, {4}, {1}))), HasSubstr("wanted 20 bytes"));
  EXPECT_THAT(refused(in_dict(tensor(storage("0", -1), 0, {4}, {1}))), HasSubstr("-1 elements"));
  EXPECT_THAT(refused(in_dict(tensor(storage("0", huge), 0, {4}, {1}))), HasSubstr("elements"));
  EXPECT_THAT(refused(in_dict(tensor(storage("1", 4), 0, {4}, {1}))), HasSubstr("no tensor uses"));
  EXPECT_THAT(refused(in_dict(tensor("N", 0, {4}, {1}))), HasSubstr("a tensor lies in None"));
  EXPECT_THAT(refused(in_dict(kTensor + str("a") + kTensor)), HasSubstr("two tensors have"));
  EXPECT_THAT(refused(legacy("}(X\x01" + "\0\0\0\xff"s + kTensor + "u")), HasSubstr("no text"));
}

TEST(Pth, StorageViewsOfOldFilesAreRead) {
  const auto part = [](int64_t offset, int64_t count) {
    const std::string in = storage("0", 6, "(" + str("1") + integer(offset) + integer(count) + "t");
    return legacy("}" + str("a") + tensor(in, 1, {2}, {1}) + "s", 6);
  };
  const TemporaryFolder folder;
  const std::string path = (folder / "x.pth.tar").string();
  test::write_bytes(path, part(2, 3));
  EXPECT_TRUE(read_tensors(path).at("a").equal(torch::tensor({3.F, 4.F})));
  EXPECT_THAT(refused(part(2, 2)), HasSubstr("outside"));
  EXPECT_THAT(refused(part(2, 5)), HasSubstr("a view of 5 elements at 2 of 6"));
  EXPECT_THAT(refused(part(-1, 5)), HasSubstr("a view of"));
}

TEST(Pth, DictsOfPython2AreRead) {
  const std::string pairs = "(lp0\n(lp1\nS'a\\x41\\'b'\na" + kTensor + "aa";
  const TensorViews views = view(legacy("ccollections\nOrderedDict\n(" + pairs + "tR"));
  ASSERT_EQ(views.size(), 1U);
  EXPECT_EQ(views.begin()->first, "aA'b");
}

TEST(Pickle, BuildsThePlainTypes) {
  const std::string bytes =
      "(I01\nI-7\nL123456789012345678901L\nF-2.5\nV\\u00e9\\U0001F600\nM\x01\x02J\xff\xff\xff\xff"s +
      "\x8a\x02\x00\x80"s + "G\x3f\xf0\0\0\0\0\0\0"s + "C\x02hiNl.";
  const Pickle pickle(span_of(bytes));
  EXPECT_EQ(pickle.size(), bytes.size());
  const auto& items = pickle.root().items;
  ASSERT_EQ(items.size(), 11U);
  EXPECT_EQ(pickle[items[0]].kind, PickleKind::kBool);
  EXPECT_EQ(pickle[items[1]].integer, -7);
  EXPECT_EQ(pickle[items[2]].text, "123456789012345678901");
  EXPECT_EQ(pickle[items[3]].real, -2.5);
  EXPECT_EQ(pickle[items[4]].text, "\xc3\xa9\xf0\x9f\x98\x80");
  EXPECT_EQ(pickle[items[5]].integer, 0x201);
  EXPECT_EQ(pickle[items[6]].integer, -1);
  EXPECT_EQ(pickle[items[7]].integer, -32768);
  EXPECT_EQ(pickle[items[8]].real, 1.0);
  EXPECT_EQ(pickle[items[9]].kind, PickleKind::kBytes);
  EXPECT_EQ(pickle[items[10]].kind, PickleKind::kNone);
}

// A zip archive of stored entries.
struct Part {
  std::string name, bytes;
  uint32_t method = 0;
};
std::string zip_of(const std::vector<Part>& parts) {
  std::string file, directory;
  for (const Part& part : parts) {
    const std::string head = number(part.method, 2) + number(0, 4) +
                             number(crc32_z(0, span_of(part.bytes).data(), part.bytes.size()), 4) +
                             number(part.bytes.size(), 4) + number(part.bytes.size(), 4) +
                             number(part.name.size(), 2) + number(0, 2);
    directory += "PK\x01\x02" + number(20, 4) + number(0, 2) + head + number(0, 10) +
                 number(file.size(), 4) + part.name;
    file += "PK\x03\x04" + number(20, 2) + number(0, 2) + head + part.name + part.bytes;
  }
  return file + directory + "PK\x05\x06" + number(0, 4) + number(parts.size(), 2) +
         number(parts.size(), 2) + number(directory.size(), 4) + number(file.size(), 4) +
         number(0, 2);
}

TEST(Zip, HostileArchivesAreRefused) {
  const Part pickle{"a/data.pkl", "}" + str("w") + kTensor + "s."},
      data{"a/data/0", std::string(16, '\1')};
  ASSERT_EQ(refused(zip_of({pickle, data})), "(no error)");
  EXPECT_EQ(refused(zip_of({pickle, data, {"a/byteorder", "little"}})), "(no error)");
  EXPECT_THAT(refused(zip_of({pickle, data, {"a/byteorder", "big"}})), HasSubstr("byte order"));
  EXPECT_THAT(refused(zip_of({pickle})), HasSubstr("no 'a/data/0'"));
  EXPECT_THAT(refused(zip_of({pickle, {"a/data/0", "abc"}})), HasSubstr("has 3 bytes, wanted 16"));
  EXPECT_THAT(refused(zip_of({pickle, data, data})), HasSubstr("two entries named 'a/data/0'"));
  EXPECT_THAT(refused(zip_of({pickle, {"b/data.pkl", "}."}})), HasSubstr("2 files data.pkl"));
  EXPECT_THAT(refused(zip_of({{"x.npy", "1"}})), HasSubstr("0 files data.pkl"));
  EXPECT_THAT(refused(zip_of({pickle, {"a/data/0", data.bytes, 8}})), HasSubstr("compressed"));
  EXPECT_THAT(refused(zip_of({pickle, data, {"a/constants.pkl", "N."}})), HasSubstr("TorchScript"));

  const std::string good = zip_of({pickle, data});
  const auto changed = [&](size_t at, const std::string& bytes) {
    std::string file = good;
    return refused(file.replace(at, bytes.size(), bytes));
  };
  const size_t directory = good.find("PK\x01\x02"), second = good.rfind("PK\x01\x02");
  const size_t end = good.size() - 22;
  EXPECT_THAT(changed(good.find("\1\1\1\1"), "\2"), HasSubstr("checksum of 'a/data/0'"));
  EXPECT_THAT(changed(second + 42, number(0, 4)), HasSubstr("not where the directory says"));
  EXPECT_THAT(changed(directory + 20, number(90000, 4) + number(90000, 4)), HasSubstr("truncated"));
  EXPECT_THAT(changed(directory + 20, number(200, 4) + number(200, 4)), HasSubstr("overlaps"));
  EXPECT_THAT(changed(directory + 20, number(9, 4)), HasSubstr("two sizes"));
  EXPECT_THAT(changed(end + 10, number(60000, 2)), HasSubstr("60000 entries in a directory"));
  EXPECT_THAT(changed(directory, "XX"), HasSubstr("no entry at byte"));
  EXPECT_THAT(changed(end + 16, number(1 << 30, 4)), HasSubstr("directory of"));
  EXPECT_THAT(changed(end + 16, "\xff\xff\xff\xff"), HasSubstr("zip64 locator"));
  EXPECT_THAT(changed(end + 4, number(1, 2)), HasSubstr("several"));
  EXPECT_THAT(changed(end, "XX"), HasSubstr("directory is missing"));
}

TEST(Zip, ReadsZip64) {
  const Part part{"name", "content"};
  const std::string plain = zip_of({part});
  const size_t directory = plain.find("PK\x01\x02"), end = plain.size() - 22;
  std::string entry = plain.substr(directory, end - directory);
  entry.replace(20, 8, std::string(8, '\xff'));
  entry.replace(30, 2, number(28, 2));
  entry.replace(42, 4, "\xff\xff\xff\xff");
  entry += number(1, 2) + number(24, 2) + number(7, 8) + number(7, 8) + number(0, 8);
  const std::string file =
      plain.substr(0, directory) + entry + "PK\x06\x06" + number(44, 8) + number(45, 2) +
      number(45, 2) + number(0, 8) + number(1, 8) + number(1, 8) + number(entry.size(), 8) +
      number(directory, 8) + "PK\x06\x07" + number(0, 4) + number(directory + entry.size(), 8) +
      number(1, 4) + "PK\x05\x06" + number(0, 4) + std::string(12, '\xff') + number(0, 2);
  const std::vector<ZipEntry> entries = parse_zip(span_of(file));
  ASSERT_EQ(entries.size(), 1U);
  const auto content = checked_bytes(entries[0]);
  EXPECT_EQ(std::string(content.begin(), content.end()), part.bytes);
}

TEST(PeelPrefixes, TakesWrappersAway) {
  using Names = std::vector<std::string>;
  Names beside;
  const auto peeled = [&](const Names& names) {
    WeightFile file;
    for (const std::string& name : names) file.tensors.emplace(name, torch::zeros({1}));
    peel_prefixes(file);
    beside = file.beside;
    Names left;
    for (const auto& [name, tensor] : file.tensors) left.push_back(name);
    return left;
  };
  EXPECT_EQ(peeled({"module.a", "module.b"}), Names({"a", "b"}));
  EXPECT_EQ(peeled({"module._orig_mod.a", "module._orig_mod.b"}), Names({"a", "b"}));
  EXPECT_EQ(peeled({"_orig_mod.module.module.a"}), Names({"a"}));
  EXPECT_EQ(peeled({"model.a", "model.b"}), Names({"a", "b"}));
  EXPECT_EQ(peeled({"n_averaged", "module.a", "module.b"}), Names({"a", "b"}));
  EXPECT_TRUE(beside.empty());
  EXPECT_EQ(peeled({"module.a", "b"}), Names({"b", "module.a"}));
  EXPECT_EQ(peeled({"encoder.a", "head"}), Names({"encoder.a", "head"}));
  EXPECT_EQ(peeled({"model.a", "fc.b"}), Names({"fc.b", "model.a"}));  // MobileNetV1's own names
  EXPECT_TRUE(beside.empty());
  EXPECT_EQ(peeled({"module.backbone.a", "module.backbone.b", "module.head.c"}),
            Names({"a", "b", "head.c"}));
  EXPECT_EQ(beside, Names({"head.c"}));
  EXPECT_EQ(peeled({"student.a", "student.b", "a"}), Names({"a", "b"}));
  EXPECT_EQ(peeled({"student.a", "teacher.a", "teacher.b"}),
            Names({"a", "teacher.a", "teacher.b"}));
  EXPECT_EQ(beside, Names({"teacher.a", "teacher.b"}));
  EXPECT_EQ(peeled({"student.a", "other.a"}), Names({"other.a", "student.a"}));
  EXPECT_EQ(peeled({"module."}), Names({"module."}));
  EXPECT_TRUE(peeled({}).empty());
}

TEST(ReadWeights, TheContentsDecide) {
  const TemporaryFolder folder;
  const TensorMap truth = read_safetensors(fixture("truth.safetensors"));
  for (const char* name : {"zip.pth", "legacy.pth", "truth.safetensors"}) {
    const std::string path = (folder / "weights.bin").string();
    test::write_bytes(path, bytes_of(fixture(name)));
    expect_same_bits(read_tensors(path), truth);
  }
  EXPECT_THAT(error_of([&] { read_tensors(folder.path().string()); }),
              HasSubstr("no regular file"));
}

TEST(SafetensorsViews, HolesAreClosed) {
  const auto refusal = [](const std::string& header, size_t data_bytes) {
    const std::string file = safetensors(header, data_bytes);
    return error_of([&] { view_safetensors(span_of(file)); });
  };
  const std::string a = R"("a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]})";
  EXPECT_EQ(refusal("{" + a + "}", 2), "(no error)");
  EXPECT_THAT(refusal("{" + a + "," + a + "}", 2), HasSubstr("'a' comes twice"));
  EXPECT_THAT(refusal(R"({"a":{"dtype":"U8","dtype":"I8"}})", 0), HasSubstr("comes twice"));
  EXPECT_THAT(refusal("{\"a\":" + std::string(100'000, '[') + std::string(100'000, ']') + "}", 0),
              HasSubstr("nests too deeply"));
  const auto shaped = [&](const std::string& shape, const std::string& offsets, size_t bytes) {
    return refusal(
        fmt::format(R"({{"a":{{"dtype":"U8","shape":{},"data_offsets":{}}}}})", shape, offsets),
        bytes);
  };
  EXPECT_THAT(shaped("[1.5]", "[0,1]", 1), HasSubstr("impossible shape"));
  EXPECT_THAT(shaped("[0,4611686018427387904,4611686018427387904]", "[0,0]", 0),
              HasSubstr("impossible shape"));
  EXPECT_THAT(shaped("[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]", "[0,1]", 1),
              HasSubstr("impossible shape"));
  EXPECT_THAT(shaped("[1]", "[0,1,2]", 1), HasSubstr("lacks"));
  EXPECT_THAT(shaped("[1]", "[-1,0]", 1), HasSubstr("lacks"));
  EXPECT_THAT(shaped("[1]", "[0,18446744073709551615]", 1), HasSubstr("wants 1 bytes"));
  EXPECT_THAT(shaped("[1]", "[1,0]", 1), HasSubstr("wants 1 bytes"));
  EXPECT_THAT(shaped("[1]", "[1,2]", 2), HasSubstr("starts at 1 instead of 0"));
  // An empty tensor where another starts, whatever their order.
  EXPECT_EQ(refusal("{" + a + R"(,"b":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}})", 2),
            "(no error)");
}

TEST(CopyElements, AnyByteButZeroIsTrue) {
  const TemporaryFolder folder;
  const std::string path = (folder / "x.safetensors").string();
  test::write_bytes(path, number(63, 8) +
                              R"({"a":{"dtype":"BOOL","shape":[3],"data_offsets":[0,3]}}        )" +
                              "\x02\x00\xff"s);
  const torch::Tensor read = read_tensors(path).at("a");
  EXPECT_TRUE(read.to(torch::kInt64).equal(torch::tensor({1, 0, 1})));
}

}  // namespace
}  // namespace umbra
