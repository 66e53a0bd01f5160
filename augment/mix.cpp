#include "augment/mix.h"

#include <algorithm>
#include <cmath>

namespace umbra::augment {

MixDraw cutmix_box(double lambda, int64_t cy, int64_t cx, int64_t height, int64_t width) {
  const double side = std::sqrt(1.0 - lambda);
  const auto cut_h = static_cast<int64_t>(static_cast<double>(height) * side);
  const auto cut_w = static_cast<int64_t>(static_cast<double>(width) * side);
  MixDraw draw;
  draw.cutmix = true;
  draw.y0 = std::clamp<int64_t>(cy - cut_h / 2, 0, height);
  draw.y1 = std::clamp<int64_t>(cy + cut_h / 2, 0, height);
  draw.x0 = std::clamp<int64_t>(cx - cut_w / 2, 0, width);
  draw.x1 = std::clamp<int64_t>(cx + cut_w / 2, 0, width);
  const auto box_area = static_cast<double>((draw.y1 - draw.y0) * (draw.x1 - draw.x0));
  draw.lambda = 1.0 - box_area / static_cast<double>(height * width);
  return draw;
}

MixDraw draw_mix(Rng& rng, const AugmentOptions& options, int64_t height, int64_t width) {
  MixDraw draw;
  if (!options.mixes() || !rng.coin(options.mix_prob)) return draw;
  const bool both = options.mixup_alpha > 0.0 && options.cutmix_alpha > 0.0;
  const bool cutmix = both ? rng.coin(options.switch_prob) : options.cutmix_alpha > 0.0;
  const double alpha = cutmix ? options.cutmix_alpha : options.mixup_alpha;
  draw.lambda = rng.beta(alpha, alpha);
  if (!cutmix) return draw;
  const int64_t cy = rng.below(height), cx = rng.below(width);
  return cutmix_box(draw.lambda, cy, cx, height, width);
}

torch::Tensor mix_images(const torch::Tensor& images, const MixDraw& draw) {
  if (draw.lambda == 1.0) return images;
  const torch::Tensor partners = images.flip(0);
  if (!draw.cutmix) return images.mul(draw.lambda).add_(partners, 1.0 - draw.lambda);
  using torch::indexing::Slice;
  const auto box = {torch::indexing::TensorIndex(Slice()), torch::indexing::TensorIndex(Slice()),
                    torch::indexing::TensorIndex(Slice(draw.y0, draw.y1)),
                    torch::indexing::TensorIndex(Slice(draw.x0, draw.x1))};
  torch::Tensor mixed = images.clone();
  mixed.index_put_(box, partners.index(box));
  return mixed;
}

torch::Tensor mix_targets(const torch::Tensor& labels, int64_t num_classes, double label_smoothing,
                          const MixDraw& draw) {
  const double off = label_smoothing / static_cast<double>(num_classes);
  const double on = 1.0 - label_smoothing + off;
  const auto one_hot = [&](const torch::Tensor& classes) {
    return torch::full({classes.size(0), num_classes}, off,
                       torch::TensorOptions().dtype(torch::kFloat32).device(classes.device()))
        .scatter_(1, classes.unsqueeze(1), on);
  };
  torch::Tensor targets = one_hot(labels);
  if (draw.lambda == 1.0) return targets;
  return targets.mul_(draw.lambda).add_(one_hot(labels.flip(0)), 1.0 - draw.lambda);
}

}  // namespace umbra::augment
