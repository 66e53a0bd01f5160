#include "augment/policy.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <opencv2/core.hpp>

#include "augment/pixel_ops.h"
#include "augment/policy_plan.h"
#include "augment/two_targets.h"

namespace umbra::augment {

struct Policy::Plan : PolicyPlan {
  OpInterpolation interpolation = OpInterpolation::kBicubic;
};

namespace {

using Chain = std::vector<DrawnOp>;

// --- drawing ---------------------------------------------------------------------------------

Interpolation draw_interpolation(OpInterpolation wanted, Rng& rng) {
  const bool bilinear =
      wanted == OpInterpolation::kRandom ? rng.coin(0.5) : wanted == OpInterpolation::kBilinear;
  return bilinear ? Interpolation::kBilinear : Interpolation::kBicubic;
}

double draw_chance(Chance chance, Rng& rng) {
  if (chance == Chance::kSign) return rng.coin(0.5) ? -1.0 : 1.0;
  return chance == Chance::kShare ? rng.uniform() : 1.0;
}

double draw_level(const PolicyPlan& plan, double level, Rng& rng) {
  if (std::isinf(plan.level_std)) {
    level = rng.uniform(0.0, level);
  } else if (plan.level_std > 0.0) {
    level += plan.level_std * rng.normal();
  }
  return std::clamp(level, 0.0, plan.max_level);
}

DrawnOp draw_op(const PolicyPlan& plan, const PlannedOp& planned, OpInterpolation interpolation,
                Rng& rng) {
  const double level = draw_level(plan, planned.level, rng);
  const double chance = draw_chance(planned.op->chance, rng);
  const double argument = planned.op->argument(level, chance) + 0.0;  // never -0.0
  return {planned.op, argument, draw_interpolation(interpolation, rng)};
}

// Index drawn in proportion to the weights.
size_t draw_index(const std::vector<double>& weights, Rng& rng) {
  double rest = rng.uniform() * std::accumulate(weights.begin(), weights.end(), 0.0);
  size_t last = 0;  // for a rest that rounding left over
  for (size_t i = 0; i < weights.size(); ++i) {
    if (weights[i] == 0.0) continue;
    last = i;
    rest -= weights[i];
    if (rest < 0.0) break;
  }
  return last;
}

Chain draw_chain(const PolicyPlan& plan, OpInterpolation interpolation, Rng& rng) {
  Chain chain;
  std::vector<double> weights = plan.weights;
  const int64_t picks = plan.picks == PolicyPlan::kRandomPicks ? 1 + rng.below(3) : plan.picks;
  for (int64_t i = 0; i < picks; ++i) {
    const size_t picked =
        weights.empty() ? static_cast<size_t>(rng.below(static_cast<int64_t>(plan.options.size())))
                        : draw_index(weights, rng);
    if (!weights.empty()) weights[picked] = 0.0;
    for (const PlannedOp& planned : plan.options[picked]) {
      if (planned.probability < 1.0 && !rng.coin(planned.probability)) continue;
      chain.push_back(draw_op(plan, planned, interpolation, rng));
    }
  }
  return chain;
}

// Of a symmetric Dirichlet distribution.
std::vector<float> draw_weights(int count, double alpha, Rng& rng) {
  std::vector<double> parts;
  for (int i = 0; i < count; ++i) parts.push_back(rng.gamma(alpha));
  double sum = std::accumulate(parts.begin(), parts.end(), 0.0);
  if (sum == 0.0) parts[rng.below(count)] = sum = 1.0;  // all underflow for tiny alpha
  std::vector<float> weights;
  for (const double part : parts) weights.push_back(static_cast<float>(part / sum));
  return weights;
}

// --- applying --------------------------------------------------------------------------------

cv::Mat apply_chain(cv::Mat image, const Chain& chain, const cv::Scalar& fill) {
  for (const DrawnOp& op : chain) image = op.apply(image, fill);
  return image;
}

UMBRA_TWO_TARGETS void add_weighted(const uint8_t* bytes, float weight, int count, float* sums) {
  for (int i = 0; i < count; ++i) sums[i] += weight * static_cast<float>(bytes[i]);
}

UMBRA_TWO_TARGETS void truncate(const float* sums, int count, uint8_t* bytes) {
  for (int i = 0; i < count; ++i) {
    bytes[i] = static_cast<uint8_t>(static_cast<int>(std::min(sums[i], 255.0f)));
  }
}

// timm's _apply_basic: the sum in float32, truncated to bytes, then one blend of bytes.
cv::Mat mix_at_once(const cv::Mat& image, const DrawnPolicy& drawn, const cv::Scalar& fill) {
  const int row_bytes = image.cols * image.channels();
  cv::Mat sums(image.rows, row_bytes, CV_32F, cv::Scalar(0));
  for (size_t i = 0; i < drawn.chains.size(); ++i) {
    const cv::Mat changed = apply_chain(image, drawn.chains[i], fill);
    for (int y = 0; y < image.rows; ++y) {
      add_weighted(changed.ptr(y), drawn.weights[i], row_bytes, sums.ptr<float>(y));
    }
  }
  cv::Mat mixed(image.size(), image.type());
  for (int y = 0; y < image.rows; ++y) truncate(sums.ptr<float>(y), row_bytes, mixed.ptr(y));
  return blend(image, mixed, drawn.blend);
}

// The share of each chain when it is blended over what is there, such that later blends leave it
// the weight that was drawn. In float32, as timm's _calc_blended_weights.
std::vector<float> stepwise_shares(const DrawnPolicy& drawn) {
  std::vector<float> shares(drawn.weights.size());
  float left = 1.0f;
  for (size_t i = shares.size(); i-- > 0;) {
    shares[i] = left > 0.0f ? drawn.weights[i] * drawn.blend / left : 0.0f;
    left *= 1.0f - shares[i];
  }
  return shares;
}

// timm's _apply_blended.
cv::Mat mix_stepwise(const cv::Mat& image, const DrawnPolicy& drawn, const cv::Scalar& fill) {
  const std::vector<float> shares = stepwise_shares(drawn);
  cv::Mat mixed = image;
  for (size_t i = 0; i < drawn.chains.size(); ++i) {
    mixed = blend(mixed, apply_chain(image, drawn.chains[i], fill), shares[i]);
  }
  return mixed;
}

std::string text_of(const Chain& chain) {
  std::vector<std::string> texts;
  for (const DrawnOp& op : chain) texts.push_back(op.text());
  return texts.empty() ? "none" : fmt::format("{}", fmt::join(texts, ", "));
}

}  // namespace

std::string DrawnPolicy::text() const {
  if (weights.empty()) return chains.empty() ? "none" : text_of(chains[0]);
  std::vector<std::string> parts;
  for (size_t i = 0; i < chains.size(); ++i) {
    parts.push_back(fmt::format("{:.2f} ({})", weights[i], text_of(chains[i])));
  }
  return fmt::format("{:.2f} of [{}]", blend, fmt::join(parts, " + "));
}

Policy Policy::parse(const std::string& text, OpInterpolation interpolation,
                     const std::vector<std::string>& sub_policies) {
  return Policy(
      std::make_shared<const Plan>(Plan{parse_policy(text, sub_policies), interpolation}));
}

DrawnPolicy Policy::draw(Rng& rng) const {
  const Plan& plan = *plan_;
  DrawnPolicy drawn;
  if (plan.mix) {
    drawn.weights = draw_weights(plan.mix->width, plan.mix->alpha, rng);
    drawn.blend = static_cast<float>(rng.beta(plan.mix->alpha, plan.mix->alpha));
    drawn.stepwise = plan.mix->stepwise;
  }
  const int chains = plan.mix ? plan.mix->width : 1;
  for (int i = 0; i < chains; ++i) {
    drawn.chains.push_back(draw_chain(plan, plan.interpolation, rng));
  }
  return drawn;
}

std::vector<std::string> Policy::op_names() const {
  std::vector<std::string> names;
  for (const auto& option : plan_->options) {
    for (const PlannedOp& planned : option) {
      const bool known = std::find(names.begin(), names.end(), planned.op->name) != names.end();
      if (planned.probability > 0.0 && !known) names.emplace_back(planned.op->name);
    }
  }
  return names;
}

cv::Mat apply(const cv::Mat& image, const DrawnPolicy& drawn, const cv::Scalar& fill) {
  if (!drawn.weights.empty()) {
    return drawn.stepwise ? mix_stepwise(image, drawn, fill) : mix_at_once(image, drawn, fill);
  }
  return drawn.chains.empty() ? image : apply_chain(image, drawn.chains[0], fill);
}

}  // namespace umbra::augment
