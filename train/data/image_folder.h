// Folders of JPEG, PNG and WebP files as torchvision's ImageFolder reads them: the sub-folders of
// train/ are the classes, in lexicographic order, and hold the files at any depth.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "train/data/dataset.h"

namespace umbra {

// True if the folder has a train/ folder, or a sub-folder that holds images.
bool is_image_folder(const std::filesystem::path& root);

// train/ and val/ (or test/, where there is no val/), which must have the same classes. A root
// without train/ is itself the training set, and the test set is null. Images are decoded when
// asked for. Throws umbra::Error if classes are empty or differ.
DataSplits open_image_folder(const std::filesystem::path& root, const ReadOptions& read);

// The sub-folders of `folder` as classes.
std::shared_ptr<const Dataset> open_class_folders(const std::filesystem::path& folder,
                                                  const ReadOptions& read);

// Image files below `root` with given labels.
std::shared_ptr<const Dataset> open_files(const std::filesystem::path& root,
                                          std::vector<std::string> files,
                                          std::vector<std::string> class_names,
                                          std::vector<int64_t> labels, const ReadOptions& read);

}  // namespace umbra
