#include "train/macs.h"

#include <ATen/record_function.h>

namespace umbra {
namespace {

thread_local int64_t macs = 0;

int64_t product(const at::Tensor& a, const at::Tensor& b) { return a.numel() * b.size(-1); }

// What an operation costs: in all, and for each number that it returns.
struct OpCost : at::ObserverContext {
  OpCost(int64_t all, int64_t each) : total(all), per_output(each) {}
  int64_t total, per_output;
};

// The inputs can be looked at before the operation only, its output after it.
std::unique_ptr<at::ObserverContext> start(const at::RecordFunction& call) {
  const std::string_view name = call.name();
  const auto tensor = [&](size_t i) { return call.inputs()[i].toTensor(); };
  const auto cost = [](int64_t total, int64_t per_output = 0) {
    return std::make_unique<OpCost>(total, per_output);
  };
  if (name == "aten::convolution") return cost(0, tensor(1).numel() / tensor(1).size(0));
  if (name == "aten::mm" || name == "aten::bmm") return cost(product(tensor(0), tensor(1)));
  if (name == "aten::addmm" || name == "aten::baddbmm") return cost(product(tensor(1), tensor(2)));
  // Fused attention: queries by keys, then weights by values, for [..., N, D].
  if (name.starts_with("aten::_scaled_dot_product_") && !name.ends_with("_math")) {
    return cost(2 * tensor(0).numel() * tensor(1).size(-2));
  }
  return nullptr;
}

void end(const at::RecordFunction& call, at::ObserverContext* context) {
  if (!context) return;
  const auto& cost = static_cast<const OpCost&>(*context);
  macs += cost.total;
  if (cost.per_output > 0) macs += cost.per_output * call.outputs()[0].toTensor().numel();
}

}  // namespace

ModelCost measure_cost(Model& model, int64_t size) {
  const torch::NoGradGuard no_grad;
  model.module().eval();
  const torch::Tensor image = torch::zeros({1, model.options().in_chans, size, size});
  macs = 0;
  const at::CallbackHandle handle =
      at::addThreadLocalCallback(at::RecordFunctionCallback(start, end)
                                     .needsInputs(true)
                                     .needsOutputs(true)
                                     .scopes({at::RecordScope::FUNCTION}));
  ModelCost cost;
  try {
    cost.output = model.forward(image);
  } catch (...) {
    at::removeCallback(handle);
    throw;
  }
  at::removeCallback(handle);
  cost.macs = macs;
  return cost;
}

}  // namespace umbra
