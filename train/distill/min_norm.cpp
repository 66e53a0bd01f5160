#include "train/distill/min_norm.h"

#include <ATen/ATen.h>

namespace umbra {

// Frank and Wolfe's method, moving weight from the worst vertex in use to the best one, by exact
// line search.
torch::Tensor min_norm_weights(const torch::Tensor& gram) {
  const torch::NoGradGuard no_grad;
  const torch::Tensor g = gram.to(torch::kCPU, torch::kFloat64);
  const int64_t count = g.size(0);
  torch::Tensor w = torch::full({count}, 1.0 / static_cast<double>(count), torch::kFloat64);
  constexpr int kSteps = 1000;
  for (int step = 0; step < kSteps; ++step) {
    const torch::Tensor slope = g.mv(w);
    const auto to = slope.argmin().item<int64_t>();
    const auto from = slope.masked_fill(w.le(0), -1e300).argmax().item<int64_t>();
    const double gain = (slope[from] - slope[to]).item<double>();
    const double curvature = (g[to][to] + g[from][from] - 2 * g[to][from]).item<double>();
    if (gain <= 1e-15 * g.abs().max().item<double>() || curvature <= 0.0) break;
    const double move = std::min(w[from].item<double>(), gain / curvature);
    w[to] += move;
    w[from] -= move;
  }
  return w;
}

}  // namespace umbra
