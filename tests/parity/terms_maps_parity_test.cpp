// Losses on maps and their gradients, and the terms with what they train, against PyTorch in double
// precision: tools/parity_terms_maps.py.
#include "tests/parity/truth.h"
#include "train/distill/terms/terms.h"
#include "train/weights/state.h"

namespace umbra::test {
namespace {

constexpr double kTolerance = 1e-6;

ModelOutput with_features(const std::vector<torch::Tensor>& maps) {
  ModelOutput output;
  for (size_t i = 0; i < maps.size(); ++i) {
    output.features.push_back({fmt::format("stage{}", i), maps[i], maps[i]});
  }
  return output;
}

std::unique_ptr<Term> term_for(const std::string& method, const ModelOutput& student,
                               const ModelOutput& teacher,
                               const std::vector<std::string>& stages = {}) {
  TermContext context;
  context.options = find_term_method(method)->defaults;
  context.options.student_stages = context.options.teacher_stages = stages;
  context.student.example = student;
  context.teacher.example = teacher;
  std::unique_ptr<Term> term = make_term(context);
  term->module()->to(torch::kFloat64);
  return term;
}

class TermsMapsParity : public testing::Test {
 protected:
  torch::Tensor leaf(const std::string& name) const {
    return truth_.at(name).clone().requires_grad_();
  }
  std::vector<torch::Tensor> leaves(const std::string& name, int64_t count) const {
    std::vector<torch::Tensor> tensors;
    for (int64_t i = 0; i < count; ++i) tensors.push_back(leaf(fmt::format("{}_{}", name, i)));
    return tensors;
  }

  void expect_gradients(const std::string& name, const std::vector<torch::Tensor>& levels) const {
    for (size_t i = 0; i < levels.size(); ++i) {
      expect_close(levels[i].grad(), truth_.at(fmt::format("{}_{}", name, i)), kTolerance);
    }
  }

  // The loss of the maps <name>_i/student and <name>_i/teacher, for every pair of shapes;
  // `count` names the fact with their number.
  void expect_same(const std::string& name,
                   torch::Tensor (*loss)(const torch::Tensor&, const torch::Tensor&),
                   const std::string& count = "pairs") const {
    for (int64_t i = 0; i < facts_.at(count); ++i) {
      const std::string item = fmt::format("{}_{}", name, i);
      SCOPED_TRACE(item);
      const torch::Tensor student = leaf(item + "/student"), teacher = leaf(item + "/teacher");
      const torch::Tensor value = loss(student, teacher);
      value.backward();
      expect_close(value, truth_.at(item + "/value"), kTolerance);
      expect_close(student.grad(), truth_.at(item + "/grad_student"), kTolerance);
      EXPECT_FALSE(teacher.grad().defined());
    }
  }

  // The same for lists of maps; `counts` names the facts with their lengths.
  void expect_same_levels(const std::string& name, const std::string& counts,
                          torch::Tensor (*loss)(const std::vector<torch::Tensor>&,
                                                const std::vector<torch::Tensor>&)) const {
    for (size_t i = 0; i < facts_.at(counts).size(); ++i) {
      const std::string item = fmt::format("{}_{}", name, i);
      SCOPED_TRACE(item);
      const int64_t count = facts_.at(counts)[i];
      const auto student = leaves(item + "/student", count);
      const auto teacher = leaves(item + "/teacher", count);
      const torch::Tensor value = loss(student, teacher);
      value.backward();
      expect_close(value, truth_.at(item + "/value"), kTolerance);
      expect_gradients(item + "/grad_student", student);
      for (const torch::Tensor& map : teacher) EXPECT_FALSE(map.grad().defined());
    }
  }

  // A term with what it trains, on the maps <method>_term/student_i and teacher_i.
  void expect_same_term(const std::string& method, int64_t count,
                        const std::vector<std::string>& stages,
                        torch::Tensor (Term::*loss)(const TermInput&)) const {
    const std::string name = method + "_term";
    const auto student = leaves(name + "/student", count),
               teacher = leaves(name + "/teacher", count);
    const ModelOutput mine = with_features(student), theirs = with_features(teacher);
    const std::unique_ptr<Term> term = term_for(method, mine, theirs, stages);
    load_state(*term->module(), part(truth_, name + "/weights"));
    const torch::Tensor value = (*term.*loss)({Batch{}, mine, theirs});
    value.backward();
    expect_close(value, truth_.at(name + "/value"), kTolerance);
    expect_gradients(name + "/grad_student", student);
    expect_all_close(given_gradients(*term->module()), part(truth_, name + "/grad"), kTolerance);
    for (const torch::Tensor& map : teacher) EXPECT_FALSE(map.grad().defined());
  }

  const TensorMap truth_ = truth("terms_maps");
  const nlohmann::json facts_ = facts("terms_maps");
};

TEST_F(TermsMapsParity, Attention) { expect_same("at", attention_loss); }

TEST_F(TermsMapsParity, SimilarityPreserving) { expect_same("sp", similarity_preserving_loss); }

TEST_F(TermsMapsParity, NeuronSelectivity) { expect_same("nst", neuron_selectivity_loss); }

TEST_F(TermsMapsParity, Factors) { expect_same("ft", factor_loss); }

TEST_F(TermsMapsParity, NToOne) { expect_same("norm", n_to_one_loss, "norm"); }

TEST_F(TermsMapsParity, Flows) { expect_same_levels("fsp", "flows", flow_loss); }

TEST_F(TermsMapsParity, Boundaries) { expect_same_levels("ab", "boundaries", boundary_loss); }

TEST_F(TermsMapsParity, HintsThroughRegressors) {
  expect_same_term("fitnet", 3, {"stage0", "stage1", "stage2"}, &Term::loss);
}

TEST_F(TermsMapsParity, BoundariesThroughConnectors) {
  expect_same_term("ab", 4, {}, &Term::fit_loss);
}

TEST_F(TermsMapsParity, FactorsOfTranslatorAndParaphraser) {
  const torch::Tensor student = leaf("ft_term/student");
  const ModelOutput mine = with_features({student}),
                    theirs = with_features({truth_.at("ft_term/teacher")});
  const std::unique_ptr<Term> term = term_for("ft", mine, theirs);
  torch::nn::Module& module = *term->module();
  load_state(module, part(truth_, "ft_term/weights"));

  const torch::Tensor restoring = term->fit_loss({Batch{}, mine, theirs});
  restoring.backward();
  expect_close(restoring, truth_.at("ft_fit/value"), kTolerance);
  expect_all_close(given_gradients(module), part(truth_, "ft_fit/grad"), kTolerance);
  EXPECT_FALSE(student.grad().defined());

  module.zero_grad();
  const torch::Tensor value = term->loss({Batch{}, mine, theirs});
  value.backward();
  expect_close(value, truth_.at("ft_term/value"), kTolerance);
  expect_close(student.grad(), truth_.at("ft_term/grad_student"), kTolerance);
  expect_all_close(given_gradients(module), part(truth_, "ft_term/grad"), kTolerance);
}

}  // namespace
}  // namespace umbra::test
