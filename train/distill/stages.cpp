#include "train/distill/stages.h"

#include "train/error.h"

namespace umbra {
namespace {

bool is_transformer(const NetworkView& view) {
  return view.example.features.front().prefix_tokens > 0;
}

std::vector<std::string> names_of(const NetworkView& view) {
  std::vector<std::string> names;
  for (const Feature& feature : view.example.features) names.push_back(feature.name);
  return names;
}

size_t index_of(const NetworkView& view, const std::string& name, const char* who) {
  const std::vector<std::string> names = names_of(view);
  const auto found = std::find(names.begin(), names.end(), name);
  if (found != names.end()) return static_cast<size_t>(found - names.begin());
  throw ConfigError(fmt::format("the {} {} has no stage '{}': it has {}", who,
                                view.model->options().name, name, fmt::join(names, ", ")));
}

// Level i of `levels` of the network: one of its last stages, or the block that ends that share of
// its depth.
size_t level(const NetworkView& view, size_t i, size_t levels) {
  const size_t count = view.example.features.size();
  return is_transformer(view) ? (i + 1) * count / levels - 1 : count - levels + i;
}

torch::Tensor on_grid(const torch::Tensor& tensor, int64_t prefix_tokens) {
  if (tensor.dim() == 4) return tensor;
  const int64_t patches = tensor.size(1) - prefix_tokens;
  const int64_t side = std::lround(std::sqrt(static_cast<double>(patches)));
  TORCH_CHECK(side * side == patches, patches, " patch tokens are no square grid");
  return tensor.narrow(1, prefix_tokens, patches)
      .transpose(1, 2)
      .reshape({tensor.size(0), tensor.size(2), side, side});
}

}  // namespace

std::vector<StagePair> stage_pairs(const TermContext& context, StageChoice choice) {
  require_stages(context);
  const NetworkView &student = context.student, &teacher = context.teacher;
  const auto& mine = context.options.student_stages;
  const auto& theirs = context.options.teacher_stages;
  if (mine.size() != theirs.size()) {
    throw ConfigError(fmt::format(
        "student_stages has {} names, teacher_stages {}: they are compared pair by pair, so give "
        "as many of each, or neither",
        mine.size(), theirs.size()));
  }
  std::vector<StagePair> pairs;
  for (size_t i = 0; i < mine.size(); ++i) {
    pairs.push_back(
        {index_of(student, mine[i], "student"), index_of(teacher, theirs[i], "teacher")});
  }
  const auto descend = [](const StagePair& a, const StagePair& b) {
    return a.student > b.student || a.teacher > b.teacher;
  };
  if (std::adjacent_find(pairs.begin(), pairs.end(), descend) != pairs.end()) {
    throw ConfigError("student_stages and teacher_stages go from shallow to deep");
  }
  if (!pairs.empty()) return pairs;

  const size_t s = student.example.features.size(), t = teacher.example.features.size();
  if (choice == StageChoice::kLast) return {{s - 1, t - 1}};
  const bool same_kind = is_transformer(student) == is_transformer(teacher);
  const size_t wanted = same_kind ? std::min(s, t) : is_transformer(student) ? t : s;
  const size_t levels = std::min({wanted, s, t});  // a transformer may have fewer blocks
  for (size_t i = 0; i < levels; ++i) {
    pairs.push_back({level(student, i, levels), level(teacher, i, levels)});
  }
  if (choice == StageChoice::kAll) return pairs;
  return {pairs[std::min<size_t>(1, pairs.size() - 1)]};
}

torch::Tensor as_map(const Feature& feature) {
  return on_grid(feature.post, feature.prefix_tokens);
}

torch::Tensor as_map_before_activation(const Feature& feature) {
  return on_grid(feature.pre, feature.prefix_tokens);
}

std::pair<torch::Tensor, torch::Tensor> pooled_to_smaller(const torch::Tensor& a,
                                                          const torch::Tensor& b) {
  const std::vector<int64_t> sides = {std::min(a.size(2), b.size(2)),
                                      std::min(a.size(3), b.size(3))};
  const auto pooled = [&](const torch::Tensor& map) {
    return map.sizes().slice(2) == torch::IntArrayRef(sides)
               ? map
               : torch::adaptive_avg_pool2d(map, sides);
  };
  return {pooled(a), pooled(b)};
}

}  // namespace umbra
