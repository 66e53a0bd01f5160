#include "train/model_options.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "augment/nearest_hint.h"
#include "train/error.h"

namespace umbra {
namespace {

struct Alias {
  std::string_view published, ours;
};
constexpr std::array<Alias, 17> kAliases = {{
    {"MobileNetV2", "cifar_mobilenetv2_050"},
    {"ShuffleV1", "shufflenetv1"},
    {"ShuffleV2", "cifar_shufflenetv2"},
    {"vgg8", "cifar_vgg8"},
    {"MobileNetV1", "mobilenetv1"},
    {"mobilenet_v2", "mobilenetv2_100"},
    {"regnet_y_400mf", "regnety_004"},
    {"regnet_y_1_6gf", "regnety_016"},
    {"regnet_y_3_2gf", "regnety_032"},
    {"regnet_y_16gf", "regnety_160"},
    {"vit_b_16", "vit_base_patch16_224"},
    {"vit_b_32", "vit_base_patch32_224"},
    {"vit_l_16", "vit_large_patch16_224"},
    {"deit_small_patch16_LS", "deit3_small_patch16_224"},
    {"deit_medium_patch16_LS", "deit3_medium_patch16_224"},
    {"deit_base_patch16_LS", "deit3_base_patch16_224"},
    {"deit_large_patch16_LS", "deit3_large_patch16_224"},
}};

// Published names that mean two networks.
struct Ambiguous {
  std::string_view published, means;
};
constexpr std::array<Ambiguous, 7> kAmbiguous = {{
    {"ResNet50", "RepDistiller's is cifar_resnet50, torchvision's resnet50"},
    {"vgg11", "RepDistiller's is cifar_vgg11; torchvision's is not here"},
    {"vgg13", "RepDistiller's is cifar_vgg13; torchvision's is not here"},
    {"vgg16", "RepDistiller's is cifar_vgg16; torchvision's is not here"},
    {"vgg19", "RepDistiller's is cifar_vgg19; torchvision's is not here"},
    {"regnet_y_800mf", "timm's is regnety_008; torchvision's, with other widths, is not here"},
    {"regnet_y_8gf", "timm's is regnety_080; torchvision's, with other widths, is not here"},
}};

template <class Rows>
auto find(const Rows& rows, const std::string& name) {
  return std::find_if(rows.begin(), rows.end(),
                      [&](const auto& row) { return row.published == name; });
}

}  // namespace

std::vector<std::string> model_names() {
  std::vector<std::string> names = vit::variant_names();
  for (const std::string& name : cnn::names()) names.push_back(name);
  return names;
}

std::string canonical_model_name(const std::string& name) {
  const auto alias = find(kAliases, name);
  if (alias != kAliases.end()) return std::string(alias->ours);
  const std::string base = name.substr(0, name.find('.'));  // without timm's tag
  const std::vector<std::string> names = model_names();
  if (std::find(names.begin(), names.end(), base) != names.end()) return base;
  const auto ambiguous = find(kAmbiguous, base);
  if (ambiguous != kAmbiguous.end()) {
    throw ConfigError(fmt::format("'{}' may mean two models: {}", name, ambiguous->means));
  }
  throw ConfigError(fmt::format("unknown model '{}'.{} `umbra models` lists them all", name,
                                augment::nearest_hint(base, names)));
}

ModelOptions named_model(const std::string& name) {
  ModelOptions options;
  options.name = canonical_model_name(name);
  if (const auto vit = vit::named_options(options.name)) options.vit = *vit;
  // timm's default for these; torchvision's ResNets do without.
  const bool resnet_d = options.name.starts_with("resnet") && options.name.ends_with("d");
  options.cnn.zero_init_residual = options.name.starts_with("regnety_") || resnet_d;
  return options;
}

namespace {

// Crop and interpolation of timm's tf_efficientnet_lite0 to 4.
constexpr std::array<std::pair<double, std::string_view>, 5> kLite = {{{0.875, "bicubic"},
                                                                       {0.882, "bicubic"},
                                                                       {0.89, "bicubic"},
                                                                       {0.904, "bilinear"},
                                                                       {0.92, "bilinear"}}};

void set_both(PublishedInput& input, double mean, double std) {
  input.mean.assign(3, mean);
  input.std.assign(3, std);
}

}  // namespace

PublishedInput published_input(const std::string& published) {
  const std::string name = canonical_model_name(published);
  const bool torchvisions = published.starts_with("vit_b_") || published.starts_with("vit_l_");
  PublishedInput input;
  const auto vit = vit::named_options(name);
  input.image_size = vit ? vit->img_size : cnn::input_size(name);
  if (input.image_size <= 64) {
    input.crop_pct = 1.0;
    if (name.ends_with("_a")) return input;  // akamaster's files: ImageNet's statistics
    input.mean = {0.5071, 0.4867, 0.4408};   // RepDistiller's, of CIFAR-100
    input.std = {0.2675, 0.2565, 0.2761};
  } else if (torchvisions) {
    input.interpolation = "bilinear";
  } else if (name.starts_with("vit_")) {  // timm's augreg weights
    input.crop_pct = input.image_size == 224 ? 0.9 : 1.0;
    set_both(input, 0.5, 0.5);
  } else if (name.starts_with("deit3_")) {
    input.crop_pct = 1.0;
  } else if (name.starts_with("tf_efficientnet_lite")) {  // (x - 127) / 128
    const auto& [crop_pct, interpolation] = kLite.at(static_cast<size_t>(name.back() - '0'));
    input.crop_pct = crop_pct;
    input.interpolation = interpolation;
    set_both(input, 127.0 / 255.0, 128.0 / 255.0);
  } else if (name.find("resnet") != std::string::npos && !name.ends_with("d")) {
    input.interpolation = "bilinear";  // torchvision
  }
  return input;
}

}  // namespace umbra
