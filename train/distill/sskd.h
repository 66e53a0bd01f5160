// SSKD: Knowledge Distillation Meets Self-Supervision (Xu et al., ECCV 2020).
#pragma once

#include "train/distill/objective.h"
#include "train/distill/options.h"

namespace umbra {

// With the losses of sskd_losses.h on batches of four views, T the temperature:
//
//   L = task_weight      * task(z_s, y)                           normal rows
//     + kd_weight        * KL_T(z_s <- z_t)                       normal rows
//     + transform_weight * KL_T(z_s <- z_t)                       transformed rows, selected
//     + pretext_weight   * KL(scores_s <- scores_t)               at pretext_temperature, selected
//
// The scores are those of a self-supervised task. Contrastive, as published: cosines of transformed
// and normal rows after a projection head (d -> d, ReLU, d -> d); the answer is the row's source.
// Rotation, jigsaw, exemplar: logits of a classifier (d -> d, ReLU, d -> classes) of all rows, with
// 4, 24 or as many classes as training images; the answer is what was done to the row, or which
// image it is. Student and teacher have a head each. The teacher's learns the answers in the fit,
// and stays as it is in the training, where the student's learns from it alone.
class SskdObjective : public Objective {
 public:
  // Throws ConfigError unless there is one teacher with a vector before its classifier.
  SskdObjective(const DistillOptions& distill, const LossOptions& loss, const Setting& setting);

  Loss compute(const Batch& batch, const ModelOutput& student,
               std::span<const ModelOutput> teachers) override;
  std::shared_ptr<torch::nn::Module> module() override { return modules_; }
  std::optional<double> replayable_from() const override { return {}; }  // counts wrong answers
  std::vector<Fit> fits() const override;
  torch::Tensor fit_loss(const Fit& fit, const Batch& batch, const ModelOutput& student,
                         std::span<const ModelOutput> teachers) override;

 private:
  torch::Tensor task(const torch::Tensor& logits, const Batch& batch) const;
  torch::Tensor scores(torch::nn::Sequential& head, const torch::Tensor& pooled) const;
  torch::Tensor answers(const Batch& batch, torch::Device device) const;

  DistillOptions distill_;
  LossOptions loss_;
  torch::nn::Sequential student_head_{nullptr}, teacher_head_{nullptr};
  std::shared_ptr<torch::nn::Module> modules_;
};

}  // namespace umbra
