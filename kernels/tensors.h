// Between torch's tensors and the kernels, which take pointers.
#pragma once

#include <optional>

#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <torch/types.h>

#include "kernels/support.h"

namespace umbra::kernels {

inline const bf16* bits(const torch::Tensor& x) {
  return static_cast<const bf16*>(x.const_data_ptr());
}
inline bf16* bits(torch::Tensor& x) { return static_cast<bf16*>(x.mutable_data_ptr()); }

// Whether this is a scope of autocast to bf16 on such devices.
inline bool autocast_to_bf16(at::DeviceType device) {
  return at::autocast::is_autocast_enabled(device) &&
         at::autocast::get_autocast_dtype(device) == torch::kBFloat16;
}

inline bool in_bf16_on_cpu(const torch::Tensor& x) {
  return x.is_cpu() && autocast_to_bf16(at::kCPU);
}

// Images [B, C, H, W] as the kernels take them, weights as convolutions do; the conversion has
// gradients.
inline torch::Tensor bf16_channels_last(const torch::Tensor& x) {
  return x.to(torch::kBFloat16).contiguous(torch::MemoryFormat::ChannelsLast);
}

// For autograd functions, which take an undefined tensor only as nothing.
inline std::optional<torch::Tensor> if_defined(const torch::Tensor& tensor) {
  return tensor.defined() ? std::optional(tensor) : std::nullopt;
}

// For the backward passes, which are no operations of torch.
inline void refuse_double_backward() {
  TORCH_CHECK(!at::GradMode::is_enabled(),
              "second derivatives in bf16 on a CPU are not supported: use fp32");
}

// Calls work(part, begin, end) for `parts` parts of [0, count): the same ones whatever the number
// of threads, so that sums by part come out the same.
template <typename Work>
void for_each_part(int64_t count, int64_t parts, const Work& work) {
  at::parallel_for(0, parts, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) work(i, count * i / parts, count * (i + 1) / parts);
  });
}

// sums [parts, n]: adds up the parts in their order.
inline torch::Tensor add_parts(const torch::Tensor& sums) {
  const int64_t parts = sums.size(0), n = sums.numel() / parts;
  torch::Tensor total = sums.select(0, 0).clone();
  float* to = total.mutable_data_ptr<float>();
  const float* from = sums.const_data_ptr<float>();
  for (int64_t i = 1; i < parts; ++i) {
    for (int64_t j = 0; j < n; ++j) to[j] += from[i * n + j];
  }
  return total;
}

}  // namespace umbra::kernels
