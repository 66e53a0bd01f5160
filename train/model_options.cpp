#include "train/model_options.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "augment/nearest_hint.h"
#include "cnn/backbone.h"
#include "train/error.h"

namespace umbra {
namespace {

struct Alias {
  std::string_view published, ours;
};
// Left out is what means two networks: RepDistiller's ResNet50 (cifar_resnet50), torchvision's
// regnet_y_800mf and regnet_y_8gf (wider than timm's).
constexpr std::array<Alias, 21> kAliases = {{
    {"MobileNetV2", "cifar_mobilenetv2_050"},
    {"ShuffleV1", "shufflenetv1"},
    {"ShuffleV2", "cifar_shufflenetv2"},
    {"vgg8", "cifar_vgg8"},
    {"vgg11", "cifar_vgg11"},
    {"vgg13", "cifar_vgg13"},
    {"vgg16", "cifar_vgg16"},
    {"vgg19", "cifar_vgg19"},
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

}  // namespace

std::vector<std::string> model_names() {
  std::vector<std::string> names = vit::variant_names();
  for (const std::string& name : cnn::names()) names.push_back(name);
  return names;
}

std::string canonical_model_name(const std::string& name) {
  const std::string base = name.substr(0, name.find('.'));
  const auto alias = std::find_if(kAliases.begin(), kAliases.end(), [&](const Alias& candidate) {
    return base == candidate.published;
  });
  if (alias != kAliases.end()) return std::string(alias->ours);
  const std::vector<std::string> names = model_names();
  if (std::find(names.begin(), names.end(), base) != names.end()) return base;
  throw ConfigError(fmt::format("unknown model '{}'.{} `umbra models` lists them all", name,
                                augment::nearest_hint(base, names)));
}

ModelOptions named_model(const std::string& name) {
  ModelOptions options;
  options.name = canonical_model_name(name);
  if (const auto vit = vit::named_options(options.name)) options.vit = *vit;
  return options;
}

PublishedInput published_input(const std::string& name) {
  PublishedInput input;
  const auto vit = vit::named_options(name);
  input.image_size = vit ? vit->img_size : cnn::input_size(name);
  if (input.image_size <= 64) input.crop_pct = 1.0;
  if (name.starts_with("tf_efficientnet_lite")) {  // (x - 127) / 128
    input.mean.assign(3, 127.0 / 255.0);
    input.std.assign(3, 128.0 / 255.0);
  }
  return input;
}

}  // namespace umbra
