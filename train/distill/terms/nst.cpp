#include <torch/nn/functional.h>

#include "train/distill/full_precision.h"
#include "train/distill/losses.h"
#include "train/distill/terms/stage_sum.h"
#include "train/distill/terms/terms.h"

namespace umbra {
namespace {

// Where each neuron fires: [B, C, N], every pattern over the N positions of length 1.
torch::Tensor patterns(const torch::Tensor& map) {
  namespace F = torch::nn::functional;
  return F::normalize(map.flatten(2), F::NormalizeFuncOptions().dim(2));
}

// Mean over the batch and all pairs of patterns of (a^T b)^2. That sum is tr(A A^T B B^T) as well,
// with A^T [C_a, N]: what is multiplied out is whichever product is smaller.
torch::Tensor mean_kernel(const torch::Tensor& a, const torch::Tensor& b) {
  if (a.size(2) >= std::min(a.size(1), b.size(1))) return a.bmm(b.transpose(1, 2)).pow(2).mean();
  const auto between_positions = [](const torch::Tensor& x) {
    return x.transpose(1, 2).bmm(x) / static_cast<double>(x.size(1));
  };
  return (between_positions(a) * between_positions(b)).sum() / static_cast<double>(a.size(0));
}

}  // namespace

torch::Tensor neuron_selectivity_loss(const torch::Tensor& student, const torch::Tensor& teacher) {
  const FullPrecision full_precision;
  const auto [s, t] = pooled_to_smaller(wide(student), wide(teacher.detach()));
  const torch::Tensor x = patterns(s), y = patterns(t);
  return mean_kernel(y, y) + mean_kernel(x, x) - 2.0 * mean_kernel(x, y);
}

std::unique_ptr<Term> make_nst(const TermContext& context) {
  return make_stage_sum(stage_pairs(context, StageChoice::kAll), neuron_selectivity_loss);
}

}  // namespace umbra
