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
  std::vector<Stage> stages;                 // shallow to deep, without the stem
  torch::Tensor pooled;                      // [B, D], the input of the classifier
};

class Backbone : public torch::nn::Module {
 public:
  virtual CnnOutput forward(const torch::Tensor& images) = 0;  // [B, in_chans, H, W]
  virtual const torch::nn::Linear& classifier() const = 0;

  // Of each stage the batch norm before the activation that ends it; before the sum, where there is
  // a shortcut. Empty for families that are not built so.
  virtual std::vector<torch::nn::BatchNorm2d> stage_norms() const { return {}; }

 protected:
  // Registers fc_shadow.0, fc_shadow.1, ... and fills output.shadow_logits from output.pooled.
  // Linear ones start by `init` as the class head does; null: torch's own.
  using HeadInit = void (*)(torch::nn::LinearImpl& head);
  void add_shadow_heads(const CnnOptions& options, int64_t width, HeadInit init = nullptr);
  void run_shadow_heads(CnnOutput& output);

 private:
  std::vector<torch::nn::AnyModule> shadow_heads_;
};

// Builds a backbone by name; weights come from torch's default generator. Throws if unknown.
std::shared_ptr<Backbone> create(const std::string& name, const CnnOptions& options);

}  // namespace umbra::cnn
