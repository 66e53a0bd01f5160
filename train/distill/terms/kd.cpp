#include "train/distill/losses.h"
#include "train/distill/terms/terms.h"
#include "train/error.h"

namespace umbra {
namespace {

class Kd : public Term {
 public:
  explicit Kd(const TermOptions& options) : options_(options) {}

  torch::Tensor loss(const TermInput& input) override {
    const torch::Tensor z_s = normalised(student_logits(input.student, options_));
    return kl_divergence(z_s, normalised(input.teacher.logits), options_.temperature);
  }

 private:
  torch::Tensor normalised(const torch::Tensor& logits) const {
    if (options_.logit_norm == "layer_norm") return standardize_logits(logits);
    if (options_.logit_norm == "z_score") return z_score_logits(logits);
    return logits;
  }

  TermOptions options_;
};

}  // namespace

std::unique_ptr<Term> make_kd(const TermContext& context) {
  require_head(context);
  return std::make_unique<Kd>(context.options);
}

}  // namespace umbra
