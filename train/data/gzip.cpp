#include "train/data/gzip.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string>

#include <fmt/format.h>
#include <zlib.h>

#include "train/error.h"

namespace umbra {
namespace {

constexpr size_t kChunk = 1 << 20;
constexpr unsigned kZlibBuffer = 1 << 17;

}  // namespace

std::vector<uint8_t> read_gzip(const std::filesystem::path& path, int64_t limit) {
  const std::unique_ptr<gzFile_s, int (*)(gzFile)> file(gzopen(path.c_str(), "rb"), gzclose_r);
  if (!file) throw Error(fmt::format("{}: cannot read: {}", path.string(), std::strerror(errno)));
  gzbuffer(file.get(), kZlibBuffer);
  std::vector<uint8_t> bytes;
  size_t used = 0;
  for (int got = 1; got > 0; used += static_cast<size_t>(std::max(got, 0))) {
    if (used > static_cast<size_t>(limit)) {
      throw Error(
          fmt::format("{}: unpacks to more than {} bytes, the limit for what is held in "
                      "memory. Unpack it: a plain .tar is read where it lies",
                      path.string(), limit));
    }
    if (bytes.size() < used + kChunk) bytes.resize(std::max(2 * bytes.size(), used + kChunk));
    got = gzread(file.get(), bytes.data() + used, kChunk);
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
