#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace umbra {

// Writes the text to a temporary file beside `path`, syncs it, and renames it into place.
// Throws umbra::Error if that fails; then nothing is left of it.
void write_file_synced(const std::filesystem::path& path, const std::string& text);
void write_file_synced(const std::filesystem::path& path,
                       std::span<const std::span<const uint8_t>> parts);

// Makes the folder, and those above it, unless it is there. Throws umbra::Error.
void make_folder(const std::filesystem::path& folder);

// Makes renames inside the folder durable.
void sync_folder(const std::filesystem::path& folder);

// The whole file. Throws umbra::Error if it cannot be read.
std::string read_file(const std::filesystem::path& path);
std::vector<uint8_t> read_bytes(const std::filesystem::path& path);

}  // namespace umbra
