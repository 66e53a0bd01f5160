#include "augment/erase.h"

#include <cmath>

#include <ATen/ATen.h>
#include <ATen/Context.h>

namespace umbra::augment {
namespace {

constexpr double kMinArea = 0.02, kMaxArea = 1.0 / 3.0, kMinAspect = 0.3;
constexpr int kTries = 10;

}  // namespace

std::vector<Box> draw_erased(Rng& rng, const AugmentOptions& options, int height, int width) {
  std::vector<Box> boxes;
  if (options.erase_prob == 0.0 || !rng.coin(options.erase_prob)) return boxes;
  const int64_t low = options.erase_min_count, high = options.erase_count;
  const int64_t count = low + rng.below(high - low + 1);
  const double area = static_cast<double>(height) * width / static_cast<double>(count);
  for (int64_t i = 0; i < count; ++i) {
    for (int attempt = 0; attempt < kTries; ++attempt) {
      const double target = area * rng.uniform(kMinArea, kMaxArea);
      const double aspect = std::exp(rng.uniform(std::log(kMinAspect), -std::log(kMinAspect)));
      // Python's round: half to even.
      const int h = static_cast<int>(std::nearbyint(std::sqrt(target * aspect)));
      const int w = static_cast<int>(std::nearbyint(std::sqrt(target / aspect)));
      if (h >= height || w >= width) continue;
      const int y = static_cast<int>(rng.below(height - h + 1));
      const int x = static_cast<int>(rng.below(width - w + 1));
      boxes.push_back({x, y, w, h});
      break;
    }
  }
  return boxes;
}

void erase(torch::Tensor& images, const std::vector<ViewDraw>& draws, const std::string& mode) {
  for (size_t row = 0; row < draws.size(); ++row) {
    if (draws[row].erased.empty()) continue;
    const torch::Tensor image = images[static_cast<int64_t>(row)];  // [C, H, W]
    at::Generator generator = at::globalContext().defaultGenerator(images.device()).clone();
    generator.set_current_seed(draws[row].noise_seed);
    for (const Box& box : draws[row].erased) {
      const torch::Tensor region = image.narrow(1, box.y, box.height).narrow(2, box.x, box.width);
      if (mode == "const") {
        region.zero_();
      } else if (mode == "pixel") {
        region.copy_(at::randn(region.sizes(), generator, region.options()));
      } else {
        region.copy_(at::randn({region.size(0), 1, 1}, generator, region.options()));
      }
    }
  }
}

}  // namespace umbra::augment
