#include "train/distill/sskd.h"

#include "augment/to_device.h"
#include "train/distill/losses.h"
#include "train/distill/sskd_losses.h"
#include "train/distill/task_loss.h"
#include "train/distill/term.h"
#include "train/error.h"

namespace umbra {
namespace {

void require_teacher(const Setting& setting) {
  if (setting.teachers.size() != 1) {
    throw ConfigError(fmt::format("method \"sskd\" takes one teacher, and there {}",
                                  setting.teachers.empty()
                                      ? std::string("is none: add a [teacher] with a path")
                                      : fmt::format("are {}", setting.teachers.size())));
  }
  const NetworkView& teacher = setting.teachers[0];
  if (teacher.example.pooled.defined()) return;
  refuse_logits_only(teacher, "teacher", "sskd",
                     "puts a head on the vector before the teacher's classifier");
}

torch::nn::Sequential make_head(int64_t width, int64_t out) {
  return torch::nn::Sequential(torch::nn::Linear(width, width), torch::nn::ReLU(),
                               torch::nn::Linear(width, out));
}

// 0 for the contrastive task: a projection as wide as its input.
int64_t classes_of(const std::string& task, size_t train_images) {
  if (task == "rotation") return 4;
  if (task == "jigsaw") return 24;
  if (task == "exemplar") return static_cast<int64_t>(train_images);
  TORCH_CHECK(task == "contrastive", "unknown task ", task);
  return 0;
}

}  // namespace

SskdObjective::SskdObjective(const DistillOptions& distill, const LossOptions& loss,
                             const Setting& setting)
    : distill_(distill), loss_(loss), modules_(std::make_shared<torch::nn::Module>()) {
  require_teacher(setting);
  const int64_t classes = classes_of(distill.sskd.task, setting.train_labels.size());
  const auto head_of = [&](const NetworkView& view) {
    const int64_t width = view.example.pooled.size(1);
    return make_head(width, classes > 0 ? classes : width);
  };
  student_head_ = modules_->register_module("student_head", head_of(setting.student));
  teacher_head_ = modules_->register_module("teacher_head", head_of(setting.teachers[0]));
}

torch::Tensor SskdObjective::task(const torch::Tensor& logits, const Batch& batch) const {
  Batch normal;
  normal.targets = split_views(batch.targets).normal;
  return task_loss(loss_, logits, normal);
}

// [3B, B] contrastive, [3B, 24] jigsaw, [4B, classes] others.
torch::Tensor SskdObjective::scores(torch::nn::Sequential& head,
                                    const torch::Tensor& pooled) const {
  const torch::Tensor output = head->forward(pooled);
  if (distill_.sskd.task == "contrastive") return view_similarity(output);
  // The normal view's permutation is always the same: with it a quarter of the answers would be 0.
  if (distill_.sskd.task == "jigsaw") return wide(split_views(output).transformed);
  return wide(output);
}

// The right column of every row of the scores.
torch::Tensor SskdObjective::answers(const Batch& batch, torch::Device device) const {
  TORCH_CHECK(batch.views == kSskdViews, "sskd: ", batch.views, " views instead of ", kSskdViews);
  if (distill_.sskd.task == "contrastive") {
    return view_sources(batch.labels.size(0) / kSskdViews, device);
  }
  if (distill_.sskd.task == "jigsaw") {
    return split_views(batch.pretext_labels).transformed;
  }
  if (distill_.sskd.task == "exemplar") return augment::to_device(batch.indices, device);
  return batch.pretext_labels;
}

Loss SskdObjective::compute(const Batch& batch, const ModelOutput& student,
                            std::span<const ModelOutput> teachers) {
  const SskdOptions& options = distill_.sskd;
  const ModelOutput& teacher = teachers[0];
  const SskdRows z_s = split_views(student.logits), z_t = split_views(teacher.logits);
  const double temperature = distill_.temperature;
  Loss loss;
  loss.add("task", distill_.task_weight, [&] { return task(z_s.normal, batch); });
  loss.add("normal_kd", options.kd_weight,
           [&] { return kl_divergence(z_s.normal, z_t.normal, temperature); });
  loss.add("transform_kd", options.transform_weight, [&] {
    return selected_kl(z_s.transformed, z_t.transformed, split_views(batch.labels).transformed,
                       options.transform_ratio, temperature);
  });
  loss.add("pretext", options.pretext_weight, [&] {
    const torch::Tensor target = [&] {
      const torch::NoGradGuard frozen;
      return scores(teacher_head_, teacher.pooled);
    }();
    return selected_kl(scores(student_head_, student.pooled), target,
                       answers(batch, target.device()), options.pretext_ratio,
                       options.pretext_temperature);
  });
  return loss;
}

std::vector<Objective::Fit> SskdObjective::fits() const {
  const SskdOptions& options = distill_.sskd;
  if (options.fit_epochs <= 0.0 || options.pretext_weight == 0.0) return {};
  return {{"teacher_head", options.fit_epochs, options.fit_lr, options.fit_milestones,
           /*trains_student=*/false}};
}

torch::Tensor SskdObjective::fit_loss(const Fit&, const Batch& batch, const ModelOutput&,
                                      std::span<const ModelOutput> teachers) {
  const torch::Tensor answered = scores(teacher_head_, teachers[0].pooled.detach());
  return cross_entropy(answered, answers(batch, answered.device()));
}

}  // namespace umbra
