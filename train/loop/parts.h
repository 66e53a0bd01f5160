// Everything that a config asks for, built and checked against each other before any work.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "train/distill/objective.h"
#include "train/loop/run_data.h"
#include "train/loop/teachers.h"
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
  double clip_grad_norm = 0.0;        // 0: not clipped
  std::unique_ptr<Optimizer> optimizer;
  std::unique_ptr<Schedule> schedule;

  double lr(int64_t step) const { return schedule->lr(step - begin); }
};

struct Parts : RunData {
  explicit Parts(RunData data) : RunData(std::move(data)) {}

  int64_t total_steps = 0;  // of all phases
  std::unique_ptr<Model> model;
  std::vector<RunTeacher> teachers;
  std::unique_ptr<Objective> objective;
  std::vector<Phase> phases;  // in their order, the training last
  std::unique_ptr<Ema> ema;   // null unless train.ema_decay > 0

  int64_t training_steps() const { return total_steps - phases.back().begin; }  // without fits
};

// Resolves `loaded` against the data (class count, channels) and builds all parts. Throws
// ConfigError, with the place in the config, where anything does not fit. Unless `fresh`,
// model.init_from is left alone: a checkpoint will be loaded over it.
Parts build_parts(LoadedConfig& loaded, bool fresh);

}  // namespace umbra
