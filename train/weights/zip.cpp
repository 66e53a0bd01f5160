#include "train/weights/zip.h"

#include <zlib.h>

#include <algorithm>
#include <string>

#include <fmt/format.h>

#include "train/error.h"
#include "train/weights/tensor_view.h"

namespace umbra {
namespace {

// Signatures and sizes of the records (APPNOTE.TXT 4.3).
constexpr uint32_t kLocal = 0x04034b50, kCentral = 0x02014b50, kEnd = 0x06054b50;
constexpr uint32_t kEnd64 = 0x06064b50, kLocator64 = 0x07064b50;
constexpr uint64_t kLocalSize = 30, kCentralSize = 46, kEndSize = 22;
constexpr uint64_t kEnd64Size = 56, kLocator64Size = 20, kMaxComment = 65535;
constexpr uint64_t kFull16 = 0xFFFF,
                   kFull32 = 0xFFFFFFFF;  // the value is in a zip64 record

[[noreturn]] void damaged(const std::string& reason) {
  throw Error(fmt::format("a damaged zip archive: {}. Fetch it again", reason));
}

struct Directory {
  uint64_t count = 0, size = 0, offset = 0;
};

// An entry and the room it takes, header included.
struct Placed {
  ZipEntry entry;
  uint64_t begin = 0, end = 0;
};

class Parser {
 public:
  explicit Parser(std::span<const uint8_t> file) : file_(file) {}

  std::vector<ZipEntry> run() {
    directory_ = find_directory();
    if (directory_.count > directory_.size / kCentralSize) {
      damaged(
          fmt::format("{} entries in a directory of {} bytes", directory_.count, directory_.size));
    }
    at_ = directory_.offset;
    for (uint64_t i = 0; i < directory_.count; ++i) placed_.push_back(next());
    check_names();
    check_overlaps();
    std::vector<ZipEntry> entries;
    for (const Placed& placed : placed_) entries.push_back(placed.entry);
    const bool checked = std::any_of(entries.begin(), entries.end(),
                                     [](const ZipEntry& entry) { return entry.crc != 0U; });
    for (ZipEntry& entry : entries) {
      if (!checked) entry.crc.reset();  // torch.serialization.set_crc32_options(False)
    }
    return entries;
  }

 private:
  // Little-endian numbers and texts of the file, inside it.
  uint64_t number(uint64_t offset, int bytes) const {
    const auto part = slice(offset, static_cast<uint64_t>(bytes));
    uint64_t value = 0;
    for (int i = bytes; i-- > 0;) value = value << 8 | part[static_cast<size_t>(i)];
    return value;
  }
  std::span<const uint8_t> slice(uint64_t offset, uint64_t size) const {
    if (offset > file_.size() || size > file_.size() - offset) {
      damaged(fmt::format("{} bytes at {} of {}: truncated", size, offset, file_.size()));
    }
    return file_.subspan(offset, size);
  }
  std::string_view text(uint64_t offset, uint64_t size) const {
    const auto part = slice(offset, size);
    return {reinterpret_cast<const char*>(part.data()), part.size()};
  }

  Directory find_directory() const {
    const uint64_t end = find_end();
    Directory directory{number(end + 10, 2), number(end + 12, 4), number(end + 16, 4)};
    uint64_t limit = end;
    if (directory.count == kFull16 || directory.size == kFull32 || directory.offset == kFull32) {
      limit = find_end64(end);
      directory = {number(limit + 32, 8), number(limit + 40, 8), number(limit + 48, 8)};
    } else if (number(end + 4, 2) != 0 || number(end + 6, 2) != 0) {
      damaged("one volume of several");
    }
    if (directory.offset > limit || directory.size > limit - directory.offset) {
      damaged(fmt::format("a directory of {} bytes at {}", directory.size, directory.offset));
    }
    return directory;
  }

  // The last record that fits the end of the file, behind which only its comment lies.
  uint64_t find_end() const {
    const uint64_t size = file_.size();
    const uint64_t last = std::min(size, kEndSize + kMaxComment);
    for (uint64_t back = kEndSize; back <= last; ++back) {
      const uint64_t at = size - back;
      if (file_[at] == 'P' && number(at, 4) == kEnd && number(at + 20, 2) == back - kEndSize) {
        return at;
      }
    }
    damaged("its directory is missing: truncated, or still being written");
  }

  uint64_t find_end64(uint64_t end) const {
    if (end < kLocator64Size || number(end - kLocator64Size, 4) != kLocator64) {
      damaged("the zip64 locator is missing");
    }
    const uint64_t at = number(end - kLocator64Size + 8, 8);
    slice(at, kEnd64Size);
    if (number(at, 4) != kEnd64) damaged("the zip64 directory is not where its locator says");
    return at;
  }

  // The next record of the directory.
  Placed next() {
    const uint64_t end = directory_.offset + directory_.size;
    if (at_ > end || end - at_ < kCentralSize || number(at_, 4) != kCentral) {
      damaged(fmt::format("no entry at byte {} of the directory", at_ - directory_.offset));
    }
    const uint64_t name_size = number(at_ + 28, 2), extra_size = number(at_ + 30, 2);
    Placed placed;
    placed.entry.name = text(at_ + kCentralSize, name_size);
    placed.entry.crc = static_cast<uint32_t>(number(at_ + 16, 4));
    placed.entry.stored = (number(at_ + 8, 2) & 1) == 0 && number(at_ + 10, 2) == 0;
    uint64_t size = number(at_ + 24, 4), packed = number(at_ + 20, 4);
    placed.begin = number(at_ + 42, 4);
    read_extra(at_ + kCentralSize + name_size, extra_size, {&size, &packed, &placed.begin});
    if (placed.entry.stored && size != packed) {
      damaged(fmt::format("'{}' has two sizes", shown(placed.entry.name)));
    }
    find_bytes(placed, packed);
    at_ += kCentralSize + name_size + extra_size + number(at_ + 32, 2);
    return placed;
  }

  // The zip64 field holds, in this order, the numbers that are too large for the record.
  void read_extra(uint64_t at, uint64_t size, std::initializer_list<uint64_t*> numbers) const {
    for (const uint64_t end = at + size; at < end;) {
      if (end - at < 4) return;  // padding
      const uint64_t id = number(at, 2), bytes = number(at + 2, 2);
      uint64_t field = at + 4;
      at = field + bytes;
      if (at > end) damaged("an extra field is longer than its record");
      for (uint64_t* value : numbers) {
        if (id != 1 || *value != kFull32) continue;
        if (at - field < 8) damaged("a zip64 field is too short");
        *value = number(field, 8);
        field += 8;
      }
      if (id == 1) return;
    }
  }

  void find_bytes(Placed& placed, uint64_t size) const {
    const uint64_t at = placed.begin;
    slice(at, kLocalSize);
    const uint64_t name_size = number(at + 26, 2);
    if (number(at, 4) != kLocal || text(at + kLocalSize, name_size) != placed.entry.name) {
      damaged(fmt::format("'{}' is not where the directory says", shown(placed.entry.name)));
    }
    const uint64_t data = at + kLocalSize + name_size + number(at + 28, 2);
    placed.entry.bytes = slice(data, size);
    placed.end = data + size;
  }

  void check_names() const {
    std::vector<std::string_view> names;
    for (const Placed& placed : placed_) names.push_back(placed.entry.name);
    std::sort(names.begin(), names.end());
    const auto twice = std::adjacent_find(names.begin(), names.end());
    if (twice != names.end()) damaged(fmt::format("two entries named '{}'", shown(*twice)));
  }

  void check_overlaps() const {
    std::vector<const Placed*> order;
    for (const Placed& placed : placed_) order.push_back(&placed);
    std::sort(order.begin(), order.end(),
              [](const Placed* a, const Placed* b) { return a->begin < b->begin; });
    for (size_t i = 0; i < order.size(); ++i) {
      const uint64_t limit = i + 1 < order.size() ? order[i + 1]->begin : directory_.offset;
      if (order[i]->end > limit) {
        damaged(fmt::format("'{}' overlaps what follows it", shown(order[i]->entry.name)));
      }
    }
  }

  std::span<const uint8_t> file_;
  Directory directory_;
  uint64_t at_ = 0;  // in the directory
  std::vector<Placed> placed_;
};

}  // namespace

std::vector<ZipEntry> parse_zip(std::span<const uint8_t> file) { return Parser(file).run(); }

std::span<const uint8_t> checked_bytes(const ZipEntry& entry) {
  if (!entry.stored) {
    throw Error(fmt::format(
        "'{}' in the zip archive is compressed or encrypted, wanted entries that are only stored. "
        "Save it again with torch.save, or unzip it and pack its folder with 'zip -0 -r'",
        shown(entry.name)));
  }
  if (!entry.crc) return entry.bytes;
  const auto crc = static_cast<uint32_t>(crc32_z(0, entry.bytes.data(), entry.bytes.size()));
  if (crc == *entry.crc) return entry.bytes;
  damaged(fmt::format("the checksum of '{}' is {:08x}, wanted {:08x}", shown(entry.name), crc,
                      *entry.crc));
}

}  // namespace umbra
