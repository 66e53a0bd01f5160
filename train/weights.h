// Weight files (safetensors) and what of them a model takes.
#pragma once

#include <map>
#include <string>
#include <vector>

#include <torch/nn.h>

#include "vit/pos_embed.h"

namespace umbra {

using TensorMap = std::map<std::string, torch::Tensor>;

// Reads a .safetensors file; the tensors own their memory. Throws umbra::Error if the file is no
// safetensors, is truncated, or holds offsets that overlap or do not fit.
TensorMap read_safetensors(const std::string& path);

// Writes the tensors (copied to the CPU, made contiguous), then syncs the file to disk.
void write_safetensors(const std::string& path, const TensorMap& tensors);

// Parameters and buffers by name: the tensors themselves.
TensorMap state_of(const torch::nn::Module& module);

// Copies `state` into the module. Throws umbra::Error, listing what is missing, unexpected or of
// another shape, unless every name fits.
void load_state(torch::nn::Module& module, const TensorMap& state);

// What init_from takes over, and what not.
struct PartialLoad {
  int64_t loaded = 0;
  std::vector<std::string> resized;  // position embeddings at another grid
  std::vector<std::string> fresh;    // kept at their new initial value
  std::vector<std::string> unused;   // in the file only
};

// Copies what fits: same name and shape. A position embedding of another grid is resized; heads of
// another class count and tokens that the file lacks stay fresh. Throws umbra::Error where anything
// else has another shape, or nothing fits at all.
PartialLoad load_partial(torch::nn::Module& module, TensorMap state, vit::PosEmbedResize rule);

}  // namespace umbra
