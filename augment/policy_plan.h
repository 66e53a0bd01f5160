// What a policy's text says. Plain data, made by the parser in policy_parse.cpp.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "augment/ops.h"

namespace umbra::augment {

struct PlannedOp {
  const Op* op = nullptr;
  double probability = 1.0;
  double level = 10.0;
};

// A chain of operations is made of `picks` of the options, one after the other. So RandAugment has
// options of one operation each; AutoAugment has sub-policies, of which one is picked.
struct PolicyPlan {
  std::vector<std::vector<PlannedOp>> options;
  std::vector<double> weights;  // to pick by, each option once at most; empty: uniformly
  int picks = 1;                // kRandomPicks: 1 to 3, equally likely

  double level_std = 0.0;  // normal noise of the levels; infinite: uniform from 0 to the level
  double max_level = 10.0;

  struct Mix {
    int width = 3;  // chains
    double alpha = 1.0;
    bool stepwise = false;
  };
  std::optional<Mix> mix;  // AugMix

  static constexpr int kRandomPicks = 0;
};

PolicyPlan parse_policy(const std::string& text, const std::vector<std::string>& sub_policies);

}  // namespace umbra::augment
