// First values of weights that several families share.
#pragma once

#include <torch/nn.h>

namespace umbra::cnn {

// timm's for networks with grouped convolutions: every convolution's weight from
// N(0, sqrt(2 / (k * k * out / groups))), biases 0.
void init_grouped_convolutions(torch::nn::Module& network);

}  // namespace umbra::cnn
