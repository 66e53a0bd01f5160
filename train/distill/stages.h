// Which stages of student and teacher a method compares, and how tokens become maps.
#pragma once

#include <vector>

#include "train/distill/term.h"

namespace umbra {

// Indices into ModelOutput::features.
struct StagePair {
  size_t student, teacher;
};

enum class StageChoice {
  kAll,   // all stages, shallow to deep; of the longer list the last ones, as mdistiller pairs them
  kHint,  // the second one: FitNet's hint in RepDistiller
  kLast,
};

// The stages that the options name, else those of `choice`. A transformer stands in with as many of
// its blocks as the other network has stages, evenly spaced, the last one being its last. Throws
// ConfigError for an unknown name, for lists of different lengths, and for a network without
// stages.
std::vector<StagePair> stage_pairs(const TermContext& context, StageChoice choice);

// A stage as a map [B, C, H, W]: the patch tokens [B, N, D] of a transformer on their grid, without
// class and distillation tokens.
torch::Tensor as_map(const Feature& feature);
torch::Tensor as_map_before_activation(const Feature& feature);

// Sides of both are brought to the smaller by adaptive average pooling.
std::pair<torch::Tensor, torch::Tensor> pooled_to_smaller(const torch::Tensor& a,
                                                          const torch::Tensor& b);

}  // namespace umbra
