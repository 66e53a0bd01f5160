#include "train/distill/losses.h"
#include "train/distill/terms/terms.h"
#include "train/error.h"

namespace umbra {
namespace {

class Kd : public Term {
 public:
  explicit Kd(const TermOptions& options) : options_(options) {}

  torch::Tensor loss(const TermInput& input) override {
    const auto [z_s, z_t] = compared_logits(input, options_);
    return kl_divergence(z_s, z_t, options_.temperature);
  }

 private:
  TermOptions options_;
};

}  // namespace

std::unique_ptr<Term> make_kd(const TermContext& context) {
  require_head(context);
  return std::make_unique<Kd>(context.options);
}

}  // namespace umbra
