// Tar archives: an index, to read members where they lie, and a writer.
#pragma once

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace umbra {

struct TarMember {
  std::string name;
  int64_t offset = 0;  // of the first byte, in the (unpacked) archive
  int64_t size = 0;
};

// The regular files of an archive, in its order. Knows ustar, GNU long names, pax paths and sizes,
// and sizes in base 256; folders, links and devices are left out, and archives that follow each
// other in one file are read as one. Throws umbra::Error, with the offset, for what is no tar
// archive, damaged or truncated, or holds a sparse file.
std::vector<TarMember> parse_tar(std::span<const uint8_t> archive);

struct TarSource;  // where the bytes of an archive come from

// An open archive. A .tar stays on disk; what is gzip-compressed is unpacked into memory.
class TarFile {
 public:
  // Throws umbra::Error naming the file.
  explicit TarFile(std::filesystem::path path);
  ~TarFile();

  const std::filesystem::path& path() const { return path_; }

  // These are safe to call from several threads, and throw umbra::Error naming the file.
  std::vector<TarMember> list() const;  // as parse_tar
  std::vector<uint8_t> read(const TarMember& member) const;

 private:
  std::filesystem::path path_;
  std::unique_ptr<const TarSource> source_;
};

// The header of a regular file: ustar, with a pax header before it where the name or the size asks
// for one. Equal arguments give equal bytes: no owner, mode 0644, the time 0.
std::string tar_header(const std::string& name, int64_t size);

// Writes `path`.part, which becomes `path` when it is finished, else is removed.
class TarWriter {
 public:
  explicit TarWriter(std::filesystem::path path);
  ~TarWriter();
  TarWriter(const TarWriter&) = delete;
  TarWriter& operator=(const TarWriter&) = delete;

  // These throw umbra::Error if the file cannot be written.
  void add(const std::string& name, std::span<const uint8_t> bytes);
  void finish();

 private:
  void write(const void* bytes, size_t size);
  [[noreturn]] void fail() const;

  std::filesystem::path path_, part_;
  std::FILE* file_;
  bool finished_ = false;
};

}  // namespace umbra
