#pragma once

#include <memory>
#include <string>
#include <vector>

#include "train/model.h"

namespace umbra {

// How images were prepared for a network: normalisation per channel, and their side.
struct InputForm {
  std::vector<double> mean, std;
  int64_t image_size = 0;
};

// A frozen network: eval mode, no gradients, its own normalisation and input size.
class FrozenNetwork {
 public:
  // `own` says how the images that the model was trained on were prepared, `given` those that it
  // will see here. The model is moved to `device`.
  // With `answers_by_mean` its logits are the mean of all its heads (DeiT), else the class head's.
  FrozenNetwork(std::string name, std::unique_ptr<Model> model, const InputForm& own,
                const InputForm& given, torch::Device device, bool answers_by_mean = false);

  // Images as they are given, [B, C, H, W] normalised and mixed. No shadow logits.
  ModelOutput forward(const torch::Tensor& images);

  // A checksum of all that its answers come from: weights, normalisation, input size.
  std::string digest() const;

  const std::string& name() const { return name_; }
  Model& model() { return *model_; }

 private:
  std::string name_;
  std::unique_ptr<Model> model_;
  torch::Tensor scale_, shift_;  // the given normalisation to its own, [1, C, 1, 1]; or undefined
  int64_t image_size_;
  bool answers_by_mean_;
};

}  // namespace umbra
