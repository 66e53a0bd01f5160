#include "train/distill/full_precision.h"
#include "train/distill/losses.h"
#include "train/distill/stages.h"
#include "train/distill/terms/terms.h"
#include "train/error.h"

namespace umbra {
namespace {

class FlowOfSolution : public Term {
 public:
  FlowOfSolution(std::vector<StagePair> pairs, const Fit& fit)
      : pairs_(std::move(pairs)), fit_(fit) {}

  torch::Tensor loss(const TermInput& input) override {
    std::vector<torch::Tensor> student, teacher;
    for (const StagePair& pair : pairs_) {
      student.push_back(as_map(input.student.features[pair.student]));
      teacher.push_back(as_map(input.teacher.features[pair.teacher]));
    }
    return flow_loss(student, teacher);
  }

  std::optional<Fit> fit() const override { return fit_; }
  torch::Tensor fit_loss(const TermInput& input) override { return loss(input); }

 private:
  std::vector<StagePair> pairs_;
  Fit fit_;
};

// Mean over the positions of the products of all channels: [B, C_deep, C_shallow].
torch::Tensor flow(const torch::Tensor& shallow, const torch::Tensor& deep) {
  const auto [a, b] = pooled_to_smaller(shallow, deep);
  const torch::Tensor from = a.flatten(2), to = b.flatten(2);
  return to.bmm(from.transpose(1, 2)) / static_cast<double>(from.size(2));
}

void require_two_stages(const std::vector<StagePair>& pairs) {
  if (pairs.size() >= 2) return;
  throw ConfigError(
      "method \"fsp\" compares how each stage leads to the next, and there is one pair of stages "
      "only: name two or more with student_stages and teacher_stages, or neither for all");
}

void require_equal_channels(const TermContext& context, const std::vector<StagePair>& pairs) {
  std::vector<int64_t> mine, theirs;
  for (const StagePair& pair : pairs) {
    mine.push_back(as_map(context.student.example.features[pair.student]).size(1));
    theirs.push_back(as_map(context.teacher.example.features[pair.teacher]).size(1));
  }
  if (mine == theirs) return;
  throw ConfigError(fmt::format(
      "method \"fsp\" needs stages of as many channels in student and teacher: {} has {}, {} has "
      "{}. Take a student of the teacher's widths (resnet20 for resnet56), name stages of equal "
      "widths with student_stages and teacher_stages, or take a method for any widths (at, sp, "
      "nst)",
      context.student.model->options().name, fmt::join(mine, ", "),
      context.teacher.model->options().name, fmt::join(theirs, ", ")));
}

}  // namespace

torch::Tensor flow_loss(const std::vector<torch::Tensor>& student,
                        const std::vector<torch::Tensor>& teacher) {
  const FullPrecision full_precision;
  torch::Tensor sum;
  for (size_t i = 0; i + 1 < student.size(); ++i) {
    const torch::Tensor s = flow(wide(student[i]), wide(student[i + 1]));
    const torch::Tensor t = flow(wide(teacher[i].detach()), wide(teacher[i + 1].detach()));
    const torch::Tensor loss = mean_squared_error(s, t);
    add_to(sum, loss);
  }
  return sum;
}

std::unique_ptr<Term> make_fsp(const TermContext& context) {
  std::vector<StagePair> pairs = stage_pairs(context, StageChoice::kAll);
  require_two_stages(pairs);
  require_equal_channels(context, pairs);
  const Term::Fit fit = fit_of(context.options, /*trains_student=*/true);
  return std::make_unique<FlowOfSolution>(std::move(pairs), fit);
}

}  // namespace umbra
