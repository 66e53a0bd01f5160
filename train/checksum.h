#pragma once

#include <cstdint>
#include <span>
#include <string>

#include <fmt/format.h>
#include <zlib.h>

namespace umbra {

// CRC-32 of bytes added one after the other: tells damage and mix-ups, not forgery.
class Checksum {
 public:
  Checksum& add(const void* bytes, size_t size) {
    crc_ = crc32_z(crc_, static_cast<const Bytef*>(bytes), size);
    return *this;
  }
  Checksum& add(std::span<const uint8_t> bytes) { return add(bytes.data(), bytes.size()); }

  uint32_t value() const { return static_cast<uint32_t>(crc_); }
  std::string hex() const { return fmt::format("{:08x}", value()); }

 private:
  uLong crc_ = crc32_z(0, nullptr, 0);
};

}  // namespace umbra
