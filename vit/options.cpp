#include "vit/options.h"

#include <utility>

namespace umbra::vit {
namespace {

struct Size {
  std::string_view name;
  int64_t embed_dim, depth, num_heads;
};

// Table 1 of Touvron et al., "Training data-efficient image transformers", 2021, and of "DeiT III:
// Revenge of the ViT", 2022.
constexpr Size kTiny = {"tiny", 192, 12, 3}, kSmall = {"small", 384, 12, 6},
               kMedium = {"medium", 512, 12, 8}, kBase = {"base", 768, 12, 12},
               kLarge = {"large", 1024, 24, 16};

using Variants = std::vector<std::pair<std::string, VitOptions>>;

VitOptions sized(const Size& size, int64_t patch_size, int64_t img_size) {
  VitOptions options;
  options.img_size = img_size;
  options.patch_size = patch_size;
  options.embed_dim = size.embed_dim;
  options.depth = size.depth;
  options.num_heads = size.num_heads;
  return options;
}

std::string name_of(std::string_view family, const Size& size, std::string_view middle,
                    const VitOptions& options) {
  return std::string(family) + "_" + std::string(size.name) + std::string(middle) + "_patch" +
         std::to_string(options.patch_size) + "_" + std::to_string(options.img_size);
}

void add_plain(Variants& all, std::string_view family, const Size& size, int64_t patch_size,
               int64_t img_size) {
  const VitOptions options = sized(size, patch_size, img_size);
  all.emplace_back(name_of(family, size, "", options), options);
}

void add_distilled(Variants& all, std::string_view family, const Size& size, int64_t patch_size,
                   int64_t img_size) {
  VitOptions options = sized(size, patch_size, img_size);
  options.distilled = true;
  all.emplace_back(name_of(family, size, "_distilled", options), options);
}

void add_deit3(Variants& all, const Size& size, int64_t img_size) {
  VitOptions options = sized(size, 16, img_size);
  options.init_values = 1e-4;
  options.no_embed_class = true;
  options.drop_path_schedule = "constant";
  all.emplace_back(name_of("deit3", size, "", options), options);
}

Variants make_variants() {
  Variants all = {{"vit", VitOptions{}}};
  for (const int64_t img_size : {224, 384}) {
    for (const Size& size : {kTiny, kSmall, kBase}) add_plain(all, "deit", size, 16, img_size);
    for (const Size& size : {kTiny, kSmall, kBase}) add_distilled(all, "deit", size, 16, img_size);
    for (const Size& size : {kSmall, kMedium, kBase, kLarge}) add_deit3(all, size, img_size);
    for (const Size& size : {kTiny, kSmall, kBase, kLarge})
      add_plain(all, "vit", size, 16, img_size);
    for (const Size& size : {kSmall, kBase}) add_plain(all, "vit", size, 32, img_size);
  }
  constexpr Size kMini = {"mini", 128, 6, 4};
  for (const Size& size : {kMini, kTiny, kSmall}) {
    add_plain(all, "vit_cifar", size, 4, 32);
    add_distilled(all, "vit_cifar", size, 4, 32);
  }
  return all;
}

const Variants& variants() {
  static const Variants all = make_variants();
  return all;
}

}  // namespace

std::optional<VitOptions> named_options(std::string_view name) {
  for (const auto& [variant, options] : variants()) {
    if (variant == name) return options;
  }
  return std::nullopt;
}

std::vector<std::string> variant_names() {
  std::vector<std::string> names;
  for (const auto& [name, options] : variants()) names.push_back(name);
  return names;
}

}  // namespace umbra::vit
