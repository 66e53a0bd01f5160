#include "cnn/backbone.h"

#include "cnn/resnet.h"

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

// One row per name. A new family adds its rows and its builder here.
struct Entry {
  std::string name;
  std::function<std::shared_ptr<Backbone>(const CnnOptions&)> build;
};

Entry imagenet_resnet(std::string name, std::vector<int64_t> blocks) {
  const ResNetDesign design{64, true, {64, 128, 256, 512}, std::move(blocks)};
  return {std::move(name), [design](const CnnOptions& options) {
            return std::make_shared<ResNet>(design, options);
          }};
}

// CIFAR ResNets of RepDistiller: (depth - 2) / 6 basic blocks in each of three stages.
Entry cifar_resnet(std::string name, int64_t depth, int64_t widen = 1) {
  const int64_t n = (depth - 2) / 6;
  const int64_t stem = widen == 1 ? 16 : 32;
  const ResNetDesign design{stem, false, {16 * widen, 32 * widen, 64 * widen}, {n, n, n}};
  return {std::move(name), [design](const CnnOptions& options) {
            return std::make_shared<ResNet>(design, options);
          }};
}

const std::vector<Entry>& table() {
  static const std::vector<Entry> entries = {
      cifar_resnet("resnet8", 8),
      cifar_resnet("resnet14", 14),
      cifar_resnet("resnet20", 20),
      cifar_resnet("resnet32", 32),
      cifar_resnet("resnet44", 44),
      cifar_resnet("resnet56", 56),
      cifar_resnet("resnet110", 110),
      cifar_resnet("resnet8x4", 8, 4),
      cifar_resnet("resnet32x4", 32, 4),
      imagenet_resnet("resnet18", {2, 2, 2, 2}),
      imagenet_resnet("resnet34", {3, 4, 6, 3}),
  };
  return entries;
}

const Entry* find(std::string_view name) {
  for (const Entry& entry : table()) {
    if (entry.name == name) return &entry;
  }
  return nullptr;
}

}  // namespace

void Backbone::add_shadow_heads(const CnnOptions& options, int64_t width) {
  if (options.num_shadow_heads == 0) return;
  const auto heads = register_module("fc_shadow", std::make_shared<torch::nn::Module>());
  for (int64_t i = 0; i < options.num_shadow_heads; ++i) {
    const std::string name = std::to_string(i);
    if (options.shadow_head == "mlp") {
      shadow_heads_.emplace_back(heads->register_module(name, MlpHead(width, options.num_classes)));
    } else {
      shadow_heads_.emplace_back(
          heads->register_module(name, torch::nn::Linear(width, options.num_classes)));
    }
  }
}

void Backbone::run_shadow_heads(CnnOutput& output) {
  for (torch::nn::AnyModule& head : shadow_heads_) {
    output.shadow_logits.push_back(head.forward(output.pooled));
  }
}

bool is_known(std::string_view name) { return find(name) != nullptr; }

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
