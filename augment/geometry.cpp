#include "augment/geometry.h"

#include <cmath>
#include <cstring>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <opencv2/core.hpp>

namespace umbra::augment {

Interpolation parse_interpolation(const std::string& name) {
  TORCH_CHECK(name == "bilinear" || name == "bicubic", "unknown interpolation '", name, "'");
  return name == "bilinear" ? Interpolation::kBilinear : Interpolation::kBicubic;
}

cv::Mat resize(const cv::Mat& image, int width, int height, Interpolation interpolation) {
  if (image.cols == width && image.rows == height) return image;
  const at::NoGradGuard no_grad;
  const cv::Mat source = image.isContinuous() ? image : image.clone();
  const int64_t channels = source.channels();
  const at::Tensor pixels =
      at::from_blob(source.data, {1, source.rows, source.cols, channels}, at::kByte)
          .permute({0, 3, 1, 2});  // [1, C, H, W], channels last in memory
  const at::Tensor resized =
      interpolation == Interpolation::kBicubic
          ? at::_upsample_bicubic2d_aa(pixels, {height, width}, /*align_corners=*/false)
          : at::_upsample_bilinear2d_aa(pixels, {height, width}, /*align_corners=*/false);
  const at::Tensor rows = resized.permute({0, 2, 3, 1}).contiguous();  // [1, h, w, C]
  cv::Mat result(height, width, source.type());
  std::memcpy(result.data, rows.data_ptr(), rows.numel());
  return result;
}

cv::Mat crop(const cv::Mat& image, const Box& box) {
  return image(cv::Rect(box.x, box.y, box.width, box.height));
}

cv::Mat pad_and_crop(const cv::Mat& image, int padding, int x, int y, int size) {
  // Isolated: an image that is a crop must not be padded with what lies around it.
  cv::Mat padded;
  cv::copyMakeBorder(image, padded, padding, padding, padding, padding,
                     cv::BORDER_CONSTANT | cv::BORDER_ISOLATED, cv::Scalar::all(0));
  return crop(padded, {x, y, size, size});
}

cv::Mat hflip(const cv::Mat& image) {
  cv::Mat flipped;
  cv::flip(image, flipped, /*flipCode=*/1);
  return flipped;
}

cv::Mat resize_and_center_crop(const cv::Mat& image, int size, double crop_pct,
                               Interpolation interpolation) {
  const int shorter = static_cast<int>(std::floor(size / crop_pct));
  cv::Mat resized = image;
  if (image.cols <= image.rows) {
    const int height = static_cast<int>(int64_t{shorter} * image.rows / image.cols);
    resized = resize(image, shorter, height, interpolation);
  } else {
    const int width = static_cast<int>(int64_t{shorter} * image.cols / image.rows);
    resized = resize(image, width, shorter, interpolation);
  }
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
