// Augmentation policies: RandAugment (Cubuk et al., 2020), AutoAugment (2019), AugMix (Hendrycks et
// al., 2020), TrivialAugment-Wide (Mueller and Hutter, 2021), 3-Augment (Touvron et al., 2022) and
// policies of the user's own, with the semantics of timm 1.0.31 (auto_augment.py); TrivialAugment
// has torchvision's. All chance is in Policy::draw; apply is a pure function of what was drawn.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "augment/ops.h"
#include "augment/rng.h"

namespace umbra::augment {

// What a policy does to one image. Most have one chain of operations, which may be empty; AugMix
// blends several: image + blend * (sum_i weights[i] chains[i](image) - image).
struct DrawnPolicy {
  std::vector<std::vector<DrawnOp>> chains;
  std::vector<float> weights;  // empty: one chain, taken as it is
  float blend = 1.0f;
  bool stepwise = false;  // timm's "b1": the same sum, rounded to bytes after each chain

  std::string text() const;
};

// Which interpolation geometric operations use; kRandom: one of the two for each operation.
enum class OpInterpolation { kBilinear, kBicubic, kRandom };

// Immutable, and cheap to copy. Threads may draw from one policy at the same time.
class Policy {
 public:
  // `text` is timm's string ("rand-m9-mstd0.5-inc1", "original-mstd0.5", "v0r", "3a",
  // "augmix-m5-w4-d2", ...), "ta_wide", or "custom", which takes `sub_policies`: each a line such
  // as "Posterize 0.4 8 + Rotate 0.6 9" (operation, probability, magnitude 0 to 10).
  // Magnitudes may be fractions ("m9.5"); mstd above 100, or "mstdinf", means magnitudes that are
  // uniform from 0 to m. What timm ignores, such as unknown sections, is an error here.
  // Throws std::invalid_argument saying what is wrong, and what is accepted.
  static Policy parse(const std::string& text, OpInterpolation interpolation,
                      const std::vector<std::string>& sub_policies = {});

  DrawnPolicy draw(Rng& rng) const;

  // Names of the operations that the policy may draw, each once.
  std::vector<std::string> op_names() const;

 private:
  struct Plan;
  explicit Policy(std::shared_ptr<const Plan> plan) : plan_(std::move(plan)) {}
  std::shared_ptr<const Plan> plan_;
};

cv::Mat apply(const cv::Mat& image, const DrawnPolicy& drawn, const cv::Scalar& fill);

}  // namespace umbra::augment
