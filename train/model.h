// What any model returns, and how one is made. model.cpp alone adapts both cnn and vit.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <torch/nn.h>

#include "train/model_options.h"

namespace umbra {

// One named stage: a map [B, C, H, W] of a CNN, or tokens [B, N, D] of a transformer.
struct Feature {
  std::string name;
  torch::Tensor post;         // after the stage's last activation
  torch::Tensor pre;          // before it; the same tensor where there is none
  int64_t prefix_tokens = 0;  // class and distillation tokens, before the patches; 0 for maps
};

struct ModelOutput {
  torch::Tensor logits;                      // [B, C], class head
  std::vector<torch::Tensor> shadow_logits;  // each [B, C]; [0] of a DeiT is its distillation head
  torch::Tensor stem;                        // [B, C, H, W] before a CNN's stages, or undefined
  std::vector<Feature> features;             // shallow to deep
  torch::Tensor pooled;                      // [B, D], what the class head reads
  torch::Tensor expanded;                    // [B, expanded_channels, H, W] of a CNN that has them
};

// [B, C]: the mean of the class head's logits and those of all shadow heads, DeiT's answer.
torch::Tensor mean_of_heads(const ModelOutput& output);

class Model {
 public:
  virtual ~Model() = default;
  virtual ModelOutput forward(const torch::Tensor& images) = 0;
  virtual torch::nn::Module& module() = 0;
  virtual const torch::nn::Linear& classifier() = 0;  // of the class head

  // One for each of `features`: the batch norm before the activation that ends the stage. Empty
  // where there are none.
  virtual std::vector<torch::nn::BatchNorm2d> stage_norms() { return {}; }

  const ModelOptions& options() const { return options_; }

 protected:
  explicit Model(ModelOptions options) : options_(std::move(options)) {}
  ModelOptions options_;
};

// Builds the model; weights are drawn from torch's default generator. `options` must be resolved:
// num_classes and in_chans above 0, the name canonical.
std::unique_ptr<Model> create_model(const ModelOptions& options);

// Moves a network to the device; for a GPU with the memory format that its convolutions want.
void move_to(torch::nn::Module& module, torch::Device device);

// Its convolutions' weights become channels-last in memory; no value changes.
void use_channels_last(torch::nn::Module& module);

int64_t count_parameters(const torch::nn::Module& module);

}  // namespace umbra
