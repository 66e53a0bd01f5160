#include "train/distill/losses.h"
#include "train/distill/stages.h"
#include "train/distill/terms/terms.h"
#include "train/error.h"

namespace umbra {
namespace {

// Max-pooled to height `height`, of which its own is a multiple.
torch::Tensor max_pooled(const torch::Tensor& map, int64_t height) {
  const int64_t factor = map.size(2) / height;
  return factor > 1 ? torch::max_pool2d(map, factor) : map;
}

}  // namespace

torch::Tensor n_to_one_loss(const torch::Tensor& expanded, const torch::Tensor& teacher) {
  const int64_t channels = teacher.size(1), copies = expanded.size(1) / channels;
  const torch::Tensor e = max_pooled(wide(expanded), teacher.size(2))
                              .unflatten(1, {copies, channels});  // [B, N, C, H, W]
  const torch::Tensor t = max_pooled(wide(teacher.detach()), expanded.size(2)).unsqueeze(1);
  return (e - t).square().mean() * static_cast<double>(copies);
}

std::unique_ptr<Term> make_norm(const TermContext& context) {
  require_stages(context);
  const std::string &student = context.student.model->options().name,
                    &teacher = context.teacher.model->options().name;
  if (context.student.model->options().is_vit()) {
    throw ConfigError(
        fmt::format("method \"norm\" widens the last map of a CNN before its pooling, and the "
                    "student {} is a transformer: take a CNN, or fitnet or review_kd",
                    student));
  }
  const torch::Tensor &expanded = context.student.example.expanded,
                      target = as_map(context.teacher.example.features.back());
  const int64_t channels = target.size(1);
  if (!expanded.defined() || expanded.size(1) % channels != 0) {
    throw ConfigError(fmt::format(
        "method \"norm\" needs a feature transform in the student {}, a multiple N of the {} "
        "channels of {}'s last stage wide, got {}: set model.expanded_channels, {} for N = 8",
        student, channels, teacher, expanded.defined() ? expanded.size(1) : 0, 8 * channels));
  }
  const auto fits = [&](int64_t dim) {
    const int64_t s = expanded.size(dim), t = target.size(dim);
    return std::max(s, t) % std::min(s, t) == 0 && s * target.size(2) == t * expanded.size(2);
  };
  if (!fits(2) || !fits(3)) {
    throw ConfigError(fmt::format(
        "method \"norm\" pools the larger of the last maps to the smaller, and {} x {} of the "
        "student {} and {} x {} of {} are no multiples of each other: take another teacher",
        expanded.size(2), expanded.size(3), student, target.size(2), target.size(3), teacher));
  }
  return make_plain([](const TermInput& input) {
    return n_to_one_loss(input.student.expanded, as_map(input.teacher.features.back()));
  });
}

}  // namespace umbra
