#include "train/data/tar.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <limits>
#include <numeric>
#include <optional>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "train/data/gzip.h"
#include "train/error.h"
#include "train/files.h"

namespace umbra {
namespace {

constexpr int64_t kBlock = 512;
constexpr int64_t kMaxUnpacked = int64_t{1} << 33;     // of a compressed archive
constexpr int64_t kMaxExtension = int64_t{1} << 24;    // bytes of a pax header or a long name
constexpr int64_t kMaxOctal = (int64_t{1} << 33) - 1;  // 11 digits

// A field of the header block (POSIX.1-2001, "ustar Interchange Format").
struct Field {
  size_t offset, size;
};
constexpr Field kName = {0, 100}, kMode = {100, 8}, kUid = {108, 8}, kGid = {116, 8};
constexpr Field kSize = {124, 12}, kTime = {136, 12}, kChecksum = {148, 8}, kType = {156, 1};
constexpr Field kMagic = {257, 8}, kPrefix = {345, 155};
constexpr std::string_view kUstar("ustar\00000", 8);

using Block = std::array<uint8_t, kBlock>;

std::string_view field_of(const Block& block, Field field) {
  return {reinterpret_cast<const char*>(block.data()) + field.offset, field.size};
}

std::string_view until_nul(std::string_view text) { return text.substr(0, text.find('\0')); }

int64_t round_up(int64_t size) { return (size + kBlock - 1) / kBlock * kBlock; }

// Old writers summed signed characters.
bool checksum_fits(const Block& block, int64_t wanted) {
  int64_t plain = 0, with_signs = 0;
  for (size_t i = 0; i < block.size(); ++i) {
    const bool inside = i >= kChecksum.offset && i < kChecksum.offset + kChecksum.size;
    const uint8_t byte = inside ? uint8_t{' '} : block[i];
    plain += byte;
    with_signs += static_cast<int8_t>(byte);
  }
  return wanted == plain || wanted == with_signs;
}

// Octal digits, or (GNU) big-endian binary after a byte 0x80. Nothing if it is neither.
std::optional<int64_t> number_of(std::string_view field) {
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  int64_t value = 0;
  if (static_cast<uint8_t>(field[0]) & 0x80) {
    if (static_cast<uint8_t>(field[0]) != 0x80) return std::nullopt;  // negative, or enormous
    for (const char c : field.substr(1)) {
      if (value > kMax >> 8) return std::nullopt;
      value = value << 8 | static_cast<uint8_t>(c);
    }
    return value;
  }
  size_t i = std::min(field.find_first_not_of(' '), field.size());
  for (; i < field.size() && field[i] >= '0' && field[i] <= '7'; ++i) {
    value = value << 3 | (field[i] - '0');
  }
  if (i < field.size() && field[i] != ' ' && field[i] != '\0') return std::nullopt;
  return value;
}

[[noreturn]] void damaged(int64_t offset, const std::string& reason) {
  throw Error(fmt::format("damaged at byte {}: {}. Fetch or pack it again", offset, reason));
}

}  // namespace

struct TarSource {
  virtual ~TarSource() = default;
  virtual int64_t size() const = 0;
  virtual void read(int64_t offset, std::span<uint8_t> out) const = 0;  // what lies inside
};

namespace {

// What extension headers say about the member that follows them.
struct Extension {
  std::optional<std::string> path;       // pax
  std::optional<std::string> long_name;  // GNU
  std::optional<int64_t> size;           // pax
  bool sparse = false;
};

class Parser {
 public:
  explicit Parser(const TarSource& source) : source_(source), end_(source.size()) {}

  std::vector<TarMember> run() {
    while (at_ < end_) {
      Block block{};
      source_.read(at_, std::span(block).first(std::min(kBlock, end_ - at_)));
      const bool zero = std::all_of(block.begin(), block.end(), [](uint8_t b) { return b == 0; });
      if (zero && pending_) damaged(at_, "an extension header without a member");
      complete_ = zero;
      if (zero) {
        at_ += kBlock;
      } else {
        take(block);
      }
    }
    if (!complete_) damaged(end_, "the archive ends without its end mark: truncated");
    return std::move(members_);
  }

 private:
  void take(const Block& block) {
    const auto checksum = number_of(field_of(block, kChecksum));
    if (end_ - at_ < kBlock || !checksum || !checksum_fits(block, *checksum)) {
      if (at_ == 0)
        throw Error(
            "neither a tar archive nor gzip-compressed. What zstd, bzip2 or xz have packed must be "
            "unpacked first");
      damaged(at_, end_ - at_ < kBlock ? "the archive ends inside a header: truncated"
                                       : "the checksum of the header is wrong");
    }
    const char type = field_of(block, kType)[0];
    const bool extends = type == 'x' || type == 'X' || type == 'L';
    const std::string name = extends ? "an extension header" : name_of(block);
    const int64_t size = size_of(block, extends, name), data = at_ + kBlock;
    if (extends) {
      read_extension(type, data, size);
    } else if (type != 'g' && type != 'K') {
      take_member(type, {name, data, size});
    }
    at_ = data + round_up(size);
  }

  // Of the bytes that follow the header.
  int64_t size_of(const Block& block, bool extends, const std::string& name) const {
    const char type = field_of(block, kType)[0];
    if (type >= '1' && type <= '6') return 0;  // links, devices, folders
    const bool overridden = extension_.size && !extends;
    const auto size = overridden ? extension_.size : number_of(field_of(block, kSize));
    if (!size) damaged(at_, "the size is no number");
    const int64_t rest = end_ - at_ - kBlock;
    if (*size <= rest) return *size;
    damaged(at_, fmt::format("{} has {} bytes, but the archive ends after {}: truncated", name,
                             *size, rest));
  }

  void take_member(char type, TarMember member) {
    if (type == 'S' || extension_.sparse) {
      throw Error(member.name + " is a sparse file: pack it again without --sparse");
    }
    const bool folder = type == '\0' && member.name.ends_with('/');  // as before ustar
    if ((type == '0' || type == '\0' || type == '7') && !folder) {
      members_.push_back(std::move(member));
    }
    extension_ = {};
    pending_ = false;
  }

  std::string name_of(const Block& block) const {
    if (extension_.path) return *extension_.path;
    if (extension_.long_name) return *extension_.long_name;
    std::string name(until_nul(field_of(block, kName)));
    const std::string_view prefix = until_nul(field_of(block, kPrefix));
    // GNU's own magic number is "ustar  ", and its headers have times in this place.
    const bool ustar = until_nul(field_of(block, kMagic)) == "ustar";
    return ustar && !prefix.empty() ? std::string(prefix) + "/" + name : name;
  }

  void read_extension(char type, int64_t offset, int64_t size) {
    if (size > kMaxExtension) damaged(at_, fmt::format("an extension header of {} bytes", size));
    std::string text(static_cast<size_t>(size), '\0');
    source_.read(offset, {reinterpret_cast<uint8_t*>(text.data()), text.size()});
    if (type == 'L') {
      extension_.long_name = until_nul(text);
    } else {
      read_pax(text);
    }
    pending_ = true;
  }

  // Records "LENGTH KEY=VALUE\n", whose length counts itself.
  void read_pax(std::string_view text) {
    while (!text.empty()) {
      size_t length = 0;
      const char* last = text.data() + text.size();
      const auto [digits, error] = std::from_chars(text.data(), last, length);
      const auto start = static_cast<size_t>(digits - text.data()) + 1;
      if (error != std::errc{} || digits == last || *digits != ' ' || length <= start ||
          length > text.size() || text[length - 1] != '\n') {
        damaged(at_, "a pax record is malformed");
      }
      const std::string_view record = text.substr(start, length - start - 1);
      const size_t equals = record.find('=');
      if (equals == std::string_view::npos) damaged(at_, "a pax record has no value");
      take_record(record.substr(0, equals), record.substr(equals + 1));
      text.remove_prefix(length);
    }
  }

  void take_record(std::string_view key, std::string_view value) {
    if (key == "path") {
      extension_.path = value;
    } else if (key == "size") {
      int64_t size = 0;
      const char* last = value.data() + value.size();
      const auto [end, error] = std::from_chars(value.data(), last, size);
      if (error != std::errc{} || end != last || size < 0) damaged(at_, "a pax size is no number");
      extension_.size = size;
    } else if (key.starts_with("GNU.sparse.")) {
      extension_.sparse = true;
    }
  }

  const TarSource& source_;
  const int64_t end_;
  int64_t at_ = 0;
  bool complete_ = false;  // the last block was one of the zero blocks that end an archive
  bool pending_ = false;   // an extension header waits for its member
  Extension extension_;
  std::vector<TarMember> members_;
};

class MemorySource : public TarSource {
 public:
  explicit MemorySource(std::span<const uint8_t> bytes) : bytes_(bytes) {}
  explicit MemorySource(std::vector<uint8_t> bytes) : owned_(std::move(bytes)), bytes_(owned_) {}

  int64_t size() const override { return static_cast<int64_t>(bytes_.size()); }
  void read(int64_t offset, std::span<uint8_t> out) const override {
    std::copy_n(bytes_.begin() + offset, out.size(), out.begin());
  }

 private:
  std::vector<uint8_t> owned_;
  std::span<const uint8_t> bytes_;
};

// Sets of more than a thousand shards are usual, and so is a limit of 1,024 open files that any
// process may raise.
bool allow_more_files() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= limit.rlim_max) return false;
  limit.rlim_cur = limit.rlim_max;
  return setrlimit(RLIMIT_NOFILE, &limit) == 0;
}

class DiskSource : public TarSource {
 public:
  explicit DiskSource(const std::filesystem::path& path) {
    handle_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (handle_ < 0 && errno == EMFILE && allow_more_files()) {
      handle_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    }
    if (handle_ < 0) throw Error(path.string() + ": " + reason());
    size_ = lseek(handle_, 0, SEEK_END);
  }
  ~DiskSource() override { close(handle_); }
  DiskSource(const DiskSource&) = delete;
  DiskSource& operator=(const DiskSource&) = delete;

  int64_t size() const override { return size_; }
  void read(int64_t offset, std::span<uint8_t> out) const override {
    while (!out.empty()) {
      const ssize_t got = pread(handle_, out.data(), out.size(), offset);
      if (got == 0) throw Error(fmt::format("ends at byte {}: it was cut while open", offset));
      if (got < 0 && errno != EINTR) throw Error(reason());
      if (got < 0) continue;
      out = out.subspan(static_cast<size_t>(got));
      offset += got;
    }
  }

 private:
  static std::string reason() { return fmt::format("cannot read: {}", std::strerror(errno)); }

  int handle_ = -1;
  int64_t size_ = 0;
};

std::unique_ptr<const TarSource> open_source(const std::filesystem::path& path) {
  constexpr std::array<uint8_t, 2> kGzip = {0x1F, 0x8B};
  auto disk = std::make_unique<DiskSource>(path);
  std::array<uint8_t, 2> start{};
  try {
    if (disk->size() >= 2) disk->read(0, start);
  } catch (const Error& error) {
    throw Error(path.string() + ": " + error.what());
  }
  if (start != kGzip) return disk;
  return std::make_unique<MemorySource>(read_gzip(path, kMaxUnpacked));
}

}  // namespace

std::vector<TarMember> parse_tar(std::span<const uint8_t> archive) {
  return Parser(MemorySource(archive)).run();
}

TarFile::TarFile(std::filesystem::path path)
    : path_(std::move(path)), source_(open_source(path_)) {}

TarFile::~TarFile() = default;

std::vector<TarMember> TarFile::list() const {
  try {
    return Parser(*source_).run();
  } catch (const Error& error) {
    throw Error(path_.string() + ": " + error.what());
  }
}

std::vector<uint8_t> TarFile::read(const TarMember& member) const {
  std::vector<uint8_t> bytes(static_cast<size_t>(member.size));
  try {
    source_->read(member.offset, bytes);
  } catch (const Error& error) {
    throw Error(path_.string() + ": " + error.what());
  }
  return bytes;
}

namespace {

void put(std::string& block, Field field, std::string_view text) {
  std::copy(text.begin(), text.end(), block.begin() + static_cast<std::ptrdiff_t>(field.offset));
}

std::string ustar_header(std::string_view prefix, std::string_view name, int64_t size, char type) {
  std::string block(kBlock, '\0');
  put(block, kName, name);
  put(block, kMode, "0000644");
  put(block, kUid, "0000000");
  put(block, kGid, "0000000");
  put(block, kSize, fmt::format("{:011o}", size));
  put(block, kTime, "00000000000");
  put(block, kChecksum, "        ");
  put(block, kType, {&type, 1});
  put(block, kMagic, kUstar);
  put(block, kPrefix, prefix);
  const int sum = std::accumulate(block.begin(), block.end(), 0, [](int total, char c) {
    return total + static_cast<uint8_t>(c);
  });
  put(block, kChecksum, fmt::format("{:06o}", sum));
  block[kChecksum.offset + 6] = '\0';
  return block;
}

std::string pax_record(std::string_view key, std::string_view value) {
  const size_t rest = key.size() + value.size() + 3;  // with the space, '=' and line end
  size_t length = rest;
  while (length != rest + std::to_string(length).size()) {
    length = rest + std::to_string(length).size();
  }
  return fmt::format("{} {}={}\n", length, key, value);
}

// Where a long name can be cut in two, so that it fits ustar's fields; npos if nowhere.
size_t ustar_cut(const std::string& name) {
  const size_t cut = name.rfind('/', kPrefix.size);
  const bool fits = cut != std::string::npos && cut > 0 && cut + 1 < name.size() &&
                    name.size() - cut - 1 <= kName.size;
  return fits ? cut : std::string::npos;
}

void pad(std::string& text) { text.resize(round_up(static_cast<int64_t>(text.size())), '\0'); }

}  // namespace

std::string tar_header(const std::string& name, int64_t size) {
  std::string extension, prefix, rest = name;
  if (name.size() > kName.size) {
    if (const size_t cut = ustar_cut(name); cut != std::string::npos) {
      prefix = name.substr(0, cut);
      rest = name.substr(cut + 1);
    } else {
      extension += pax_record("path", name);
      rest = name.substr(0, kName.size);
    }
  }
  if (size > kMaxOctal) extension += pax_record("size", std::to_string(size));
  const std::string header = ustar_header(prefix, rest, size > kMaxOctal ? 0 : size, '0');
  if (extension.empty()) return header;
  std::string before =
      ustar_header("", "pax_header", static_cast<int64_t>(extension.size()), 'x') + extension;
  pad(before);
  return before + header;
}

TarWriter::TarWriter(std::filesystem::path path)
    : path_(std::move(path)),
      part_(path_.string() + ".part"),
      file_(std::fopen(part_.c_str(), "wb")) {
  if (!file_) fail();
}

TarWriter::~TarWriter() {
  if (file_) std::fclose(file_);
  if (finished_) return;
  std::error_code ignored;
  std::filesystem::remove(part_, ignored);
}

void TarWriter::add(const std::string& name, std::span<const uint8_t> bytes) {
  constexpr std::array<uint8_t, kBlock> kZeros{};
  const auto size = static_cast<int64_t>(bytes.size());
  const std::string header = tar_header(name, size);
  write(header.data(), header.size());
  write(bytes.data(), bytes.size());
  write(kZeros.data(), static_cast<size_t>(round_up(size) - size));
}

void TarWriter::finish() {
  constexpr std::array<uint8_t, 2 * kBlock> kEnd{};
  write(kEnd.data(), kEnd.size());
  if (std::fflush(file_) != 0 || fsync(fileno(file_)) != 0) fail();
  if (std::fclose(std::exchange(file_, nullptr)) != 0) fail();
  if (std::rename(part_.c_str(), path_.c_str()) != 0) fail();
  finished_ = true;
  sync_folder(path_.has_parent_path() ? path_.parent_path() : ".");
}

void TarWriter::write(const void* bytes, size_t size) {
  if (size > 0 && std::fwrite(bytes, 1, size, file_) != size) fail();
}

void TarWriter::fail() const {
  throw Error(fmt::format("{}: cannot write: {}", part_.string(), std::strerror(errno)));
}

}  // namespace umbra
