#pragma once

#include <torch/types.h>

namespace umbra {

// The weights w >= 0 with sum 1 for which |sum_i w_i g_i| is least, given the Gram matrix of the
// g_i [N, N]; [N] float64. The direction that lowers every loss whose gradient is among the g_i
// (Desideri, "Multiple-gradient descent algorithm", 2012), as AEKD weighs teachers (Du et al.,
// "Agree to Disagree: Adaptive Ensemble Knowledge Distillation in Gradient Space", 2020, without
// its bound on single weights).
torch::Tensor min_norm_weights(const torch::Tensor& gram);

}  // namespace umbra
