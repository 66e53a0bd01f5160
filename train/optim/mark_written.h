#pragma once

#include <vector>

#include <torch/types.h>

namespace umbra {

// Raises the version counters by which others see that the tensors were written: not all of torch's
// fused and foreach kernels do.
inline void mark_written(const std::vector<torch::Tensor>& tensors) {
  for (const torch::Tensor& tensor : tensors) tensor.unsafeGetTensorImpl()->bump_version();
}

}  // namespace umbra
