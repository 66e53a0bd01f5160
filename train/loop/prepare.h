// The device's half of the input pipeline: 8-bit batches become what the networks see.
#pragma once

#include "augment/mix.h"
#include "augment/normalize.h"
#include "train/config/config.h"
#include "train/data/loader.h"
#include "train/distill/objective.h"

namespace umbra {

// The parts that a step's batch is computed in, `count` of about the same size (train.accum_steps);
// each is mixed by itself.
std::vector<RawBatch> split(const RawBatch& batch, int64_t count);

// Normalises, erases and mixes a training batch, in the order that augment.mix_order says. What is
// drawn here depends on (seed, step, part) and the epoch's number only.
class Preparation {
 public:
  Preparation(const augment::AugmentOptions& options, int64_t num_classes, uint64_t seed,
              torch::Device device);

  // `part` counts the parts of a step's batch; `epoch` carries its fraction.
  Batch operator()(const RawBatch& raw, int64_t step, int64_t part, double epoch) const;

  // How the images [B, C, H, W] of that part are mixed.
  augment::GroupedMixDraw draw_mix(at::IntArrayRef shape, int64_t step, int64_t part,
                                   double epoch) const;

  const augment::Normalizer& normalize() const { return normalize_; }

 private:
  augment::AugmentOptions options_;
  int64_t num_classes_;
  uint64_t seed_;
  augment::Normalizer normalize_;
};

}  // namespace umbra
