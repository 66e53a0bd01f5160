#include "train/distill/frozen_network.h"

#include <ATen/ATen.h>

#include "train/checksum.h"
#include "train/weights/state.h"

namespace umbra {

FrozenNetwork::FrozenNetwork(std::string name, std::unique_ptr<Model> model, const InputForm& own,
                             const InputForm& given, torch::Device device, bool answers_by_mean)
    : name_(std::move(name)),
      model_(std::move(model)),
      image_size_(own.image_size),
      answers_by_mean_(answers_by_mean) {
  move_to(model_->module(), device);
  model_->module().eval();
  for (torch::Tensor& parameter : model_->module().parameters()) parameter.requires_grad_(false);
  if (own.mean == given.mean && own.std == given.std) return;
  // (x * std_given + mean_given - mean_own) / std_own
  const auto channel = [](const std::vector<double>& values) {
    return torch::tensor(values, torch::kFloat64).view({1, -1, 1, 1});
  };
  const torch::Tensor std = channel(own.std);
  scale_ = (channel(given.std) / std).to(device, torch::kFloat32);
  shift_ = ((channel(given.mean) - channel(own.mean)) / std).to(device, torch::kFloat32);
}

ModelOutput FrozenNetwork::forward(const torch::Tensor& images) {
  const torch::NoGradGuard no_grad;
  torch::Tensor x = scale_.defined() ? images * scale_ + shift_ : images;
  if (x.size(2) != image_size_ || x.size(3) != image_size_) {
    x = at::_upsample_bicubic2d_aa(x, {image_size_, image_size_}, /*align_corners=*/false);
  }
  ModelOutput output = model_->forward(x);
  if (answers_by_mean_) output.logits = mean_of_heads(output);
  output.shadow_logits.clear();
  return output;
}

std::string FrozenNetwork::digest() const {
  Checksum sum;
  const auto add_tensor = [&](const torch::Tensor& tensor) {
    if (!tensor.defined()) return;
    const torch::Tensor values = tensor.detach().to(torch::kCPU).contiguous();
    sum.add(values.const_data_ptr(), values.nbytes());
  };
  for (const auto& [name, tensor] : state_of(model_->module())) {
    sum.add(name.data(), name.size());
    add_tensor(tensor);
  }
  add_tensor(scale_);
  add_tensor(shift_);
  sum.add(&image_size_, sizeof image_size_);
  sum.add(&answers_by_mean_, sizeof answers_by_mean_);
  return sum.hex();
}

}  // namespace umbra
