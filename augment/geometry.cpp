#include "augment/geometry.h"

#include <cmath>

#include <opencv2/core.hpp>

namespace umbra::augment {

cv::Mat crop(const cv::Mat& image, const Box& box) {
  return image(cv::Rect(box.x, box.y, box.width, box.height));
}

cv::Mat pad_and_crop(const cv::Mat& image, int padding, Padding kind, int x, int y, int size) {
  // Isolated: an image that is a crop must not be padded with what lies around it.
  const int border = kind == Padding::kBlack ? cv::BORDER_CONSTANT : cv::BORDER_REFLECT_101;
  cv::Mat padded;
  cv::copyMakeBorder(image, padded, padding, padding, padding, padding,
                     border | cv::BORDER_ISOLATED, cv::Scalar::all(0));
  return crop(padded, {x, y, size, size});
}

cv::Mat hflip(const cv::Mat& image) {
  cv::Mat flipped;
  cv::flip(image, flipped, /*flipCode=*/1);
  return flipped;
}

cv::Mat vflip(const cv::Mat& image) {
  cv::Mat flipped;
  cv::flip(image, flipped, /*flipCode=*/0);
  return flipped;
}

cv::Mat resize_shorter(const cv::Mat& image, int shorter, Interpolation interpolation) {
  const int64_t side = shorter,
                longer = side * std::max(image.cols, image.rows) / std::min(image.cols, image.rows);
  if (longer > DecodeOptions{}.max_pixels / side) {
    throw ImageError(
        fmt::format("an image of {}x{}, which becomes {} pixels long when its shorter "
                    "side is scaled to {}: too much",
                    image.cols, image.rows, longer, side));
  }
  const auto other = static_cast<int>(longer);
  return image.cols <= image.rows ? resize(image, shorter, other, interpolation)
                                  : resize(image, other, shorter, interpolation);
}

cv::Mat resize_and_center_crop(const cv::Mat& image, int size, double crop_pct,
                               Interpolation interpolation) {
  const cv::Mat resized =
      resize_shorter(image, static_cast<int>(std::floor(size / crop_pct)), interpolation);
  // Python's round: half to even.
  const int x = static_cast<int>(std::nearbyint((resized.cols - size) / 2.0));
  const int y = static_cast<int>(std::nearbyint((resized.rows - size) / 2.0));
  return crop(resized, {x, y, size, size});
}

Box draw_resized_crop(Rng& rng, int width, int height, const std::vector<double>& scale,
                      const std::vector<double>& ratio) {
  const double area = static_cast<double>(width) * height;
  for (int attempt = 0; attempt < 10; ++attempt) {
    const double target = area * rng.uniform(scale[0], scale[1]);
    const double aspect = std::exp(rng.uniform(std::log(ratio[0]), std::log(ratio[1])));
    const int w = static_cast<int>(std::nearbyint(std::sqrt(target * aspect)));
    const int h = static_cast<int>(std::nearbyint(std::sqrt(target / aspect)));
    if (w < 1 || h < 1 || w > width || h > height) continue;
    const int y = static_cast<int>(rng.below(height - h + 1));
    const int x = static_cast<int>(rng.below(width - w + 1));
    return {x, y, w, h};
  }
  int w = width, h = height;
  const double aspect = static_cast<double>(width) / height;
  if (aspect < ratio[0]) {
    h = static_cast<int>(std::nearbyint(w / ratio[0]));
  } else if (aspect > ratio[1]) {
    w = static_cast<int>(std::nearbyint(h * ratio[1]));
  }
  return {(width - w) / 2, (height - h) / 2, w, h};
}

}  // namespace umbra::augment
