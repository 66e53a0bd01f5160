// What an augmentation does to the images of a set: which operations, how often, how long.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "augment/options.h"
#include "train/data/dataset.h"

namespace umbra {

struct ViewStats {
  struct Operation {
    int64_t views = 0;     // in which it was applied
    double seconds = 0.0;  // in all of them
  };

  int64_t views = 0;
  int64_t broken = 0;  // samples passed over
  int64_t blank = 0;   // of one colour, though the image is not
  std::map<std::string, Operation> operations;
  double seconds = 0.0;
};

// Makes the views of `samples` training samples, in the order of epoch 0, on this thread. Broken
// images are passed over. Throws umbra::Error if every sample is broken.
ViewStats view_stats(const Dataset& dataset, const augment::AugmentOptions& options, uint64_t seed,
                     int64_t samples);

}  // namespace umbra
