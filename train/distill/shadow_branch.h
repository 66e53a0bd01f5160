#pragma once

#include <torch/nn.h>

#include "train/distill/objective.h"

namespace umbra {

// SHAKE's shadow on the teacher's side, as in the public code: a small trainable branch that fuses
// the last three stages of the frozen teacher and ends in the teacher's own frozen classifier.
//
//   u = down(f1) + same(f2);  v = down(u) + same(f3);  logits = classifier(pool(conv(v)))
//
// where every step is convolution, batch norm, ReLU. Differs from the public code where that fails
// (ResNet-50, MobileNetV2, ShuffleNetV2) and for vgg13: it takes the first three stages, these are
// the last three. Stages that do not halve in size get a fitting stride, and a teacher whose
// classifier is not as wide as its last stage gets a classifier of the branch's own.
class ShadowBranchImpl : public torch::nn::Module {
 public:
  // Throws ConfigError unless the teacher has at least three convolutional stages.
  explicit ShadowBranchImpl(const NetworkView& teacher);

  torch::Tensor forward(const ModelOutput& teacher);  // [B, C]

 private:
  torch::nn::Sequential down1_{nullptr}, same2_{nullptr}, down2_{nullptr}, same3_{nullptr},
      fuse_{nullptr};
  torch::nn::Linear fc_{nullptr};  // only where the teacher's classifier does not fit
  torch::Tensor weight_, bias_;    // the teacher's classifier, frozen
};
TORCH_MODULE(ShadowBranch);

}  // namespace umbra
