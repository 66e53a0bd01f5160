#include <torch/nn/functional.h>

#include "train/distill/losses.h"
#include "train/distill/terms/stage_sum.h"
#include "train/distill/terms/terms.h"

namespace umbra {

torch::Tensor attention_of(const torch::Tensor& map) {
  namespace F = torch::nn::functional;
  return F::normalize(map.pow(2).mean(1).flatten(1), F::NormalizeFuncOptions().dim(1));
}

torch::Tensor attention_loss(const torch::Tensor& student, const torch::Tensor& teacher) {
  const auto [s, t] = pooled_to_smaller(wide(student), wide(teacher.detach()));
  return (attention_of(s) - attention_of(t)).pow(2).mean();
}

std::unique_ptr<Term> make_at(const TermContext& context) {
  return make_stage_sum(stage_pairs(context, StageChoice::kAll), attention_loss);
}

}  // namespace umbra
