#include "cnn/fused.h"

#include <ATen/record_function.h>

#include "kernels/batch_norm.h"
#include "kernels/conv.h"
#include "kernels/tensors.h"

namespace umbra::cnn {
namespace {

using kernels::bf16;
using kernels::bits;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr auto kChannelsLast = torch::MemoryFormat::ChannelsLast;

// As the kernels take them; the conversion has gradients.
torch::Tensor kernel_input(const torch::Tensor& x) {
  return x.to(torch::kBFloat16).contiguous(kChannelsLast);
}

torch::Tensor empty_image(at::IntArrayRef shape, const torch::Tensor& like) {
  return torch::empty(shape, like.options().dtype(torch::kBFloat16), kChannelsLast);
}

// --- 3 x 3 convolution -----------------------------------------------------------------------

// One direction, over all images of x.
torch::Tensor run_conv(const kernels::ConvShape& forward, bool backward,
                       const torch::Tensor& weight, const torch::Tensor& x) {
  const kernels::ConvShape shape = backward ? kernels::backward_shape(forward) : forward;
  torch::Tensor packed = torch::empty({kernels::packed_weights_size(forward, backward)},
                                      x.options().dtype(torch::kBFloat16));
  kernels::pack_weights(forward, backward, weight.const_data_ptr<float>(), bits(packed));
  torch::Tensor out = empty_image({x.size(0), shape.out, shape.height, shape.width}, x);
  const int64_t plane = shape.height * shape.width;
  const bf16 *from = bits(x), *weights = bits(std::as_const(packed));
  bf16* to = bits(out);
  at::parallel_for(0, x.size(0), 1, [&](int64_t begin, int64_t end) {
    const kernels::Scratch scratch(kernels::conv_scratch(shape));
    const kernels::Tiles tiles;
    for (int64_t i = begin; i < end; ++i) {
      kernels::conv(shape, from + i * plane * shape.in, weights, to + i * plane * shape.out,
                    scratch.get());
    }
  });
  return out;
}

torch::Tensor weight_gradient(const kernels::ConvShape& shape, const torch::Tensor& x,
                              const torch::Tensor& grad_out) {
  const kernels::WeightSums layout = kernels::weight_sums(shape);
  const int64_t plane = shape.height * shape.width;
  // More parts need more memory, fewer keep fewer threads busy.
  const int64_t parts = std::clamp<int64_t>((1 << 20) / layout.size(), 4, 16);
  torch::Tensor sums =
      torch::zeros({parts, 3, 3, layout.in, layout.out}, x.options().dtype(torch::kFloat32));
  const bf16 *from = bits(x), *grad = bits(grad_out);
  float* to = sums.mutable_data_ptr<float>();
  kernels::for_each_part(x.size(0), parts, [&](int64_t part, int64_t begin, int64_t end) {
    const kernels::Scratch scratch(kernels::weight_gradient_scratch(shape));
    const kernels::Tiles tiles;
    kernels::weight_gradient(shape, end - begin, from + begin * plane * shape.in,
                             grad + begin * plane * shape.out, to + part * layout.size(),
                             scratch.get());
  });
  return kernels::add_parts(sums)
      .narrow(2, 0, shape.in)
      .narrow(3, 0, shape.out)
      .permute({3, 2, 0, 1})
      .contiguous();
}

struct FusedConv : torch::autograd::Function<FusedConv> {
  static kernels::ConvShape shape_of(const torch::Tensor& x, const torch::Tensor& weight) {
    return {x.size(2), x.size(3), x.size(1), weight.size(0)};
  }

  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& x,
                               const torch::Tensor& weight) {
    RECORD_FUNCTION("umbra::conv", std::vector<c10::IValue>());
    context->save_for_backward({x, weight});
    return run_conv(shape_of(x, weight), /*backward=*/false, weight.contiguous(), x);
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    kernels::refuse_double_backward();
    const variable_list saved = context->get_saved_variables();
    const torch::Tensor &x = saved[0], &weight = saved[1];
    const torch::Tensor grad_out = kernel_input(grads[0]);
    const kernels::ConvShape shape = shape_of(x, weight);
    torch::Tensor grad_x, grad_weight;
    if (context->needs_input_grad(0)) {
      grad_x = run_conv(shape, /*backward=*/true, weight.contiguous(), grad_out);
    }
    if (context->needs_input_grad(1)) grad_weight = weight_gradient(shape, x, grad_out);
    return {grad_x, grad_weight};
  }
};

bool is_plain_3x3(const torch::nn::Conv2d& conv) {
  const auto& options = conv->options;
  const auto all = [](const auto& sizes, int64_t value) {
    return sizes->at(0) == value && sizes->at(1) == value;
  };
  const auto* padding = std::get_if<torch::ExpandingArray<2>>(&options.padding());
  return all(options.kernel_size(), 3) && all(options.stride(), 1) && all(options.dilation(), 1) &&
         padding && all(*padding, 1) && options.groups() == 1 && !options.bias() &&
         std::holds_alternative<torch::enumtype::kZeros>(options.padding_mode());
}

// --- batch norm ------------------------------------------------------------------------------

// Sums over the parts, in the order of the parts: {[channels], [channels]}.
constexpr int64_t kParts = 16;
using TwoSums = std::pair<torch::Tensor, torch::Tensor>;

template <typename Work>
TwoSums sum_parts(int64_t rows, int64_t channels, const Work& work) {
  const torch::Tensor sums = torch::zeros({kParts, 2, channels});
  float* to = sums.mutable_data_ptr<float>();
  kernels::for_each_part(rows, kParts, [&](int64_t part, int64_t begin, int64_t end) {
    float* sum = to + part * 2 * channels;
    work(begin, end - begin, sum, sum + channels);
  });
  const torch::Tensor total = sums.to(torch::kFloat64).sum(0);
  return {total[0], total[1]};
}

struct NormArguments {
  torch::nn::BatchNorm2dImpl* norm;
  bool relu;
};

struct FusedNorm : torch::autograd::Function<FusedNorm> {
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& x,
                               const std::optional<torch::Tensor>& residual,
                               const torch::Tensor& gamma, const torch::Tensor& beta,
                               const NormArguments& arguments) {
    RECORD_FUNCTION("umbra::batch_norm", std::vector<c10::IValue>());
    torch::nn::BatchNorm2dImpl& norm = *arguments.norm;
    const int64_t channels = x.size(1), rows = x.numel() / channels;
    torch::Tensor mean = norm.running_mean, variance = norm.running_var;
    if (norm.is_training()) std::tie(mean, variance) = measure(x, rows, channels, norm);
    const torch::Tensor rstd =
        (variance.to(torch::kFloat64) + norm.options.eps()).rsqrt().to(torch::kFloat32);
    const torch::Tensor scale = gamma * rstd, shift = beta - mean * scale;
    torch::Tensor out = empty_image(x.sizes(), x);
    const bf16 *from = bits(x), *added = residual ? bits(*residual) : nullptr;
    const float *factors = scale.const_data_ptr<float>(), *shifts = shift.const_data_ptr<float>();
    bf16* to = bits(out);
    kernels::for_each_part(rows, kParts, [&](int64_t, int64_t begin, int64_t end) {
      const int64_t at = begin * channels;
      kernels::norm_apply(end - begin, channels, from + at, factors, shifts,
                          added ? added + at : nullptr, arguments.relu, to + at);
    });
    context->save_for_backward(
        {x, arguments.relu ? out : torch::Tensor(), mean.clone(), rstd, gamma});
    context->saved_data["training"] = norm.is_training();
    context->saved_data["has_residual"] = residual.has_value();
    return out;
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    kernels::refuse_double_backward();
    const variable_list saved = context->get_saved_variables();
    const torch::Tensor &x = saved[0], &out = saved[1], &mean = saved[2], &rstd = saved[3],
                        &gamma = saved[4];
    const torch::Tensor grad_out = kernel_input(grads[0]);
    const int64_t channels = x.size(1), rows = x.numel() / channels;
    const bf16 *from = bits(x), *positive = out.defined() ? bits(out) : nullptr,
               *grad = bits(grad_out);
    const float* means = mean.const_data_ptr<float>();
    const auto [sum, product] =
        sum_parts(rows, channels, [&](int64_t begin, int64_t count, float* s, float* p) {
          const int64_t at = begin * channels;
          kernels::norm_grad_sums(count, channels, from + at, positive ? positive + at : nullptr,
                                  grad + at, means, s, p);
        });
    // With batch statistics, what the gradient has of the constant and of x itself drops out.
    const bool training = context->saved_data["training"].toBool();
    const torch::Tensor scale = gamma * rstd, zero = torch::zeros_like(scale);
    const torch::Tensor shift =
        training ? (sum / static_cast<double>(rows)).to(torch::kFloat32) : zero;
    const torch::Tensor slope =
        training ? (scale * rstd * rstd * product / static_cast<double>(rows)).to(torch::kFloat32)
                 : zero;
    const kernels::NormGrad factors{means, scale.const_data_ptr<float>(),
                                    shift.const_data_ptr<float>(), slope.const_data_ptr<float>()};
    torch::Tensor grad_x = empty_image(x.sizes(), x), grad_residual;
    bf16 *to = bits(grad_x), *to_residual = nullptr;
    if (context->saved_data["has_residual"].toBool()) {
      grad_residual = empty_image(x.sizes(), x);
      to_residual = bits(grad_residual);
    }
    kernels::for_each_part(rows, kParts, [&](int64_t, int64_t begin, int64_t end) {
      const int64_t at = begin * channels;
      kernels::norm_grad_apply(end - begin, channels, from + at, positive ? positive + at : nullptr,
                               grad + at, factors, to + at,
                               to_residual ? to_residual + at : nullptr);
    });
    return {grad_x, grad_residual, (product * rstd).to(torch::kFloat32), sum.to(torch::kFloat32),
            torch::Tensor()};
  }

 private:
  // Mean and biased variance of the batch; moves the running ones.
  static TwoSums measure(const torch::Tensor& x, int64_t rows, int64_t channels,
                         torch::nn::BatchNorm2dImpl& norm) {
    const torch::Tensor pivot = x.select(0, 0).select(1, 0).select(1, 0).to(torch::kFloat32);
    const bf16* from = bits(x);
    const float* center = pivot.const_data_ptr<float>();
    auto [mean, squares] =
        sum_parts(rows, channels, [&](int64_t begin, int64_t count, float* sum, float* square) {
          kernels::norm_sums(count, channels, from + begin * channels, center, sum, square);
        });
    const auto count = static_cast<double>(rows);
    mean /= count;
    const torch::Tensor variance = (squares / count - mean * mean).clamp_min(0.0);
    mean += pivot;
    const double momentum = *norm.options.momentum();
    norm.running_mean.lerp_(mean.to(torch::kFloat32), momentum);
    norm.running_var.lerp_((variance * (count / (count - 1.0))).to(torch::kFloat32), momentum);
    norm.num_batches_tracked += 1;
    return {mean.to(torch::kFloat32), variance.to(torch::kFloat32)};
  }
};

torch::Tensor fused_norm(torch::nn::BatchNorm2d& norm, const torch::Tensor& x,
                         const torch::Tensor& residual, bool relu) {
  const auto given = residual.defined() ? std::optional(kernel_input(residual)) : std::nullopt;
  return FusedNorm::apply(kernel_input(x), given, norm->weight, norm->bias,
                          NormArguments{norm.get(), relu});
}

bool can_fuse(const torch::nn::BatchNorm2d& norm, const torch::Tensor& x) {
  return kernels::autocast_to_bf16(x) && x.numel() > 0 && norm->options.affine() &&
         norm->options.track_running_stats() && norm->options.momentum().has_value() &&
         (!norm->is_training() || x.numel() > x.size(1));
}

}  // namespace

torch::Tensor convolve(torch::nn::Conv2d& conv, const torch::Tensor& x) {
  if (kernels::autocast_to_bf16(x) && x.numel() > 0 && is_plain_3x3(conv)) {
    return FusedConv::apply(kernel_input(x), conv->weight);
  }
  return conv(x);
}

torch::Tensor add_norm(torch::nn::BatchNorm2d& norm, const torch::Tensor& x,
                       const torch::Tensor& residual) {
  if (can_fuse(norm, x)) return fused_norm(norm, x, residual, /*relu=*/false);
  const torch::Tensor normed = norm(x);
  return residual.defined() ? normed + residual : normed;
}

torch::Tensor norm_relu(torch::nn::BatchNorm2d& norm, const torch::Tensor& x,
                        const torch::Tensor& residual) {
  if (can_fuse(norm, x)) return fused_norm(norm, x, residual, /*relu=*/true);
  return torch::relu(add_norm(norm, x, residual));
}

}  // namespace umbra::cnn
