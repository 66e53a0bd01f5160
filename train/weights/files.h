// Weight files: .safetensors, and PyTorch's .pth, .pt, .bin, .th, .pth.tar, read without executing
// anything in them.
#pragma once

#include <string>
#include <vector>

#include "train/weights/state.h"

namespace umbra {

struct WeightFile {
  TensorMap tensors;
  // What stood beside a network that was taken out of its wrapper (a projection head, a teacher):
  // names in `tensors` that a model may do without.
  std::vector<std::string> beside{};
  std::string wrapper{};  // the dict of a checkpoint that was taken: "model_ema", ...; or empty
};

// The tensors of a weight file, which own their memory; what it holds decides what it is, not its
// name. Of a PyTorch checkpoint, zip (torch >= 1.6) or legacy: its state dict (see view_pth), and
// of a checkpoint with an average, that. Names stay as they are. Throws umbra::Error, naming the
// file.
WeightFile read_weight_file(const std::string& path);

// The same for a file that must be safetensors.
TensorMap read_safetensors(const std::string& path);

// Writes the tensors (copied to the CPU, made contiguous) in one step: the file is complete and
// synced, or not there. Throws umbra::Error, naming the file.
void write_safetensors(const std::string& path, const TensorMap& tensors);

// Takes away what wrappers put before the names: `module.`, `_orig_mod.`, `model.`, `net.` and
// `encoder.` where all names have it, `student.` and `backbone.` where most have, or all but those
// of a `teacher.`, in any order and as often as they come. Other names stay, and are noted in
// `beside`; one that a peeled name takes is lost.
void peel_prefixes(WeightFile& file);

// Reads a weight file and peels it.
WeightFile open_weight_file(const std::string& path);

}  // namespace umbra
