// The residual networks against torchvision and against an independent PyTorch model, and SHAKE's
// teacher-side branch on top of one.
#include "cnn/backbone.h"
#include "tests/parity/truth.h"
#include "train/distill/shadow_branch.h"

namespace umbra::test {
namespace {

constexpr double kTolerance = 1e-5;

class CnnParity : public testing::TestWithParam<std::string> {};

TEST_P(CnnParity, LogitsStagesGradientsAndStatisticsAreTheSame) {
  const TensorMap expected = truth(GetParam());
  cnn::CnnOptions options;
  options.num_classes = facts("cnn").at(GetParam());
  const std::shared_ptr<cnn::Backbone> model = cnn::create(GetParam(), options);
  load_state(*model, part(expected, "weights"));
  {
    const torch::NoGradGuard no_grad;
    model->eval();
    const cnn::CnnOutput output = model->forward(expected.at("input"));
    expect_close(output.logits, expected.at("logits_eval"), kTolerance);
    for (const auto& [index, sum] : part(expected, "stage")) {  // sums before the last ReLU
      const cnn::Stage& stage = output.stages.at(std::stoul(index));
      SCOPED_TRACE(stage.name);
      expect_close(stage.pre, sum, kTolerance);
      expect_close(stage.post, torch::relu(sum), kTolerance);
    }
  }
  model->train();
  const cnn::CnnOutput output = model->forward(expected.at("input"));
  expect_close(output.logits, expected.at("logits"), kTolerance);
  (output.logits * expected.at("projection")).sum().backward();
  expect_all_close(gradients_of(*model), part(expected, "grad"), kTolerance);

  TensorMap statistics;
  for (const auto& item : model->named_buffers()) statistics[item.key()] = item.value();
  expect_all_close(statistics, part(expected, "after"), kTolerance);
}

INSTANTIATE_TEST_SUITE_P(Names, CnnParity, testing::Values("resnet18", "resnet20", "resnet8x4"),
                         [](const auto& test) { return test.param; });

TEST(ShadowBranchParity, LogitsAndGradientsAreThePublicCodes) {
  const TensorMap expected = truth("shadow_branch");
  ModelOptions options;
  options.name = "resnet8x4";
  options.num_classes = 100;
  options.in_chans = 3;
  const std::unique_ptr<Model> teacher = create_model(options);
  load_state(teacher->module(), part(expected, "teacher"));
  teacher->module().eval();
  const torch::Tensor& images = expected.at("input");
  const ModelOutput seen = teacher->forward(images);

  ShadowBranch branch(NetworkView{teacher.get(), seen});
  // Only a branch without a classifier of its own has these names and no others.
  load_state(*branch, part(expected, "weights"));
  branch->train();
  const torch::Tensor logits = branch(seen);
  expect_close(logits, expected.at("logits"), kTolerance);
  (logits * expected.at("projection")).sum().backward();
  expect_all_close(gradients_of(*branch), part(expected, "grad"), kTolerance);
  EXPECT_FALSE(teacher->classifier()->weight.grad().defined());
}

}  // namespace
}  // namespace umbra::test
