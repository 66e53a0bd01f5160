// From an image to the square 8-bit views the network sees. Everything random is drawn first, from
// streams keyed by the sample; making the view is then a pure function.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "augment/geometry.h"
#include "augment/lazy_image.h"
#include "augment/options.h"
#include "augment/policy.h"
#include "augment/pretext.h"

namespace umbra::augment {

// Colour jitter as torchvision draws it: the four adjustments in a random order.
struct JitterDraw {
  std::array<int, 4> order = {0, 1, 2, 3};       // 0 brightness, 1 contrast, 2 saturation, 3 hue
  std::array<double, 4> factors = {1, 1, 1, 0};  // hue: turns
};

// Everything random about one view.
struct ViewDraw {
  int quarters = 0;  // turned first, counter-clockwise
  Box crop;          // window of the image; of the resized and padded one for "pad" and "simple"
  Interpolation interpolation = Interpolation::kBicubic;
  bool hflip = false, vflip = false;
  DrawnPolicy policy;
  std::optional<JitterDraw> jitter;
  bool grayscale = false;
  double blur_sigma = 0.0;    // 0: no blur
  std::vector<PoolOp> pool;   // SSKD's transformations, in order
  int permutation = 0;        // of the jigsaw
  int64_t pretext_label = 0;  // which rotation or permutation
  std::vector<Box> erased;    // filled after normalisation
  uint64_t noise_seed = 0;    // of that filling

  // What was done, for people: one entry per operation, erasing included.
  std::vector<std::string> texts() const;
};

// Which sample is looked at, and when. `repeat` tells the copies of repeated augmentation apart.
struct ViewKey {
  uint64_t seed = 0, index = 0;
  uint32_t epoch = 0, repeat = 0;
};

class Pipeline {
 public:
  // Throws std::invalid_argument if options.auto_augment or options.policy is wrong.
  explicit Pipeline(const AugmentOptions& options);

  // The draws of all options.views() training views of an image of that size.
  std::vector<ViewDraw> draw(const ViewKey& key, int width, int height) const;

  // Called after each operation with its name and the image so far; for previews and statistics.
  using Observer = std::function<void(const std::string& operation, const cv::Mat& image)>;

  // The training view, image_size x image_size, without erasing.
  cv::Mat train_view(const LazyImage& image, const ViewDraw& draw,
                     const Observer& observe = {}) const;

  // The evaluation view: shorter side to image_size / crop_pct, centre crop. No chance.
  cv::Mat eval_view(const LazyImage& image) const;

 private:
  ViewDraw draw_view(const ViewKey& key, int view, int width, int height) const;
  cv::Mat cropped(const LazyImage& image, const ViewDraw& draw) const;
  void draw_geometry(ViewDraw& draw, Rng& rng, int width, int height) const;
  void draw_colors(ViewDraw& draw, Rng& rng) const;
  void draw_pretext(ViewDraw& draw, Rng& rng, int view) const;

  const AugmentOptions options_;
  const cv::Scalar fill_;  // of what a geometric operation uncovers
  std::optional<Policy> policy_;
};

}  // namespace umbra::augment
