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
  Activated out{x, {}};
  for (size_t i = 0; i < layer->size(); ++i) {
    out = layer->ptr(i)->as<Block>()->forward(out.after, /*ends_stage=*/i + 1 == layer->size());
  }
  return {std::move(name), out.after, out.before};
}

torch::nn::BatchNorm2d last_norm_of(const torch::nn::ModuleList& layer) {
  return layer->ptr(layer->size() - 1)->as<Block>()->last_norm;
}

namespace {

void init_all(torch::nn::Module& network, bool by_group) {
  for (const auto& module : network.modules(/*include_self=*/false)) {
    auto* conv = module->as<torch::nn::Conv2dImpl>();
    if (!conv) continue;
    const int64_t kernel = conv->weight.size(2) * conv->weight.size(3);
    const int64_t groups = by_group ? conv->options.groups() : 1;
    const auto fan_out = static_cast<double>(kernel * conv->weight.size(0) / groups);
    torch::nn::init::normal_(conv->weight, 0.0, std::sqrt(2.0 / fan_out));
    if (conv->bias.defined()) torch::nn::init::zeros_(conv->bias);
  }
}

}  // namespace

void init_convolutions(torch::nn::Module& network) { init_all(network, /*by_group=*/false); }

void init_grouped_convolutions(torch::nn::Module& network) { init_all(network, /*by_group=*/true); }

void init_head(torch::nn::LinearImpl& head) {
  torch::nn::init::normal_(head.weight, 0.0, 0.01);
  torch::nn::init::zeros_(head.bias);
}

void refuse_zero_init(const CnnOptions& options) {
  TORCH_CHECK(!options.zero_init_residual,
              "zero_init_residual is for residual networks whose blocks end in a batch norm; "
              "leave it false for this one");
}

}  // namespace umbra::cnn
