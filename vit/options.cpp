#include "vit/options.h"

#include <array>

namespace umbra::vit {
namespace {

struct Variant {
  std::string_view name;
  int64_t embed_dim, depth, num_heads;
  bool distilled;
};

// Table 1 of Touvron et al., "Training data-efficient image transformers", 2021.
constexpr std::array<Variant, 6> kVariants = {{
    {"deit_tiny_patch16_224", 192, 12, 3, false},
    {"deit_small_patch16_224", 384, 12, 6, false},
    {"deit_base_patch16_224", 768, 12, 12, false},
    {"deit_tiny_distilled_patch16_224", 192, 12, 3, true},
    {"deit_small_distilled_patch16_224", 384, 12, 6, true},
    {"deit_base_distilled_patch16_224", 768, 12, 12, true},
}};

}  // namespace

std::optional<VitOptions> named_options(std::string_view name) {
  if (name == "vit") return VitOptions{};
  for (const Variant& variant : kVariants) {
    if (variant.name != name) continue;
    VitOptions options;
    options.embed_dim = variant.embed_dim;
    options.depth = variant.depth;
    options.num_heads = variant.num_heads;
    options.distilled = variant.distilled;
    return options;
  }
  return std::nullopt;
}

std::vector<std::string> variant_names() {
  std::vector<std::string> names = {"vit"};
  for (const Variant& variant : kVariants) names.emplace_back(variant.name);
  return names;
}

}  // namespace umbra::vit
