#include "train/optim/optimizer.h"

#include <ATen/ATen.h>

#include "train/optim/mark_written.h"

namespace umbra {
namespace {

using Tensors = std::vector<torch::Tensor>;

// One state tensor per parameter of every group, all zero at first.
std::vector<Tensors> zeros_like(const std::vector<ParamGroup>& groups) {
  std::vector<Tensors> state;
  for (const ParamGroup& group : groups) {
    Tensors& tensors = state.emplace_back();
    for (const torch::Tensor& p : group.params) tensors.push_back(torch::zeros_like(p));
  }
  return state;
}

std::vector<Tensors> step_counts(const std::vector<ParamGroup>& groups) {
  std::vector<Tensors> state;
  for (const ParamGroup& group : groups) {
    Tensors& tensors = state.emplace_back();
    for (const torch::Tensor& p : group.params) {
      tensors.push_back(torch::zeros({}, p.options().dtype(torch::kFloat32)));
    }
  }
  return state;
}

void append(NamedTensors& out, const std::string& kind, const std::vector<ParamGroup>& groups,
            const std::vector<Tensors>& state) {
  for (size_t g = 0; g < groups.size(); ++g) {
    for (size_t i = 0; i < state[g].size(); ++i) {
      out.emplace_back(kind + "." + groups[g].names[i], state[g][i]);
    }
  }
}

// The group's parameters that have a gradient, with whatever state lies beside them.
struct Active {
  Tensors params, grads;
  std::vector<size_t> at;

  explicit Active(const ParamGroup& group) {
    for (size_t i = 0; i < group.params.size(); ++i) {
      if (!group.params[i].grad().defined()) continue;
      params.push_back(group.params[i]);
      grads.push_back(group.params[i].grad());
      at.push_back(i);
    }
  }

  Tensors select(const Tensors& state) const {
    Tensors selected;
    for (const size_t i : at) selected.push_back(state[i]);
    return selected;
  }
};

// What AdamW and LAMB keep: the two moments and the number of steps of each parameter.
class AdamMoments : public Optimizer {
 public:
  AdamMoments(const OptimOptions& options, std::vector<ParamGroup> groups)
      : Optimizer(std::move(groups)),
        options_(options),
        exp_avg_(zeros_like(groups_)),
        exp_avg_sq_(zeros_like(groups_)),
        steps_(step_counts(groups_)) {}

  NamedTensors state() override {
    NamedTensors all;
    append(all, "exp_avg", groups_, exp_avg_);
    append(all, "exp_avg_sq", groups_, exp_avg_sq_);
    append(all, "step", groups_, steps_);
    return all;
  }

 protected:
  OptimOptions options_;
  std::vector<Tensors> exp_avg_, exp_avg_sq_, steps_;
};

class AdamW : public AdamMoments {
 public:
  using AdamMoments::AdamMoments;

 protected:
  void step_group(size_t g, double lr) override {
    const Active active(groups_[g]);
    if (active.params.empty()) return;
    Tensors exp_avg = active.select(exp_avg_[g]), exp_avg_sq = active.select(exp_avg_sq_[g]);
    Tensors steps = active.select(steps_[g]);
    Tensors params = active.params, grads = active.grads;
    at::_foreach_add_(steps, 1.0);
    at::_fused_adamw_(params, grads, exp_avg, exp_avg_sq, /*max_exp_avg_sqs=*/{}, steps, lr,
                      options_.betas[0], options_.betas[1], groups_[g].weight_decay, options_.eps,
                      /*amsgrad=*/false, /*maximize=*/false);
  }
};

class Sgd : public Optimizer {
 public:
  Sgd(const OptimOptions& options, std::vector<ParamGroup> groups)
      : Optimizer(std::move(groups)), options_(options), momentum_(zeros_like(groups_)) {}

  NamedTensors state() override {
    NamedTensors all;
    append(all, "momentum", groups_, momentum_);
    return all;
  }

 protected:
  void step_group(size_t g, double lr) override {
    const Active active(groups_[g]);
    if (active.params.empty()) return;
    Tensors params = active.params, grads = active.grads;
    Tensors momentum;  // the kernel wants none where there is no momentum
    if (options_.momentum > 0.0) momentum = active.select(momentum_[g]);
    // The buffers start at zero, so the first step is the plain gradient, as in PyTorch.
    at::_fused_sgd_(params, grads, momentum, groups_[g].weight_decay, options_.momentum, lr,
                    /*dampening=*/0.0, options_.nesterov, /*maximize=*/false,
                    /*is_first_step=*/false);
  }

 private:
  OptimOptions options_;
  std::vector<Tensors> momentum_;
};

// LAMB (You et al., 2020) as timm's: the gradient of the whole model is first scaled to a norm of
// at most 1; the trust ratio is taken where there is weight decay.
class Lamb : public AdamMoments {
 public:
  using AdamMoments::AdamMoments;

 protected:
  void before_step() override { clip_grad_norm(groups_, /*max_norm=*/1.0); }

  void step_group(size_t g, double lr) override {
    const Active active(groups_[g]);
    for (size_t k = 0; k < active.params.size(); ++k) {
      const size_t i = active.at[k];
      update(active.params[k], active.grads[k], exp_avg_[g][i], exp_avg_sq_[g][i], steps_[g][i],
             groups_[g].weight_decay, lr);
    }
  }

 private:
  void update(torch::Tensor param, const torch::Tensor& grad, torch::Tensor& exp_avg,
              torch::Tensor& exp_avg_sq, torch::Tensor& step, double weight_decay, double lr) {
    const double beta1 = options_.betas[0], beta2 = options_.betas[1];
    step.add_(1.0);
    exp_avg.lerp_(grad, 1.0 - beta1);
    exp_avg_sq.mul_(beta2).addcmul_(grad, grad, 1.0 - beta2);
    const torch::Tensor correction1 = 1.0 - torch::pow(beta1, step);
    const torch::Tensor correction2 = (1.0 - torch::pow(beta2, step)).sqrt();
    torch::Tensor direction =
        exp_avg / correction1 / (exp_avg_sq.sqrt() / correction2 + options_.eps);
    if (weight_decay > 0.0) {
      direction = direction + weight_decay * param;
      const torch::Tensor weight_norm = param.norm(), update_norm = direction.norm();
      const torch::Tensor one = torch::ones_like(weight_norm);
      const torch::Tensor both = (weight_norm > 0).logical_and(update_norm > 0);
      direction = direction * torch::where(both, weight_norm / update_norm, one);
    }
    param.sub_(direction, lr);
  }
};

}  // namespace

void Optimizer::zero_grad(bool set_to_none) {
  const torch::NoGradGuard no_grad;
  for (ParamGroup& group : groups_) {
    if (set_to_none) {
      for (torch::Tensor& parameter : group.params) parameter.mutable_grad().reset();
    } else if (const Active active(group); !active.grads.empty()) {
      at::_foreach_zero_(active.grads);
    }
  }
}

void Optimizer::step(double lr) {
  const torch::NoGradGuard no_grad;
  before_step();
  for (size_t g = 0; g < groups_.size(); ++g) {
    step_group(g, lr * groups_[g].lr_scale);
    mark_written(groups_[g].params);
  }
}

std::unique_ptr<Optimizer> make_optimizer(const OptimOptions& options,
                                          std::vector<ParamGroup> groups) {
  if (options.name == "sgd") return std::make_unique<Sgd>(options, std::move(groups));
  if (options.name == "lamb") return std::make_unique<Lamb>(options, std::move(groups));
  TORCH_CHECK(options.name == "adamw", "unknown optimiser '", options.name, "'");
  return std::make_unique<AdamW>(options, std::move(groups));
}

torch::Tensor clip_grad_norm(const std::vector<ParamGroup>& groups, double max_norm) {
  const torch::NoGradGuard no_grad;
  Tensors grads;
  for (const ParamGroup& group : groups) {
    for (const torch::Tensor& parameter : group.params) {
      if (parameter.grad().defined()) grads.push_back(parameter.grad());
    }
  }
  if (grads.empty()) return torch::zeros({});
  const torch::Tensor norm = torch::stack(at::_foreach_norm(grads, 2)).norm();
  if (max_norm > 0.0) {
    const torch::Tensor scale = (max_norm / (norm + 1e-6)).clamp_max(1.0);
    at::_foreach_mul_(grads, scale);
  }
  return norm;
}

}  // namespace umbra
