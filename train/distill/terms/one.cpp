#include "train/distill/losses.h"
#include "train/distill/task_loss.h"
#include "train/distill/terms/terms.h"
#include "train/error.h"

namespace umbra {
namespace {

std::vector<torch::Tensor> branches_of(const ModelOutput& student) {
  std::vector<torch::Tensor> branches = {student.logits};
  branches.insert(branches.end(), student.shadow_logits.begin(), student.shadow_logits.end());
  return branches;
}

class NativeEnsemble : public Term {
 public:
  explicit NativeEnsemble(const TermContext& context)
      : temperature_(context.options.temperature),
        loss_(context.loss),
        gate_(context.student.example.pooled.size(1),
              static_cast<int64_t>(branches_of(context.student.example).size())) {
    modules_->register_module("gate", gate_);
  }

  torch::Tensor loss(const TermInput& input) override {
    const std::vector<torch::Tensor> branches = branches_of(input.student);
    const torch::Tensor gates = torch::softmax(wide(gate_(input.student.pooled)), 1);
    const torch::Tensor ensemble = gated_ensemble(branches, gates);
    torch::Tensor sum = task_loss(loss_, ensemble, input.batch);
    for (const torch::Tensor& shadow : input.student.shadow_logits) {
      sum = sum + task_loss(loss_, shadow, input.batch);
    }
    for (const torch::Tensor& branch : branches) {
      sum = sum + kl_divergence(branch, ensemble, temperature_);
    }
    return sum;
  }
  std::shared_ptr<torch::nn::Module> module() override { return modules_; }

 private:
  double temperature_;
  LossOptions loss_;
  torch::nn::Linear gate_;
  std::shared_ptr<torch::nn::Module> modules_ = std::make_shared<torch::nn::Module>();
};

}  // namespace

torch::Tensor gated_ensemble(const std::vector<torch::Tensor>& branches,
                             const torch::Tensor& gates) {
  torch::Tensor ensemble;
  for (size_t i = 0; i < branches.size(); ++i) {
    const torch::Tensor share =
        gates.narrow(1, static_cast<int64_t>(i), 1) * wide(branches[i]);  // [B, C]
    add_to(ensemble, share);
  }
  return ensemble;
}

std::unique_ptr<Term> make_one(const TermContext& context) {
  if (!context.student.example.shadow_logits.empty()) {
    return std::make_unique<NativeEnsemble>(context);
  }
  throw ConfigError(fmt::format(
      "method \"one\" lets the heads of one network teach each other, and the student {} has one "
      "head only: set {}",
      context.student.model->options().name,
      context.student.model->options().is_vit() ? "model.distilled = true, and for more branches "
                                                  "model.num_shadow_heads"
                                                : "model.num_shadow_heads = 2"));
}

}  // namespace umbra
