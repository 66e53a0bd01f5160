// The fused operations of the transformer block against ATen's own in fp64: results and gradients.
#include "vit/fused.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "kernels/support.h"
#include "tests/fused.h"

namespace umbra::vit {
namespace {

using test::CpuAutocast;
using test::kBf16;
using test::leaf;
using test::random_bf16;
using test::relative_error;

torch::Tensor plain_attention(const torch::Tensor& qkv, int64_t heads) {
  const int64_t batch = qkv.size(0), tokens = qkv.size(1), dim = qkv.size(2) / 3;
  const auto part =
      qkv.view({batch, tokens, 3, heads, dim / heads}).permute({2, 0, 3, 1, 4}).unbind(0);
  const double scale = 1.0 / std::sqrt(static_cast<double>(dim / heads));
  const torch::Tensor weights = (part[0].matmul(part[1].transpose(-2, -1)) * scale).softmax(-1);
  return weights.matmul(part[2]).transpose(1, 2).reshape({batch, tokens, dim});
}

struct Case {
  int64_t batch, tokens, heads, dim;  // dim of one head
};

class FusedAttention : public ::testing::TestWithParam<Case> {};

TEST_P(FusedAttention, AgreesWithItsDefinition) {
  const Case& c = GetParam();
  torch::manual_seed(c.tokens * 100 + c.dim);
  const torch::Tensor values = random_bf16({c.batch, c.tokens, 3 * c.heads * c.dim}, 1.5);
  const torch::Tensor grad = random_bf16({c.batch, c.tokens, c.heads * c.dim});
  const torch::Tensor exact = leaf(values, torch::kFloat64), ours = leaf(values, torch::kBFloat16);
  const torch::Tensor want = plain_attention(exact, c.heads);
  want.backward(grad.to(torch::kFloat64));
  const torch::Tensor got = attention(ours, c.heads, /*dropout=*/0.0);
  got.backward(grad);
  EXPECT_EQ(got.scalar_type(), torch::kBFloat16);
  EXPECT_LT(relative_error(got, want.detach()), kBf16);
  const auto of_part = [](const torch::Tensor& x) { return x.grad().chunk(3, 2); };
  for (int i = 0; i < 3; ++i) {
    EXPECT_LT(relative_error(of_part(ours)[i], of_part(exact)[i]), 2 * kBf16) << "qkv"[i];
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, FusedAttention,
                         ::testing::Values(Case{2, 1, 1, 16}, Case{1, 2, 3, 8}, Case{3, 15, 2, 16},
                                           Case{1, 16, 2, 32}, Case{2, 17, 3, 32},
                                           Case{1, 33, 1, 24}, Case{2, 48, 1, 40},
                                           Case{2, 65, 3, 64}, Case{1, 66, 2, 64},
                                           Case{1, 198, 3, 64}, Case{1, 130, 1, 96},
                                           Case{1, 578, 1, 64}, Case{1, 1025, 1, 32}));

// Scores of some hundreds, where exp() overflows unless the largest is taken away first.
TEST(FusedAttention, StandsLargeScores) {
  torch::manual_seed(1);
  const torch::Tensor values = random_bf16({1, 40, 3 * 32}, 12.0);
  const torch::Tensor ours = leaf(values, torch::kBFloat16);
  const torch::Tensor want = plain_attention(values.to(torch::kFloat64), 1);
  const torch::Tensor got = attention(ours, 1, 0.0);
  EXPECT_LT(relative_error(got.detach(), want), 2 * kBf16);
  got.sum().backward();
  EXPECT_TRUE(ours.grad().isfinite().all().item<bool>());
}

// Each query is against all keys, so its true weights come from scores far below zero.
TEST(FusedAttention, StandsScoresFarBelowZero) {
  torch::manual_seed(4);
  const torch::Tensor one = random_bf16({1, 1, 32}).abs() + 1.0;
  const torch::Tensor noise = random_bf16({1, 17, 32}, 0.1), v = random_bf16({1, 17, 32});
  const torch::Tensor values =
      torch::cat({(one * -40.0).expand({1, 17, 32}) + noise, one + noise, v}, 2)
          .to(torch::kBFloat16);
  const torch::Tensor ours = leaf(values, torch::kBFloat16), exact = leaf(values, torch::kFloat64);
  const torch::Tensor grad = random_bf16({1, 17, 32});
  attention(ours, 1, 0.0).backward(grad);
  plain_attention(exact, 1).backward(grad.to(torch::kFloat64));
  EXPECT_LT(relative_error(ours.grad(), exact.grad()), 3 * kBf16);
}

TEST(FusedAttention, HandsOnWhatIsNoNumber) {
  torch::Tensor values = random_bf16({1, 20, 3 * 32});
  values[0][7][32 + 3] = NAN;  // of a key: every query sees it
  const torch::Tensor x = leaf(values, torch::kBFloat16), out = attention(x, 1, 0.0);
  EXPECT_TRUE(out.isnan().all().item<bool>());
  out.sum().backward();
  EXPECT_TRUE(x.grad().isnan().any().item<bool>());
}

TEST(FusedAttention, GivesTheSameBitsWithAnyNumberOfThreads) {
  const torch::Tensor values = random_bf16({4, 50, 3 * 64});
  const int before = at::get_num_threads();
  std::vector<torch::Tensor> grads;
  for (const int threads : {1, 2, 3}) {
    at::set_num_threads(threads);
    const torch::Tensor x = leaf(values, torch::kBFloat16);
    attention(x, 2, 0.0).square().sum().backward();
    grads.push_back(x.grad());
  }
  at::set_num_threads(before);
  EXPECT_TRUE(torch::equal(grads[0], grads[1]));
  EXPECT_TRUE(torch::equal(grads[0], grads[2]));
}

struct NormCase {
  int64_t batch, tokens, dim;
  bool change, keep;
};

class FusedAddNorm : public ::testing::TestWithParam<NormCase> {};

TEST_P(FusedAddNorm, AgreesWithItsDefinition) {
  const NormCase& c = GetParam();
  torch::manual_seed(c.dim);
  torch::nn::LayerNorm norm(torch::nn::LayerNormOptions({c.dim}).eps(1e-6));
  {
    const torch::NoGradGuard no_grad;
    norm->weight.normal_(1.0, 0.3);
    norm->bias.normal_(0.0, 0.3);
  }
  const torch::Tensor x0 = random_bf16({c.batch, c.tokens, c.dim}, 2.0).to(torch::kFloat32) + 0.5;
  const torch::Tensor change0 = random_bf16({c.batch, c.tokens, c.dim});
  const torch::Tensor grad_sum = torch::randn(x0.sizes()), grad_out = random_bf16(x0.sizes());
  torch::Tensor keep;
  if (c.keep) keep = torch::tensor({0.0f, 1.25f, 1.25f}).narrow(0, 0, c.batch);

  const torch::Tensor x = leaf(x0, torch::kFloat32);
  const torch::Tensor change = c.change ? leaf(change0, torch::kBFloat16) : torch::Tensor();
  torch::Tensor sum, out;
  {
    const CpuAutocast autocast;
    std::tie(sum, out) = add_norm({x, change, keep}, norm);
  }
  ((sum * grad_sum).sum() + (out.to(torch::kFloat32) * grad_out).sum()).backward();
  const bool fused = kernels::available();
  EXPECT_EQ(out.scalar_type(), fused ? torch::kBFloat16 : torch::kFloat32);

  const torch::Tensor xe = leaf(x0, torch::kFloat64), ce = leaf(change0, torch::kFloat64);
  const torch::Tensor gamma = leaf(norm->weight.detach(), torch::kFloat64);
  const torch::Tensor beta = leaf(norm->bias.detach(), torch::kFloat64);
  torch::Tensor sum_e = xe;
  if (c.change) sum_e = xe + (c.keep ? ce * keep.view({-1, 1, 1}) : ce);
  const torch::Tensor out_e = torch::layer_norm(sum_e, {c.dim}, gamma, beta, 1e-6);
  ((sum_e * grad_sum).sum() + (out_e * grad_out.to(torch::kFloat64)).sum()).backward();

  const bool rounded = c.keep && !fused;  // ATen, like timm, scales the change in bf16
  EXPECT_LT(relative_error(sum.detach(), sum_e.detach()), rounded ? kBf16 : 1e-6);
  EXPECT_LT(relative_error(out.detach(), out_e.detach()), kBf16);
  EXPECT_LT(relative_error(x.grad(), xe.grad()), rounded ? kBf16 : 1e-5);
  EXPECT_LT(relative_error(norm->weight.grad(), gamma.grad()), rounded ? kBf16 : 1e-5);
  EXPECT_LT(relative_error(norm->bias.grad(), beta.grad()), 1e-5);
  if (c.change) {
    EXPECT_LT(relative_error(change.grad(), ce.grad()), kBf16);
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, FusedAddNorm,
                         ::testing::Values(NormCase{2, 5, 192, true, false},
                                           NormCase{3, 70, 96, true, true},
                                           NormCase{2, 9, 40, true, true},
                                           NormCase{1, 3, 7, true, false},
                                           NormCase{2, 65, 384, false, false}));

TEST(FusedGelu, AgreesWithItsDefinition) {
  torch::manual_seed(2);
  const torch::Tensor values = torch::cat({random_bf16({100'003}, 2.0), random_bf16({50}, 30.0)});
  const torch::Tensor ours = leaf(values, torch::kBFloat16), exact = leaf(values, torch::kFloat64);
  const torch::Tensor grad = random_bf16(values.sizes());
  const torch::Tensor got = vit::gelu(ours), want = torch::gelu(exact);
  got.backward(grad);
  want.backward(grad.to(torch::kFloat64));
  const auto worst = [](const torch::Tensor& a, const torch::Tensor& b) {
    return ((a.to(torch::kFloat64) - b).abs() / (b.abs() + 1e-3)).max().item<double>();
  };
  EXPECT_LT(worst(got.detach(), want.detach()), kBf16);
  EXPECT_LT(worst(ours.grad(), exact.grad()), kBf16);
}

}  // namespace
}  // namespace umbra::vit
