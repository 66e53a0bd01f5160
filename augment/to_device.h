#pragma once

#include <torch/types.h>

namespace umbra::augment {

// x on the device. The host does not wait for the copy: to a GPU it starts from page-locked memory.
inline torch::Tensor to_device(const torch::Tensor& x, torch::Device device) {
  const bool upload = device.is_cuda() && x.is_cpu();
  return (upload ? x.pin_memory() : x).to(device, /*non_blocking=*/true);
}

}  // namespace umbra::augment
