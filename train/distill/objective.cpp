#include "train/distill/objective.h"

#include "train/distill/deit.h"
#include "train/distill/shake.h"
#include "train/distill/sskd.h"
#include "train/distill/task_loss.h"
#include "train/distill/term.h"

namespace umbra {
namespace {

// The labels alone.
class TaskObjective : public Objective {
 public:
  TaskObjective(const DistillOptions& distill, const LossOptions& loss)
      : distill_(distill), loss_(loss) {}

  Loss compute(const Batch& batch, const ModelOutput& student,
               std::span<const ModelOutput>) override {
    Loss loss;
    loss.add("task", distill_.task_weight, [&] {
      const torch::Tensor logits =
          normalised_logits(student.logits, distill_.logit_norm, distill_.logit_scale);
      return task_loss(loss_, logits, batch);
    });
    return loss;
  }

 private:
  DistillOptions distill_;
  LossOptions loss_;
};

// A term as it enters the total.
struct WeightedTerm {
  TermOptions options;
  std::unique_ptr<Term> term;
  std::string label;  // for the log: the method, numbered from its second term on
};

// A method's loss and [[distill.terms]] on top of it.
class ComposedObjective : public Objective {
 public:
  ComposedObjective(std::unique_ptr<Objective> base, std::vector<WeightedTerm> terms)
      : base_(std::move(base)), terms_(std::move(terms)) {
    auto modules = std::make_shared<torch::nn::Module>();
    if (const auto module = base_->module()) modules->register_module("base", module);
    for (size_t i = 0; i < terms_.size(); ++i) {
      const auto module = terms_[i].term->module();
      if (module) modules->register_module(fmt::format("term_{}", i), module);
    }
    if (!modules->children().empty()) modules_ = std::move(modules);
  }

  Loss compute(const Batch& batch, const ModelOutput& student,
               std::span<const ModelOutput> teachers) override {
    Loss loss = base_->compute(batch, student, teachers);
    for (const WeightedTerm& term : terms_) {
      loss.add(term.label, weight_at(term.options, batch.epoch), [&] {
        return term.term->loss({batch, student, teacher_of(term, teachers)});
      });
    }
    return loss;
  }
  std::shared_ptr<torch::nn::Module> module() override { return modules_; }

  std::optional<double> replayable_from() const override {
    std::optional<double> from = base_->replayable_from();
    for (const WeightedTerm& term : terms_) {
      if (!from || !term.term->is_replayable()) return std::nullopt;
      from = std::max(*from, settled_epoch(term.options));
    }
    return from;
  }

  std::vector<Fit> fits() const override {
    std::vector<Fit> fits = base_->fits();
    for (const WeightedTerm& term : terms_) {
      auto fit = term.term->fit();
      if (!fit) continue;
      fit->name = term.label;
      fits.push_back(*std::move(fit));
    }
    return fits;
  }

  torch::Tensor fit_loss(const Fit& fit, const Batch& batch, const ModelOutput& student,
                         std::span<const ModelOutput> teachers) override {
    for (const WeightedTerm& term : terms_) {
      if (fit.name != term.label) continue;
      return term.term->fit_loss({batch, student, teacher_of(term, teachers)});
    }
    return base_->fit_loss(fit, batch, student, teachers);
  }

 private:
  static const ModelOutput& teacher_of(const WeightedTerm& term,
                                       std::span<const ModelOutput> teachers) {
    static const ModelOutput kNone;
    const auto index = static_cast<size_t>(term.options.teacher);
    return index < teachers.size() ? teachers[index] : kNone;
  }

  std::unique_ptr<Objective> base_;
  std::vector<WeightedTerm> terms_;
  std::shared_ptr<torch::nn::Module> modules_;
};

std::unique_ptr<Objective> make_base(const DistillOptions& distill, const LossOptions& loss,
                                     const Setting& setting) {
  if (distill.method == "none") return std::make_unique<TaskObjective>(distill, loss);
  if (distill.method == "sskd") return std::make_unique<SskdObjective>(distill, loss, setting);
  if (distill.method != "shake") return std::make_unique<DeitObjective>(distill, loss);
  std::vector<ShadowBranch> branches;
  if (distill.shadow == "teacher") {
    for (const NetworkView& teacher : setting.teachers) branches.emplace_back(teacher);
  }
  return std::make_unique<ShakeObjective>(distill, loss, std::move(branches));
}

}  // namespace

void Loss::add(const std::string& name, double weight,
               const std::function<torch::Tensor()>& value) {
  if (weight == 0.0) return;
  const torch::Tensor weighted = weight * value();
  add_to(total, weighted);
  const auto same = [&](const LossTerm& term) { return term.name == name; };
  const auto term = std::find_if(terms.begin(), terms.end(), same);
  if (term == terms.end()) {
    terms.push_back({name, weighted.detach()});
  } else {
    term->value = term->value + weighted.detach();
  }
}

std::unique_ptr<Objective> make_objective(const DistillOptions& distill, const LossOptions& loss,
                                          const Setting& setting) {
  std::unique_ptr<Objective> base = make_base(distill, loss, setting);
  if (distill.terms.empty()) return base;
  std::vector<WeightedTerm> terms;
  for (size_t i = 0; i < distill.terms.size(); ++i) {
    const TermOptions& options = distill.terms[i];
    const auto index = static_cast<size_t>(options.teacher);
    const NetworkView teacher =
        index < setting.teachers.size() ? setting.teachers[index] : NetworkView{};
    const auto same = std::count_if(terms.begin(), terms.end(), [&](const WeightedTerm& term) {
      return term.options.method == options.method;
    });
    try {
      terms.push_back(
          {options, make_term({options, loss, setting.student, teacher, setting.train_labels}),
           same == 0 ? options.method : fmt::format("{}_{}", options.method, same + 1)});
    } catch (const Error& error) {
      const std::string which =
          distill.terms.size() > 1 ? fmt::format("[[distill.terms]] {}, ", i) : "";
      throw TermError(i, fmt::format("{}{}: {}", which, options.method, error.what()));
    }
  }
  return std::make_unique<ComposedObjective>(std::move(base), std::move(terms));
}

std::string describe(const DistillOptions& distill) {
  std::vector<std::string> parts;
  if (distill.method != "none") parts.push_back(distill.preset);
  for (const TermOptions& term : distill.terms) {
    parts.push_back(fmt::format("{} {}", term.method, term.weight));
  }
  return parts.empty() ? "none" : fmt::format("{}", fmt::join(parts, " + "));
}

}  // namespace umbra
