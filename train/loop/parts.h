// Everything that a config asks for, built and checked against each other before any work.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "train/config/load.h"
#include "train/data/loader.h"
#include "train/distill/objective.h"
#include "train/distill/teacher.h"
#include "train/loop/evaluator.h"
#include "train/model.h"
#include "train/optim/ema.h"
#include "train/optim/optimizer.h"
#include "train/optim/schedule.h"

namespace umbra {

// A stretch of the run with an optimiser of its own: a fit that the objective wants first, or, the
// last one, the training.
struct Phase {
  std::optional<Objective::Fit> fit;  // none: the training
  int64_t begin = 0, end = 0;         // steps of the run
  std::unique_ptr<Optimizer> optimizer;
  std::unique_ptr<Schedule> schedule;

  double lr(int64_t step) const { return schedule->lr(step - begin); }
};

struct Parts {
  torch::Device device = torch::kCPU;
  torch::ScalarType precision = torch::kFloat32;
  std::shared_ptr<const Dataset> train_set, eval_set;
  StepMath math;
  int64_t total_steps = 0;  // of all phases

  std::unique_ptr<Model> model;
  std::vector<std::unique_ptr<Teacher>> teachers;
  std::unique_ptr<Objective> objective;
  std::vector<Phase> phases;  // in their order, the training last
  std::unique_ptr<Ema> ema;   // null unless train.ema_decay > 0

  std::vector<std::string> notes;  // for the log: what was built, and from what
};

// Resolves `loaded` against the data (class count, channels) and builds all parts. Throws
// ConfigError, with the place in the config, where anything does not fit. Unless `fresh`,
// model.init_from is left alone: a checkpoint will be loaded over it.
Parts build_parts(LoadedConfig& loaded, bool fresh);

// Steps per epoch of a training set of that many images.
StepMath step_math(const Config& config, int64_t images);

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

}  // namespace umbra
