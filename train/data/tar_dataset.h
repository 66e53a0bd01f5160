// Image sets in tar archives, read where they lie. Two layouts are known, told by the contents:
//   class folders       CLASS/**/name.jpg; leading folders that all images share do not count
//   WebDataset samples  KEY.jpg with KEY.cls (an integer) or KEY.json ("label" or "cls"), where the
//                       key ends at the first dot of the file's name; classes are "0", "1", ...
#pragma once

#include <filesystem>
#include <set>
#include <string>

#include "train/data/dataset.h"

namespace umbra {

// True for a .tar, .tar.gz or .tgz file, and for a folder with one whose name has the word "train",
// "val", "valid", "validation" or "test".
bool is_tar(const std::filesystem::path& path);

// The parts that the file's name has words for: "train", "val", "test".
std::set<std::string> tar_parts(const std::filesystem::path& path);

// The files whose names have the word "train" (every tar file of a folder needs one of the words),
// in the order of their names, and those named "val" (or "valid",
// "validation"; or "test", where there are none). A path that is a file is the training part,
// unless its topmost folders are train/ and val/ or test/. Class folders are in lexicographic
// order, their images in ImageFolder's; WebDataset samples are in the order of the archives. Files
// that are no images are left alone, as are hidden ones. Throws umbra::Error.
DataSplits open_tar(const std::filesystem::path& path, const ReadOptions& read);

}  // namespace umbra
