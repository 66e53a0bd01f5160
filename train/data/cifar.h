// CIFAR-10 and CIFAR-100, the "binary version" (Krizhevsky, 2009): records of label bytes and a
// planar 32 x 32 RGB image. `folder` holds the files, or the subfolder the archive unpacks to
// (cifar-10-batches-bin, cifar-100-binary). CIFAR-100 gives the fine labels.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

#include "train/data/dataset.h"
#include "train/data/planar.h"

namespace umbra {

// True if the folder holds any of the files.
bool is_cifar10(const std::filesystem::path& folder);
bool is_cifar100(const std::filesystem::path& folder);

// Throw umbra::Error if a file is missing, foreign or damaged.
DataSplits open_cifar10(const std::filesystem::path& folder, const ReadOptions& read);
DataSplits open_cifar100(const std::filesystem::path& folder, const ReadOptions& read);

// Appends the records of a file of CIFAR-10 or CIFAR-100, told by `classes`; returns their number.
// Throws umbra::Error, which starts with `name`.
int64_t append_cifar(std::span<const uint8_t> bytes, int64_t classes, const std::string& name,
                     PlanarSamples& samples);

}  // namespace umbra
