#include "train/distill/losses.h"
#include "train/distill/stages.h"
#include "train/distill/terms/regressor.h"
#include "train/distill/terms/terms.h"

namespace umbra {
namespace {

struct Level {
  StagePair stages;
  Regressor connector{nullptr};  // from the student's shape to the teacher's; null if they agree
};

class ActivationBoundaries : public Term {
 public:
  ActivationBoundaries(std::vector<Level> levels, const Fit& fit)
      : levels_(std::move(levels)), fit_(fit) {
    for (size_t i = 0; i < levels_.size(); ++i) {
      if (levels_[i].connector.is_empty()) continue;
      if (!connectors_) connectors_ = std::make_shared<torch::nn::Module>();
      connectors_->register_module(fmt::format("connector_{}", i), levels_[i].connector);
    }
  }

  torch::Tensor loss(const TermInput& input) override {
    std::vector<torch::Tensor> student, teacher;
    for (Level& level : levels_) {
      const torch::Tensor map =
          as_map_before_activation(input.student.features[level.stages.student]);
      student.push_back(level.connector.is_empty() ? map : level.connector(map));
      teacher.push_back(as_map_before_activation(input.teacher.features[level.stages.teacher]));
    }
    return boundary_loss(student, teacher);
  }
  std::shared_ptr<torch::nn::Module> module() override { return connectors_; }

  std::optional<Fit> fit() const override { return fit_; }
  torch::Tensor fit_loss(const TermInput& input) override { return loss(input); }

 private:
  std::vector<Level> levels_;
  std::shared_ptr<torch::nn::Module> connectors_;
  Fit fit_;
};

// Pushes the student to the teacher's side of 0, a margin of 1 beyond it: a sum over everything.
torch::Tensor wrong_side(const torch::Tensor& s, const torch::Tensor& t) {
  return torch::where(t > 0, (1.0 - s).clamp_min(0.0), (1.0 + s).clamp_min(0.0)).pow(2).sum();
}

}  // namespace

torch::Tensor boundary_loss(const std::vector<torch::Tensor>& student,
                            const std::vector<torch::Tensor>& teacher) {
  constexpr double kScale = 3.0 / 1000.0;
  torch::Tensor sum;
  double weight = 1.0;
  for (size_t i = student.size(); i-- > 0; weight /= 2.0) {
    const torch::Tensor loss = weight * wrong_side(wide(student[i]), teacher[i].detach());
    add_to(sum, loss);
  }
  return sum * kScale / static_cast<double>(student.front().size(0));
}

std::unique_ptr<Term> make_ab(const TermContext& context) {
  std::vector<Level> levels;
  for (const StagePair& pair : stage_pairs(context, StageChoice::kAll)) {
    const auto s = as_map_before_activation(context.student.example.features[pair.student]);
    const auto t = as_map_before_activation(context.teacher.example.features[pair.teacher]);
    Level& level = levels.emplace_back(Level{pair});
    if (s.sizes().slice(1) != t.sizes().slice(1))
      level.connector = Regressor(s.sizes(), t.sizes(), /*relu=*/false);
  }
  const Term::Fit fit = fit_of(context.options, /*trains_student=*/true);
  return std::make_unique<ActivationBoundaries>(std::move(levels), fit);
}

}  // namespace umbra
