#include <torch/nn/functional.h>

#include "train/distill/full_precision.h"
#include "train/distill/losses.h"
#include "train/distill/terms/terms.h"

namespace umbra {
namespace {

// RepDistiller's floor of squared distances is 1e-12.
constexpr double kSmallest = 1e-6;

// From each sample to each: [B, B, D], and the lengths [B, B]. The length of a zero vector has the
// gradient zero.
struct Differences {
  explicit Differences(const torch::Tensor& x)
      : vectors(x.unsqueeze(0) - x.unsqueeze(1)), lengths(vectors.norm(2, 2)) {}
  torch::Tensor vectors, lengths;
};

// [B, B], their mean off the diagonal is 1.
torch::Tensor distances_of(const Differences& differences) {
  const int64_t batch = differences.lengths.size(0);
  const torch::Tensor others =
      1.0 - torch::eye(batch, differences.lengths.options().requires_grad(false));
  const torch::Tensor distances = differences.lengths.clamp_min(kSmallest) * others;
  const auto pairs = static_cast<double>(std::max<int64_t>(1, batch * (batch - 1)));
  return distances / (distances.sum() / pairs).clamp_min(kSmallest);
}

// [B, B, B]: at i, the cosine between the ways to j and to k; 0 where a way has no direction.
torch::Tensor angles_of(const Differences& differences) {
  const torch::Tensor lengths =
      differences.lengths.masked_fill(differences.lengths == 0, 1.0).unsqueeze(2);
  const torch::Tensor unit = differences.vectors / lengths;
  return torch::bmm(unit, unit.transpose(1, 2));
}

}  // namespace

torch::Tensor relational_loss(const torch::Tensor& student, const torch::Tensor& teacher,
                              double distance_weight, double angle_weight) {
  namespace F = torch::nn::functional;
  const FullPrecision full_precision;
  const Differences s(wide(student)), t(wide(teacher.detach()));
  torch::Tensor loss = torch::zeros({}, s.lengths.options().requires_grad(false));
  if (distance_weight > 0.0) {
    loss = loss + distance_weight * F::smooth_l1_loss(distances_of(s), distances_of(t));
  }
  if (angle_weight > 0.0) {
    loss = loss + angle_weight * F::smooth_l1_loss(angles_of(s), angles_of(t));
  }
  return loss;
}

std::unique_ptr<Term> make_rkd(const TermContext& context) {
  require_pooled(context);
  return make_plain([options = context.options](const TermInput& input) {
    return relational_loss(input.student.pooled, input.teacher.pooled, options.distance_weight,
                           options.angle_weight);
  });
}

}  // namespace umbra
