#include "train/distill/losses.h"
#include "train/distill/terms/terms.h"

namespace umbra {

std::unique_ptr<Term> make_kd(const TermContext& context) {
  require_head(context);
  return make_plain([options = context.options](const TermInput& input) {
    const auto [z_s, z_t] = compared_logits(input, options);
    return kl_divergence(z_s, z_t, options.temperature);
  });
}

}  // namespace umbra
