#pragma once

#include "train/distill/stages.h"

namespace umbra {

// The sum over pairs of stages of a loss of two maps [B, C, H, W], student's and teacher's.
using MapLoss = torch::Tensor (*)(const torch::Tensor& student, const torch::Tensor& teacher);
std::unique_ptr<Term> make_stage_sum(std::vector<StagePair> pairs, MapLoss loss);

}  // namespace umbra
