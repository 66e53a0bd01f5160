// What is in a data set, and what is wrong with it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "train/data/dataset.h"

namespace umbra {

struct DataReport {
  struct Range {
    int min = 0, median = 0, max = 0;
  };

  std::vector<int64_t> class_counts;       // by label, broken images included
  std::map<std::string, int64_t> formats;  // images by format; "pixels" of a set in memory
  Range width, height;                     // pixels, of the images that are not broken
  std::vector<BrokenSample> broken;        // in the order of the set
};

// Looks at every image: with `decode_all` at the whole of it, else at its header. `progress`, if
// given, is called with the number of images looked at, by one thread at a time.
DataReport inspect(const Dataset& dataset, bool decode_all, int threads,
                   const std::function<void(int64_t)>& progress = {});

}  // namespace umbra
