#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace umbra {

// A length of training. In a config: "300 epochs", "20_000 steps", "1_281_167 samples", or a bare
// integer, which counts epochs. A step is one update of the weights.
struct Duration {
  enum class Unit { kEpochs, kSteps, kSamples };

  double count = 0.0;
  Unit unit = Unit::kEpochs;

  static Duration epochs(double count) { return {count, Unit::kEpochs}; }
  static Duration steps(double count) { return {count, Unit::kSteps}; }
  static std::optional<Duration> parse(std::string_view text);

  std::string text() const;
  bool operator==(const Duration&) const = default;
};

// What one epoch and one step are for a run.
struct StepMath {
  int64_t steps_per_epoch = 1;
  int64_t samples_per_step = 1;

  int64_t steps(const Duration& duration) const;  // rounded to the nearest step
  double epochs(const Duration& duration) const;
  int64_t epochs_begun(int64_t steps) const;  // by so many steps: the last may be a part
};

}  // namespace umbra
