#pragma once

#include <string>
#include <vector>

#include <torch/types.h>
#include <nlohmann/json.hpp>

#include "train/distill/objective.h"

namespace umbra {

// Sums over the steps since the last log line. Sums stay on the device until they are asked for,
// and travel in the checkpoint, so that a resumed run logs the very same means.
class Interval {
 public:
  void add(const Loss& loss, double weight);
  void add(const std::string& name, const torch::Tensor& value);  // a mean over the batch
  void end_step(int64_t images, double seconds, double data_seconds);

  int64_t steps() const { return steps_; }
  // Of what the sum is NaN or infinite: "loss kd" before the total "loss" that it spoils; empty:
  // nothing.
  std::string first_not_finite() const;
  double last_loss() const { return last_loss_.defined() ? last_loss_.item<double>() : 0.0; }
  double images_per_second() const { return seconds_ > 0 ? images_ / seconds_ : 0.0; }
  double data_share() const { return seconds_ > 0 ? data_seconds_ / seconds_ : 0.0; }

  // Means per step by name, in the order first added: "loss" is the total, "terms.kd" one of its
  // terms.
  std::vector<std::pair<std::string, double>> means() const;

  nlohmann::json to_json() const;
  void from_json(const nlohmann::json& json);
  void clear() { *this = Interval(); }

 private:
  std::vector<std::pair<std::string, torch::Tensor>> sums_;  // fp64 scalars
  torch::Tensor step_loss_, last_loss_;  // total of the step in work and of the one before
  int64_t steps_ = 0;
  double images_ = 0.0, seconds_ = 0.0, data_seconds_ = 0.0;
};

}  // namespace umbra
