#include "train/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#include <fmt/format.h>

#include "train/error.h"

namespace umbra {

void write_file_synced(const std::filesystem::path& path,
                       std::span<const std::span<const uint8_t>> parts) {
  if (path.has_parent_path()) make_folder(path.parent_path());
  const std::string temporary = path.string() + ".tmp";
  std::FILE* file = std::fopen(temporary.c_str(), "wb");
  bool ok = file != nullptr;
  for (const auto& part : parts) {
    ok = ok && std::fwrite(part.data(), 1, part.size(), file) == part.size();
  }
  ok = ok && std::fflush(file) == 0 && fsync(fileno(file)) == 0;
  int error = errno;
  if (file && std::fclose(file) != 0 && ok) {
    error = errno;
    ok = false;
  }
  if (ok && std::rename(temporary.c_str(), path.c_str()) != 0) {
    error = errno;
    ok = false;
  }
  if (ok) return;
  if (file) std::remove(temporary.c_str());
  throw Error(fmt::format("{}: cannot write: {}", path.string(), std::strerror(error)));
}

void write_file_synced(const std::filesystem::path& path, const std::string& text) {
  const std::span<const uint8_t> bytes(reinterpret_cast<const uint8_t*>(text.data()), text.size());
  write_file_synced(path, std::span(&bytes, 1));
}

void make_folder(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) {
    throw Error(fmt::format("cannot make the folder {}: {}", folder.string(), error.message()));
  }
}

void sync_folder(const std::filesystem::path& folder) {
  const int handle = open(folder.c_str(), O_RDONLY | O_DIRECTORY);
  if (handle < 0) return;
  fsync(handle);
  close(handle);
}

std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw Error(fmt::format("{}: cannot read: {}", path.string(), std::strerror(errno)));
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

std::vector<uint8_t> read_bytes(const std::filesystem::path& path) {
  const int handle = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  struct stat status {};
  bool ok = handle >= 0 && fstat(handle, &status) == 0;
  std::vector<uint8_t> bytes(ok ? static_cast<size_t>(status.st_size) : 0);
  size_t done = 0;
  while (ok && done < bytes.size()) {
    const ssize_t got = read(handle, bytes.data() + done, bytes.size() - done);
    if (got == 0) break;  // shorter than it was
    if (got > 0) done += static_cast<size_t>(got);
    ok = got > 0 || errno == EINTR;
  }
  const int error = errno;
  if (handle >= 0) close(handle);
  if (!ok) throw Error(fmt::format("{}: cannot read: {}", path.string(), std::strerror(error)));
  bytes.resize(done);
  return bytes;
}

}  // namespace umbra
