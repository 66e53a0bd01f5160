// Weight files in memory: what tensors they hold, and where. No torch here.
#pragma once

#include <cstdint>
#include <span>

#include "train/weights/tensor_view.h"

namespace umbra {

// The state dict in a PyTorch checkpoint, zip or legacy: the dict at the top level, or the one
// under a usual name (state_dict_ema, model_ema, state_dict, model, module, net, student, ...; the
// first that holds tensors), whose name goes to `wrapper`. What is no tensor in it is left out.
// Nothing in the file is executed. Throws umbra::Error for what is damaged, truncated, of another
// kind, or has no state dict.
TensorViews view_pth(std::span<const uint8_t> file, std::string* wrapper = nullptr);

// The tensors of a .safetensors file. Throws umbra::Error if it is none, is truncated, names a
// tensor twice, or holds offsets that overlap or do not fit.
TensorViews view_safetensors(std::span<const uint8_t> file);

}  // namespace umbra
