#include "augment/options.h"

#include <algorithm>
#include <utility>

namespace umbra::augment {
namespace {

using Preset = std::pair<std::string, void (*)(AugmentOptions&)>;

// DeiT's recipe (Touvron et al., 2021, table 9), as its code runs on timm 0.3.2.
void deit(AugmentOptions& o) {
  o.auto_augment = "rand-m9-mstd0.5-inc1";
  o.erase_prob = 0.25;
  o.repeats = 3;
  o.mixup_alpha = 0.8;
  o.cutmix_alpha = 1.0;
  o.label_smoothing = 0.1;
}

// The same recipe as timm 1.0.31's train.py runs it.
void timm(AugmentOptions& o) {
  deit(o);
  o.interpolation = "random";
  o.repeats = 1;
  o.mix_order = "mix_first";
  o.cutmix_box = "timm";
  o.crop_pct = 0.9;  // of timm's DeiT models at 224 pixels
}

// DeiT III (Touvron et al., 2022) as its code is run: 3-Augment, for binary cross-entropy.
void deit3(AugmentOptions& o) {
  o.auto_augment = "3a";
  o.color_jitter = {0.3, 0.3, 0.3};
  o.repeats = 3;
  o.mixup_alpha = 0.8;
  o.cutmix_alpha = 1.0;
  o.crop_pct = 1.0;
}

void cifar(AugmentOptions& o) {
  o.crop = "pad";
  o.crop_pct = 1.0;
}

// SHAKE's supplement, 1.2: crop, flip and brightness; how much brightness it does not say.
void imagenet_basic(AugmentOptions& o) {
  o.interpolation = o.eval_interpolation = "bilinear";
  o.color_jitter = {0.4};
}

void none(AugmentOptions& o) {
  o.crop = "none";
  o.crop_pct = 1.0;
  o.hflip = 0.0;
}

const std::vector<Preset> kPresets = {
    {"crop-flip", [](AugmentOptions&) {}}, {"deit", deit},   {"deit3", deit3}, {"timm", timm},
    {"imagenet-basic", imagenet_basic},    {"cifar", cifar}, {"none", none}};

}  // namespace

bool apply_preset(AugmentOptions& options, const std::string& preset) {
  const auto found = std::find_if(kPresets.begin(), kPresets.end(),
                                  [&](const Preset& known) { return known.first == preset; });
  if (found == kPresets.end()) return false;
  found->second(options);
  return true;
}

std::vector<std::string> augment_presets() {
  std::vector<std::string> names;
  for (const auto& [name, apply] : kPresets) names.push_back(name);
  return names;
}

}  // namespace umbra::augment
