// From 8-bit images to what the networks see, and back.
#pragma once

#include <vector>

#include <torch/types.h>

namespace umbra::augment {

class Normalizer {
 public:
  // One mean and one standard deviation per channel, of values in [0, 1].
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

}  // namespace umbra::augment
