// Values and gradients of the losses of dkd, dist, crd, dml and one against PyTorch in double
// precision: tools/parity_terms_logits.py.
#include "tests/parity/truth.h"
#include "train/distill/terms/contrast_memory.h"
#include "train/distill/terms/terms.h"

namespace umbra::test {
namespace {

constexpr double kTolerance = 1e-6;

class TermsLogitsParity : public testing::Test {
 protected:
  torch::Tensor leaf(const std::string& name) const {
    return truth_.at(name).clone().requires_grad_();
  }

  // The value, and the gradient of each leaf, are those stored under `name`.
  void expect_same(const std::string& name, const torch::Tensor& value,
                   const TensorMap& leaves) const {
    SCOPED_TRACE(name);
    value.backward();
    expect_close(value, truth_.at(name + "/value"), kTolerance);
    for (const auto& [key, tensor] : leaves) {
      SCOPED_TRACE(key);
      expect_close(tensor.grad(), truth_.at(name + "/grad/" + key), kTolerance);
    }
  }

  // Leaves "z0", "z1", ... of the case.
  std::vector<torch::Tensor> logits(const std::string& name, int64_t count) const {
    std::vector<torch::Tensor> all;
    for (int64_t i = 0; i < count; ++i) all.push_back(leaf(fmt::format("{}/z{}", name, i)));
    return all;
  }

  const TensorMap truth_ = truth("terms_logits");
  const nlohmann::json facts_ = facts("terms_logits");
};

TEST_F(TermsLogitsParity, DecoupledKdAndDistAreTheirFormulas) {
  for (size_t i = 0; i < facts_.at("logits").size(); ++i) {
    const nlohmann::json& item = facts_.at("logits")[i];
    const double alpha = item.at("alpha"), beta = item.at("beta"), t = item.at("temperature");
    const std::string name = fmt::format("logits_{}", i);
    const torch::Tensor teacher = leaf(name + "/teacher"), &labels = truth_.at(name + "/labels");
    const torch::Tensor first = leaf(name + "/dkd/z"), second = leaf(name + "/dist/z");
    expect_same(name + "/dkd", decoupled_kd_loss(first, teacher, labels, alpha, beta, t),
                {{"z", first}});
    expect_same(name + "/dist", dist_loss(second, teacher, alpha, beta, t), {{"z", second}});
    EXPECT_FALSE(teacher.grad().defined());
  }
}

TEST_F(TermsLogitsParity, ContrastiveLossIsItsFormula) {
  for (size_t i = 0; i < facts_.at("contrastive").size(); ++i) {
    const std::string name = fmt::format("contrastive_{}", i);
    const torch::Tensor scores = leaf(name + "/scores");
    expect_same(name, contrastive_loss(scores, facts_.at("contrastive")[i]), {{"scores", scores}});
  }
}

TEST_F(TermsLogitsParity, ContrastMemoryScoresThenRemembersOverThreeBatches) {
  for (size_t i = 0; i < facts_.at("memory").size(); ++i) {
    const nlohmann::json& item = facts_.at("memory")[i];
    const std::string start = fmt::format("memory_{}", i);
    const torch::Tensor& bank = truth_.at(start + "/student_bank");
    ContrastMemory memory(bank.size(0), bank.size(1), item.at("temperature").get<double>(),
                          item.at("momentum").get<double>());
    memory->to(torch::kFloat64);
    auto state = memory->named_buffers();
    for (const char* key : {"student_bank", "teacher_bank"}) {
      state[key].copy_(truth_.at(start + "/" + key));
    }
    for (int64_t step = 0; step < 3; ++step) {
      const std::string name = fmt::format("{}/{}", start, step);
      const torch::Tensor student = leaf(name + "/student"), teacher = leaf(name + "/teacher");
      expect_same(
          name,
          memory(student, teacher, truth_.at(name + "/indices"), truth_.at(name + "/contrast")),
          {{"student", student}, {"teacher", teacher}});
      for (const auto& buffer : state) {
        SCOPED_TRACE(name + "/" + buffer.key());
        expect_close(buffer.value(), truth_.at(name + "/" + buffer.key()), kTolerance);
      }
    }
  }
}

TEST_F(TermsLogitsParity, MutualLossIsTheMeanOverPeersForEveryNetwork) {
  for (size_t i = 0; i < facts_.at("mutual").size(); ++i) {
    const nlohmann::json& item = facts_.at("mutual")[i];
    const std::string name = fmt::format("mutual_{}", i);
    const std::vector<torch::Tensor> z = logits(name, item.at("networks"));
    TensorMap leaves;
    for (size_t k = 0; k < z.size(); ++k) leaves[fmt::format("z{}", k)] = z[k];
    expect_same(name, mutual_loss(z, item.at("temperature")), leaves);
  }
}

// The whole term, on outputs that no model made.
TEST_F(TermsLogitsParity, NativeEnsembleIsItsFormulaForHeadsAndGate) {
  for (size_t i = 0; i < facts_.at("ensemble").size(); ++i) {
    const std::string name = fmt::format("ensemble_{}", i);
    const std::vector<torch::Tensor> z = logits(name, facts_.at("ensemble")[i]);
    ModelOutput student;
    student.logits = z.front();
    student.shadow_logits.assign(z.begin() + 1, z.end());
    student.pooled = leaf(name + "/pooled");
    TermContext context;
    context.options = find_term_method("one")->defaults;
    context.student.example = student;
    const std::unique_ptr<Term> term = make_term(context);
    term->module()->to(torch::kFloat64);
    TensorMap leaves = {{"pooled", student.pooled}};
    for (const auto& parameter : term->module()->named_parameters()) {
      const std::string key = parameter.key().substr(std::string("gate.").size());
      parameter.value().data().copy_(truth_.at(name + "/" + key));
      leaves[key] = parameter.value();
    }
    for (size_t k = 0; k < z.size(); ++k) leaves[fmt::format("z{}", k)] = z[k];
    Batch batch;
    batch.targets = truth_.at(name + "/targets");
    expect_same(name, term->loss({batch, student, {}}), leaves);
  }
}

}  // namespace
}  // namespace umbra::test
