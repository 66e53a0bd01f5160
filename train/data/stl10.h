// STL-10, the binary version (Coates, Ng and Lee, 2011): 96 x 96 RGB images whose planes are stored
// column by column, and labels from 1 to 10. `folder` holds the files, or the subfolder that the
// archive unpacks to (stl10_binary). The unlabelled images are left alone.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

#include "train/data/dataset.h"
#include "train/data/planar.h"

namespace umbra {

// True if the folder holds any of the files.
bool is_stl10(const std::filesystem::path& folder);

// Throws umbra::Error if a file is missing, foreign or damaged.
DataSplits open_stl10(const std::filesystem::path& folder, const ReadOptions& read);

// The contents of an image file and of its label file. Throws umbra::Error, which starts with one
// of the names.
PlanarSamples parse_stl10(std::span<const uint8_t> images, const std::string& images_name,
                          std::span<const uint8_t> labels, const std::string& labels_name);

}  // namespace umbra
