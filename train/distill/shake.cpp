#include "train/distill/shake.h"

#include "train/distill/full_precision.h"
#include "train/distill/min_norm.h"
#include "train/distill/task_loss.h"

namespace umbra {

ShakeObjective::ShakeObjective(const DistillOptions& distill, const LossOptions& loss,
                               std::vector<ShadowBranch> branches)
    : distill_(distill), loss_(loss), branches_(std::move(branches)) {
  if (branches_.empty()) return;
  modules_ = std::make_shared<torch::nn::Module>();
  for (size_t i = 0; i < branches_.size(); ++i) {
    modules_->register_module(fmt::format("shadow_{}", i), branches_[i]);
  }
}

std::vector<torch::Tensor> ShakeObjective::shadows(const ModelOutput& student,
                                                   std::span<const ModelOutput> teachers) {
  if (branches_.empty()) return student.shadow_logits;
  std::vector<torch::Tensor> logits;
  for (size_t i = 0; i < branches_.size(); ++i) logits.push_back(branches_[i](teachers[i]));
  return logits;
}

torch::Tensor ShakeObjective::normalised(const torch::Tensor& logits) const {
  return normalised_logits(logits, distill_.logit_norm, distill_.logit_scale);
}

torch::Tensor ShakeObjective::inherit(const torch::Tensor& shadow,
                                      const torch::Tensor& teacher) const {
  if (distill_.inherit == "mse") return mean_squared_error(shadow, teacher);
  if (distill_.inherit == "hard") return hard_distillation(shadow, teacher);
  return kl_divergence(shadow, teacher, distill_.temperature, kl_scale(distill_));
}

// The weight of each shadow in what the student hears. AEKD: of the gradients of KL(z_s <- z_p)
// with respect to z_s, the mean over the batch, [C]: softmax(z_s / T) - softmax(z_p / T) up to a
// factor that all share.
std::vector<double> ShakeObjective::shares(const torch::Tensor& z_s,
                                           const std::vector<torch::Tensor>& z_p) const {
  const size_t count = z_p.size();
  if (distill_.teacher_weights == "average" || count < 2) {
    return std::vector<double>(count, 1.0 / static_cast<double>(count));
  }
  const torch::NoGradGuard no_grad;
  const FullPrecision full_precision;
  const auto softened = [&](const torch::Tensor& logits) {
    return torch::softmax(wide(logits) / distill_.temperature, 1).mean(0);
  };
  std::vector<torch::Tensor> gradients;
  for (const torch::Tensor& z : z_p) gradients.push_back(softened(z_s) - softened(z));
  const torch::Tensor stacked = torch::stack(gradients);
  const torch::Tensor weights =
      min_norm_weights(stacked.matmul(stacked.t()), distill_.teacher_weight_max);
  const auto* begin = weights.const_data_ptr<double>();
  return {begin, begin + count};
}

std::optional<double> ShakeObjective::replayable_from() const {
  return distill_.teacher_weights == "average" ? std::optional(0.0) : std::nullopt;
}

Loss ShakeObjective::compute(const Batch& batch, const ModelOutput& student,
                             std::span<const ModelOutput> teachers) {
  const auto kl = [&](const torch::Tensor& to, const torch::Tensor& from) {
    return kl_divergence(to, from, distill_.temperature, kl_scale(distill_));
  };
  const torch::Tensor z_s = normalised(student.logits);  // [B, C]
  std::vector<torch::Tensor> z_p, z_t;                   // each [B, C]
  for (const torch::Tensor& shadow : shadows(student, teachers)) z_p.push_back(normalised(shadow));
  for (const ModelOutput& teacher : teachers) z_t.push_back(normalised(teacher.logits));

  Loss loss;
  loss.add("task", distill_.task_weight, [&] { return task_loss(loss_, z_s, batch); });
  const std::vector<double> share = shares(z_s, z_p);
  for (size_t i = 0; i < share.size() && distill_.teacher_weights == "aekd"; ++i) {
    loss.facts.push_back({fmt::format("teacher_weight_{}", i), torch::tensor(share[i])});
  }
  for (size_t i = 0; i < z_p.size(); ++i) {
    loss.add("mutual", share[i] * distill_.student_mutual_weight, [&] { return kl(z_s, z_p[i]); });
    if (distill_.inherit != "none") {
      loss.add("inherit", distill_.inherit_weight, [&] { return inherit(z_p[i], z_t[i]); });
    }
    loss.add("reverse", distill_.reverse_weight, [&] { return kl(z_p[i], z_s); });
    loss.add("shadow_task", distill_.shadow_ce_weight,
             [&] { return task_loss(loss_, z_p[i], batch); });
    if (i < z_t.size()) {
      loss.add("direct", share[i] * distill_.direct_weight, [&] { return kl(z_s, z_t[i]); });
    }
  }
  return loss;
}

}  // namespace umbra
