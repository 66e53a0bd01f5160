#include "cnn/layers.h"

namespace umbra::cnn {

torch::nn::Conv2d conv(int64_t in, int64_t out, int64_t kernel, int64_t stride, int64_t groups) {
  return torch::nn::Conv2d(torch::nn::Conv2dOptions(in, out, kernel)
                               .stride(stride)
                               .padding(kernel / 2)
                               .groups(groups)
                               .bias(false));
}

Stage run_layer(const torch::nn::ModuleList& layer, std::string name, const torch::Tensor& x) {
  Stage stage;
  stage.post = x;
  for (const auto& block : *layer) stage = block->as<Block>()->forward(stage.post);
  stage.name = std::move(name);
  return stage;
}

void init_convolutions(torch::nn::Module& network) {
  for (const auto& module : network.modules(/*include_self=*/false)) {
    if (auto* conv = module->as<torch::nn::Conv2dImpl>()) {
      torch::nn::init::kaiming_normal_(conv->weight, 0.0, torch::kFanOut, torch::kReLU);
    }
  }
}

void refuse_zero_init(const CnnOptions& options) {
  TORCH_CHECK(!options.zero_init_residual,
              "zero_init_residual is for residual networks whose blocks end in a batch norm; "
              "leave it false for this one");
}

}  // namespace umbra::cnn
