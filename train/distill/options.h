#pragma once

#include <string>
#include <vector>

namespace umbra {

struct LossOptions {
  std::string name = "cross_entropy";  // or "bce", "jsd"
  double jsd_weight = 12.0;            // of the consistency between the views, for "jsd"
};

struct DistillOptions {
  std::string preset = "none";
  std::string method = "none";  // "none", "deit_soft", "deit_hard", "shake"
  double temperature = 4.0;
  std::string kl_scale = "batchmean";  // or "numel": DeiT's division by B * C
  double alpha = 0.5;                  // deit_*: (1 - alpha) * base + alpha * distillation
  // SHAKE.
  std::string shadow = "student";      // "student" (v1, ViT) or "teacher" (v2, public code)
  double student_mutual_weight = 1.0;  // KL(class <- shadow)
  double reverse_weight = 1.0;         // KL(shadow <- class)
  std::string inherit = "kl";          // teacher -> shadow: "kl", "mse", "hard" or "none"
  double inherit_weight = 1.0;
  double shadow_ce_weight = 0.0;    // cross-entropy of the shadow with the labels
  double direct_weight = 0.0;       // KL(class <- teacher)
  double task_weight = 1.0;         // cross-entropy of the class head
  std::string logit_norm = "none";  // or "layer_norm": biased, no affine, times 3.1415
  std::string headline = "class";   // head whose top-1 chooses the best checkpoint
};

// Sets every field that the named preset decides; false if the name is unknown.
bool apply_preset(DistillOptions& options, const std::string& preset);
std::vector<std::string> distill_presets();

}  // namespace umbra
