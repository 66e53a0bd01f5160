#include "train/distill/full_precision.h"
#include "train/distill/losses.h"
#include "train/distill/terms/terms.h"

namespace umbra {
namespace {

constexpr double kEpsilon = 1e-7;

// [B, B], each row sums to 1: how probable a neighbour each sample of the batch is.
torch::Tensor neighbours_of(const torch::Tensor& x) {
  const torch::Tensor unit = x / (x.norm(2, 1, /*keepdim=*/true) + kEpsilon);
  const torch::Tensor similarity = (1.0 + torch::mm(unit, unit.t())) / 2.0;
  return similarity / similarity.sum(1, /*keepdim=*/true);
}

}  // namespace

torch::Tensor probabilistic_transfer_loss(const torch::Tensor& student,
                                          const torch::Tensor& teacher) {
  const FullPrecision full_precision;
  const torch::Tensor p_s = neighbours_of(wide(student));
  const torch::Tensor p_t = neighbours_of(wide(teacher.detach()));
  return (p_t * ((p_t + kEpsilon) / (p_s + kEpsilon)).log()).mean();
}

std::unique_ptr<Term> make_pkt(const TermContext& context) {
  require_pooled(context);
  return make_plain([](const TermInput& input) {
    return probabilistic_transfer_loss(input.student.pooled, input.teacher.pooled);
  });
}

}  // namespace umbra
