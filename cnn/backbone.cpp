#include "cnn/backbone.h"

#include "cnn/cifar_mobilenet_v2.h"
#include "cnn/convnext.h"
#include "cnn/efficientnet_lite.h"
#include "cnn/fused.h"
#include "cnn/layers.h"
#include "cnn/mobilenet_v1.h"
#include "cnn/mobilenet_v2.h"
#include "cnn/registry.h"
#include "cnn/regnet.h"
#include "cnn/resnet.h"
#include "cnn/shufflenet_v1.h"
#include "cnn/shufflenet_v2.h"
#include "cnn/vgg.h"
#include "cnn/wide_resnet.h"

namespace umbra::cnn {
namespace {

// The stronger shadow head: Linear - ReLU - Linear.
class MlpHeadImpl : public torch::nn::Module {
 public:
  MlpHeadImpl(int64_t width, int64_t num_classes) {
    fc1_ = register_module("fc1", torch::nn::Linear(width, width));
    fc2_ = register_module("fc2", torch::nn::Linear(width, num_classes));
  }
  torch::Tensor forward(const torch::Tensor& x) { return fc2_(torch::relu(fc1_(x))); }

 private:
  torch::nn::Linear fc1_{nullptr}, fc2_{nullptr};
};
TORCH_MODULE(MlpHead);

// 1x1 convolution and batch norm.
torch::nn::Sequential pointwise_norm(int64_t in, int64_t out) {
  torch::nn::Conv2d pointwise = conv(in, out, /*kernel=*/1);
  torch::nn::init::kaiming_normal_(pointwise->weight, /*a=*/0.0, torch::kFanOut, torch::kReLU);
  return torch::nn::Sequential(pointwise, torch::nn::BatchNorm2d(out));
}

// A new family adds its rows here.
const Entries& table() {
  static const Entries entries = [] {
    Entries all;
    for (const Entries& family :
         {resnet_entries(), wide_resnet_entries(), vgg_entries(), cifar_mobilenet_v2_entries(),
          shufflenet_v1_entries(), shufflenet_v2_entries(), regnet_entries(),
          mobilenet_v1_entries(), mobilenet_v2_entries(), efficientnet_lite_entries(),
          convnext_entries()}) {
      all.insert(all.end(), family.begin(), family.end());
    }
    return all;
  }();
  return entries;
}

const Entry* find(std::string_view name) {
  for (const Entry& entry : table()) {
    if (entry.name == name) return &entry;
  }
  return nullptr;
}

}  // namespace

void Backbone::add_distillation_layers(const CnnOptions& options, int64_t width, HeadInit init) {
  if (options.expanded_channels > 0) {
    const auto transform =
        register_module("feature_transform", std::make_shared<torch::nn::Module>());
    const int64_t wide = options.expanded_channels;
    expand_ = transform->register_module("expand", pointwise_norm(width, wide));
    restore_ = transform->register_module("restore", pointwise_norm(wide, width));
  }
  if (options.num_shadow_heads == 0) return;
  const auto heads = register_module("fc_shadow", std::make_shared<torch::nn::Module>());
  for (int64_t i = 0; i < options.num_shadow_heads; ++i) {
    const std::string name = std::to_string(i);
    if (options.shadow_head == "mlp") {
      shadow_heads_.emplace_back(heads->register_module(name, MlpHead(width, options.num_classes)));
    } else {
      torch::nn::Linear head(width, options.num_classes);
      if (init) init(*head);
      shadow_heads_.emplace_back(heads->register_module(name, head));
    }
  }
}

torch::Tensor Backbone::transformed(const torch::Tensor& map, CnnOutput& output) {
  if (!expand_) return map;
  output.expanded = run_fused(expand_, map);
  return map + run_fused(restore_, output.expanded);
}

void Backbone::run_heads(const torch::Tensor& pooled, CnnOutput& output) {
  output.pooled = pooled;
  output.logits = classifier().ptr()->forward(pooled);
  for (torch::nn::AnyModule& head : shadow_heads_) {
    output.shadow_logits.push_back(head.forward(output.pooled));
  }
}

int64_t input_size(std::string_view name) {
  const Entry* entry = find(name);
  TORCH_CHECK(entry, "unknown backbone '", name, "'");
  return entry->input_size;
}

std::vector<std::string> names() {
  std::vector<std::string> names;
  for (const Entry& entry : table()) names.push_back(entry.name);
  return names;
}

std::shared_ptr<Backbone> create(const std::string& name, const CnnOptions& options) {
  const Entry* entry = find(name);
  TORCH_CHECK(entry, "unknown backbone '", name, "'");
  return entry->build(options);
}

}  // namespace umbra::cnn
