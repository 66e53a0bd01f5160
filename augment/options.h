// What a config may set about images on their way into the network. Plain data.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace umbra::augment {

inline const std::vector<double> kImagenetMean = {0.485, 0.456, 0.406};
inline const std::vector<double> kImagenetStd = {0.229, 0.224, 0.225};

struct AugmentOptions {
  int64_t image_size = 224;  // side of the square the network sees, pixels

  // Training view.
  std::string crop = "random_resized";                 // "random_resized", "pad" or "none"
  int64_t crop_padding = 4;                            // pixels on each side, for crop = "pad"
  std::vector<double> scale = {0.08, 1.0};             // area share of random_resized
  std::vector<double> ratio = {3.0 / 4.0, 4.0 / 3.0};  // width / height of random_resized
  double hflip = 0.5;
  std::string interpolation = "bicubic";  // "bicubic" or "bilinear"

  // Evaluation view: resize the shorter side to image_size / crop_pct, then crop the centre.
  double crop_pct = 0.875;
  std::string eval_interpolation = "bicubic";

  // Normalisation, per channel, of values in [0, 1].
  std::vector<double> mean = kImagenetMean;
  std::vector<double> std = kImagenetStd;

  // Mixing of the normalised batch (timm's Mixup class, batch mode).
  double mixup_alpha = 0.0;
  double cutmix_alpha = 0.0;
  double mix_prob = 1.0;
  double switch_prob = 0.5;  // CutMix instead of mixup, when both are on
  double label_smoothing = 0.0;

  bool mixes() const { return mixup_alpha > 0.0 || cutmix_alpha > 0.0; }
};

}  // namespace umbra::augment
