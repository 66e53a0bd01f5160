#include "vit/fused.h"

#include <ATen/record_function.h>

#include "kernels/attention.h"
#include "kernels/tensors.h"
#include "kernels/tokens.h"

namespace umbra::vit {
namespace {

using kernels::bf16;
using kernels::bits;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// The kernels' scratch memory grows with the square: at 1024 tokens it is 8 MB for each thread.
constexpr int64_t kMostTokens = 1024;

bool bf16_on_cpu(const torch::Tensor& x) {
  return x.device().is_cpu() && x.scalar_type() == torch::kBFloat16 && kernels::available();
}

// Calls work(sample, head, scratch) for every head of every sample, with the tiles ready.
template <typename Work>
void for_each_head(int64_t batch, int64_t heads, int64_t scratch_floats, const Work& work) {
  at::parallel_for(0, batch * heads, 1, [&](int64_t begin, int64_t end) {
    const kernels::Scratch scratch(scratch_floats);
    const kernels::Tiles tiles;
    for (int64_t i = begin; i < end; ++i) work(i / heads, i % heads, scratch.get());
  });
}

struct Heads {
  int64_t batch, heads;
  kernels::AttentionShape shape;

  Heads(const torch::Tensor& qkv, int64_t num_heads) : batch(qkv.size(0)), heads(num_heads) {
    const int64_t width = qkv.size(2), dim = width / 3 / num_heads;
    shape = {qkv.size(1), dim, width, width / 3,
             static_cast<float>(1.0 / std::sqrt(static_cast<double>(dim)))};
  }
  // Where the first token of a head lies: in q, in the output, in lse.
  int64_t in_qkv(int64_t sample, int64_t head) const {
    return sample * shape.tokens * shape.qkv_stride + head * shape.dim;
  }
  int64_t in_out(int64_t sample, int64_t head) const {
    return sample * shape.tokens * shape.stride + head * shape.dim;
  }
  int64_t in_lse(int64_t sample, int64_t head) const {
    return (sample * heads + head) * shape.tokens;
  }
};

struct FusedAttention : torch::autograd::Function<FusedAttention> {
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& input,
                               int64_t num_heads) {
    RECORD_FUNCTION("umbra::attention", std::vector<c10::IValue>());
    const torch::Tensor qkv = input.contiguous();
    const Heads h(qkv, num_heads);
    torch::Tensor out = torch::empty({h.batch, h.shape.tokens, h.shape.stride}, qkv.options());
    torch::Tensor lse =
        torch::empty({h.batch, h.heads, h.shape.tokens}, qkv.options().dtype(torch::kFloat32));
    const bf16* q = bits(qkv);
    bf16* to = bits(out);
    float* sums = lse.mutable_data_ptr<float>();
    for_each_head(h.batch, h.heads, kernels::attention_forward_scratch(h.shape),
                  [&](int64_t sample, int64_t head, float* scratch) {
                    const bf16* from = q + h.in_qkv(sample, head);
                    kernels::attention_forward(
                        h.shape, from, from + h.shape.stride, from + 2 * h.shape.stride,
                        to + h.in_out(sample, head), sums + h.in_lse(sample, head), scratch);
                  });
    context->save_for_backward({qkv, out, lse});
    context->saved_data["num_heads"] = num_heads;
    return out;
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    kernels::refuse_double_backward();
    const variable_list saved = context->get_saved_variables();
    const torch::Tensor &qkv = saved[0], &out = saved[1], &lse = saved[2];
    const torch::Tensor grad_out = grads[0].contiguous();
    const Heads h(qkv, context->saved_data["num_heads"].toInt());
    torch::Tensor grad = torch::empty_like(qkv);
    const bf16 *q = bits(qkv), *from_out = bits(out), *from_grad = bits(grad_out);
    const float* sums = lse.const_data_ptr<float>();
    bf16* to = bits(grad);
    const int64_t part = h.shape.stride;
    for_each_head(h.batch, h.heads, kernels::attention_backward_scratch(h.shape),
                  [&](int64_t sample, int64_t head, float* scratch) {
                    const int64_t in = h.in_qkv(sample, head), at = h.in_out(sample, head);
                    kernels::attention_backward(h.shape, q + in, q + in + part, q + in + 2 * part,
                                                from_out + at, sums + h.in_lse(sample, head),
                                                from_grad + at, to + in, to + in + part,
                                                to + in + 2 * part, scratch);
                  });
    return {grad, torch::Tensor()};
  }
};

constexpr int64_t kParts = 64;  // of the rows, for sums over them

// Calls work(factor, begin, end) for stretches of rows that share their sample's factor.
template <typename Work>
void by_sample(const torch::Tensor& keep, int64_t per_sample, int64_t begin, int64_t end,
               const Work& work) {
  if (!keep.defined()) return work(1.0f, begin, end);
  const float* factors = keep.const_data_ptr<float>();
  while (begin < end) {
    const int64_t sample = begin / per_sample, next = std::min(end, (sample + 1) * per_sample);
    work(factors[sample], begin, next);
    begin = next;
  }
}

struct FusedAddNorm : torch::autograd::Function<FusedAddNorm> {
  static variable_list forward(AutogradContext* context, const torch::Tensor& x_in,
                               const std::optional<torch::Tensor>& change_in,
                               const std::optional<torch::Tensor>& keep_in,
                               const torch::Tensor& gamma, const torch::Tensor& beta, double eps) {
    RECORD_FUNCTION("umbra::add_norm", std::vector<c10::IValue>());
    const torch::Tensor x = x_in.contiguous();
    const torch::Tensor change = change_in ? change_in->contiguous() : torch::Tensor();
    const torch::Tensor keep = keep_in.value_or(torch::Tensor());
    const int64_t dim = x.size(-1), rows = x.numel() / dim, per_sample = rows / x.size(0);
    torch::Tensor sum = change.defined() ? torch::empty_like(x) : x;
    torch::Tensor out = torch::empty(x.sizes(), x.options().dtype(torch::kBFloat16));
    torch::Tensor mean = torch::empty({rows}, x.options()), rstd = torch::empty_like(mean);
    const float* from = x.const_data_ptr<float>();
    const bf16* added = change.defined() ? bits(change) : nullptr;
    float* sums = change.defined() ? sum.mutable_data_ptr<float>() : nullptr;
    bf16* to = bits(out);
    float *means = mean.mutable_data_ptr<float>(), *rstds = rstd.mutable_data_ptr<float>();
    const float *g = gamma.const_data_ptr<float>(), *b = beta.const_data_ptr<float>();
    kernels::for_each_part(rows, kParts, [&](int64_t, int64_t begin, int64_t end) {
      by_sample(keep, per_sample, begin, end, [&](float factor, int64_t first, int64_t last) {
        const int64_t at = first * dim;
        kernels::add_norm_forward(last - first, dim, from + at, added ? added + at : nullptr,
                                  factor, g, b, static_cast<float>(eps), sums ? sums + at : nullptr,
                                  to + at, means + first, rstds + first);
      });
    });
    context->set_materialize_grads(false);
    context->save_for_backward({sum, mean, rstd, gamma, keep});
    context->saved_data["has_change"] = change.defined();
    if (!change.defined()) sum = x.view_as(x);
    return {sum, out};
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    kernels::refuse_double_backward();
    const variable_list saved = context->get_saved_variables();
    const torch::Tensor &sum = saved[0], &mean = saved[1], &rstd = saved[2], &gamma = saved[3],
                        &keep = saved[4];
    const bool has_change = context->saved_data["has_change"].toBool();
    const int64_t dim = sum.size(-1), rows = sum.numel() / dim, per_sample = rows / sum.size(0);
    const torch::Tensor further = grads[0].defined() ? grads[0].contiguous() : grads[0];
    const torch::Tensor grad_out =
        (grads[1].defined() ? grads[1] : torch::zeros_like(sum)).to(torch::kBFloat16).contiguous();
    torch::Tensor grad = torch::empty_like(sum), grad_change;
    if (has_change) grad_change = torch::empty_like(grad_out);
    const torch::Tensor partial = torch::zeros({kParts, 2, dim}, sum.options());
    float *to = grad.mutable_data_ptr<float>(), *parts = partial.mutable_data_ptr<float>();
    bf16* to_change = has_change ? bits(grad_change) : nullptr;
    const float* more = further.defined() ? further.const_data_ptr<float>() : nullptr;
    kernels::for_each_part(rows, kParts, [&](int64_t part, int64_t begin, int64_t end) {
      float* grad_gamma = parts + part * 2 * dim;
      by_sample(keep, per_sample, begin, end, [&](float factor, int64_t first, int64_t last) {
        const int64_t at = first * dim;
        kernels::add_norm_backward(
            last - first, dim, sum.const_data_ptr<float>() + at,
            mean.const_data_ptr<float>() + first, rstd.const_data_ptr<float>() + first,
            gamma.const_data_ptr<float>(), bits(grad_out) + at, more ? more + at : nullptr, factor,
            to + at, to_change ? to_change + at : nullptr, grad_gamma, grad_gamma + dim);
      });
    });
    const torch::Tensor total = kernels::add_parts(partial);
    return {grad, grad_change, torch::Tensor(), total[0], total[1], torch::Tensor()};
  }
};

struct FusedGelu : torch::autograd::Function<FusedGelu> {
  static constexpr int64_t kGrain = 1 << 14;

  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& input) {
    RECORD_FUNCTION("umbra::gelu", std::vector<c10::IValue>());
    const torch::Tensor x = input.contiguous();
    torch::Tensor out = torch::empty_like(x);
    const bf16* from = bits(x);
    bf16* to = bits(out);
    at::parallel_for(0, x.numel(), kGrain, [&](int64_t begin, int64_t end) {
      kernels::gelu_forward(end - begin, from + begin, to + begin);
    });
    context->save_for_backward({x});
    return out;
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    kernels::refuse_double_backward();
    const torch::Tensor x = context->get_saved_variables()[0];
    const torch::Tensor grad_out = grads[0].contiguous();
    torch::Tensor grad = torch::empty_like(x);
    const bf16 *from = bits(x), *from_grad = bits(grad_out);
    bf16* to = bits(grad);
    at::parallel_for(0, x.numel(), kGrain, [&](int64_t begin, int64_t end) {
      kernels::gelu_backward(end - begin, from + begin, from_grad + begin, to + begin);
    });
    return {grad};
  }
};

}  // namespace

torch::Tensor attention(const torch::Tensor& qkv, int64_t num_heads, double dropout) {
  const int64_t batch = qkv.size(0), tokens = qkv.size(1), dim = qkv.size(2) / 3;
  if (bf16_on_cpu(qkv) && dropout == 0.0 && tokens <= kMostTokens) {
    return FusedAttention::apply(qkv, num_heads);
  }
  const auto heads = qkv.view({batch, tokens, 3, num_heads, dim / num_heads})
                         .permute({2, 0, 3, 1, 4})
                         .unbind(0);  // q, k, v: [B, heads, N, dim / heads]
  return at::scaled_dot_product_attention(heads[0], heads[1], heads[2], /*attn_mask=*/{}, dropout)
      .transpose(1, 2)
      .reshape({batch, tokens, dim});
}

torch::Tensor add(const Residual& residual) {
  const auto& [x, change, keep] = residual;
  if (!change.defined()) return x;
  return x + (keep.defined() ? change * keep.to(change.scalar_type()).view({-1, 1, 1}) : change);
}

std::pair<torch::Tensor, torch::Tensor> add_norm(const Residual& residual,
                                                 torch::nn::LayerNorm& norm) {
  const auto& [x, change, keep] = residual;
  const bool change_fits =
      !change.defined() || (bf16_on_cpu(change) && change.sizes() == x.sizes());
  if (kernels::available() && kernels::in_bf16_on_cpu(x) && x.numel() > 0 &&
      x.scalar_type() == torch::kFloat32 && norm->weight.scalar_type() == torch::kFloat32 &&
      norm->weight.numel() == x.size(-1) && change_fits) {
    const variable_list both =
        FusedAddNorm::apply(x, kernels::if_defined(change), kernels::if_defined(keep), norm->weight,
                            norm->bias, norm->options.eps());
    return {both[0], both[1]};
  }
  const torch::Tensor sum = add(residual);
  return {sum, norm(sum)};
}

torch::Tensor gelu(const torch::Tensor& x) {
  return bf16_on_cpu(x) ? FusedGelu::apply(x) : torch::gelu(x);
}

}  // namespace umbra::vit
