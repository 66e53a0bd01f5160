#include <algorithm>
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

TermOptions& add_term(DistillOptions& o, const std::string& method) {
  return o.terms.emplace_back(find_term_method(method)->defaults);
}

void shake_paper(DistillOptions& o) { o.method = "shake"; }

void sskd(DistillOptions& o) {
  o.method = "sskd";
  o.task_weight = 0.1;
}

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
    // Hinton et al., 2015, with RepDistiller's weights.
    Preset{"kd",
           [](DistillOptions& o) {
             o.task_weight = 0.1;
             add_term(o, "kd").weight = 0.9;
           }},
    // Xu et al., 2020: the weights of the public code, and those of the paper's supplement.
    Preset{"sskd", sskd},
    Preset{"sskd-paper",
           [](DistillOptions& o) {
             sskd(o);
             o.sskd.transform_weight = 5.0;
             o.sskd.pretext_weight = 3.0;
           }},
    // Liu et al., 2023: both logits standardised, as the public code does before its losses.
    Preset{"norm",
           [](DistillOptions& o) {
             o.logit_norm = "layer_norm";
             o.logit_scale = 2.5;
             add_term(o, "norm");
           }},
    // Logit standardisation (Sun et al., 2024) on KD.
    Preset{"kd-lskd",
           [](DistillOptions& o) {
             o.task_weight = 0.1;
             TermOptions& kd = add_term(o, "kd");
             kd.weight = 9.0;
             kd.temperature = 2.0;
             kd.logit_norm = "z_score";
           }},
};

// A method of [[distill.terms]] alone, as published, beside the labels: "at", "review-kd", ...
std::string preset_of(const TermMethod& method) {
  std::string name = method.name;
  std::replace(name.begin(), name.end(), '_', '-');
  return name;
}

}  // namespace

bool apply_preset(DistillOptions& options, const std::string& name) {
  for (const Preset& preset : kPresets) {
    if (preset.name != name) continue;
    options = DistillOptions{};
    options.preset = name;
    preset.apply(options);
    return true;
  }
  for (const TermMethod& method : term_methods()) {
    if (preset_of(method) != name) continue;
    options = DistillOptions{};
    options.preset = name;
    add_term(options, method.name);
    return true;
  }
  return false;
}

std::vector<std::string> distill_presets() {
  std::vector<std::string> names;
  for (const Preset& preset : kPresets) names.emplace_back(preset.name);
  for (const TermMethod& method : term_methods()) {
    const std::string name = preset_of(method);
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  return names;
}

}  // namespace umbra
