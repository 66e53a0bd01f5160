#include <torch/nn/functional.h>

#include "train/distill/full_precision.h"
#include "train/distill/losses.h"
#include "train/distill/terms/stage_sum.h"
#include "train/distill/terms/terms.h"

namespace umbra {
namespace {

// How alike the samples of the batch are: [B, B], rows of length 1.
torch::Tensor similarities(const torch::Tensor& map) {
  namespace F = torch::nn::functional;
  const torch::Tensor flat = map.flatten(1);
  return F::normalize(flat.matmul(flat.t()), F::NormalizeFuncOptions().dim(1));
}

}  // namespace

torch::Tensor similarity_preserving_loss(const torch::Tensor& student,
                                         const torch::Tensor& teacher) {
  const FullPrecision full_precision;
  return (similarities(wide(student)) - similarities(wide(teacher.detach()))).pow(2).mean();
}

std::unique_ptr<Term> make_sp(const TermContext& context) {
  return make_stage_sum(stage_pairs(context, StageChoice::kLast), similarity_preserving_loss);
}

}  // namespace umbra
