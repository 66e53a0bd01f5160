#include "train/optim/param_groups.h"

#include <map>

#include "train/error.h"

namespace umbra {
namespace {

std::string first_component(const std::string& name) { return name.substr(0, name.find('.')); }

// A parameter of the list, in a module however deep: "pos_embed", "peer_0.pos_embed".
bool has_component(const std::string& name, const std::vector<std::string>& listed) {
  std::stringstream components(name);
  for (std::string component; std::getline(components, component, '.');) {
    if (std::find(listed.begin(), listed.end(), component) != listed.end()) return true;
  }
  return false;
}

// Number behind "prefix." in the name, or -1.
int64_t index_after(const std::string& name, const std::string& prefix) {
  if (!name.starts_with(prefix)) return -1;
  return std::atoll(name.c_str() + prefix.size());
}

// timm's layer of a transformer's parameter: stem 0, block i at i + 1, the final norm with the last
// block, heads after it.
int64_t vit_layer(const std::string& name, int64_t blocks) {
  if (const int64_t block = index_after(name, "blocks."); block >= 0) return block + 1;
  const std::string first = first_component(name);
  if (first == "norm") return blocks;
  if (first == "head" || first == "head_dist" || first == "head_shadow") return blocks + 1;
  return 0;
}

// A ResNet's, and of those that name their parts as it does: the stem is the first layer, every
// block of layer1, layer2, ... is one, and what comes after them is the last.
bool is_stem(const std::string& name) {
  const std::string first = first_component(name);
  return first == "conv1" || first == "bn1";
}

// Layer of each parameter and the number of layers.
struct Layers {
  std::map<std::string, int64_t> of;
  int64_t count = 0;
};

Layers find_layers(const std::vector<std::string>& names) {
  Layers layers;
  int64_t blocks = 0;
  bool is_vit = false;
  for (const std::string& name : names) {
    blocks = std::max(blocks, index_after(name, "blocks.") + 1);
    is_vit = is_vit || name.starts_with("patch_embed.");
  }
  if (is_vit) {
    layers.count = blocks + 2;
    for (const std::string& name : names) layers.of[name] = vit_layer(name, blocks);
    return layers;
  }
  std::map<std::string, int64_t> seen;  // "layer2.1" -> its layer
  for (const std::string& name : names) {
    if (!name.starts_with("layer")) continue;
    const size_t second = name.find('.', name.find('.') + 1);
    const auto block = seen.emplace(name.substr(0, second), static_cast<int64_t>(seen.size()) + 1);
    layers.of[name] = block.first->second;
  }
  if (seen.empty()) {
    throw ConfigError(
        "optim.layer_decay: the order of this model's layers is not known; it is for transformers "
        "and ResNets. Leave it out");
  }
  const auto last = static_cast<int64_t>(seen.size()) + 1;
  for (const std::string& name : names) {
    if (!layers.of.contains(name)) layers.of[name] = is_stem(name) ? 0 : last;
  }
  layers.count = last + 1;
  return layers;
}

}  // namespace

std::vector<ParamGroup> make_param_groups(const torch::nn::Module& module,
                                          const OptimOptions& options) {
  std::vector<std::string> names;
  const auto parameters = module.named_parameters();
  for (const auto& item : parameters) names.push_back(item.key());
  const bool by_layer = options.layer_decay < 1.0;
  const Layers layers = by_layer ? find_layers(names) : Layers{};

  std::map<std::pair<int64_t, bool>, ParamGroup> groups;  // (layer, decays), no_decay first
  for (const auto& item : parameters) {
    const std::string& name = item.key();
    const torch::Tensor& parameter = item.value();
    if (!parameter.requires_grad()) continue;
    const bool listed = has_component(name, options.no_decay);
    const bool vector = parameter.dim() <= 1 && !options.decay_norm_and_bias;
    const bool decays = !listed && !vector;
    const int64_t layer = by_layer ? layers.of.at(name) : 0;
    ParamGroup& group = groups[{layer, decays}];
    group.names.push_back(name);
    group.params.push_back(parameter);
    group.weight_decay = decays ? options.weight_decay : 0.0;
    group.label = decays ? "decay" : "no_decay";
    if (by_layer) {
      group.label = fmt::format("layer_{}.{}", layer, group.label);
      group.lr_scale = std::pow(options.layer_decay, static_cast<double>(layers.count - 1 - layer));
    }
  }
  std::vector<ParamGroup> result;
  for (auto& [key, group] : groups) result.push_back(std::move(group));
  return result;
}

}  // namespace umbra
