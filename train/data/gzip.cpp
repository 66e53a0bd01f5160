#include "train/data/gzip.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <memory>
#include <string>

#include <fmt/format.h>
#include <zlib.h>

#include "train/error.h"

namespace umbra {
namespace {

constexpr size_t kChunk = 1 << 20;
constexpr unsigned kZlibBuffer = 1 << 17;

// What the last four bytes say, which holds for one stream of less than 4 GB: exactly as much need
// then be taken. Of a file that is not packed its size; 0 if there is nothing to read.
size_t unpacked_size(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::array<uint8_t, 2> magic{};
  file.read(reinterpret_cast<char*>(magic.data()), magic.size());
  if (!file || magic != std::array<uint8_t, 2>{0x1F, 0x8B}) {
    std::error_code error;
    const auto size = std::filesystem::file_size(path, error);
    return error ? 0 : static_cast<size_t>(size);
  }
  std::array<uint8_t, 4> size{};
  file.seekg(-4, std::ios::end);
  if (!file.read(reinterpret_cast<char*>(size.data()), size.size())) return 0;
  return size[0] | size[1] << 8 | size[2] << 16 | size_t{size[3]} << 24;
}

}  // namespace

std::vector<uint8_t> read_gzip(const std::filesystem::path& path, int64_t limit) {
  const std::unique_ptr<gzFile_s, int (*)(gzFile)> file(gzopen(path.c_str(), "rb"), gzclose_r);
  if (!file) throw Error(fmt::format("{}: cannot read: {}", path.string(), std::strerror(errno)));
  gzbuffer(file.get(), kZlibBuffer);
  std::vector<uint8_t> bytes(std::min(unpacked_size(path) + 1, static_cast<size_t>(limit)));
  size_t used = 0;
  for (int got = 1; got > 0; used += static_cast<size_t>(std::max(got, 0))) {
    if (used > static_cast<size_t>(limit)) {
      throw Error(
          fmt::format("{}: unpacks to more than {} bytes, the limit for what is held in "
                      "memory. Unpack it: a plain .tar is read where it lies",
                      path.string(), limit));
    }
    if (bytes.size() == used) bytes.resize(std::max(2 * bytes.size(), used + kChunk));
    got = gzread(file.get(), bytes.data() + used,
                 static_cast<unsigned>(std::min(bytes.size() - used, kChunk)));
  }
  bytes.resize(used);
  int code = Z_OK;
  std::string reason = gzerror(file.get(), &code);
  if (code != Z_OK) {
    if (const std::string prefix = path.string() + ": "; reason.starts_with(prefix)) {
      reason.erase(0, prefix.size());
    }
    throw Error(fmt::format("{}: damaged after {} unpacked bytes ({}). Fetch the file again",
                            path.string(), used, reason));
  }
  return bytes;
}

}  // namespace umbra
