// The data of a run and where it is computed on.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "train/config/load.h"
#include "train/data/loader.h"

namespace umbra {

// The images of a run by [data]: `val` is the held-out share, null without val_split; `test` may be
// null where there is a `val`.
struct Sets {
  std::shared_ptr<const Dataset> train, val, test;

  // What the run is evaluated on.
  const std::shared_ptr<const Dataset>& evaluation() const { return val ? val : test; }
};
Sets open_sets(const Config& config, const Sources& sources);

// How a run reads its training or its evaluation set.
LoaderOptions loader_options(const Config& config, torch::Device device, bool train);

// Steps per epoch of a training set of that many images.
StepMath step_math(const Config& config, int64_t images);

struct RunData {
  torch::Device device = torch::kCPU;
  torch::ScalarType precision = torch::kFloat32;
  std::shared_ptr<const Dataset> train_set, eval_set;
  StepMath math;

  std::vector<std::string> notes;  // for the log: what was built, and from what
};

// Resolves `loaded` against the data (class count, channels, precision) and opens it. Throws
// ConfigError, with the place in the config, where anything does not fit.
RunData build_data(LoadedConfig& loaded);

}  // namespace umbra
