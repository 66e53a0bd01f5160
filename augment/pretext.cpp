#include "augment/pretext.h"

#include <algorithm>
#include <stdexcept>

#include <fmt/format.h>
#include <opencv2/core.hpp>

#include "augment/geometry.h"
#include "augment/pixel_ops.h"

namespace umbra::augment {
namespace {

const std::vector<double> kJitterStrength = {0.4, 0.4, 0.4, 0.1};

PoolOp draw_kind(Rng& rng, PoolOp::Kind kind, int width, int height) {
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
      op.jitter = draw_jitter(rng, kJitterStrength);
      break;
  }
  return op;
}

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

PoolOp draw_pool_op(Rng& rng, int width, int height) {
  return draw_kind(rng, static_cast<PoolOp::Kind>(rng.below(4)), width, height);
}

std::vector<PoolOp> draw_exemplar(Rng& rng, int width, int height) {
  const int64_t chosen = 1 + rng.below(15);  // a bit for each kind
  std::vector<PoolOp> ops;
  for (const auto kind :
       {PoolOp::kCropResize, PoolOp::kRotation, PoolOp::kColorJitter, PoolOp::kColorDrop}) {
    if ((chosen >> kind) & 1) ops.push_back(draw_kind(rng, kind, width, height));
  }
  return ops;
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
    case PoolOp::kColorJitter:
      return apply(image, op.jitter);
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
      return fmt::format("{} {}", name(), jitter.text());
  }
  return name();
}

}  // namespace umbra::augment
