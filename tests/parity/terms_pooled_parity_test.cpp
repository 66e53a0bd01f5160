// Values and gradients of the terms cc, rkd, pkt, vid and ofd against their formulas in PyTorch, in
// double precision (tools/parity_terms_pooled.py).
#include "tests/parity/truth.h"
#include "train/distill/terms/terms.h"

namespace umbra::test {
namespace {

constexpr double kTolerance = 1e-6;

// A network that is nothing but the batch norms that end its stages.
class NormsModel : public Model {
 public:
  explicit NormsModel(std::vector<torch::nn::BatchNorm2d> norms)
      : Model({}), norms_(std::move(norms)) {}

  ModelOutput forward(const torch::Tensor&) override { return {}; }
  torch::nn::Module& module() override { return module_; }
  const torch::nn::Linear& classifier() override { return classifier_; }
  std::vector<torch::nn::BatchNorm2d> stage_norms() override { return norms_; }

 private:
  torch::nn::Module module_;
  torch::nn::Linear classifier_{nullptr};
  std::vector<torch::nn::BatchNorm2d> norms_;
};

class PooledTermsParity : public testing::Test {
 protected:
  using Loss = std::function<torch::Tensor(const std::vector<torch::Tensor>&)>;

  // `loss` of the named leaves has the stored value and gradients.
  void expect_same(const std::string& name, const std::vector<std::string>& leaves,
                   const Loss& loss) const {
    SCOPED_TRACE(name);
    std::vector<torch::Tensor> tensors;
    for (const std::string& leaf : leaves) {
      tensors.push_back(at(name + "/" + leaf).clone().requires_grad_());
    }
    const torch::Tensor value = loss(tensors);
    value.backward();
    expect_close(value, at(name + "/value"), kTolerance);
    for (size_t i = 0; i < leaves.size(); ++i) {
      expect_close(tensors[i].grad(), at(name + "/grad_" + leaves[i]), kTolerance);
    }
  }

  // The term that `make` builds for stored outputs, with the stored parameters.
  void expect_same_term(const std::string& name, ModelOutput& student, const ModelOutput& teacher,
                        const NetworkView& teacher_view,
                        std::unique_ptr<Term> (*make)(const TermContext&)) const {
    TermContext context;
    context.options.embed_dim = 4;
    context.student.example = student;
    context.teacher = teacher_view;
    context.teacher.example = teacher;
    const auto term = make(context);
    term->module()->to(torch::kFloat64);
    const TensorMap stored = part(truth_, name + "/param");
    for (const auto& item : term->module()->named_parameters()) {
      item.value().data().copy_(stored.at(item.key()));
    }
    const torch::Tensor value = term->loss({Batch{}, student, teacher});
    value.backward();
    expect_close(value, at(name + "/value"), kTolerance);
    expect_all_close(gradients_of(*term->module()), part(truth_, name + "/grad"), kTolerance);
  }

  // Stages stored as <name>/<side>/<k>.
  ModelOutput stages(const std::string& name, bool learns) const {
    ModelOutput output;
    const TensorMap maps = part(truth_, name);
    for (size_t i = 0; i < maps.size(); ++i) {
      const torch::Tensor map = maps.at(std::to_string(i)).clone().set_requires_grad(learns);
      output.features.push_back({fmt::format("stage{}", i), map, map});
    }
    return output;
  }

  void expect_stage_gradients(const ModelOutput& student, const std::string& name) const {
    for (size_t i = 0; i < student.features.size(); ++i) {
      expect_close(student.features[i].post.grad(), at(fmt::format("{}/grad_student/{}", name, i)),
                   kTolerance);
    }
  }

  const torch::Tensor& at(const std::string& name) const { return truth_.at(name); }

  const TensorMap truth_ = truth("terms_pooled");
  const nlohmann::json facts_ = facts("terms_pooled");
};

TEST_F(PooledTermsParity, RelationsBetweenSamplesAndTheirGradients) {
  for (int i = 0; i < facts_.at("vectors"); ++i) {
    expect_same(fmt::format("cc_{}", i), {"s", "t"},
                [](const auto& x) { return congruence_loss(x[0], x[1]); });
    const torch::Tensor& t = at(fmt::format("rkd_{}/t", i));
    expect_same(fmt::format("rkd_{}", i), {"s"},
                [&](const auto& x) { return relational_loss(x[0], t, 25.0, 50.0); });
    expect_same(fmt::format("rkd_distances_{}", i), {"s"},
                [&](const auto& x) { return relational_loss(x[0], t, 3.0, 0.0); });
    expect_same(fmt::format("rkd_angles_{}", i), {"s"},
                [&](const auto& x) { return relational_loss(x[0], t, 0.0, 0.7); });
    expect_same(fmt::format("pkt_{}", i), {"s"},
                [&](const auto& x) { return probabilistic_transfer_loss(x[0], t); });
  }
}

TEST_F(PooledTermsParity, LikelihoodOfMapsAndItsGradients) {
  for (int i = 0; i < facts_.at("maps"); ++i) {
    const std::string name = fmt::format("vid_{}", i);
    expect_same(name, {"mean", "log_scale"},
                [&](const auto& x) { return variational_loss(x[0], at(name + "/t"), x[1]); });
  }
}

TEST_F(PooledTermsParity, OverhauledDistanceForEverySizeOfTheTeachersMap) {
  for (int i = 0; i < facts_.at("maps"); ++i) {
    for (const char* kind : {"same", "larger", "smaller"}) {
      const std::string name = fmt::format("ofd_{}_{}", kind, i);
      expect_same(name, {"s"}, [&](const auto& x) {
        return overhaul_loss(x[0], at(name + "/t"), at(name + "/margin"));
      });
    }
  }
}

TEST_F(PooledTermsParity, MarginsAreTheMeansOfNegativeValues) {
  expect_close(activation_margin(at("margin/weight"), at("margin/bias")), at("margin/value"),
               kTolerance);
}

TEST_F(PooledTermsParity, CongruenceTermWithItsEmbeddings) {
  ModelOutput student, teacher;
  student.pooled = at("term_cc/student/0").clone().requires_grad_();
  teacher.pooled = at("term_cc/teacher/0");
  expect_same_term("term_cc", student, teacher, {}, make_cc);
  expect_close(student.pooled.grad(), at("term_cc/grad_student/0"), kTolerance);
}

TEST_F(PooledTermsParity, VariationalTermWithItsRegressors) {
  ModelOutput student = stages("term_vid/student", /*learns=*/true);
  expect_same_term("term_vid", student, stages("term_vid/teacher", /*learns=*/false), {}, make_vid);
  expect_stage_gradients(student, "term_vid");
}

TEST_F(PooledTermsParity, OverhaulTermWithItsConnectors) {
  ModelOutput student = stages("term_ofd/student", /*learns=*/true);
  const ModelOutput teacher = stages("term_ofd/teacher", /*learns=*/false);
  std::vector<torch::nn::BatchNorm2d> norms;
  for (size_t i = 0; i < teacher.features.size(); ++i) {
    norms.emplace_back(teacher.features[i].pre.size(1))->to(torch::kFloat64);
    norms.back()->weight.data().copy_(at(fmt::format("term_ofd/norm/{}/weight", i)));
    norms.back()->bias.data().copy_(at(fmt::format("term_ofd/norm/{}/bias", i)));
  }
  NormsModel model(norms);
  expect_same_term("term_ofd", student, teacher, {&model, {}}, make_ofd);
  expect_stage_gradients(student, "term_ofd");
}

}  // namespace
}  // namespace umbra::test
