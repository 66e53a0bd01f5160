// The IDX files of MNIST and its kin: {train,t10k}-{images-idx3,labels-idx1}-ubyte, plain or .gz;
// a dot may stand for the dash before "idx". Grey images.
#pragma once

#include <filesystem>

#include "train/data/dataset.h"

namespace umbra {

// True if the folder holds any of the files.
bool is_idx(const std::filesystem::path& folder);

// Throws umbra::Error if a file is missing, foreign or damaged.
DataSplits open_idx(const std::filesystem::path& folder);

}  // namespace umbra
