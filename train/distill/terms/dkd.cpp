#include "train/distill/losses.h"
#include "train/distill/terms/terms.h"

namespace umbra {
namespace {

// [B] int64: of mixed images the label that counts most.
torch::Tensor hard_labels(const Batch& batch) {
  return batch.targets.dim() == 2 ? batch.targets.argmax(1) : batch.targets;
}

// Logits of all classes but the label's: [B, C - 1].
torch::Tensor without_label(const torch::Tensor& logits, const torch::Tensor& labels) {
  const torch::Tensor column = torch::arange(logits.size(1) - 1, labels.options());
  return logits.gather(1, column + column.ge(labels.unsqueeze(1)));
}

// Two logits whose softmax at this temperature is (p_label, 1 - p_label): [B, 2].
torch::Tensor label_or_not(const torch::Tensor& logits, const torch::Tensor& labels,
                           double temperature) {
  const torch::Tensor rest = without_label(logits, labels) / temperature;
  return torch::cat({logits.gather(1, labels.unsqueeze(1)),
                     torch::logsumexp(rest, 1, /*keepdim=*/true) * temperature},
                    1);
}

}  // namespace

torch::Tensor decoupled_kd_loss(const torch::Tensor& student, const torch::Tensor& teacher,
                                const torch::Tensor& labels, double alpha, double beta,
                                double temperature) {
  const torch::Tensor s = wide(student), t = wide(teacher.detach());
  const torch::Tensor target = kl_divergence(label_or_not(s, labels, temperature),
                                             label_or_not(t, labels, temperature), temperature);
  const torch::Tensor rest =
      kl_divergence(without_label(s, labels), without_label(t, labels), temperature);
  return alpha * target + beta * rest;
}

std::unique_ptr<Term> make_dkd(const TermContext& context) {
  require_head(context);
  return make_plain([options = context.options](const TermInput& input) {
    const auto [z_s, z_t] = compared_logits(input, options);
    return decoupled_kd_loss(z_s, z_t, hard_labels(input.batch), options.alpha, options.beta,
                             options.temperature);
  });
}

}  // namespace umbra
