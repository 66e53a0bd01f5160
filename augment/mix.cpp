#include "augment/mix.h"

#include <algorithm>
#include <cmath>

#include "augment/to_device.h"

namespace umbra::augment {
namespace {

using torch::indexing::Slice;

// A side of CutMix-minmax: int(low * side) up to but excluding int(high * side), as timm draws it.
int64_t draw_side(Rng& rng, const std::vector<double>& minmax, int64_t side) {
  const auto low = static_cast<int64_t>(minmax[0] * static_cast<double>(side));
  const auto high = static_cast<int64_t>(minmax[1] * static_cast<double>(side));
  return low + rng.below(std::max<int64_t>(1, high - low));
}

Mix with_true_lambda(Mix mix, int64_t height, int64_t width) {
  const auto area = static_cast<double>((mix.y1 - mix.y0) * (mix.x1 - mix.x0));
  mix.lambda = 1.0 - area / static_cast<double>(height * width);
  return mix;
}

// timm 0.3.2 never puts a box into the last row or column; 1.0.31 (`to_edge`) does.
Mix cutmix_minmax(Rng& rng, const std::vector<double>& minmax, int64_t height, int64_t width,
                  bool to_edge) {
  const int64_t h = draw_side(rng, minmax, height), w = draw_side(rng, minmax, width);
  const int64_t edge = to_edge ? 1 : 0;
  const int64_t y = rng.below(std::max<int64_t>(1, height - h + edge));
  const int64_t x = rng.below(std::max<int64_t>(1, width - w + edge));
  return with_true_lambda({.cutmix = true, .y0 = y, .y1 = y + h, .x0 = x, .x1 = x + w}, height,
                          width);
}

Mix draw_one(Rng& rng, const AugmentOptions& options, int64_t height, int64_t width) {
  if (!rng.coin(options.mix_prob)) return {};
  const bool both = options.mixup_alpha > 0.0 && options.uses_cutmix();
  const bool cutmix = both ? rng.coin(options.switch_prob) : options.uses_cutmix();
  if (!cutmix) return {.lambda = rng.beta(options.mixup_alpha, options.mixup_alpha)};
  const auto& minmax = options.cutmix_minmax;
  const bool timm = options.cutmix_box == "timm";
  if (!minmax.empty()) return cutmix_minmax(rng, minmax, height, width, timm);
  const double lambda = rng.beta(options.cutmix_alpha, options.cutmix_alpha);
  const int64_t cy = rng.below(height), cx = rng.below(width);
  return cutmix_around(lambda, cy, cx, height, width, timm);
}

// [B, 1, ...] of `dimensions` dimensions: each sample's own share.
torch::Tensor lambdas(const MixDraw& draw, int64_t dimensions, const torch::Tensor& like) {
  std::vector<float> values;
  for (const Mix& mix : draw) values.push_back(static_cast<float>(mix.lambda));
  std::vector<int64_t> shape(dimensions, 1);
  shape[0] = static_cast<int64_t>(values.size());
  return to_device(torch::tensor(values).view(shape), like.device());
}

torch::Tensor paste(const torch::Tensor& images, const torch::Tensor& partners, const Mix& mix) {
  const auto box = {torch::indexing::TensorIndex(torch::indexing::Ellipsis),
                    torch::indexing::TensorIndex(Slice(mix.y0, mix.y1)),
                    torch::indexing::TensorIndex(Slice(mix.x0, mix.x1))};
  torch::Tensor mixed = images.clone();
  mixed.index_put_(box, partners.index(box));
  return mixed;
}

torch::Tensor mix_each(const torch::Tensor& images, const MixDraw& draw) {
  TORCH_CHECK(static_cast<int64_t>(draw.size()) == images.size(0), "mix: ", draw.size(),
              " draws for ", images.size(0), " images");
  const torch::Tensor partners = images.flip(0);
  const torch::Tensor lambda = lambdas(draw, images.dim(), images);
  const torch::Tensor mixed = images * lambda + partners * (1.0 - lambda);
  for (int64_t i = 0; i < images.size(0); ++i) {
    const Mix& mix = draw[i];
    if (mix.cutmix) mixed[i].copy_(paste(images[i], partners[i], mix));
  }
  return mixed;
}

// What `mix` makes of the rows of each group, in the order of the rows.
template <typename MixRows>
torch::Tensor by_group(const torch::Tensor& rows, const GroupedMixDraw& draws, const MixRows& mix) {
  if (draws.size() == 1) return mix(rows, draws[0]);
  const auto groups = static_cast<int64_t>(draws.size());
  torch::Tensor result;
  for (int64_t group = 0; group < std::min(groups, rows.size(0)); ++group) {
    const auto of_group = [&](const torch::Tensor& all) {
      return all.slice(0, group, all.size(0), groups);
    };
    const torch::Tensor mixed = mix(of_group(rows), draws[group]);
    if (group == 0) {
      std::vector<int64_t> shape = mixed.sizes().vec();
      shape[0] = rows.size(0);
      result = torch::empty(shape, mixed.options(), mixed.suggest_memory_format());
    }
    of_group(result).copy_(mixed);
  }
  return result;
}

}  // namespace

Mix cutmix_around(double lambda, int64_t cy, int64_t cx, int64_t height, int64_t width,
                  bool keep_odd) {
  const double side = std::sqrt(1.0 - lambda);
  const auto cut_h = static_cast<int64_t>(static_cast<double>(height) * side);
  const auto cut_w = static_cast<int64_t>(static_cast<double>(width) * side);
  const int64_t odd = keep_odd ? 1 : 0;
  Mix mix;
  mix.cutmix = true;
  mix.y0 = std::clamp<int64_t>(cy - cut_h / 2, 0, height);
  mix.y1 = std::clamp<int64_t>(cy + (cut_h + odd) / 2, 0, height);
  mix.x0 = std::clamp<int64_t>(cx - cut_w / 2, 0, width);
  mix.x1 = std::clamp<int64_t>(cx + (cut_w + odd) / 2, 0, width);
  return with_true_lambda(mix, height, width);
}

MixDraw draw_mix(Rng& rng, const AugmentOptions& options, int64_t batch, int64_t height,
                 int64_t width) {
  if (!options.mixes()) return {Mix{}};
  if (options.mix_mode == "batch") return {draw_one(rng, options, height, width)};
  MixDraw draw(batch);
  const bool pairs = options.mix_mode == "pair";
  const int64_t drawn = pairs ? batch / 2 : batch;
  for (int64_t i = 0; i < drawn; ++i) {
    draw[i] = draw_one(rng, options, height, width);
    if (pairs) draw[batch - 1 - i] = draw[i];
  }
  return draw;
}

int64_t mix_partner(int64_t row, int64_t rows, int64_t groups) {
  const int64_t group = row % groups;
  const int64_t last = group + (rows - 1 - group) / groups * groups;
  return group + last - row;
}

torch::Tensor mix_images(const torch::Tensor& images, const MixDraw& draw) {
  if (draw.size() > 1) return mix_each(images, draw);
  const Mix& mix = draw.at(0);
  if (mix.lambda == 1.0) return images;
  const torch::Tensor partners = images.flip(0);
  if (mix.cutmix) return paste(images, partners, mix);
  return images.mul(mix.lambda).add_(partners, 1.0 - mix.lambda);
}

torch::Tensor mix_images(const torch::Tensor& images, const GroupedMixDraw& draws) {
  return by_group(images, draws, [](const torch::Tensor& part, const MixDraw& draw) {
    return mix_images(part, draw);
  });
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
  if (draw.size() > 1) {
    const torch::Tensor lambda = lambdas(draw, 2, targets);  // [B, 1]
    return targets * lambda + one_hot(labels.flip(0)) * (1.0 - lambda);
  }
  const double lambda = draw.at(0).lambda;
  if (lambda == 1.0) return targets;
  return targets.mul_(lambda).add_(one_hot(labels.flip(0)), 1.0 - lambda);
}

torch::Tensor mix_targets(const torch::Tensor& labels, int64_t num_classes, double label_smoothing,
                          const GroupedMixDraw& draws) {
  return by_group(labels, draws, [&](const torch::Tensor& part, const MixDraw& draw) {
    return mix_targets(part, num_classes, label_smoothing, draw);
  });
}

}  // namespace umbra::augment
