// Tiny ImageNet (Stanford CS231n): 64 x 64 JPEG files, 200 classes named by their WordNet id.
// train/WNID/images/ holds the training part; val/images/ with val/val_annotations.txt is the test
// part, for the files of test/ have no labels. `root` holds these, or the subfolder that the
// archive unpacks to (tiny-imagenet-200).
#pragma once

#include <filesystem>

#include "train/data/dataset.h"

namespace umbra {

// True for a root with val/images/ and val/val_annotations.txt or wnids.txt.
bool is_tiny_imagenet(const std::filesystem::path& root);

// Classes are in lexicographic order, and the images of both parts as if they lay in class folders.
// Throws umbra::Error if the lists and the files do not agree.
DataSplits open_tiny_imagenet(const std::filesystem::path& root, const ReadOptions& read);

}  // namespace umbra
