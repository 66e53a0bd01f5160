#include "train/loop/prepare.h"

#include "augment/erase.h"
#include "augment/to_device.h"

namespace umbra {

std::vector<RawBatch> split(const RawBatch& batch, int64_t count) {
  const int64_t size = batch.samples();
  count = std::min(size, count);
  std::vector<RawBatch> parts;
  for (int64_t i = 0; i < count; ++i) {
    parts.push_back(batch.slice(size * i / count, size * (i + 1) / count));
  }
  return parts;
}

Preparation::Preparation(const augment::AugmentOptions& options, int64_t num_classes, uint64_t seed,
                         torch::Device device)
    : options_(options),
      num_classes_(num_classes),
      seed_(seed),
      normalize_(options.mean, options.std, device) {}

augment::GroupedMixDraw Preparation::draw_mix(at::IntArrayRef shape, int64_t step, int64_t part,
                                              double epoch) const {
  const auto mix_off = static_cast<double>(options_.mix_off_epoch);
  if (!options_.mixes() || (mix_off > 0.0 && epoch >= mix_off)) return {{augment::Mix{}}};
  const int64_t groups = options_.mix_groups;
  augment::GroupedMixDraw draws;
  for (int64_t group = 0; group < groups; ++group) {
    augment::Rng rng({seed_, augment::Purpose::kMix, static_cast<uint64_t>(step), /*epoch=*/0,
                      static_cast<uint32_t>(part * groups + group)});
    const int64_t rows = (shape[0] - group + groups - 1) / groups;
    draws.push_back(augment::draw_mix(rng, options_, rows, shape[2], shape[3]));
  }
  return draws;
}

Batch Preparation::operator()(const RawBatch& raw, int64_t step, int64_t part, double epoch) const {
  Batch batch;
  torch::Tensor images = normalize_.to_device(raw.images);  // [B, C, H, W], 8 bits
  batch.labels = batch.targets = augment::to_device(raw.labels, images.device());
  batch.indices = raw.indices;
  batch.pretext_labels = augment::to_device(raw.pretext_labels, images.device());
  batch.views = raw.views;
  batch.step = step;
  batch.first_row = raw.first_row;
  batch.epoch = epoch;

  const augment::GroupedMixDraw draws = draw_mix(images.sizes(), step, part, epoch);
  const bool mix_first = options_.mix_order == "mix_first";  // timm: 8-bit values, rounded
  if (mix_first) images = augment::mix_images(images.to(torch::kFloat32), draws).round();
  images = normalize_(images);
  augment::erase(images, raw.draws, options_.erase_mode);
  if (!mix_first) images = augment::mix_images(images, draws);
  batch.images = images;
  if (options_.mixes() || options_.label_smoothing > 0.0) {
    batch.targets = augment::mix_targets(batch.labels, num_classes_, options_.label_smoothing,
                                         draws);  // [B, classes]
  }
  return batch;
}

}  // namespace umbra
