// Weight files: .safetensors, and PyTorch's .pth, .pt, .bin, .th, .pth.tar, read without executing
// anything in them.
#pragma once

#include <string>
#include <vector>

#include "train/weights/state.h"

namespace umbra {

// The tensors of a weight file, which own their memory; what it holds decides what it is, not its
// name. Of a PyTorch checkpoint, zip (torch >= 1.6) or legacy: its state dict (see view_pth). Names
// stay as they are. Throws umbra::Error, naming the file.
TensorMap read_weight_file(const std::string& path);

// The same for a file that must be safetensors.
TensorMap read_safetensors(const std::string& path);

// Writes the tensors (copied to the CPU, made contiguous), then syncs the file to disk.
void write_safetensors(const std::string& path, const TensorMap& tensors);

// Takes away what wrappers put before the names: `module.`, `_orig_mod.` and `encoder.` where all
// names have it, `student.` and `backbone.` where most have, in any order and as often as they
// come. Other names stay, and are told in `others`; one that a peeled name takes is lost.
TensorMap peel_prefixes(TensorMap tensors, std::vector<std::string>* others = nullptr);

}  // namespace umbra
