#include "augment/pipeline.h"

namespace umbra::augment {
namespace {

bool is_square_of(const cv::Mat& image, int size) {
  return image.cols == size && image.rows == size;
}

cv::Mat train_crop(const cv::Mat& image, const AugmentOptions& options, Rng& rng) {
  const int size = static_cast<int>(options.image_size);
  const Interpolation interpolation = parse_interpolation(options.interpolation);
  if (options.crop == "random_resized") {
    const Box box = draw_resized_crop(rng, image.cols, image.rows, options.scale, options.ratio);
    return resize(crop(image, box), size, size, interpolation);
  }
  const cv::Mat square =
      is_square_of(image, size) ? image : resize_and_center_crop(image, size, 1.0, interpolation);
  if (options.crop == "none") return square;
  const int padding = static_cast<int>(options.crop_padding);
  const int y = static_cast<int>(rng.below(2 * padding + 1));
  const int x = static_cast<int>(rng.below(2 * padding + 1));
  return pad_and_crop(square, padding, x, y, size);
}

}  // namespace

cv::Mat train_view(const cv::Mat& image, const AugmentOptions& options, Rng& rng) {
  const cv::Mat cropped = train_crop(image, options, rng);
  return rng.coin(options.hflip) ? hflip(cropped) : cropped;
}

cv::Mat eval_view(const cv::Mat& image, const AugmentOptions& options) {
  const int size = static_cast<int>(options.image_size);
  return resize_and_center_crop(image, size, options.crop_pct,
                                parse_interpolation(options.eval_interpolation));
}

}  // namespace umbra::augment
