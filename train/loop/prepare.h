// The device's half of the input pipeline: 8-bit batches become what the networks see.
#pragma once

#include "augment/mix.h"
#include "train/config/config.h"
#include "train/data/loader.h"
#include "train/distill/objective.h"

namespace umbra {

// 8-bit batches to normalised floats on the device.
class Normalizer {
 public:
  Normalizer(const std::vector<double>& mean, const std::vector<double>& std, torch::Device device);

  // [B, H, W, C] uint8 -> [B, C, H, W] on the device, still 8 bits.
  torch::Tensor to_device(const torch::Tensor& images) const;
  // [B, C, H, W] of values in 0..255 -> normalised float32.
  torch::Tensor operator()(const torch::Tensor& images) const;

  // Back to 8 bits a channel, for pictures: [B, C, H, W] float -> [B, H, W, C] uint8.
  torch::Tensor undo(const torch::Tensor& images) const;

 private:
  torch::Tensor scale_, shift_;  // [1, C, 1, 1]
  torch::Device device_;
};

// Normalises, erases and mixes a training batch, in the order that augment.mix_order says. What is
// drawn here depends on (seed, step, part) and the epoch's number only.
class Preparation {
 public:
  Preparation(const augment::AugmentOptions& options, int64_t num_classes, uint64_t seed,
              torch::Device device);

  // `part` counts the parts of a step's batch; `epoch` carries its fraction.
  Batch operator()(const RawBatch& raw, int64_t step, int64_t part, double epoch) const;

  // How the images [B, C, H, W] of that part are mixed.
  augment::MixDraw draw_mix(at::IntArrayRef shape, int64_t step, int64_t part, double epoch) const;

  const Normalizer& normalize() const { return normalize_; }

 private:
  augment::AugmentOptions options_;
  int64_t num_classes_;
  uint64_t seed_;
  Normalizer normalize_;
};

}  // namespace umbra
