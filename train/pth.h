// PyTorch checkpoints (.pth, .pt, .bin, .th, .pth.tar), read without executing
// anything in them.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "train/tensor_view.h"
#include "train/weights.h"

namespace umbra {

// The state dict of a checkpoint, zip (torch >= 1.6) or legacy; see view_pth.
// Names stay as they are. The tensors own their memory. Throws umbra::Error,
// naming the file.
TensorMap read_pth(const std::string& path);

// A weight file of any kind: what it holds decides, not its name.
TensorMap read_weight_file(const std::string& path);

// Takes away what wrappers put before the names: `module.`, `_orig_mod.` and
// `encoder.` where all names have it, `student.` and `backbone.` where most
// have, in any order and as often as they come. Other names stay, and are told
// in `others`; one that a peeled name takes is lost.
TensorMap peel_prefixes(TensorMap tensors, std::vector<std::string>* others = nullptr);

// Copies the tensors of a file, as `view` finds them. Throws umbra::Error,
// naming the file.
TensorMap read_tensors(const std::string& path, TensorViews (*view)(std::span<const uint8_t> file));

}  // namespace umbra
