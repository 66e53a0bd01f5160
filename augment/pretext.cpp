#include "augment/pretext.h"

#include <algorithm>
#include <stdexcept>

#include <fmt/format.h>
#include <opencv2/core.hpp>

#include "augment/geometry.h"
#include "augment/pixel_ops.h"

namespace umbra::augment {
namespace {

constexpr double kLowFactor = 0.6, kHighFactor = 1.4, kMaxHue = 0.1;

}  // namespace

cv::Mat rotate_quarters(const cv::Mat& image, int quarters) {
  cv::Mat rotated;
  switch (((quarters % 4) + 4) % 4) {
    case 1:
      cv::rotate(image, rotated, cv::ROTATE_90_COUNTERCLOCKWISE);
      return rotated;
    case 2:
      cv::rotate(image, rotated, cv::ROTATE_180);
      return rotated;
    case 3:
      cv::rotate(image, rotated, cv::ROTATE_90_CLOCKWISE);
      return rotated;
    default:
      return image;
  }
}

std::array<int, 4> jigsaw_order(int permutation) {
  if (permutation < 0 || permutation >= kJigsawPermutations) {
    throw std::invalid_argument(
        fmt::format("jigsaw permutation {}: want 0 to {}", permutation, kJigsawPermutations - 1));
  }
  std::array<int, 4> order = {0, 1, 2, 3};
  for (int i = 0; i < permutation; ++i) std::next_permutation(order.begin(), order.end());
  return order;
}

cv::Mat jigsaw(const cv::Mat& image, int permutation) {
  const std::array<int, 4> order = jigsaw_order(permutation);
  const int w = image.cols / 2, h = image.rows / 2;
  const auto part = [&](int i) { return cv::Rect(i % 2 * w, i / 2 * h, w, h); };
  cv::Mat result = image.clone();
  for (int i = 0; i < 4; ++i) image(part(order[i])).copyTo(result(part(i)));
  return result;
}

PoolOp draw_pool_op(Rng& rng, PoolOp::Kind kind, int width, int height) {
  PoolOp op;
  op.kind = kind;
  switch (kind) {
    case PoolOp::kColorDrop:
      break;
    case PoolOp::kRotation:
      op.quarters = static_cast<int>(1 + rng.below(3));
      break;
    case PoolOp::kCropResize:
      op.box = draw_resized_crop(rng, width, height, {0.08, 1.0}, {3.0 / 4.0, 4.0 / 3.0});
      break;
    case PoolOp::kColorJitter:
      for (double& factor : op.factors) factor = rng.uniform(kLowFactor, kHighFactor);
      op.hue = rng.uniform(-kMaxHue, kMaxHue);
      break;
  }
  return op;
}

PoolOp draw_pool_op(Rng& rng, int width, int height) {
  return draw_pool_op(rng, static_cast<PoolOp::Kind>(rng.below(4)), width, height);
}

cv::Mat apply(const cv::Mat& image, const PoolOp& op, Interpolation interpolation) {
  switch (op.kind) {
    case PoolOp::kColorDrop:
      return grayscale(image);
    case PoolOp::kRotation:
      if (image.cols != image.rows) {
        throw std::invalid_argument("a quarter turn keeps the size of square images only");
      }
      return rotate_quarters(image, op.quarters);
    case PoolOp::kCropResize:
      return resize(crop(image, op.box), image.cols, image.rows, interpolation);
    case PoolOp::kColorJitter: {
      cv::Mat result = adjust_brightness(image, op.factors[0]);
      result = adjust_contrast(result, op.factors[1]);
      result = adjust_color(result, op.factors[2]);
      return adjust_hue(result, op.hue);
    }
  }
  return image;
}

std::string PoolOp::name() const {
  constexpr std::array kNames = {"ColorDrop", "Rotation", "CropResize", "ColorJitter"};
  return kNames[kind];
}

std::string PoolOp::text() const {
  switch (kind) {
    case kColorDrop:
      break;
    case kRotation:
      return fmt::format("{} {} deg", name(), 90 * quarters);
    case kCropResize:
      return fmt::format("{} {}x{}+{}+{}", name(), box.width, box.height, box.x, box.y);
    case kColorJitter:
      return fmt::format("{} {:.2f} {:.2f} {:.2f} hue {:+.2f}", name(), factors[0], factors[1],
                         factors[2], hue);
  }
  return name();
}

}  // namespace umbra::augment
