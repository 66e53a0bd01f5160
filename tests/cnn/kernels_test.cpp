// The fused convolutions and batch norms against ATen's own in fp64: results and gradients.
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "cnn/frozen_conv.h"
#include "cnn/fused.h"
#include "cnn/layers.h"
#include "kernels/support.h"
#include "tests/fused.h"

namespace umbra::cnn {
namespace {

using test::CpuAutocast;
using test::kBf16;
using test::leaf;
using test::relative_error;

torch::Tensor random(at::IntArrayRef shape) { return test::random_bf16(shape).to(torch::kFloat32); }

// A norm that changes nothing, and a convolution that does not.
torch::nn::BatchNorm2d idle_norm(int64_t channels) {
  torch::nn::BatchNorm2d norm(torch::nn::BatchNorm2dOptions(channels).eps(0.0));
  norm->eval();
  return norm;
}

// The same norm in fp64.
torch::nn::BatchNorm2d exact_copy(const torch::nn::BatchNorm2d& norm) {
  torch::nn::BatchNorm2d copy(norm->options);
  copy->to(torch::kFloat64);
  copy->train(norm->is_training());
  const torch::NoGradGuard no_grad;
  for (const auto& item : norm->named_parameters()) {
    copy->named_parameters()[item.key()].copy_(item.value());
  }
  for (const auto& item : norm->named_buffers()) {
    copy->named_buffers()[item.key()].copy_(item.value());
  }
  return copy;
}

torch::nn::Conv2d idle_conv(int64_t channels) {
  torch::nn::Conv2d layer = conv(channels, channels, 3);
  const torch::NoGradGuard no_grad;
  layer->weight.zero_();
  for (int64_t c = 0; c < channels; ++c) layer->weight[c][c][1][1] = 1.0;
  return layer;
}

TEST(Kernels, AreHeldBack) {
  const char* variable = std::getenv("UMBRA_MAX_CPU_ISA");
  if (!variable) GTEST_SKIP() << "no UMBRA_MAX_CPU_ISA";
  EXPECT_FALSE(kernels::have_tiles());
  if (std::string(variable) == "none") {
    EXPECT_FALSE(kernels::available());
  }
}

struct ConvCase {
  int64_t batch, in, out, height, width, size = 3, stride = 1;
  bool bias = false;
};

class FusedConv : public ::testing::TestWithParam<ConvCase> {};

TEST_P(FusedConv, AgreesWithItsDefinition) {
  const ConvCase& c = GetParam();
  torch::manual_seed(c.in * 100 + c.out);
  torch::nn::Conv2d layer(torch::nn::Conv2dOptions(c.in, c.out, c.size)
                              .stride(c.stride)
                              .padding(c.size / 2)
                              .bias(c.bias));
  torch::nn::BatchNorm2d norm = idle_norm(c.out);
  {
    const torch::NoGradGuard no_grad;
    for (torch::Tensor& parameter : layer->parameters()) {
      parameter.copy_(random(parameter.sizes()));
    }
  }
  const torch::Tensor values = random({c.batch, c.in, c.height, c.width});
  const torch::Tensor grad =
      random({c.batch, c.out, (c.height - 1) / c.stride + 1, (c.width - 1) / c.stride + 1});
  const torch::Tensor x = leaf(values, torch::kFloat32), exact = leaf(values, torch::kFloat64);
  const torch::Tensor weight = leaf(layer->weight, torch::kFloat64);
  const torch::Tensor bias = c.bias ? leaf(layer->bias, torch::kFloat64) : torch::Tensor();
  torch::Tensor got;
  {
    const CpuAutocast autocast;
    got = conv_norm(*layer, *norm, x);
  }
  got.backward(grad.to(got.scalar_type()));
  const torch::Tensor want = torch::conv2d(exact, weight, bias, c.stride, c.size / 2);
  want.backward(grad.to(torch::kFloat64));
  EXPECT_EQ(got.scalar_type(), torch::kBFloat16);
  EXPECT_LT(relative_error(got.detach(), want.detach()), kBf16);
  EXPECT_LT(relative_error(x.grad(), exact.grad()), kBf16);
  if (c.bias) {
    EXPECT_LT(relative_error(layer->bias.grad(), bias.grad()), kBf16);
  }
  // Ours are sums of exact products in fp32; ATen rounds to bf16.
  const double tolerance = kernels::have_tiles() ? 1e-5 : kBf16;
  EXPECT_LT(relative_error(layer->weight.grad(), weight.grad()), tolerance);
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, FusedConv,
    ::testing::Values(ConvCase{2, 3, 16, 32, 32}, ConvCase{5, 16, 16, 32, 32},
                      ConvCase{3, 32, 32, 16, 16}, ConvCase{40, 64, 64, 8, 8},
                      ConvCase{2, 20, 37, 7, 9}, ConvCase{1, 1, 1, 1, 1}, ConvCase{2, 48, 80, 5, 3},
                      ConvCase{1, 64, 64, 56, 56}, ConvCase{3, 128, 160, 4, 4},
                      ConvCase{3, 16, 32, 32, 32, 3, 2}, ConvCase{2, 20, 37, 7, 9, 3, 2},
                      ConvCase{9, 128, 256, 16, 16, 3, 2}, ConvCase{2, 3, 8, 6, 5, 3, 2},
                      ConvCase{1, 17, 15, 1, 1, 3, 2}, ConvCase{2, 8, 8, 1, 4, 3, 2},
                      ConvCase{3, 32, 64, 32, 32, 1, 1}, ConvCase{2, 20, 37, 7, 9, 1, 1},
                      ConvCase{3, 64, 128, 32, 32, 1, 2}, ConvCase{2, 20, 37, 7, 9, 1, 2},
                      ConvCase{1, 3, 3, 1, 1, 1, 2}, ConvCase{2, 256, 64, 14, 14, 1, 1},
                      ConvCase{37, 48, 40, 4, 4}, ConvCase{70, 16, 32, 2, 3},
                      ConvCase{19, 32, 16, 8, 8}, ConvCase{21, 64, 32, 7, 7, 1, 1},
                      ConvCase{23, 16, 32, 8, 8, 3, 2}, ConvCase{25, 16, 24, 7, 5, 1, 2},
                      ConvCase{17, 24, 16, 5, 7, 3, 2}, ConvCase{3, 16, 24, 8, 8, 3, 1, true},
                      ConvCase{2, 20, 37, 7, 9, 1, 2, true}));

TEST(FusedConv, AddsAResidual) {
  torch::manual_seed(8);
  for (const bool bias : {false, true}) {
    torch::nn::Conv2d layer(torch::nn::Conv2dOptions(16, 24, 3).padding(1).bias(bias));
    const torch::Tensor values = random({3, 16, 9, 7}), added = random({3, 24, 9, 7}),
                        grad = random({3, 24, 9, 7});
    const torch::Tensor x = leaf(values, torch::kBFloat16),
                        residual = leaf(added, torch::kBFloat16);
    torch::Tensor got;
    {
      const CpuAutocast autocast;
      got = convolve(*layer, x, residual);
    }
    got.backward(grad.to(got.scalar_type()));
    const torch::Tensor exact = leaf(values, torch::kFloat64);
    const torch::Tensor weight = layer->weight.detach().to(torch::kBFloat16).to(torch::kFloat64);
    torch::Tensor want = torch::conv2d(exact, weight, {}, 1, 1) + added.to(torch::kFloat64);
    if (bias) want = want + layer->bias.detach().to(torch::kFloat64).view({1, -1, 1, 1});
    want.backward(grad.to(torch::kFloat64));
    EXPECT_LT(relative_error(got.detach(), want.detach()), kBf16);
    EXPECT_LT(relative_error(x.grad(), exact.grad()), kBf16);
    EXPECT_TRUE(torch::equal(residual.grad().to(torch::kFloat32), grad));
    EXPECT_EQ(layer->bias.defined(), bias);
    if (bias) {
      EXPECT_LT(relative_error(layer->bias.grad(), grad.sum({0, 2, 3}).to(torch::kFloat64)), kBf16);
    }
  }
}

// Of the sum of squares that forward(x) gives, by x and by the weight.
template <typename Forward>
void expect_same_gradients_with_any_threads(const torch::Tensor& weight, const Forward& forward) {
  const torch::Tensor values = random({9, 16, 12, 12});
  const int before = at::get_num_threads();
  std::vector<torch::Tensor> grads;
  for (const int threads : {1, 2, 3}) {
    at::set_num_threads(threads);
    const torch::Tensor x = leaf(values, torch::kFloat32);
    weight.mutable_grad() = torch::Tensor();
    {
      const CpuAutocast autocast;
      forward(x).to(torch::kFloat32).square().sum().backward();
    }
    grads.push_back(torch::cat({x.grad().flatten(), weight.grad().flatten()}));
  }
  at::set_num_threads(before);
  EXPECT_TRUE(torch::equal(grads[0], grads[1]));
  EXPECT_TRUE(torch::equal(grads[0], grads[2]));
}

TEST(FusedConv, GivesTheSameBitsWithAnyNumberOfThreads) {
  if (!kernels::have_tiles()) GTEST_SKIP() << "without tiles convolutions are oneDNN's";
  torch::nn::Conv2d layer = conv(16, 32, 3);
  torch::nn::BatchNorm2d norm(32);
  expect_same_gradients_with_any_threads(
      layer->weight, [&](const torch::Tensor& x) { return conv_norm_relu(*layer, *norm, x); });
}

TEST(NormActivated, GivesTheSameBitsWithAnyNumberOfThreads) {
  if (!kernels::available()) GTEST_SKIP() << "without kernels norms are ATen's";
  torch::nn::BatchNorm2d norm(16);
  expect_same_gradients_with_any_threads(norm->weight, [&](const torch::Tensor& x) {
    return norm_activated(*norm, x, /*keep_before=*/false).after;
  });
}

struct NormCase {
  int64_t batch, channels, size;
  bool residual, relu, training;
};

class FusedNorm : public ::testing::TestWithParam<NormCase> {};

TEST_P(FusedNorm, AgreesWithItsDefinition) {
  const NormCase& c = GetParam();
  torch::manual_seed(c.channels);
  torch::nn::BatchNorm2d norm(c.channels);
  torch::nn::Conv2d same = idle_conv(c.channels);
  {
    const torch::NoGradGuard no_grad;
    norm->weight.normal_(1.0, 0.3);
    norm->bias.normal_(0.0, 0.3);
    norm->running_mean.normal_();
    norm->running_var.uniform_(0.5, 2.0);
  }
  norm->train(c.training);
  torch::nn::BatchNorm2d plain = exact_copy(norm);
  const torch::Tensor values =
      (random({c.batch, c.channels, c.size, c.size}) + 20.0).to(torch::kBFloat16);  // far from 0
  const torch::Tensor added = random(values.sizes()), grad = random(values.sizes());
  const torch::Tensor x = leaf(values, torch::kBFloat16), exact = leaf(values, torch::kFloat64);
  torch::Tensor residual, exact_residual;
  if (c.residual) {
    residual = leaf(added, torch::kBFloat16);
    exact_residual = leaf(added, torch::kFloat64);
  }
  torch::Tensor got;
  {
    const CpuAutocast autocast;
    got = conv_norm(*same, *norm, x, residual, c.relu);
  }
  got.backward(grad.to(got.scalar_type()));
  torch::Tensor want = plain(exact);
  if (c.residual) want = want + exact_residual;
  // Where the sum is next to zero, rounding may put it on the other side.
  if (c.relu) want = want * (got > 0);
  want.backward(grad.to(torch::kFloat64));
  EXPECT_LT(relative_error(got.detach(), want.detach()), kBf16);
  EXPECT_LT(relative_error(x.grad(), exact.grad()), kBf16);
  EXPECT_LT(relative_error(norm->weight.grad(), plain->weight.grad()), kBf16);
  EXPECT_LT(relative_error(norm->bias.grad(), plain->bias.grad()), kBf16);
  EXPECT_LT(relative_error(norm->running_mean, plain->running_mean), 1e-5);
  EXPECT_LT(relative_error(norm->running_var, plain->running_var), 1e-4);
  EXPECT_TRUE(torch::equal(norm->num_batches_tracked, plain->num_batches_tracked));
  if (c.residual) {
    EXPECT_LT(relative_error(residual.grad(), exact_residual.grad()), kBf16);
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, FusedNorm,
                         ::testing::Values(NormCase{8, 16, 12, false, true, true},
                                           NormCase{8, 64, 7, true, true, true},
                                           NormCase{3, 37, 5, true, false, true},
                                           NormCase{4, 24, 9, false, false, true},
                                           NormCase{4, 16, 6, true, true, false}));

torch::nn::BatchNorm2d random_norm(int64_t channels) {
  torch::nn::BatchNorm2d norm(channels);
  const torch::NoGradGuard no_grad;
  norm->weight.normal_();
  norm->bias.normal_();
  norm->running_mean.normal_();
  norm->running_var.uniform_(0.5, 2.0);
  return norm;
}

struct FrozenCase {
  int64_t size, stride, groups;
  bool bias, autocast;
};

class FrozenConvNorm : public ::testing::TestWithParam<FrozenCase> {
 protected:
  // From 20 channels to 40.
  static torch::nn::Conv2d make_layer() {
    const FrozenCase& c = GetParam();
    return torch::nn::Conv2d(torch::nn::Conv2dOptions(20, 40, c.size)
                                 .stride(c.stride)
                                 .padding(c.size / 2)
                                 .groups(c.groups)
                                 .bias(c.bias));
  }
  static double tolerance() { return GetParam().autocast ? kBf16 : 1e-6; }
};

// What a teacher runs: the norm is folded into the convolution.
TEST_P(FrozenConvNorm, AgreesWithItsDefinition) {
  torch::manual_seed(9);
  const torch::NoGradGuard no_grad;
  torch::nn::Conv2d layer = make_layer();
  torch::nn::BatchNorm2d norm = random_norm(40);
  norm->eval();
  const torch::Tensor x = random({3, 20, 9, 11});
  const torch::Tensor normed = norm(layer(x)), added = random(normed.sizes());
  for (const bool relu : {false, true}) {
    for (const bool residual : {false, true}) {
      torch::Tensor want = residual ? normed + added : normed;
      if (relu) want = torch::relu(want);
      std::optional<CpuAutocast> autocast;
      if (GetParam().autocast) autocast.emplace();
      const torch::Tensor given = residual ? added : torch::Tensor();
      const torch::Tensor got = conv_norm(*layer, *norm, x, given, relu);
      EXPECT_LT(relative_error(got, want.to(torch::kFloat64)), tolerance());
      const Activated both = conv_norm_activated(*layer, *norm, x, given, /*keep_before=*/!relu);
      EXPECT_EQ(both.before.defined(), !relu);
      if (both.before.defined()) {
        EXPECT_LT(relative_error(both.before, want.to(torch::kFloat64)), tolerance());
      }
      EXPECT_LT(relative_error(both.after, torch::relu(want).to(torch::kFloat64)), tolerance());
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, FrozenConvNorm,
    ::testing::Values(FrozenCase{3, 1, 1, false, true}, FrozenCase{3, 2, 1, true, true},
                      FrozenCase{1, 1, 1, true, true}, FrozenCase{1, 2, 1, false, true},
                      FrozenCase{3, 1, 4, false, true}, FrozenCase{3, 2, 20, true, true},
                      FrozenCase{5, 1, 1, true, true}, FrozenCase{3, 2, 4, true, false},
                      FrozenCase{1, 1, 1, false, false}));

TEST_P(FrozenConvNorm, AgreesWithItsDefinitionWithoutANorm) {
  torch::manual_seed(9);
  const torch::NoGradGuard no_grad;
  torch::nn::Conv2d layer = make_layer();
  const torch::Tensor x = random({3, 20, 9, 11}), plain = layer(x), added = random(plain.sizes());
  std::optional<CpuAutocast> autocast;
  if (GetParam().autocast) autocast.emplace();
  EXPECT_LT(relative_error(convolve(*layer, x), plain.to(torch::kFloat64)), tolerance());
  EXPECT_LT(relative_error(convolve(*layer, x, added), (plain + added).to(torch::kFloat64)),
            tolerance());
}

// What is folded and packed once must not outlive its weights.
TEST(FrozenConvNormCache, FollowsEveryChange) {
  torch::manual_seed(10);
  const torch::NoGradGuard no_grad;
  torch::nn::Conv2d layer(torch::nn::Conv2dOptions(24, 40, 3).padding(1).groups(4));
  torch::nn::BatchNorm2d norm = random_norm(40);
  const torch::Tensor x = random({3, 24, 9, 11});
  const auto train_once = [&] {
    const CpuAutocast autocast;
    norm->train();
    conv_norm(*layer, *norm, x, {}, /*relu=*/true);
  };
  const std::vector<std::function<void()>> changes = {
      [] {},
      [&] { layer->weight.mul_(2.0); },
      [&] { layer->bias.add_(1.0); },
      [&] { norm->weight.mul_(0.5); },
      [&] { norm->bias.add_(1.0); },
      [&] { norm->running_mean.add_(1.0); },
      [&] { norm->running_var.mul_(4.0); },
      train_once,
      [&] { norm->train(), norm(layer(x)); },
      [&] { layer->weight.set_data(torch::randn_like(layer->weight)); }};
  for (size_t i = 0; i < changes.size(); ++i) {
    changes[i]();
    norm->eval();
    for (const int64_t images : {3, 1}) {
      const torch::Tensor some = x.narrow(0, 0, images), plain = layer(some),
                          want = torch::relu(norm(plain));
      const CpuAutocast autocast;
      const torch::Tensor got = conv_norm(*layer, *norm, some, {}, /*relu=*/true);
      EXPECT_LT(relative_error(got, want.to(torch::kFloat64)), kBf16) << "change " << i;
      EXPECT_LT(relative_error(convolve(*layer, some), plain.to(torch::kFloat64)), kBf16)
          << "change " << i;
    }
  }
}

TEST(NormActivated, AgreesWithItsDefinition) {
  torch::manual_seed(11);
  torch::nn::BatchNorm2d norm = random_norm(24), plain = exact_copy(norm);
  const torch::Tensor values = random({4, 24, 6, 6}), grad = random(values.sizes());
  for (const bool keep_before : {false, true}) {
    const torch::Tensor x = leaf(values, torch::kBFloat16), exact = leaf(values, torch::kFloat64);
    Activated got;
    {
      const CpuAutocast autocast;
      got = norm_activated(*norm, x, keep_before);
    }
    (got.after.to(torch::kFloat32) * grad).sum().backward();
    const torch::Tensor want = plain(exact);
    (want * (got.after > 0) * grad).sum().backward();
    EXPECT_LT(relative_error(got.after.detach(), want.clamp_min(0.0).detach()), kBf16);
    EXPECT_LT(relative_error(x.grad(), exact.grad()), kBf16);
    ASSERT_EQ(got.before.defined(), keep_before);
    if (keep_before) {
      EXPECT_LT(relative_error(got.before.detach(), want.detach()), kBf16);
    }
  }
}

TEST(RunFused, IsTheLayersOneAfterTheOther) {
  torch::manual_seed(12);
  torch::nn::Sequential layers(conv(3, 8, 3), random_norm(8), torch::nn::ReLU(),
                               conv(8, 8, 3, 2, 8), random_norm(8), torch::nn::AvgPool2d(2),
                               conv(8, 12, 1), torch::nn::ReLU(), conv(12, 12, 1), random_norm(12));
  const torch::Tensor x = random({2, 3, 12, 12});
  EXPECT_TRUE(torch::equal(run_fused(layers, x), layers->forward(x)));
  layers->eval();
  const torch::NoGradGuard no_grad;
  EXPECT_LT(relative_error(run_fused(layers, x), layers->forward(x).to(torch::kFloat64)), 1e-6);
}

// With gradients of what is after the ReLU, before it, and of both.
TEST(ActivatedConvNorm, AgreesWithItsDefinition) {
  torch::manual_seed(10);
  torch::nn::Conv2d same = idle_conv(24);
  torch::nn::BatchNorm2d norm = random_norm(24);
  const torch::Tensor values = random({4, 24, 6, 6}), added = random(values.sizes()),
                      grad = random(values.sizes());
  for (const auto& [after, before] : {std::pair{1.0, 0.0}, {0.0, 1.0}, {0.5, 1.0}}) {
    const auto sum = [&, a = after, b = before](const torch::Tensor& y, const torch::Tensor& z) {
      torch::Tensor total;  // what has no share has no gradient, either
      const auto weigh = [&](const torch::Tensor& x, double weight) {
        if (weight == 0.0) return;
        const torch::Tensor value = (weight * x.to(torch::kFloat64) * grad).sum();
        total = total.defined() ? total + value : value;
      };
      weigh(y, a);
      weigh(z, b);
      return total;
    };
    const torch::Tensor x = leaf(values, torch::kBFloat16), exact = leaf(values, torch::kFloat64);
    const torch::Tensor residual = leaf(added, torch::kBFloat16),
                        exact_residual = leaf(added, torch::kFloat64);
    Activated got;
    {
      const CpuAutocast autocast;
      got = conv_norm_activated(*same, *norm, x, residual, /*keep_before=*/true);
    }
    sum(got.after, got.before).backward();
    torch::nn::BatchNorm2d plain = exact_copy(norm);
    const torch::Tensor want = plain(exact) + exact_residual;
    sum(want * (got.before > 0), want).backward();
    EXPECT_LT(relative_error(got.before.detach(), want.detach()), kBf16);
    EXPECT_LT(relative_error(got.after.detach(), want.clamp_min(0.0).detach()), kBf16);
    EXPECT_LT(relative_error(x.grad(), exact.grad()), kBf16);
    EXPECT_LT(relative_error(residual.grad(), exact_residual.grad()), kBf16);
  }
}

}  // namespace
}  // namespace umbra::cnn
