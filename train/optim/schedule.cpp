#include "train/optim/schedule.h"

#include <numbers>

namespace umbra {

double scaled_lr(const OptimOptions& options, int64_t batch_size) {
  if (options.lr_batch_size == 0) return options.lr;
  return options.lr * static_cast<double>(batch_size) / static_cast<double>(options.lr_batch_size);
}

Schedule::Schedule(const ScheduleOptions& options, double base_lr, const Duration& total,
                   const StepMath& math)
    : options_(options), base_lr_(base_lr), steps_per_epoch_(math.steps_per_epoch) {
  const bool per_epoch = options.per == "epoch";
  const auto in_unit = [&](const Duration& duration) {
    return per_epoch ? math.epochs(duration) : static_cast<double>(math.steps(duration));
  };
  total_ = in_unit(total);
  warmup_ = in_unit(options.warmup);
  for (const Duration& milestone : options.milestones) milestones_.push_back(in_unit(milestone));
}

double Schedule::lr(int64_t step) const {
  if (options_.per == "step") return at(static_cast<double>(step));
  const int64_t epoch = step / steps_per_epoch_;
  const int64_t lag = options_.deit_epoch_lag ? 1 : 0;
  return at(static_cast<double>(std::max<int64_t>(0, epoch - lag)));
}

double Schedule::at(double t) const {
  if (t < warmup_) {
    return options_.warmup_lr + t * (base_lr_ - options_.warmup_lr) / warmup_;
  }
  if (options_.name == "constant") return base_lr_;
  if (options_.name == "multistep") {
    const auto passed = std::count_if(milestones_.begin(), milestones_.end(),
                                      [&](double milestone) { return milestone <= t; });
    return base_lr_ * std::pow(options_.decay_rate, static_cast<double>(passed));
  }
  // As timm: the cosine's length is the whole run. Without warmup_prefix it has run under the
  // warm-up; with it, it starts late and would end late, so it is given what is left.
  const double start = options_.warmup_prefix ? warmup_ : 0.0;
  const double length = total_ - start;
  if (t - start >= length) return options_.min_lr;
  const double phase = std::numbers::pi * (t - start) / length;
  return options_.min_lr + 0.5 * (base_lr_ - options_.min_lr) * (1.0 + std::cos(phase));
}

}  // namespace umbra
