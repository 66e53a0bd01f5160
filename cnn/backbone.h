// What every convolutional backbone is and returns.
#pragma once

#include <torch/nn.h>

#include "cnn/options.h"

namespace umbra::cnn {

// One stage's output map [B, C, H, W], after its last activation and before it.
struct Stage {
  std::string name;
  torch::Tensor post, pre;
};

struct CnnOutput {
  torch::Tensor logits;                      // [B, C]
  std::vector<torch::Tensor> shadow_logits;  // each [B, C]
  torch::Tensor stem;                        // [B, C, H, W], what the first stage is given, or
                                             // undefined where distillation codes count none
  std::vector<Stage> stages;                 // shallow to deep, without the stem
  torch::Tensor pooled;                      // [B, D], the input of the classifier
  torch::Tensor expanded;                    // [B, expanded_channels, H, W], where there are some
};

class Backbone : public torch::nn::Module {
 public:
  virtual CnnOutput forward(const torch::Tensor& images) = 0;  // [B, in_chans, H, W]
  virtual const torch::nn::Linear& classifier() const = 0;

  // Of each stage the batch norm before the activation that ends it; before the sum, where there is
  // a shortcut. Empty for families that are not built so.
  virtual std::vector<torch::nn::BatchNorm2d> stage_norms() const { return {}; }

 protected:
  // Registers what distillation adds to a backbone, for `width` channels of the last map: the
  // shadow heads fc_shadow.0, fc_shadow.1, ... (linear ones start by `init` as the class head does;
  // null: torch's own), and the feature transform. Every backbone calls it after registering all
  // else; one that then draws its convolutions anew draws those of the transform, too.
  using HeadInit = void (*)(torch::nn::LinearImpl& head);
  void add_distillation_layers(const CnnOptions& options, int64_t width, HeadInit init = nullptr);

  // Fills output.pooled, logits and shadow_logits from the pooled vector [B, D].
  void run_heads(const torch::Tensor& pooled, CnnOutput& output);

  // The last map [B, width, H, W] as it goes on to the pooling: itself, or with the feature
  // transform of NORM (Liu et al., "Knowledge Distillation via N-to-One Representation Matching",
  // 2023, OSVAI/NORM), which widens it to output.expanded, narrows it again and adds it.
  torch::Tensor transformed(const torch::Tensor& map, CnnOutput& output);

 private:
  std::vector<torch::nn::AnyModule> shadow_heads_;
  torch::nn::Sequential expand_{nullptr}, restore_{nullptr};
};

// Builds a backbone by name; weights come from torch's default generator. Throws if unknown.
std::shared_ptr<Backbone> create(const std::string& name, const CnnOptions& options);

}  // namespace umbra::cnn
