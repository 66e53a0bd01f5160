#include "cnn/init.h"

namespace umbra::cnn {

void init_grouped_convolutions(torch::nn::Module& network) {
  for (const auto& module : network.modules(/*include_self=*/false)) {
    auto* conv = module->as<torch::nn::Conv2dImpl>();
    if (!conv) continue;
    const int64_t fan_out = conv->weight.numel() / conv->weight.size(1) / conv->options.groups();
    torch::nn::init::normal_(conv->weight, 0.0, std::sqrt(2.0 / static_cast<double>(fan_out)));
    if (conv->bias.defined()) torch::nn::init::zeros_(conv->bias);
  }
}

}  // namespace umbra::cnn
