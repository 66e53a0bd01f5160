#include "train/distill/deit.h"

#include "train/distill/losses.h"
#include "train/distill/task_loss.h"

namespace umbra {

Loss DeitObjective::compute(const Batch& batch, const ModelOutput& student,
                            std::span<const ModelOutput> teachers) {
  const torch::Tensor& z_d = student.shadow_logits.at(0);  // [B, C]
  const torch::Tensor& z_t = teachers[0].logits;           // [B, C]
  Loss loss;
  loss.add("task", 1.0 - distill_.alpha, [&] { return task_loss(loss_, student.logits, batch); });
  loss.add("distill", distill_.alpha, [&] {
    if (distill_.method == "deit_hard") return hard_distillation(z_d, z_t);
    return kl_divergence(z_d, z_t, distill_.temperature, kl_scale(distill_));
  });
  return loss;
}

}  // namespace umbra
