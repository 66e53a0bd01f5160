#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <vector>

#include <fmt/format.h>

#include "train/error.h"

namespace umbra {

// The whole file. Throws umbra::Error naming it if it cannot be read.
inline std::vector<uint8_t> read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file || std::filesystem::is_directory(path)) {
    throw Error(
        fmt::format("cannot open {}: check that the file exists and may be read", path.string()));
  }
  std::vector<uint8_t> bytes(static_cast<size_t>(file.tellg()));
  file.seekg(0);
  file.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  if (file.gcount() != static_cast<std::streamsize>(bytes.size())) {
    throw Error(fmt::format("cannot read {}: got {} of {} bytes", path.string(), file.gcount(),
                            bytes.size()));
  }
  return bytes;
}

}  // namespace umbra
