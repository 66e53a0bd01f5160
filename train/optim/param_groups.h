// Which parameters decay and at which share of the learning rate, by name and rank as timm.
#pragma once

#include <string>
#include <vector>

#include <torch/nn.h>

#include "train/optim/options.h"

namespace umbra {

struct ParamGroup {
  std::string label;  // "decay", "no_decay", with layer decay "layer_3.decay", ...
  std::vector<std::string> names;
  std::vector<torch::Tensor> params;
  double weight_decay = 0.0;
  double lr_scale = 1.0;
};

// Groups the module's trainable parameters. No decay for one-dimensional parameters (biases and
// norms; unless options.decay_norm_and_bias) and for those in options.no_decay, matched by
// any component of the name. With layer_decay below 1, layer i of `num_layers` runs at
// layer_decay^(num_layers - 1 - i), as timm: stem 0, block i + 1, heads last. Throws ConfigError
// then for a model that is neither a transformer nor made of layer1, layer2, ... as ResNets are.
std::vector<ParamGroup> make_param_groups(const torch::nn::Module& module,
                                          const OptimOptions& options);

}  // namespace umbra
