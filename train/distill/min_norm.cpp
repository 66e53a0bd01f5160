#include "train/distill/min_norm.h"

#include <ATen/ATen.h>

namespace umbra {

// Moves weight from the worst gradient in use to the best one with room, by exact line search.
torch::Tensor min_norm_weights(const torch::Tensor& gram, double bound) {
  const torch::NoGradGuard no_grad;
  const torch::Tensor g = gram.to(torch::kCPU, torch::kFloat64);
  const int64_t count = g.size(0);
  const double equal = 1.0 / static_cast<double>(count), most = std::max(bound, equal);
  torch::Tensor w = torch::full({count}, equal, torch::kFloat64);
  constexpr int kSteps = 1000;
  for (int step = 0; step < kSteps; ++step) {
    const torch::Tensor slope = g.mv(w);
    const auto to = slope.masked_fill(w.ge(most), 1e300).argmin().item<int64_t>();
    const auto from = slope.masked_fill(w.le(0), -1e300).argmax().item<int64_t>();
    const double gain = (slope[from] - slope[to]).item<double>();
    const double curvature = (g[to][to] + g[from][from] - 2 * g[to][from]).item<double>();
    if (gain <= 1e-15 * g.abs().max().item<double>() || curvature <= 0.0) break;
    const double move =
        std::min({w[from].item<double>(), most - w[to].item<double>(), gain / curvature});
    w[to] += move;
    w[from] -= move;
  }
  return w;
}

}  // namespace umbra
