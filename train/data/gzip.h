#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

namespace umbra {

// The whole file, unpacked if it is gzip-compressed. Throws umbra::Error if it cannot be read, is
// damaged, or unpacks to more than `limit` bytes.
std::vector<uint8_t> read_gzip(const std::filesystem::path& path, int64_t limit);

}  // namespace umbra
