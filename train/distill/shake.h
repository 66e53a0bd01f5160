// SHAKE: Shadow Knowledge Distillation (Li and Jin, NeurIPS 2022). A shadow inherits from the
// frozen teacher and exchanges KL with the student in both directions.
#pragma once

#include "train/distill/objective.h"
#include "train/distill/options.h"
#include "train/distill/shadow_branch.h"

namespace umbra {

// With z_s the class head, z_p the shadow, z_t the teacher, every KL target detached, T the
// temperature and KL(a <- b) as in losses.h, for N teachers with a shadow each:
//
//   L =  task_weight           * task(z_s, y)
//      + student_mutual_weight * 1/N sum_i KL(z_s  <- z_pi)
//      + inherit_weight        *     sum_i inherit(z_pi, z_ti)     KL, MSE or top class
//      + reverse_weight        *     sum_i KL(z_pi <- z_s)
//      + shadow_ce_weight      *     sum_i task(z_pi, y)
//      + direct_weight         * 1/N sum_i KL(z_s  <- z_ti)
//
// What the student hears is averaged over the teachers (or weighted by AEKD: teacher_weights), what
// each shadow learns is its own. With the defaults this is the paper's L_S + L_T', for one teacher
// and for several. The z_pi are the student's shadow heads (paper; a DeiT's distillation head), or,
// with shadow = "teacher", branches on the frozen teachers' features (the public code), which this
// objective owns and trains.
class ShakeObjective : public Objective {
 public:
  // `branches` is empty for student-side shadows, else one per teacher.
  ShakeObjective(const DistillOptions& distill, const LossOptions& loss,
                 std::vector<ShadowBranch> branches);

  Loss compute(const Batch& batch, const ModelOutput& student,
               std::span<const ModelOutput> teachers) override;
  std::shared_ptr<torch::nn::Module> module() override { return modules_; }
  std::optional<double> replayable_from() const override;  // never with AEKD: it solves on the host

 private:
  std::vector<torch::Tensor> shadows(const ModelOutput& student,
                                     std::span<const ModelOutput> teachers);
  std::vector<double> shares(const torch::Tensor& z_s, const std::vector<torch::Tensor>& z_p) const;
  torch::Tensor normalised(const torch::Tensor& logits) const;
  torch::Tensor inherit(const torch::Tensor& shadow, const torch::Tensor& teacher) const;

  DistillOptions distill_;
  LossOptions loss_;
  std::vector<ShadowBranch> branches_;
  std::shared_ptr<torch::nn::Module> modules_;
};

}  // namespace umbra
