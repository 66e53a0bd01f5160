#include "cnn/fused.h"

#include <ATen/record_function.h>

#include "cnn/frozen_conv.h"
#include "kernels/batch_norm.h"
#include "kernels/conv.h"
#include "kernels/tensors.h"

namespace umbra::cnn {
namespace {

using kernels::bf16;
using kernels::bf16_channels_last;
using kernels::bits;
using kernels::Direction;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

using Conv = torch::nn::Conv2dImpl;
using Norm = torch::nn::BatchNorm2dImpl;

constexpr auto kChannelsLast = torch::MemoryFormat::ChannelsLast;

const float* floats(const torch::Tensor& x) { return x.const_data_ptr<float>(); }
float* floats(torch::Tensor& x) { return x.mutable_data_ptr<float>(); }

torch::Tensor empty_image(at::IntArrayRef shape, const torch::Tensor& like) {
  return torch::empty(shape, like.options().dtype(torch::kBFloat16), kChannelsLast);
}

// --- convolution -----------------------------------------------------------------------------

// What follows a convolution, for all images at once.
struct After {
  std::vector<float> scale, shift;
  torch::Tensor residual;
  bool relu = false;

  kernels::Epilogue of_image(int64_t values_before) const {
    kernels::Epilogue epilogue{nullptr, nullptr, nullptr, relu};
    if (!scale.empty()) {
      epilogue.scale = scale.data();
      epilogue.shift = shift.data();
    }
    if (residual.defined()) epilogue.residual = bits(residual) + values_before;
    return epilogue;
  }
};

// One direction, over all images of x.
torch::Tensor run_conv(const kernels::ConvShape& shape, Direction direction,
                       const torch::Tensor& weight, const torch::Tensor& x,
                       const After& after = {}) {
  torch::Tensor packed = torch::empty({kernels::packed_weights_size(shape, direction)},
                                      x.options().dtype(torch::kBFloat16));
  const float* values = weight.const_data_ptr<float>();
  bf16* to_packed = bits(packed);
  at::parallel_for(0, kernels::weight_blocks(shape, direction), 1, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      kernels::pack_weights(shape, direction, values, block, to_packed);
    }
  });
  const bool forward = direction == Direction::kForward;
  const int64_t images = x.size(0), from_values = forward ? shape.in_values() : shape.out_values(),
                to_values = forward ? shape.out_values() : shape.in_values();
  torch::Tensor out =
      forward ? empty_image({images, shape.out, shape.out_height(), shape.out_width()}, x)
              : empty_image({images, shape.in, shape.height, shape.width}, x);
  TORCH_CHECK(!after.residual.defined() || after.residual.sizes() == out.sizes(), "a residual of ",
              after.residual.sizes(), " for ", out.sizes());
  const bf16 *from = bits(x), *weights = bits(std::as_const(packed));
  bf16* to = bits(out);
  at::parallel_for(0, images, 1, [&](int64_t begin, int64_t end) {
    const kernels::Scratch scratch(kernels::conv_scratch(shape, direction));
    const kernels::Tiles tiles;
    const int64_t most = kernels::images_at_once(shape);
    for (int64_t i = begin; i < end; i += most) {
      kernels::conv(shape, direction, std::min(most, end - i), from + i * from_values, weights,
                    after.of_image(i * to_values), to + i * to_values, scratch.get());
    }
  });
  return out;
}

torch::Tensor weight_gradient(const kernels::ConvShape& shape, const torch::Tensor& x,
                              const torch::Tensor& grad_out) {
  const kernels::WeightSums layout = kernels::weight_sums(shape);
  // More parts need more memory, fewer keep fewer threads busy.
  const int64_t parts = std::min(x.size(0), std::clamp<int64_t>((1 << 20) / layout.size(), 4, 16));
  torch::Tensor sums =
      torch::empty({parts, layout.taps, layout.in, layout.out}, x.options().dtype(torch::kFloat32));
  const bf16 *from = bits(x), *gradient = bits(grad_out);
  float* to = sums.mutable_data_ptr<float>();
  kernels::for_each_part(x.size(0), parts, [&](int64_t part, int64_t begin, int64_t end) {
    const kernels::Scratch scratch(kernels::weight_gradient_scratch(shape));
    const kernels::Tiles tiles;
    kernels::weight_gradient(shape, end - begin, from + begin * shape.in_values(),
                             gradient + begin * shape.out_values(), to + part * layout.size(),
                             scratch.get());
  });
  torch::Tensor grad = torch::empty({shape.out, shape.in, shape.size, shape.size}, sums.options());
  float* to_grad = grad.mutable_data_ptr<float>();
  at::parallel_for(0, shape.in, 1, [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; ++c) kernels::add_weight_sums(shape, parts, to, c, to_grad);
  });
  return grad;
}

struct FusedConv : torch::autograd::Function<FusedConv> {
  static kernels::ConvShape shape_of(const torch::Tensor& x, const torch::Tensor& weight,
                                     int64_t stride) {
    return {x.size(2), x.size(3), x.size(1), weight.size(0), weight.size(2), stride};
  }

  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& x,
                               const torch::Tensor& weight,
                               const std::optional<torch::Tensor>& bias,
                               const std::optional<torch::Tensor>& residual, int64_t stride) {
    RECORD_FUNCTION("umbra::conv", std::vector<c10::IValue>());
    context->save_for_backward({x, weight});
    context->saved_data["stride"] = stride;
    context->saved_data["has_bias"] = bias.has_value();
    context->saved_data["has_residual"] = residual.has_value();
    After after;
    if (bias) {
      after.scale.assign(weight.size(0), 1.0F);
      after.shift.assign(floats(*bias), floats(*bias) + bias->numel());
    }
    if (residual) after.residual = *residual;
    return run_conv(shape_of(x, weight, stride), Direction::kForward, weight.contiguous(), x,
                    after);
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    kernels::refuse_double_backward();
    const variable_list saved = context->get_saved_variables();
    const torch::Tensor &x = saved[0], &weight = saved[1];
    const torch::Tensor grad_out = bf16_channels_last(grads[0]);
    const kernels::ConvShape shape = shape_of(x, weight, context->saved_data["stride"].toInt());
    torch::Tensor grad_x, grad_weight, grad_bias, grad_residual;
    if (context->saved_data["has_residual"].toBool()) grad_residual = grad_out;
    if (context->needs_input_grad(0)) {
      grad_x = run_conv(shape, Direction::kBackward, weight.contiguous(), grad_out);
    }
    if (context->needs_input_grad(1)) grad_weight = weight_gradient(shape, x, grad_out);
    if (context->saved_data["has_bias"].toBool() && context->needs_input_grad(2)) {
      grad_bias = grad_out.sum({0, 2, 3}, /*keepdim=*/false, torch::kFloat32);
    }
    return {grad_x, grad_weight, grad_bias, grad_residual, torch::Tensor()};
  }
};

int64_t stride_of(const Conv& conv) { return conv.options.stride()->at(0); }

// What the kernels can: see kernels/conv.h.
bool has_kernel(const Conv& conv) {
  const auto& options = conv.options;
  const auto all = [](const auto& sizes, int64_t value) {
    return sizes->at(0) == value && sizes->at(1) == value;
  };
  const int64_t size = options.kernel_size()->at(0), stride = stride_of(conv);
  const auto* padding = std::get_if<torch::ExpandingArray<2>>(&options.padding());
  return (size == 1 || size == 3) && (stride == 1 || stride == 2) &&
         all(options.kernel_size(), size) && all(options.stride(), stride) &&
         all(options.dilation(), 1) && padding && all(*padding, size / 2) &&
         options.groups() == 1 &&
         std::holds_alternative<torch::enumtype::kZeros>(options.padding_mode()) &&
         conv.weight.scalar_type() == torch::kFloat32;
}

// --- batch norm ------------------------------------------------------------------------------

constexpr int64_t kParts = 16;  // of the pixels, for sums over them

// Of each channel, two sums over all pixels.
struct ChannelSums {
  std::vector<double> first, second;

  // work(begin, count, first, second) adds those of some pixels.
  template <typename Work>
  ChannelSums(int64_t rows, int64_t channels, const Work& work)
      : first(channels), second(channels) {
    std::vector<float> parts(kParts * 2 * channels);
    kernels::for_each_part(rows, kParts, [&](int64_t part, int64_t begin, int64_t end) {
      float* sums = parts.data() + part * 2 * channels;
      work(begin, end - begin, sums, sums + channels);
    });
    for (int64_t part = 0; part < kParts; ++part) {
      const float* sums = parts.data() + part * 2 * channels;
      for (int64_t c = 0; c < channels; ++c) {
        first[c] += sums[c];
        second[c] += sums[channels + c];
      }
    }
  }
};

// A batch norm whose statistics are known, on one channel: x * scale + shift.
void set_scale_and_shift(double rstd, float mean, float gamma, float beta, float& scale,
                         float& shift) {
  scale = static_cast<float>(gamma * rstd);
  shift = beta - mean * scale;
}

struct NormArguments {
  Norm* norm;
  bool relu;
  bool keep_before;  // the ReLU
};

// What comes out, and before the ReLU where that is kept.
struct FusedNorm : torch::autograd::Function<FusedNorm> {
  static variable_list forward(AutogradContext* context, const torch::Tensor& x,
                               const std::optional<torch::Tensor>& residual,
                               const torch::Tensor& gamma, const torch::Tensor& beta,
                               const NormArguments& arguments) {
    RECORD_FUNCTION("umbra::batch_norm", std::vector<c10::IValue>());
    TORCH_CHECK(!residual || residual->sizes() == x.sizes(), "a residual of ", residual->sizes(),
                " for ", x.sizes());
    Norm& norm = *arguments.norm;
    const int64_t channels = x.size(1), rows = x.numel() / channels;
    torch::Tensor mean = torch::empty({channels}), rstd = torch::empty({channels});
    measure(x, rows, norm, mean, rstd);
    std::vector<float> scale(channels), shift(channels);
    for (int64_t c = 0; c < channels; ++c) {
      set_scale_and_shift(floats(rstd)[c], floats(mean)[c], floats(gamma)[c], floats(beta)[c],
                          scale[c], shift[c]);
    }
    torch::Tensor out = empty_image(x.sizes(), x), before;
    const bf16 *from = bits(x), *added = residual ? bits(*residual) : nullptr;
    bf16 *to = bits(out), *to_before = nullptr;
    if (arguments.keep_before) {
      before = empty_image(x.sizes(), x);
      to_before = bits(before);
    }
    kernels::for_each_part(rows, kParts, [&](int64_t, int64_t begin, int64_t end) {
      const int64_t at = begin * channels;
      kernels::norm_apply(end - begin, channels, from + at, scale.data(), shift.data(),
                          added ? added + at : nullptr, arguments.relu, to + at,
                          to_before ? to_before + at : nullptr);
    });
    context->save_for_backward({x, arguments.relu ? out : torch::Tensor(), mean, rstd, gamma});
    context->saved_data["training"] = norm.is_training();
    context->saved_data["has_residual"] = residual.has_value();
    context->set_materialize_grads(false);
    if (before.defined()) return {out, before};
    return {out};
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    kernels::refuse_double_backward();
    const variable_list saved = context->get_saved_variables();
    const torch::Tensor &x = saved[0], &mean = saved[2], &rstd = saved[3], &gamma = saved[4];
    torch::Tensor out = saved[1], grad_out = grads[0];
    if (grads.size() > 1 && grads[1].defined()) {  // somebody reads what is before the ReLU
      grad_out = grad_out.defined() ? grads[1] + grad_out * (out > 0) : grads[1];
      out = torch::Tensor();
    }
    grad_out = bf16_channels_last(grad_out);
    const int64_t channels = x.size(1), rows = x.numel() / channels;
    const bf16 *from = bits(x), *positive = out.defined() ? bits(out) : nullptr,
               *grad = bits(grad_out);
    const ChannelSums sums(rows, channels, [&](int64_t begin, int64_t count, float* g, float* gx) {
      const int64_t at = begin * channels;
      kernels::norm_grad_sums(count, channels, from + at, positive ? positive + at : nullptr,
                              grad + at, floats(mean), g, gx);
    });
    // With batch statistics, what the gradient has of the constant and of x itself drops out.
    const bool training = context->saved_data["training"].toBool();
    const double share = training ? 1.0 / static_cast<double>(rows) : 0.0;
    torch::Tensor grad_gamma = torch::empty({channels}), grad_beta = torch::empty({channels});
    std::vector<float> scale(channels), shift(channels), slope(channels);
    for (int64_t c = 0; c < channels; ++c) {
      const double inverse = floats(rstd)[c];
      floats(grad_gamma)[c] = static_cast<float>(sums.second[c] * inverse);
      floats(grad_beta)[c] = static_cast<float>(sums.first[c]);
      scale[c] = static_cast<float>(floats(gamma)[c] * inverse);
      shift[c] = static_cast<float>(sums.first[c] * share);
      slope[c] = static_cast<float>(scale[c] * inverse * inverse * sums.second[c] * share);
    }
    const kernels::NormGrad factors{floats(mean), scale.data(), shift.data(), slope.data()};
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
    return {grad_x, grad_residual, grad_gamma, grad_beta, torch::Tensor()};
  }

 private:
  // In training the batch's mean and 1 / standard deviation, which also move the running ones; else
  // the running ones.
  static void measure(const torch::Tensor& x, int64_t rows, Norm& norm, torch::Tensor& mean,
                      torch::Tensor& rstd) {
    const int64_t channels = x.size(1);
    const double eps = norm.options.eps();
    float *means = floats(mean), *rstds = floats(rstd);
    float *running_mean = floats(norm.running_mean), *running_var = floats(norm.running_var);
    if (!norm.is_training()) {
      for (int64_t c = 0; c < channels; ++c) {
        means[c] = running_mean[c];
        rstds[c] = static_cast<float>(1.0 / std::sqrt(running_var[c] + eps));
      }
      return;
    }
    // Differences from a value of the channel, so that a large mean costs no precision.
    const torch::Tensor pivot =
        x.select(0, 0).select(1, 0).select(1, 0).to(torch::kFloat32).contiguous();
    const bf16* from = bits(x);
    const ChannelSums sums(
        rows, channels, [&](int64_t begin, int64_t count, float* sum, float* squares) {
          kernels::norm_sums(count, channels, from + begin * channels, floats(pivot), sum, squares);
        });
    const auto count = static_cast<double>(rows);
    const double momentum = *norm.options.momentum();
    for (int64_t c = 0; c < channels; ++c) {
      const double away = sums.first[c] / count, center = floats(pivot)[c] + away;
      const double spread = sums.second[c] / count - away * away;
      const double variance = spread < 0.0 ? 0.0 : spread;  // hands on NaN
      means[c] = static_cast<float>(center);
      rstds[c] = static_cast<float>(1.0 / std::sqrt(variance + eps));
      const double unbiased = variance * count / (count - 1.0);
      running_mean[c] += static_cast<float>(momentum * (center - running_mean[c]));
      running_var[c] += static_cast<float>(momentum * (unbiased - running_var[c]));
    }
    norm.num_batches_tracked += 1;
  }
};

// Whether x is [B, channels, H, W], on a CPU in a scope of autocast to bf16.
bool has_bf16_maps(const torch::Tensor& x, int64_t channels) {
  return kernels::in_bf16_on_cpu(x) && x.numel() > 0 && x.dim() == 4 && x.size(1) == channels;
}

// Without tiles ATen's convolutions, which are oneDNN's, are up to 1.2 times as fast as ours (on an
// EPYC with Zen 4 cores).
bool fits(const Conv& conv, const torch::Tensor& x) {
  return kernels::have_tiles() && has_bf16_maps(x, conv.options.in_channels()) && has_kernel(conv);
}

bool has_statistics(const Norm& norm) {
  return norm.options.affine() && norm.options.track_running_stats();
}

bool fits(const Norm& norm, const torch::Tensor& x) {
  return kernels::available() && has_bf16_maps(x, norm.options.num_features()) &&
         has_statistics(norm) && norm.weight.scalar_type() == torch::kFloat32 &&
         norm.options.momentum().has_value() && (!norm.is_training() || x.numel() > x.size(1));
}

std::optional<torch::Tensor> kernel_residual(const torch::Tensor& residual) {
  return residual.defined() ? std::optional(bf16_channels_last(residual)) : std::nullopt;
}

bool learn(std::initializer_list<torch::Tensor> tensors) {
  return at::GradMode::is_enabled() &&
         std::any_of(tensors.begin(), tensors.end(), [](const torch::Tensor& tensor) {
           return tensor.defined() && tensor.requires_grad();
         });
}

// Whether it is in bf16, nobody asks for gradients, and frozen_conv takes it.
bool runs_frozen(const Conv& conv, const torch::Tensor& x, const torch::Tensor& residual) {
  return kernels::autocast_to_bf16(x.device().type()) &&
         std::holds_alternative<torch::ExpandingArray<2>>(conv.options.padding()) &&
         std::holds_alternative<torch::enumtype::kZeros>(conv.options.padding_mode()) &&
         !learn({x, residual, conv.weight, conv.bias});
}

// Whether its statistics are known, too: then it is a scale and a shift of each channel. Folded in
// bf16 only: in fp32 the results stay those of the two layers to the last bits.
bool is_frozen(const Norm& norm) {
  return !norm.is_training() && has_statistics(norm) && !learn({norm.weight, norm.bias});
}

// Whether a frozen convolution is our kernel's. With tiles, too, oneDNN's should be the faster ones
// of 1 x 1: a whole compiled ResNet-50 took less time than these alone did in ours.
bool fits_frozen(const Conv& conv, const torch::Tensor& x) {
  return fits(conv, x) && !(onednn_fuses() && conv.weight.size(2) == 1);
}

// The kernels scale the sums.
torch::Tensor folded_in_kernels(const Conv& conv, const Norm& norm, const torch::Tensor& x,
                                const torch::Tensor& residual, bool relu) {
  const int64_t channels = conv.options.out_channels();
  After after{std::vector<float>(channels), std::vector<float>(channels),
              kernel_residual(residual).value_or(torch::Tensor()), relu};
  for (int64_t c = 0; c < channels; ++c) {
    const double variance = floats(norm.running_var)[c] + norm.options.eps();
    const float bias = conv.bias.defined() ? floats(conv.bias)[c] : 0.0F;
    set_scale_and_shift(1.0 / std::sqrt(variance), floats(norm.running_mean)[c] - bias,
                        floats(norm.weight)[c], floats(norm.bias)[c], after.scale[c],
                        after.shift[c]);
  }
  const torch::Tensor image = bf16_channels_last(x);
  return run_conv(FusedConv::shape_of(image, conv.weight, stride_of(conv)), Direction::kForward,
                  conv.weight.contiguous(), image, after);
}

// norm(x) + residual, then ReLU with `relu`; before that only with `keep_before`.
Activated normalise(Norm& norm, const torch::Tensor& x, const torch::Tensor& residual, bool relu,
                    bool keep_before) {
  if (fits(norm, x)) {
    const variable_list out =
        FusedNorm::apply(bf16_channels_last(x), kernel_residual(residual), norm.weight, norm.bias,
                         NormArguments{&norm, relu, keep_before});
    return {out[0], keep_before ? out[1] : torch::Tensor()};
  }
  torch::Tensor out = norm.forward(x);
  if (residual.defined()) out = out + residual;
  return {relu ? torch::relu(out) : out, keep_before ? out : torch::Tensor()};
}

Activated conv_norm(Conv& conv, Norm& norm, const torch::Tensor& x, const torch::Tensor& residual,
                    bool relu, bool keep_before) {
  if (!is_frozen(norm) || !runs_frozen(conv, x, residual)) {
    return normalise(norm, convolve(conv, x), residual, relu, keep_before);
  }
  const bool in_kernels = fits_frozen(conv, x) && norm.weight.scalar_type() == torch::kFloat32;
  const bool relu_here = relu && !keep_before;
  const torch::Tensor out = in_kernels ? folded_in_kernels(conv, norm, x, residual, relu_here)
                                       : frozen_conv(conv, &norm, x, residual, relu_here);
  if (!keep_before) return {out, {}};
  return {relu ? torch::relu(out) : out, out};
}

// Whether oneDNN's gradient of the weights would hold what nobody wrote: in bf16, with a stride
// larger than the image is wide (seen with torch 2.11 on AVX-512; fp32, results and the input's
// gradients are right).
bool loses_gradient(const Conv& conv, const torch::Tensor& x) {
  return kernels::in_bf16_on_cpu(x) && x.size(3) < (*conv.options.stride())[1];
}

torch::Tensor in_fp32(Conv& conv, const torch::Tensor& x) {
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::DispatchKey::AutocastCPU);
  return conv.forward(x.to(torch::kFloat32)).to(torch::kBFloat16);
}

}  // namespace

torch::Tensor convolve(Conv& conv, const torch::Tensor& x, const torch::Tensor& residual) {
  if (runs_frozen(conv, x, residual) && !fits_frozen(conv, x)) {
    return frozen_conv(conv, nullptr, x, residual, /*relu=*/false);
  }
  if (fits(conv, x)) {
    return FusedConv::apply(bf16_channels_last(x), conv.weight, kernels::if_defined(conv.bias),
                            kernel_residual(residual), stride_of(conv));
  }
  const torch::Tensor out = loses_gradient(conv, x) ? in_fp32(conv, x) : conv.forward(x);
  return residual.defined() ? out + residual : out;
}

torch::Tensor conv_norm(Conv& conv, Norm& norm, const torch::Tensor& x,
                        const torch::Tensor& residual, bool relu) {
  return conv_norm(conv, norm, x, residual, relu, /*keep_before=*/false).after;
}

Activated conv_norm_activated(Conv& conv, Norm& norm, const torch::Tensor& x,
                              const torch::Tensor& residual, bool keep_before) {
  return conv_norm(conv, norm, x, residual, /*relu=*/true, keep_before);
}

Activated norm_activated(Norm& norm, const torch::Tensor& x, bool keep_before) {
  return normalise(norm, x, {}, /*relu=*/true, keep_before);
}

torch::Tensor run_fused(torch::nn::Sequential& layers, torch::Tensor x) {
  const auto at = [&](size_t i) { return i < layers->size() ? layers->ptr(i) : nullptr; };
  for (size_t i = 0; i < layers->size(); ++i) {
    const auto first = at(i), second = at(i + 1), third = at(i + 2);
    auto* conv = first->as<Conv>();
    auto* norm = second ? second->as<Norm>() : nullptr;
    if (conv && !norm) {
      x = convolve(*conv, x);
      continue;
    }
    if (!conv) {
      x = layers->begin()[static_cast<std::ptrdiff_t>(i)].forward(x);
      continue;
    }
    const bool relu = third && third->as<torch::nn::ReLUImpl>();
    x = conv_norm(*conv, *norm, x, {}, relu);
    i += relu ? 2 : 1;
  }
  return x;
}

}  // namespace umbra::cnn
