#include "cnn/frozen_conv.h"

#include <atomic>
#include <mutex>
#include <unordered_map>

#include <ATen/core/dispatch/Dispatcher.h>
#ifdef UMBRA_CUDA
#include <ATen/cuda/jiterator.h>
#endif

#include "kernels/tensors.h"

namespace umbra::cnn {
namespace {

using Conv = torch::nn::Conv2dImpl;
using Norm = torch::nn::BatchNorm2dImpl;
using Scalars = torch::List<std::optional<at::Scalar>>;

// Operations by name, as no header declares them; nothing where this torch has no such operation.
using Pack = at::Tensor(const at::Tensor& weight, at::IntArrayRef padding, at::IntArrayRef stride,
                        at::IntArrayRef dilation, int64_t groups, at::OptionalIntArrayRef input);
using Convolve = at::Tensor(const at::Tensor& x, const at::Tensor& weight,
                            const std::optional<at::Tensor>& bias, at::IntArrayRef padding,
                            at::IntArrayRef stride, at::IntArrayRef dilation, int64_t groups,
                            std::string_view activation, Scalars scalars,
                            std::optional<std::string_view> algorithm);
using ConvolveAdd = at::Tensor&(at::Tensor& sum, const at::Tensor& x, const at::Tensor& weight,
                                const std::optional<at::Tensor>& bias, at::IntArrayRef padding,
                                at::IntArrayRef stride, at::IntArrayRef dilation, int64_t groups,
                                std::string_view add, std::optional<at::Scalar> alpha,
                                std::optional<std::string_view> activation, Scalars scalars,
                                std::optional<std::string_view> algorithm);

template <typename Signature>
std::optional<c10::TypedOperatorHandle<Signature>> find(const char* name, const char* overload) {
  const auto found = c10::Dispatcher::singleton().findSchema({name, overload});
  if (!found) return std::nullopt;
  try {
    return found->typed<Signature>();
  } catch (const c10::Error&) {  // it takes something else
    return std::nullopt;
  }
}

struct Operations {
  std::optional<c10::TypedOperatorHandle<bool()>> have_bf16 =
      find<bool()>("mkldnn::_is_mkldnn_bf16_supported", "");
  std::optional<c10::TypedOperatorHandle<Pack>> pack =
      find<Pack>("mkldnn::_reorder_convolution_weight", "");
  std::optional<c10::TypedOperatorHandle<Convolve>> convolve =
      find<Convolve>("mkldnn::_convolution_pointwise", "");
  std::optional<c10::TypedOperatorHandle<ConvolveAdd>> convolve_add =
      find<ConvolveAdd>("mkldnn::_convolution_pointwise_", "binary");
};

const Operations& operations() {
  static const Operations found;
  return found;
}

// Where tensors lie and how often they were written. The running statistics' own counters leave out
// what training writes; that of the batches goes with it.
using Stamp = std::vector<std::pair<const void*, uint32_t>>;

Stamp stamp_of(const Conv& conv, const Norm* norm) {
  std::vector<torch::Tensor> tensors = {conv.weight, conv.bias};
  if (norm) {
    tensors.insert(tensors.end(), {norm->weight, norm->bias, norm->running_mean, norm->running_var,
                                   norm->num_batches_tracked});
  }
  Stamp stamp;
  for (const torch::Tensor& tensor : tensors) {
    if (tensor.defined()) stamp.emplace_back(tensor.const_data_ptr(), tensor._version());
  }
  return stamp;
}

at::IntArrayRef padding_of(const Conv& conv) {
  return std::get<torch::ExpandingArray<2>>(conv.options.padding());
}

bool runs_on_onednn(const torch::Tensor& image) { return image.is_cpu() && onednn_fuses(); }

// In bf16 and channels-last, on a CPU in the layout that oneDNN wants for images of this shape.
FoldedConv packed(const FoldedConv& folded, const Conv& conv, const torch::Tensor& image) {
  const auto& options = conv.options;
  const torch::Tensor weight = kernels::bf16_channels_last(folded.weight);
  return {runs_on_onednn(image)
              ? operations().pack->call(weight, padding_of(conv), *options.stride(),
                                        *options.dilation(), options.groups(), image.sizes())
              : weight,
          folded.bias.defined() ? folded.bias.to(torch::kBFloat16) : torch::Tensor()};
}

// The folded weights of every convolution and norm that were asked for and still live.
class FoldedWeights {
 public:
  FoldedConv of(const Conv& conv, const Norm* norm, const torch::Tensor& image) {
    const std::lock_guard lock(mutex_);
    const Stamp stamp = stamp_of(conv, norm);
    const torch::Tensor& owner = norm ? norm->running_var : conv.weight;
    const auto known = entries_.find(owner.unsafeGetTensorImpl());
    if (known != entries_.end() && !known->second.owner.expired() && known->second.stamp == stamp) {
      return known->second.folded;
    }
    std::erase_if(entries_, [](const auto& entry) { return entry.second.owner.expired(); });
    const FoldedConv folded = norm ? fold_norm(conv, *norm) : FoldedConv{conv.weight, conv.bias};
    Entry entry{Weak(owner.getIntrusivePtr()), stamp, packed(folded, conv, image)};
    return entries_.insert_or_assign(owner.unsafeGetTensorImpl(), std::move(entry))
        .first->second.folded;
  }

 private:
  using Weak = c10::weak_intrusive_ptr<c10::TensorImpl, c10::UndefinedTensorImpl>;
  struct Entry {
    Weak owner;  // the norm's running variance, or the weight of a convolution without one
    Stamp stamp;
    FoldedConv folded;
  };

  std::mutex mutex_;
  std::unordered_map<const c10::TensorImpl*, Entry> entries_;
};

torch::Tensor run_on_onednn(const Conv& conv, const FoldedConv& folded, const torch::Tensor& image,
                            const torch::Tensor& residual, bool relu) {
  const auto& options = conv.options;
  const std::optional<torch::Tensor> bias = kernels::if_defined(folded.bias);
  if (!residual.defined()) {
    return operations().convolve->call(image, folded.weight, bias, padding_of(conv),
                                       *options.stride(), *options.dilation(), options.groups(),
                                       relu ? "relu" : "none", Scalars(), std::nullopt);
  }
  torch::Tensor sum = residual.to(torch::kBFloat16, /*non_blocking=*/false, /*copy=*/true,
                                  torch::MemoryFormat::ChannelsLast);
  operations().convolve_add->call(
      sum, image, folded.weight, bias, padding_of(conv), *options.stride(), *options.dilation(),
      options.groups(), "add", std::nullopt,
      relu ? std::optional<std::string_view>("relu") : std::nullopt, Scalars(), std::nullopt);
  return sum;
}

torch::Tensor convolve_plain(const Conv& conv, const torch::Tensor& image,
                             const torch::Tensor& weight, const torch::Tensor& bias) {
  const auto& options = conv.options;
  return torch::conv2d(image, weight, bias, options.stride(), padding_of(conv), options.dilation(),
                       options.groups());
}

torch::Tensor run_on_aten(const Conv& conv, const FoldedConv& folded, const torch::Tensor& image,
                          const torch::Tensor& residual, bool relu) {
  torch::Tensor out = convolve_plain(conv, image, folded.weight, folded.bias);
  if (residual.defined()) out += residual;
  return relu ? torch::relu_(out) : out;
}

#ifdef UMBRA_CUDA
// torch's conv2d adds the bias in a pass of its own. Here that, the residual and the ReLU are one,
// a kernel that torch compiles at its first call (and keeps in ~/.cache/torch/kernels).
torch::Tensor run_compiled(const Conv& conv, const FoldedConv& folded, const torch::Tensor& image,
                           const torch::Tensor& residual, bool relu) {
  static const std::string shift = R"(
      template <typename T> T shift(T x, T bias, bool relu) {
        const T y = x + bias;
        return relu && y < T(0) ? T(0) : y;
      })";
  static const std::string shift_and_add = R"(
      template <typename T> T shift_and_add(T x, T bias, T residual, bool relu) {
        const T y = x + bias + residual;
        return relu && y < T(0) ? T(0) : y;
      })";
  const torch::Tensor out = convolve_plain(conv, image, folded.weight, {}),
                      bias = folded.bias.view({1, -1, 1, 1});
  if (!residual.defined()) {
    return at::cuda::CompileAndLaunchKernel(shift, "shift", 1, {out, bias}, {relu}, false)[0];
  }
  return at::cuda::CompileAndLaunchKernel(
      shift_and_add, "shift_and_add", 1, {out, bias, kernels::bf16_channels_last(residual)}, {relu},
      /*return_by_ref=*/false)[0];
}

torch::Tensor run_on_cuda(const Conv& conv, const FoldedConv& folded, const torch::Tensor& image,
                          const torch::Tensor& residual, bool relu) {
  static std::atomic<bool> compiles = true;
  if (!compiles || !folded.bias.defined()) return run_on_aten(conv, folded, image, residual, relu);
  try {
    return run_compiled(conv, folded, image, residual, relu);
  } catch (const c10::OutOfMemoryError&) {
    throw;
  } catch (const std::exception& error) {
    compiles = false;
    TORCH_WARN("frozen convolutions go on with torch's own operations, as theirs failed: ",
               std::string(error.what()).substr(0, 300));
    return run_on_aten(conv, folded, image, residual, relu);
  }
}
#endif

}  // namespace

FoldedConv fold_norm(const Conv& conv, const Norm& norm) {
  const torch::Tensor scale = norm.weight * torch::rsqrt(norm.running_var + norm.options.eps());
  const torch::Tensor mean =
      conv.bias.defined() ? norm.running_mean - conv.bias : norm.running_mean;
  return {conv.weight * scale.view({-1, 1, 1, 1}), norm.bias - mean * scale};
}

bool onednn_fuses() {
  const Operations& all = operations();
  static const bool have = kernels::available() && all.pack && all.convolve && all.convolve_add &&
                           all.have_bf16 && all.have_bf16->call();
  return have;
}

torch::Tensor frozen_conv(const Conv& conv, const Norm* norm, const torch::Tensor& x,
                          const torch::Tensor& residual, bool relu) {
  static auto& weights = *new FoldedWeights;  // lives on: at the exit torch may be gone first
  const torch::NoGradGuard no_grad;
  const torch::Tensor image = kernels::bf16_channels_last(x);
  const FoldedConv folded = weights.of(conv, norm, image);
  if (runs_on_onednn(image)) return run_on_onednn(conv, folded, image, residual, relu);
#ifdef UMBRA_CUDA
  if (image.is_cuda()) return run_on_cuda(conv, folded, image, residual, relu);
#endif
  return run_on_aten(conv, folded, image, residual, relu);
}

}  // namespace umbra::cnn
