#include <array>
#include <string_view>

#include "train/distill/options.h"

namespace umbra {
namespace {

// The named settings of the papers. Each row changes a copy of the defaults.
struct Preset {
  std::string_view name;
  void (*apply)(DistillOptions&);
};

void shake_paper(DistillOptions& o) { o.method = "shake"; }

const std::array kPresets = {
    Preset{"none", [](DistillOptions& o) { o.method = "none"; }},
    // Touvron et al. 2021; main.py's defaults: alpha 0.5, tau 1, KL divided by B * C.
    Preset{"deit-soft",
           [](DistillOptions& o) {
             o.method = "deit_soft";
             o.temperature = 1.0;
             o.kl_scale = "numel";
             o.headline = "mean";
           }},
    Preset{"deit-hard",
           [](DistillOptions& o) {
             o.method = "deit_hard";
             o.temperature = 1.0;
             o.kl_scale = "numel";
             o.headline = "mean";
           }},
    // SHAKE as the paper describes it; for ViT the shadow is the distillation head.
    Preset{"shake-paper", shake_paper},
    // SHAKE's public code: standardised logits, squared error from the teacher, labels for the
    // shadow. On a CNN student the shadow is a branch on the teacher: set shadow = "teacher".
    Preset{"shake-code",
           [](DistillOptions& o) {
             shake_paper(o);
             o.logit_norm = "layer_norm";
             o.inherit = "mse";
             o.shadow_ce_weight = 1.0;
           }},
    // The two heads teach each other, without a teacher.
    Preset{"dml-heads",
           [](DistillOptions& o) {
             shake_paper(o);
             o.inherit = "none";
             o.inherit_weight = 0.0;
             o.shadow_ce_weight = 1.0;
             o.temperature = 1.0;
           }},
    // Ablations of SHAKE: (a) no reversed term, (f) labels for the shadow, (h) a direct term.
    Preset{"shake-no-reverse",
           [](DistillOptions& o) {
             shake_paper(o);
             o.reverse_weight = 0.0;
           }},
    Preset{"shake-gt-proxy",
           [](DistillOptions& o) {
             shake_paper(o);
             o.shadow_ce_weight = 1.0;
           }},
    Preset{"shake-direct",
           [](DistillOptions& o) {
             shake_paper(o);
             o.direct_weight = 1.0;
           }},
    // (c) a stronger head: the loss is the paper's, the model's shadow_head becomes "mlp".
    Preset{"shake-strong-head", shake_paper},
};

}  // namespace

bool apply_preset(DistillOptions& options, const std::string& name) {
  for (const Preset& preset : kPresets) {
    if (preset.name != name) continue;
    options = DistillOptions{};
    options.preset = name;
    preset.apply(options);
    return true;
  }
  return false;
}

std::vector<std::string> distill_presets() {
  std::vector<std::string> names;
  for (const Preset& preset : kPresets) names.emplace_back(preset.name);
  return names;
}

}  // namespace umbra
