#include "train/distill/objective.h"

#include "train/distill/deit.h"
#include "train/distill/shake.h"
#include "train/distill/task_loss.h"

namespace umbra {
namespace {

// The labels alone.
class TaskObjective : public Objective {
 public:
  explicit TaskObjective(const LossOptions& options) : options_(options) {}

  Loss compute(const Batch& batch, const ModelOutput& student,
               std::span<const ModelOutput>) override {
    Loss loss;
    loss.add("task", 1.0, [&] { return task_loss(options_, student.logits, batch); });
    return loss;
  }

 private:
  LossOptions options_;
};

}  // namespace

void Loss::add(const std::string& name, double weight,
               const std::function<torch::Tensor()>& value) {
  if (weight == 0.0) return;
  const torch::Tensor weighted = weight * value();
  total = total.defined() ? total + weighted : weighted;
  const auto same = [&](const LossTerm& term) { return term.name == name; };
  const auto term = std::find_if(terms.begin(), terms.end(), same);
  if (term == terms.end()) {
    terms.push_back({name, weighted.detach()});
  } else {
    term->value = term->value + weighted.detach();
  }
}

std::unique_ptr<Objective> make_objective(const DistillOptions& distill, const LossOptions& loss,
                                          const std::vector<TeacherView>& teachers) {
  if (distill.method == "none") return std::make_unique<TaskObjective>(loss);
  if (distill.method != "shake") return std::make_unique<DeitObjective>(distill, loss);
  std::vector<ShadowBranch> branches;
  if (distill.shadow == "teacher") {
    for (const TeacherView& teacher : teachers) branches.emplace_back(teacher);
  }
  return std::make_unique<ShakeObjective>(distill, loss, std::move(branches));
}

}  // namespace umbra
