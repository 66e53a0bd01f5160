// Everything that a config asks for, built and checked against each other before any work.
#pragma once

#include <memory>
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

struct Parts {
  torch::Device device = torch::kCPU;
  torch::ScalarType precision = torch::kFloat32;
  std::shared_ptr<const Dataset> train_set, eval_set;
  StepMath math;
  int64_t total_steps = 0;

  std::unique_ptr<Model> model;
  std::vector<std::unique_ptr<Teacher>> teachers;
  std::unique_ptr<Objective> objective;
  std::unique_ptr<Optimizer> optimizer;
  std::unique_ptr<Schedule> schedule;
  std::unique_ptr<Ema> ema;  // null unless train.ema_decay > 0

  std::vector<std::string> notes;  // for the log: what was built, and from what
};

// Resolves `loaded` against the data (class count, channels) and builds all parts. Throws
// ConfigError, with the place in the config, where anything does not fit.
Parts build_parts(LoadedConfig& loaded);

// Steps per epoch of a training set of that many images.
StepMath step_math(const Config& config, int64_t images);

// The part of the data that training and evaluation see, by [data]. `eval_set` is the test set, or
// the held-out share of the training set.
struct TrainEvalSets {
  std::shared_ptr<const Dataset> train, eval;
};
TrainEvalSets open_sets(const Config& config, const Sources& sources);

}  // namespace umbra
