#include "train/optim/ema.h"

#include <gtest/gtest.h>

#include "tests/support.h"
#include "train/weights/state.h"

namespace umbra {
namespace {

ModelOptions small_cnn() {
  ModelOptions options;
  options.name = "resnet8";
  options.num_classes = 4;
  options.in_chans = 3;
  return options;
}

// Changes every weight and buffer, as a training step does.
void disturb(Model& model) {
  const torch::NoGradGuard no_grad;
  for (auto& [name, tensor] : state_of(model.module())) {
    torch::Tensor target = tensor;
    if (target.is_floating_point()) {
      target.add_(torch::randn_like(target), 0.1);
    } else {
      target.add_(1);
    }
  }
}

// The recurrence in double precision, beside the Ema, with the decay that `decay_at` gives.
void expect_recurrence(double decay, bool warmup, const std::function<double(int64_t)>& decay_at) {
  torch::manual_seed(1);
  const auto model = create_model(small_cnn());
  Ema ema(create_model(small_cnn()), *model, decay, warmup);
  TensorMap expected;
  for (const auto& [name, tensor] : state_of(model->module())) {
    expected[name] = tensor.detach().to(torch::kFloat64).clone();
  }
  for (int64_t step = 0; step < 20; ++step) {
    disturb(*model);
    ema.update(step);
    const double d = decay_at(step);
    for (const auto& [name, tensor] : state_of(model->module())) {
      const torch::Tensor now = tensor.detach().to(torch::kFloat64);
      expected[name] = tensor.is_floating_point() ? d * expected[name] + (1.0 - d) * now : now;
    }
  }
  for (const auto& [name, tensor] : state_of(ema.model().module())) {
    test::expect_close(tensor.to(torch::kFloat64), expected[name], 1e-5);
  }
}

TEST(Ema, FollowsTheRecurrenceWithBuffers) {
  expect_recurrence(0.9, false, [](int64_t) { return 0.9; });
}

// timm's ModelEmaV3 is called with the number of updates made, u = step + 1, and uses
// 1 - (1 + (u - 1))^(-2/3), at most the decay: 0 at u = 1 (the weights are copied), 0.37 at u = 2.
TEST(Ema, WarmsUpAsModelEmaV3) {
  const std::vector<double> golden = {0.0, 0.3700, 0.5193, 0.6031};
  expect_recurrence(0.8, true, [&](int64_t step) {
    const double d = std::min(0.8, 1.0 - std::pow(1.0 + static_cast<double>(step), -2.0 / 3.0));
    if (step < 4) {
      EXPECT_NEAR(d, golden[static_cast<size_t>(step)], 1e-3);
    }
    return d;
  });
}

}  // namespace
}  // namespace umbra
