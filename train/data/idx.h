// The IDX files of MNIST and its kin: {train,t10k}-{images-idx3,labels-idx1}-ubyte, plain or .gz;
// a dot may stand for the dash before "idx". Grey images.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "train/data/dataset.h"

namespace umbra {

// True if the folder holds any of the files.
bool is_idx(const std::filesystem::path& folder);

// Throws umbra::Error if a file is missing, foreign or damaged.
DataSplits open_idx(const std::filesystem::path& folder, const ReadOptions& read);

struct IdxArray {
  std::vector<int64_t> shape;
  std::span<const uint8_t> data;  // of the bytes given
};

// An array of unsigned bytes with 1 or 3 dimensions. Throws umbra::Error, which starts with `name`.
IdxArray parse_idx(std::span<const uint8_t> bytes, size_t dimensions, const std::string& name);

}  // namespace umbra
