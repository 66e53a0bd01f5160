// What a config may set about images on their way into the network. Plain data.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace umbra::augment {

inline const std::vector<double> kImagenetMean = {0.485, 0.456, 0.406};
inline const std::vector<double> kImagenetStd = {0.229, 0.224, 0.225};

struct AugmentOptions {
  std::string preset = "crop-flip";  // sets the defaults of the fields below
  int64_t image_size = 224;          // side of the square the network sees, pixels

  // Training view, in this order.
  std::string crop = "random_resized";                 // "pad", "simple" or "none"
  int64_t crop_padding = 4;                            // pixels, for crop = "pad" and "simple"
  std::vector<double> scale = {0.08, 1.0};             // area share of random_resized
  std::vector<double> ratio = {3.0 / 4.0, 4.0 / 3.0};  // width / height of random_resized
  std::string interpolation = "bicubic";               // "bilinear" or "random": one of the two
  double hflip = 0.5;
  double vflip = 0.0;
  std::string auto_augment;          // timm's string: "rand-m9-mstd0.5-inc1"; empty: none
  std::vector<std::string> policy;   // sub-policies of auto_augment = "custom"
  std::vector<double> color_jitter;  // brightness, contrast, saturation, hue; may be shorter
  double color_jitter_prob = 1.0;
  double grayscale_prob = 0.0;
  double blur_prob = 0.0;  // Gaussian blur, sigma uniform in [0.1, 2]

  // Random erasing of the normalised image (Zhong et al., 2020).
  double erase_prob = 0.0;
  std::string erase_mode = "pixel";  // "pixel", "rand" or "const"
  int64_t erase_count = 1;           // rectangles at most
  int64_t erase_min_count = 1;

  // Several views of each sample, as rows that follow each other in the batch.
  int64_t repeats = 1;           // repeated augmentation: views that are samples of their own
  int64_t splits = 1;            // the first without auto_augment and erasing, the others with
  std::string pretext = "none";  // SSKD: "rotation", "pool", "exemplar" or "jigsaw"

  // Evaluation view: resize the shorter side to image_size / crop_pct, then crop the centre.
  double crop_pct = 0.875;
  std::string eval_interpolation = "bicubic";

  // Normalisation, per channel, of values in [0, 1].
  std::vector<double> mean = kImagenetMean;
  std::vector<double> std = kImagenetStd;

  // Mixing of the batch (timm's Mixup class).
  double mixup_alpha = 0.0;
  double cutmix_alpha = 0.0;
  std::vector<double> cutmix_minmax;  // [low, high] share of the side; replaces the alpha's box
  double mix_prob = 1.0;
  double switch_prob = 0.5;               // CutMix instead of mixup, when both are on
  std::string mix_mode = "batch";         // "pair" or "elem"
  int64_t mix_groups = 1;                 // parts of the batch with mixing of their own
  std::string mix_order = "erase_first";  // DeiT; "mix_first": timm, on 8-bit values
  std::string cutmix_box = "deit";        // or "timm": 1.0.31's, which keeps odd sides odd
  int64_t mix_off_epoch = 0;              // no mixing from this epoch on; 0: always
  double label_smoothing = 0.0;

  bool mixes() const { return mixup_alpha > 0.0 || uses_cutmix(); }
  bool uses_cutmix() const { return cutmix_alpha > 0.0 || !cutmix_minmax.empty(); }

  // Rows of the batch that one draw of the sampler becomes.
  int64_t views() const { return pretext == "none" ? splits : 4; }
};

// Sets every field that the named preset decides; false if the name is unknown.
bool apply_preset(AugmentOptions& options, const std::string& preset);
std::vector<std::string> augment_presets();

}  // namespace umbra::augment
