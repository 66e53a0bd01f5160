// Losses as plain functions on tensors. Every one returns a scalar in fp32, whatever the dtype of
// its inputs. Logits are [B, C].
#pragma once

#include <torch/types.h>

namespace umbra {

// In fp32, or in fp64 where the caller brings it.
torch::Tensor wide(const torch::Tensor& x);

// sum += value, without changing what autograd remembers; an undefined sum starts as the value.
void add_to(torch::Tensor& sum, const torch::Tensor& value);

// How a KL divergence summed over a batch is scaled.
enum class KlScale {
  kBatchMean,  // / B, the definition
  kNumel,      // / (B * C), as DeiT's code does (facebookresearch/deit issue 61)
};

// Mean over the batch of -sum_c target_c log softmax(logits)_c. `targets` is [B] class indices or
// [B, C] probabilities (label-smoothed or mixed).
torch::Tensor cross_entropy(const torch::Tensor& logits, const torch::Tensor& targets);

// Binary cross-entropy per class, mean over B * C, as DeiT-III trains. `targets` as above; soft
// targets are binarised (> 0), as DeiT's --bce-loss does.
torch::Tensor binary_cross_entropy(const torch::Tensor& logits, const torch::Tensor& targets);

// AugMix's loss (Hendrycks et al., 2020, as in timm's JsdCrossEntropy): cross-entropy of the first
// view of each sample, plus weight * mean_v KL(p_v || mean of all p), batch mean. The rows of a
// sample's `views` follow each other.
torch::Tensor jsd_cross_entropy(const torch::Tensor& logits, const torch::Tensor& targets,
                                int64_t views, double weight);

// KL_T(student <- target) = T^2 * sum KL(softmax(target / T) || softmax(student / T)) / scale.
// The gradient goes to `student` only: the target is detached.
torch::Tensor kl_divergence(const torch::Tensor& student, const torch::Tensor& target,
                            double temperature, KlScale scale = KlScale::kBatchMean);

// Cross-entropy with the target's top class (DeiT's hard distillation).
torch::Tensor hard_distillation(const torch::Tensor& student, const torch::Tensor& target);

// Mean over B * C of (student - target)^2; the target is detached.
torch::Tensor mean_squared_error(const torch::Tensor& student, const torch::Tensor& target);

// Logits over the classes, by the name of the norm:
//   none         as they are
//   layer_norm   layer norm without affine (biased variance, eps 1e-7) times `scale`: 3.1415 in
//                SHAKE's public code, 2.5 in NORM's
//   z_score      (z - mean) / (unbiased standard deviation + 1e-7): Sun et al., "Logit
//                Standardization in Knowledge Distillation", 2024
torch::Tensor normalised_logits(const torch::Tensor& logits, const std::string& norm, double scale);

}  // namespace umbra
