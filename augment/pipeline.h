// From an image to the square 8-bit views the network sees. Everything random is drawn first, from
// streams keyed by the sample; making the view is then a pure function.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "augment/lazy_image.h"
#include "augment/options.h"
#include "augment/view_draw.h"

namespace umbra::augment {

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
