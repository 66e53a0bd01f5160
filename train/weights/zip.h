// Zip archives as torch writes them: stored entries, read where they lie.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace umbra {

struct ZipEntry {
  std::string_view name;
  std::span<const uint8_t> bytes;
  std::optional<uint32_t> crc;  // none where the archive was written without checksums
  bool stored = true;           // neither compressed nor encrypted
};

// The entries of an archive, in the order of its directory; knows zip64. Throws umbra::Error for
// what is damaged, truncated or split, and where entries overlap or share a name.
std::vector<ZipEntry> parse_zip(std::span<const uint8_t> file);

// What the entry holds. Throws umbra::Error if it is compressed or encrypted, or its checksum is
// wrong.
std::span<const uint8_t> checked_bytes(const ZipEntry& entry);

}  // namespace umbra
