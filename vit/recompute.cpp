#include "vit/recompute.h"

#include <ATen/Context.h>
#include <ATen/autocast_mode.h>
#include <torch/autograd.h>

#include "kernels/tensors.h"

namespace umbra::vit {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// What the result of a block depends on besides its input and parameters.
struct Surroundings {
  torch::Device device;
  bool autocast;
  at::ScalarType precision;
  torch::Tensor random;  // state of the generator

  static Surroundings of(const torch::Device& device) {
    return {device, at::autocast::is_autocast_enabled(device.type()),
            at::autocast::get_autocast_dtype(device.type()),
            at::globalContext().defaultGenerator(device).get_state()};
  }

  void restore() const {
    at::autocast::set_autocast_enabled(device.type(), autocast);
    at::autocast::set_autocast_dtype(device.type(), precision);
    at::Generator generator = at::globalContext().defaultGenerator(device);
    generator.set_state(random);
  }
};

// Lets the backward pass go on as if nothing had been computed again.
class SurroundingsGuard {
 public:
  explicit SurroundingsGuard(const torch::Device& device) : before_(Surroundings::of(device)) {}
  ~SurroundingsGuard() {
    at::autocast::clear_cache();
    before_.restore();
  }
  SurroundingsGuard(const SurroundingsGuard&) = delete;
  SurroundingsGuard& operator=(const SurroundingsGuard&) = delete;

 private:
  Surroundings before_;
};

// {input, x, change} and, where there is one, keep.
variable_list flat(const BlockImpl::Output& output) {
  variable_list tensors = {output.input, output.residual.x, output.residual.change};
  if (output.residual.keep.defined()) tensors.push_back(output.residual.keep);
  return tensors;
}

struct Recomputed : torch::autograd::Function<Recomputed> {
  static variable_list forward(AutogradContext* context, const torch::Tensor& x,
                               const std::optional<torch::Tensor>& change,
                               const std::optional<torch::Tensor>& keep, BlockImpl* block) {
    const Surroundings now = Surroundings::of(x.device());
    context->save_for_backward(
        {x, change.value_or(torch::Tensor()), keep.value_or(torch::Tensor())});
    context->saved_data["block"] = reinterpret_cast<int64_t>(block);
    context->saved_data["autocast"] = now.autocast;
    context->saved_data["precision"] = static_cast<int64_t>(now.precision);
    context->saved_data["random"] = now.random;
    context->set_materialize_grads(false);
    const variable_list output =
        flat(block->forward({x, change.value_or(torch::Tensor()), keep.value_or(torch::Tensor())}));
    if (output.size() > 3) context->mark_non_differentiable({output[3]});
    return output;
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const variable_list saved = context->get_saved_variables();
    auto* block = reinterpret_cast<BlockImpl*>(context->saved_data["block"].toInt());
    const auto leaf = [](const torch::Tensor& tensor) {
      return tensor.defined() ? tensor.detach().requires_grad_() : tensor;
    };
    const torch::Tensor x = leaf(saved[0]), change = leaf(saved[1]);
    variable_list outputs, output_grads;
    {
      const SurroundingsGuard guard(x.device());
      Surroundings{x.device(), context->saved_data["autocast"].toBool(),
                   static_cast<at::ScalarType>(context->saved_data["precision"].toInt()),
                   context->saved_data["random"].toTensor()}
          .restore();
      const at::AutoGradMode with_gradients(true);
      const variable_list again = flat(block->forward({x, change, saved[2]}));
      for (size_t i = 0; i < 3; ++i) {
        if (!grads[i].defined()) continue;
        outputs.push_back(again[i]);
        output_grads.push_back(grads[i]);
      }
    }
    torch::autograd::backward(outputs, output_grads);
    return {x.grad(), change.defined() ? change.grad() : torch::Tensor(), torch::Tensor(),
            torch::Tensor()};
  }
};

}  // namespace

BlockImpl::Output forward_recomputed(BlockImpl& block, const Residual& input) {
  const variable_list output = Recomputed::apply(input.x, kernels::if_defined(input.change),
                                                 kernels::if_defined(input.keep), &block);
  return {output[0], {output[1], output[2], output.size() > 3 ? output[3] : torch::Tensor()}};
}

}  // namespace umbra::vit
