// The tensors of a model by name.
#pragma once

#include <map>
#include <string>
#include <vector>

#include <torch/nn.h>

namespace umbra {

using TensorMap = std::map<std::string, torch::Tensor>;

// Parameters and buffers by name: the tensors themselves.
TensorMap state_of(const torch::nn::Module& module);

// Names on which a model and the tensors of a file disagree.
struct Mismatch {
  std::vector<std::string> missing, unexpected, misshapen;

  bool empty() const { return missing.empty() && unexpected.empty() && misshapen.empty(); }
};

// What keeps `file` from being a state of the model that has the tensors `own`. Counters of batch
// norms may be missing: PyTorch 0.4 and before did not save them.
Mismatch compare(const TensorMap& own, const TensorMap& file);

// For people: how many there are of each, then the first ones with their shapes, and with the
// nearest name of the file for what is missing.
std::string describe(const Mismatch& mismatch, const TensorMap& own, const TensorMap& file);

// Copies `state` into the module. Throws umbra::Error with the description unless all of it fits.
void load_state(torch::nn::Module& module, const TensorMap& state);

}  // namespace umbra
