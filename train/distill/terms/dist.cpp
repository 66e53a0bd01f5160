#include "train/distill/losses.h"
#include "train/distill/terms/terms.h"

namespace umbra {
namespace {

// 1 - Pearson correlation of the rows, mean over the rows.
torch::Tensor pearson_distance(const torch::Tensor& a, const torch::Tensor& b) {
  const torch::Tensor x = a - a.mean(1, /*keepdim=*/true), y = b - b.mean(1, /*keepdim=*/true);
  const torch::Tensor lengths = x.norm(2, 1) * y.norm(2, 1);
  return 1.0 - ((x * y).sum(1) / (lengths + 1e-8)).mean();
}

}  // namespace

torch::Tensor dist_loss(const torch::Tensor& student, const torch::Tensor& teacher, double alpha,
                        double beta, double temperature) {
  const torch::Tensor s = torch::softmax(wide(student) / temperature, 1);
  const torch::Tensor t = torch::softmax(wide(teacher.detach()) / temperature, 1);
  const torch::Tensor inter = pearson_distance(s, t), intra = pearson_distance(s.t(), t.t());
  return temperature * temperature * (alpha * inter + beta * intra);
}

std::unique_ptr<Term> make_dist(const TermContext& context) {
  require_head(context);
  return make_plain([options = context.options](const TermInput& input) {
    const auto [z_s, z_t] = compared_logits(input, options);
    return dist_loss(z_s, z_t, options.alpha, options.beta, options.temperature);
  });
}

}  // namespace umbra
