// What every objective shares: the loss with the labels and the options' names as values.
#pragma once

#include "train/distill/losses.h"
#include "train/distill/options.h"

namespace umbra {

inline torch::Tensor task_loss(const LossOptions& options, const torch::Tensor& logits,
                               const torch::Tensor& targets) {
  return options.name == "bce" ? umbra::binary_cross_entropy(logits, targets)
                               : cross_entropy(logits, targets);
}

inline KlScale kl_scale(const DistillOptions& options) {
  return options.kl_scale == "numel" ? KlScale::kNumel : KlScale::kBatchMean;
}

}  // namespace umbra
