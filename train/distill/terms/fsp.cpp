#include "train/distill/full_precision.h"
#include "train/distill/losses.h"
#include "train/distill/stages.h"
#include "train/distill/terms/terms.h"
#include "train/error.h"

namespace umbra {
namespace {

// What flows: from the stems, if they take part, through the stages.
struct Flow {
  bool from_stems = false;
  std::vector<StagePair> pairs;
};

struct Maps {
  std::vector<torch::Tensor> student, teacher;
};

Maps maps_of(const Flow& flow, const ModelOutput& student, const ModelOutput& teacher) {
  Maps maps;
  if (flow.from_stems) maps = {{student.stem}, {teacher.stem}};
  for (const StagePair& pair : flow.pairs) {
    maps.student.push_back(as_map(student.features[pair.student]));
    maps.teacher.push_back(as_map(teacher.features[pair.teacher]));
  }
  return maps;
}

class FlowOfSolution : public Term {
 public:
  FlowOfSolution(Flow flow, const Fit& fit) : flow_(std::move(flow)), fit_(fit) {}

  torch::Tensor loss(const TermInput& input) override {
    const Maps maps = maps_of(flow_, input.student, input.teacher);
    return flow_loss(maps.student, maps.teacher);
  }

  std::optional<Fit> fit() const override { return fit_; }
  torch::Tensor fit_loss(const TermInput& input) override { return loss(input); }

 private:
  Flow flow_;
  Fit fit_;
};

// Mean over the positions of the products of all channels: [B, C_deep, C_shallow].
torch::Tensor flow_between(const torch::Tensor& shallow, const torch::Tensor& deep) {
  const auto [a, b] = pooled_to_smaller(shallow, deep);
  const torch::Tensor from = a.flatten(2), to = b.flatten(2);
  return to.bmm(from.transpose(1, 2)) / static_cast<double>(from.size(2));
}

void require_a_flow(const Maps& maps) {
  if (maps.student.size() >= 2) return;
  throw ConfigError(
      "method \"fsp\" compares how each stage leads to the next, and there is one pair of stages "
      "only: name two or more with student_stages and teacher_stages, or neither for all");
}

std::vector<int64_t> channels_of(const std::vector<torch::Tensor>& maps) {
  std::vector<int64_t> channels;
  for (const torch::Tensor& map : maps) channels.push_back(map.size(1));
  return channels;
}

void require_equal_channels(const TermContext& context, const Maps& maps) {
  const std::vector<int64_t> mine = channels_of(maps.student), theirs = channels_of(maps.teacher);
  if (mine == theirs) return;
  throw ConfigError(fmt::format(
      "method \"fsp\" needs stages, and a stem, of as many channels in student and teacher: {} has "
      "{}, {} has "
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
    const torch::Tensor s = flow_between(wide(student[i]), wide(student[i + 1]));
    const torch::Tensor t = flow_between(wide(teacher[i].detach()), wide(teacher[i + 1].detach()));
    const torch::Tensor loss = mean_squared_error(s, t);
    add_to(sum, loss);
  }
  return sum;
}

std::unique_ptr<Term> make_fsp(const TermContext& context) {
  const ModelOutput &student = context.student.example, &teacher = context.teacher.example;
  Flow flow{false, stage_pairs(context, StageChoice::kAll)};
  flow.from_stems =
      context.options.student_stages.empty() && student.stem.defined() && teacher.stem.defined();
  const Maps maps = maps_of(flow, student, teacher);
  require_a_flow(maps);
  require_equal_channels(context, maps);
  const Term::Fit fit = fit_of(context.options, /*trains_student=*/true);
  return std::make_unique<FlowOfSolution>(std::move(flow), fit);
}

}  // namespace umbra
