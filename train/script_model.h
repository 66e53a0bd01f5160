// Any network as a TorchScript file, made in Python with torch.jit.trace or torch.jit.script. Such
// a file is a program: whoever wrote it decides what it does.
#pragma once

#include <memory>
#include <string>

#include "train/model.h"

namespace umbra {

// A model that has logits alone: no features, no shadow logits, no classifier() (it throws). Its
// class count is found by a forward of one blank image [1, in_chans, image_size, image_size].
// Throws umbra::Error if the file is no TorchScript, or does not turn images into logits [B,
// classes].
std::unique_ptr<Model> open_torchscript(const std::string& path, int64_t in_chans,
                                        int64_t image_size);

}  // namespace umbra
