#pragma once

#include "train/distill/objective.h"
#include "train/distill/options.h"

namespace umbra {

// DeiT's token distillation (Touvron et al., 2021, eq. 2 and 3): the class head learns the labels,
// the distillation head the teacher, softly (KL) or by its top class:
//   (1 - alpha) * task(z_c, y) + alpha * distill(z_d, z_t)
class DeitObjective : public Objective {
 public:
  DeitObjective(const DistillOptions& distill, const LossOptions& loss)
      : distill_(distill), loss_(loss) {}

  Loss compute(const Batch& batch, const ModelOutput& student,
               std::span<const ModelOutput> teachers) override;

 private:
  DistillOptions distill_;
  LossOptions loss_;
};

}  // namespace umbra
