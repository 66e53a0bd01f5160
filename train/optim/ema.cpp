#include "train/optim/ema.h"

#include <ATen/ATen.h>

#include "train/optim/mark_written.h"

namespace umbra {
namespace {

std::vector<torch::Tensor> all_tensors(torch::nn::Module& module) {
  std::vector<torch::Tensor> tensors = module.parameters();
  for (const torch::Tensor& buffer : module.buffers()) tensors.push_back(buffer);
  return tensors;
}

}  // namespace

Ema::Ema(std::unique_ptr<Model> average, Model& model, double decay, bool warmup)
    : average_(std::move(average)), decay_(decay), warmup_(warmup) {
  const torch::NoGradGuard no_grad;
  const auto targets = all_tensors(average_->module()), sources = all_tensors(model.module());
  TORCH_CHECK(targets.size() == sources.size(), "EMA of another architecture");
  for (size_t i = 0; i < targets.size(); ++i) {
    targets[i].requires_grad_(false);
    const bool averaged = targets[i].is_floating_point();
    (averaged ? float_average_ : other_average_).push_back(targets[i]);
    (averaged ? float_source_ : other_source_).push_back(sources[i]);
  }
  restart();
  average_->module().eval();
}

void Ema::restart() {
  const torch::NoGradGuard no_grad;
  at::_foreach_copy_(float_average_, float_source_);
  if (!other_average_.empty()) at::_foreach_copy_(other_average_, other_source_);
}

void Ema::update(int64_t step) {
  const torch::NoGradGuard no_grad;
  double decay = decay_;
  if (warmup_) {
    decay = std::min(decay_, 1.0 - std::pow(1.0 + static_cast<double>(step), -2.0 / 3.0));
  }
  at::_foreach_lerp_(float_average_, float_source_, 1.0 - decay);
  mark_written(float_average_);
  if (!other_average_.empty()) at::_foreach_copy_(other_average_, other_source_);
}

}  // namespace umbra
