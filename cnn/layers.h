// Pieces that several families share.
#pragma once

#include <string>

#include "cnn/backbone.h"
#include "cnn/fused.h"

namespace umbra::cnn {

// Without bias, and padded so that stride 1 keeps the size.
torch::nn::Conv2d conv(int64_t in, int64_t out, int64_t kernel, int64_t stride = 1,
                       int64_t groups = 1);

// A block tells its output after its last activation and, if it ends a stage, before it.
class Block : public torch::nn::Module {
 public:
  virtual Activated forward(const torch::Tensor& x, bool ends_stage) = 0;

  // Before the last activation, and before the sum, where there is a shortcut; null in blocks that
  // are not built so.
  torch::nn::BatchNorm2d last_norm{nullptr};
};

// Runs a list of Blocks one after the other; the stage is the last one's.
Stage run_layer(const torch::nn::ModuleList& layer, std::string name, const torch::Tensor& x);

// Of the last of a list of Blocks.
torch::nn::BatchNorm2d last_norm_of(const torch::nn::ModuleList& layer);

// Every convolution's weight from N(0, sqrt(2 / (k * k * out))), biases 0.
void init_convolutions(torch::nn::Module& network);

// The same with out / groups, as timm does.
void init_grouped_convolutions(torch::nn::Module& network);

// A class head from N(0, 0.01), bias 0.
void init_head(torch::nn::LinearImpl& head);

// For networks whose blocks do not end in a batch norm before a sum.
void refuse_zero_init(const CnnOptions& options);

}  // namespace umbra::cnn
