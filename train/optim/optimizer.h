// AdamW, SGD and LAMB over parameter groups, on ATen's fused and foreach kernels.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <torch/types.h>

#include "train/optim/param_groups.h"

namespace umbra {

using NamedTensors = std::vector<std::pair<std::string, torch::Tensor>>;

class Optimizer {
 public:
  virtual ~Optimizer() = default;

  // Without `set_to_none` gradients become 0 where they lie: their parameters are still updated.
  void zero_grad(bool set_to_none = true);
  // One update of every group at lr * group.lr_scale. Parameters without a gradient are skipped.
  void step(double lr);

  const std::vector<ParamGroup>& groups() const { return groups_; }

  // State by parameter name, for the checkpoint ("exp_avg.head.weight", ...): the tensors
  // themselves, so that reading into them restores the optimiser.
  virtual NamedTensors state() = 0;

 protected:
  explicit Optimizer(std::vector<ParamGroup> groups) : groups_(std::move(groups)) {}
  virtual void before_step() {}
  virtual void step_group(size_t group, double lr) = 0;

  std::vector<ParamGroup> groups_;
};

std::unique_ptr<Optimizer> make_optimizer(const OptimOptions& options,
                                          std::vector<ParamGroup> groups);

// Scales all gradients so that their common L2 norm is at most max_norm (if max_norm > 0);
// returns the norm before that, as a scalar tensor.
torch::Tensor clip_grad_norm(const std::vector<ParamGroup>& groups, double max_norm);

}  // namespace umbra
