// The operations that augmentation policies are made of: timm 1.0.31's (auto_augment.py), with its
// names and its rules from a level, usually 0 to 10, to an argument such as degrees or bits.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <opencv2/core/mat.hpp>

#include "augment/resize.h"

namespace umbra::augment {

// What is random about an argument once the level is known.
enum class Chance {
  kNone,
  kSign,   // -1 or 1, equally likely
  kShare,  // uniform in [0, 1)
};

struct Op {
  std::string_view name;
  Chance chance;
  double (*argument)(double level, double chance);  // chance: 1 where there is none
  cv::Mat (*apply)(const cv::Mat& image, double argument, Interpolation interpolation,
                   const cv::Scalar& fill);
  std::string (*text)(double argument);  // " -27.3 deg"
};

// An operation with its argument settled.
struct DrawnOp {
  const Op* op = nullptr;
  double argument = 0.0;
  Interpolation interpolation = Interpolation::kBicubic;

  std::string name() const { return std::string(op->name); }  // "Rotate", "PosterizeIncreasing"
  std::string text() const;  // as a person would write it: "Rotate -27.3 deg"
  cv::Mat apply(const cv::Mat& image, const cv::Scalar& fill) const {
    return op->apply(image, argument, interpolation, fill);
  }
};

// Whose rules for names that several use: AugMix translates less than timm's other policies;
// TrivialAugment-Wide is torchvision 0.26's, whose levels are bins, 0 to kTrivialBins - 1.
enum class OpRules { kTimm, kAugMix, kTrivial };

inline constexpr int kTrivialBins = 31;

const Op* find_op(const std::string& name, OpRules rules = OpRules::kTimm);  // null: unknown
std::vector<std::string> op_names();                                         // timm's

// "Unknown operation 'Rotat'. Did you mean 'Rotate'? Known are ...", for names not in op_names().
std::string unknown_op(const std::string& name);

// timm's operation of that name at a level from 0 to 10, with a positive sign where the sign is
// random, and the largest argument where that is. Throws std::invalid_argument.
DrawnOp op_at_level(const std::string& name, double level, Interpolation interpolation);

}  // namespace umbra::augment
