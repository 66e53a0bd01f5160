// What every objective shares: the loss with the labels and the options' names as values.
#pragma once

#include "train/distill/losses.h"
#include "train/distill/objective.h"
#include "train/distill/options.h"

namespace umbra {

inline torch::Tensor task_loss(const LossOptions& options, const torch::Tensor& logits,
                               const Batch& batch) {
  if (options.name == "bce") return umbra::binary_cross_entropy(logits, batch.targets);
  if (options.name == "jsd") {
    return jsd_cross_entropy(logits, batch.targets, batch.views, options.jsd_weight);
  }
  return cross_entropy(logits, batch.targets);
}

inline KlScale kl_scale(const DistillOptions& options) {
  return options.kl_scale == "numel" ? KlScale::kNumel : KlScale::kBatchMean;
}

}  // namespace umbra
