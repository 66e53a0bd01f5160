#include "train/distill/losses.h"

#include <torch/nn/functional.h>

namespace umbra {
namespace F = torch::nn::functional;

torch::Tensor wide(const torch::Tensor& x) {
  return x.scalar_type() == torch::kFloat64 ? x : x.to(torch::kFloat32);
}

torch::Tensor cross_entropy(const torch::Tensor& logits, const torch::Tensor& targets) {
  if (targets.dim() == 1) return F::cross_entropy(wide(logits), targets);
  return -(targets * torch::log_softmax(wide(logits), 1)).sum(1).mean();
}

torch::Tensor binary_cross_entropy(const torch::Tensor& logits, const torch::Tensor& targets) {
  const torch::Tensor z = wide(logits);
  const torch::Tensor positive = targets.dim() == 1
                                     ? torch::one_hot(targets, z.size(1)).to(z.dtype())
                                     : targets.gt(0).to(z.dtype());
  return F::binary_cross_entropy_with_logits(z, positive);
}

torch::Tensor jsd_cross_entropy(const torch::Tensor& logits, const torch::Tensor& targets,
                                int64_t views, double weight) {
  TORCH_CHECK(views > 1 && logits.size(0) % views == 0, "jsd: ", logits.size(0), " rows for ",
              views, " views of each sample");
  const torch::Tensor z = wide(logits).view({-1, views, logits.size(1)});  // [B, views, C]
  const torch::Tensor log_p = torch::log_softmax(z, 2), p = log_p.exp();
  const torch::Tensor log_mixture = p.mean(1, /*keepdim=*/true).clamp(1e-7, 1.0).log();
  const torch::Tensor divergence = p * (log_p - log_mixture);  // 0 where p underflows
  const auto terms = static_cast<double>(z.size(0) * views);
  using torch::indexing::Slice;
  return cross_entropy(z.select(1, 0), targets.index({Slice(0, torch::indexing::None, views)})) +
         divergence.sum() * (weight / terms);
}

torch::Tensor kl_divergence(const torch::Tensor& student, const torch::Tensor& target,
                            double temperature, KlScale scale) {
  const torch::Tensor log_s = torch::log_softmax(wide(student) / temperature, 1);
  const torch::Tensor log_t = torch::log_softmax(wide(target.detach()) / temperature, 1);
  const torch::Tensor sum = (log_t.exp() * (log_t - log_s)).sum();
  const int64_t count = scale == KlScale::kBatchMean ? student.size(0) : student.numel();
  return sum * (temperature * temperature / static_cast<double>(count));
}

torch::Tensor hard_distillation(const torch::Tensor& student, const torch::Tensor& target) {
  return F::cross_entropy(wide(student), target.detach().argmax(1));
}

torch::Tensor mean_squared_error(const torch::Tensor& student, const torch::Tensor& target) {
  return F::mse_loss(wide(student), wide(target.detach()));
}

void add_to(torch::Tensor& sum, const torch::Tensor& value) {
  sum = sum.defined() ? sum + value : value;
}

torch::Tensor normalised_logits(const torch::Tensor& logits, const std::string& norm,
                                double scale) {
  if (norm == "none") return logits;
  const torch::Tensor z = wide(logits);
  if (norm == "layer_norm") {
    return torch::layer_norm(z, {z.size(1)}, /*weight=*/{}, /*bias=*/{}, /*eps=*/1e-7) * scale;
  }
  TORCH_CHECK(norm == "z_score", "unknown norm of logits ", norm);
  const torch::Tensor deviation = z.std(1, /*unbiased=*/true, /*keepdim=*/true);
  return (z - z.mean(1, /*keepdim=*/true)) / (deviation + 1e-7);
}

}  // namespace umbra
