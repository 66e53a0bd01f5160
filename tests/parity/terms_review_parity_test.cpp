// ReviewKD's and SSKD's losses against their formulas in PyTorch, in double precision.
#include <torch/csrc/autograd/autograd.h>

#include "tests/parity/truth.h"
#include "train/distill/losses.h"
#include "train/distill/sskd.h"
#include "train/distill/sskd_losses.h"
#include "train/distill/terms/terms.h"
#include "train/weights/state.h"

namespace umbra::test {
namespace {

constexpr double kTolerance = 1e-6;

class TermsReviewParity : public testing::Test {
 protected:
  // Values and gradients stored as <name>/<key> and <name>/<key>_grad_<leaf>.
  void expect_same(const std::string& name, const std::string& key, const torch::Tensor& value,
                   const TensorMap& leaves) const {
    SCOPED_TRACE(name + "/" + key);
    expect_close(value, truth_.at(name + "/" + key), kTolerance);
    for (const auto& [leaf, tensor] : leaves) {
      SCOPED_TRACE(leaf);
      const torch::Tensor gradient =
          torch::autograd::grad({value}, {tensor}, {}, /*retain_graph=*/true,
                                /*create_graph=*/false, /*allow_unused=*/true)[0];
      const torch::Tensor& expected = truth_.at(name + "/" + key + "_grad_" + leaf);
      expect_close(gradient.defined() ? gradient : torch::zeros_like(tensor), expected, kTolerance);
    }
  }

  torch::Tensor leaf(const std::string& name) const {
    return truth_.at(name).clone().requires_grad_();
  }

  const TensorMap truth_ = truth("terms_review");
  const nlohmann::json facts_ = facts("terms_review");
};

TEST_F(TermsReviewParity, HclAtSeveralSizes) {
  for (int64_t i = 0; i < facts_.at("hcl"); ++i) {
    const std::string name = fmt::format("hcl_{}", i);
    SCOPED_TRACE(name);
    const torch::Tensor s = leaf(name + "/s"), t = leaf(name + "/t");
    const torch::Tensor value = hcl_loss(s, t);
    value.backward();
    expect_close(value, truth_.at(name + "/value"), kTolerance);
    expect_close(s.grad(), truth_.at(name + "/grad_s"), kTolerance);
    EXPECT_FALSE(t.grad().defined());
  }
}

// A CIFAR student's output: stages "0", "1", ... with another tensor before the activation, as only
// the teacher is to be read there; the deepest map is the pooled vector.
ModelOutput student_output(const std::vector<torch::Tensor>& maps) {
  ModelOutput output;
  for (size_t n = 0; n + 1 < maps.size(); ++n) {
    output.features.push_back({std::to_string(n), maps[n], torch::full_like(maps[n], NAN)});
  }
  output.pooled = maps.back().flatten(1);
  return output;
}
ModelOutput teacher_output(const std::vector<torch::Tensor>& maps) {
  ModelOutput output = student_output(maps);
  for (Feature& feature : output.features) std::swap(feature.post, feature.pre);
  return output;
}

TEST_F(TermsReviewParity, ReviewKdWithAllGradientsForMapsOfAnySize) {
  ModelOptions options = named_model("resnet8");
  options.num_classes = 10;
  options.in_chans = 3;
  const auto model = create_model(options);
  for (size_t i = 0; i < facts_.at("review").size(); ++i) {
    const nlohmann::json& item = facts_.at("review")[i];
    const std::string name = fmt::format("review_{}", i);
    SCOPED_TRACE(name);
    const TensorMap at = part(truth_, name + "/at"), gradients = part(truth_, name + "/grad");
    std::vector<torch::Tensor> student, teacher;
    for (int64_t n = 0; n < item.at("levels"); ++n) {
      student.push_back(leaf(fmt::format("{}/at/student_{}", name, n)));
      teacher.push_back(leaf(fmt::format("{}/teacher_{}", name, n)));
    }
    const ModelOutput mine = student_output(student), theirs = teacher_output(teacher);
    TermContext context;
    context.options.method = "review_kd";
    context.options.mid_channels = item.at("mid");
    context.student = {model.get(), mine};
    context.teacher = {model.get(), theirs};
    const auto term = make_review_kd(context);
    term->module()->to(torch::kFloat64);
    TensorMap actual;
    {
      const torch::NoGradGuard no_grad;
      for (auto& parameter : term->module()->named_parameters()) {
        parameter.value().copy_(at.at(parameter.key()));
      }
    }
    const torch::Tensor value = term->loss({Batch{}, mine, theirs});
    value.backward();
    expect_close(value, truth_.at(name + "/value"), kTolerance);
    actual = gradients_of(*term->module());
    for (size_t n = 0; n < student.size(); ++n) {
      actual[fmt::format("student_{}", n)] = student[n].grad();
      EXPECT_FALSE(teacher[n].grad().defined());
    }
    expect_all_close(actual, gradients, kTolerance);
  }
}

TEST_F(TermsReviewParity, SskdTermsWithGradientsAndSelection) {
  for (size_t i = 0; i < facts_.at("sskd").size(); ++i) {
    const nlohmann::json& item = facts_.at("sskd")[i];
    const std::string name = fmt::format("sskd_{}", i);
    const double transform_ratio = item.at("ratios")[0], pretext_ratio = item.at("ratios")[1];
    const double temperature = item.at("temperatures")[0],
                 pretext_temperature = item.at("temperatures")[1];
    const TensorMap leaves = {
        {"z_s", leaf(name + "/z_s")}, {"r_s", leaf(name + "/r_s")}, {"r_t", leaf(name + "/r_t")}};
    const torch::Tensor labels = truth_.at(name + "/labels");
    const SskdRows z_s = split_views(leaves.at("z_s")), z_t = split_views(truth_.at(name + "/z_t")),
                   y = split_views(labels);
    const torch::Tensor a_s = view_similarity(leaves.at("r_s")),
                        a_t = view_similarity(leaves.at("r_t")),
                        sources = view_sources(y.normal.size(0), torch::kCPU);
    expect_same(name, "ce", cross_entropy(z_s.normal, y.normal), leaves);
    expect_same(name, "kd", kl_divergence(z_s.normal, z_t.normal, temperature), leaves);
    expect_same(
        name, "tf",
        selected_kl(z_s.transformed, z_t.transformed, y.transformed, transform_ratio, temperature),
        leaves);
    expect_same(name, "ss", selected_kl(a_s, a_t, sources, pretext_ratio, pretext_temperature),
                leaves);
    expect_same(name, "head", cross_entropy(a_t, sources), leaves);
  }
}

// Rotation, jigsaw and exemplar through the whole objective: its term of the task and the fit of
// the teacher's head, with all gradients of the heads.
TEST_F(TermsReviewParity, SskdTasksThatClassifyRows) {
  for (const nlohmann::json& item : facts_.at("sskd_tasks")) {
    const std::string task = item.at("task"), name = "sskd_" + task;
    SCOPED_TRACE(name);
    DistillOptions options;
    ASSERT_TRUE(apply_preset(options, "sskd"));
    options.sskd.task = task;
    options.sskd.pretext_ratio = item.at("ratio");
    options.sskd.pretext_temperature = item.at("temperature");
    options.sskd.pretext_weight = 1.0;
    options.task_weight = options.sskd.kd_weight = options.sskd.transform_weight = 0.0;
    ModelOutput student, teacher;
    student.logits = truth_.at(name + "/z_s");
    student.pooled = leaf(name + "/r_s");
    teacher.logits = truth_.at(name + "/z_t");
    teacher.pooled = leaf(name + "/r_t");
    Setting setting;
    setting.student.example = student;
    setting.teachers.emplace_back().example = teacher;
    setting.train_labels.assign(item.at("images").get<size_t>(), 0);
    SskdObjective objective(options, LossOptions{}, setting);
    torch::nn::Module& heads = *objective.module();
    heads.to(torch::kFloat64);
    load_state(heads, part(truth_, name + "/heads"));

    Batch batch;
    batch.views = kSskdViews;
    batch.labels = batch.targets = torch::zeros({student.logits.size(0)}, torch::kInt64);
    batch.indices = batch.pretext_labels = truth_.at(name + "/answers");
    const std::vector<ModelOutput> teachers = {teacher};
    const torch::Tensor total = objective.compute(batch, student, teachers).total;
    total.backward();
    expect_close(total, truth_.at(name + "/pretext"), kTolerance);
    TensorMap actual = given_gradients(heads);
    actual["r_s"] = student.pooled.grad();
    expect_all_close(actual, part(truth_, name + "/pretext_grad"), kTolerance);
    EXPECT_FALSE(teacher.pooled.grad().defined());

    heads.zero_grad();
    const torch::Tensor fit = objective.fit_loss({}, batch, student, teachers);
    fit.backward();
    expect_close(fit, truth_.at(name + "/fit"), kTolerance);
    expect_all_close(given_gradients(heads), part(truth_, name + "/fit_grad"), kTolerance);
    EXPECT_FALSE(teacher.pooled.grad().defined());
  }
}

}  // namespace
}  // namespace umbra::test
