// Writing a data set as a tar archive of class folders.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "train/data/dataset.h"

namespace umbra {

struct PackOptions {
  int64_t resize = 0;        // make the shorter side this long where it is longer; 0: never
  int quality = 95;          // of the JPEG files that are written where an image is resized
  bool skip_broken = false;  // leave out what cannot be decoded, instead of an error
  int threads = 1;
};

struct PackResult {
  int64_t images = 0;
  std::vector<BrokenSample> broken;  // left out
};

// Writes the images in the order of the set, as CLASS/NAME. A file that is not resized is copied
// byte for byte, an image in memory becomes a PNG file; read from the archive
// all images are RGB, grey ones, too. `path` appears when it is complete. Throws
// umbra::Error, which names the sample, for a broken image. `progress` gets the number of images
// done.
PackResult pack(const Dataset& dataset, const std::filesystem::path& path,
                const PackOptions& options, const std::function<void(int64_t)>& progress = {});

// A folder name for every class, whose lexicographic order is the order of the classes: the class
// names, or, where these would do badly, names that begin with the label.
std::vector<std::string> folder_names(const std::vector<std::string>& class_names);

}  // namespace umbra
