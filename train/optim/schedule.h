// The learning rate as a pure function of options and step.
#pragma once

#include <cstdint>

#include "train/config/duration.h"
#include "train/optim/options.h"

namespace umbra {

// The peak rate: options.lr, scaled linearly from lr_batch_size to `batch_size` where asked for.
double scaled_lr(const OptimOptions& options, int64_t batch_size);

class Schedule {
 public:
  // `base_lr` is the peak rate.
  Schedule(const ScheduleOptions& options, double base_lr, const Duration& total,
           const StepMath& math);

  // The rate that update number `step` (0-based) runs at. Linear warm-up and cosine as timm's
  // CosineLRScheduler (one cycle); multistep: times decay_rate from each milestone on.
  double lr(int64_t step) const;

 private:
  double at(double t) const;  // t in steps or in epochs, by options.per

  ScheduleOptions options_;
  double base_lr_;
  int64_t steps_per_epoch_;
  double total_, warmup_;           // in the unit of t
  std::vector<double> milestones_;  // in the unit of t
};

}  // namespace umbra
