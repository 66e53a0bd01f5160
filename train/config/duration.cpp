#include "train/config/duration.h"

#include <charconv>
#include <cmath>

namespace umbra {

std::optional<Duration> Duration::parse(std::string_view text) {
  std::string digits;
  size_t i = 0;
  for (; i < text.size() &&
         (std::isdigit(static_cast<unsigned char>(text[i])) || text[i] == '.' || text[i] == '_');
       ++i) {
    if (text[i] != '_') digits += text[i];
  }
  const size_t blank = i;
  while (i < text.size() && text[i] == ' ') ++i;
  const std::string_view unit = text.substr(i);
  Duration result;
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), result.count);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  if (unit == "epochs" || unit == "epoch" || (unit.empty() && i == blank)) {
    result.unit = Unit::kEpochs;
  } else if (unit == "steps" || unit == "step") {
    result.unit = Unit::kSteps;
  } else if (unit == "samples" || unit == "sample") {
    result.unit = Unit::kSamples;
  } else {
    return std::nullopt;
  }
  constexpr double kLeast = 1e-4, kMost = 1e12;  // written as digits, and countable
  if (result.count > kMost || (result.count > 0.0 && result.count < kLeast)) return std::nullopt;
  if (result.unit != Unit::kEpochs && result.count != std::floor(result.count)) return std::nullopt;
  return result;
}

std::string Duration::text() const {
  const char* names[] = {"epochs", "steps", "samples"};
  return fmt::format("{} {}", count, names[static_cast<int>(unit)]);
}

int64_t StepMath::steps(const Duration& duration) const {
  switch (duration.unit) {
    case Duration::Unit::kSteps:
      return std::llround(duration.count);
    case Duration::Unit::kSamples:
      return std::llround(duration.count / static_cast<double>(samples_per_step));
    case Duration::Unit::kEpochs:
      break;
  }
  return std::llround(duration.count * static_cast<double>(steps_per_epoch));
}

double StepMath::epochs(const Duration& duration) const {
  if (duration.unit == Duration::Unit::kEpochs) return duration.count;
  return static_cast<double>(steps(duration)) / static_cast<double>(steps_per_epoch);
}

int64_t StepMath::epochs_begun(int64_t steps) const {
  return (steps + steps_per_epoch - 1) / steps_per_epoch;
}

}  // namespace umbra
