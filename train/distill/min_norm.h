#pragma once

#include <torch/types.h>

namespace umbra {

// The weights w of sum 1, 0 <= w_i <= max(bound, 1 / N), for which |sum_i w_i g_i| is least, given
// the Gram matrix of the g_i [N, N]; [N] float64. With bound 1 the direction that lowers every loss
// whose gradient is among the g_i (Desideri, "Multiple-gradient descent algorithm", 2012); AEKD
// weighs teachers so, bounded (Du et al., "Agree to Disagree: Adaptive Ensemble Knowledge
// Distillation in Gradient Space", 2020, eq. 5).
torch::Tensor min_norm_weights(const torch::Tensor& gram, double bound = 1.0);

}  // namespace umbra
