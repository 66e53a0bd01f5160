#include "train/loop/precision.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <torch/cuda.h>

#include "train/error.h"
#include "train/machine.h"

namespace umbra {
namespace {

bool cpu_has_bf16() {
#ifdef __x86_64__
  return __builtin_cpu_supports("avx512bf16");  // CPUs with AMX have it, too
#else
  return false;
#endif
}

}  // namespace

torch::Device choose_device(const std::string& name) {
  const bool cuda = torch::cuda::is_available();
  if (name == "auto") return torch::Device(cuda ? torch::kCUDA : torch::kCPU);
  if (name == "cpu") return torch::kCPU;
  if (name.starts_with("cuda")) {
    if (!cuda) {
      throw ConfigError(
          fmt::format("run.device = \"{}\": no usable GPU here (no device, or no driver); use "
                      "\"cpu\" or \"auto\"",
                      name));
    }
    try {
      const torch::Device device(name);
      const auto count = static_cast<int>(torch::cuda::device_count());
      if (device.index() < count) return device;
      throw ConfigError(fmt::format("run.device = \"{}\": there are {} GPU(s)", name, count));
    } catch (const c10::Error&) {
    }
  }
  throw ConfigError(fmt::format("run.device = \"{}\": want auto, cpu, cuda or cuda:N", name));
}

torch::Device prepare_device(const std::string& name, int64_t threads) {
  const torch::Device device = choose_device(name);
  if (threads > 0) at::set_num_threads(static_cast<int>(threads));
  at::globalContext().setBenchmarkCuDNN(device.is_cuda());
  return device;
}

torch::ScalarType choose_precision(const std::string& name, const torch::Device& device) {
  if (name == "fp32") return torch::kFloat32;
  if (name == "bf16") return torch::kBFloat16;
  return device.is_cuda() || cpu_has_bf16() ? torch::kBFloat16 : torch::kFloat32;
}

const char* precision_name(torch::ScalarType precision) {
  return precision == torch::kFloat32 ? "fp32" : "bf16";
}

std::string describe(const torch::Device& device) {
  if (device.is_cpu()) return fmt::format("{}, {} threads", cpu_name(), at::get_num_threads());
  return fmt::format("{} of {} GPU(s)", device.str(), torch::cuda::device_count());
}

AutocastGuard::AutocastGuard(const torch::Device& device, torch::ScalarType precision)
    : type_(device.type()), active_(precision != torch::kFloat32) {
  if (!active_) return;
  enabled_before_ = at::autocast::is_autocast_enabled(type_);
  dtype_before_ = at::autocast::get_autocast_dtype(type_);
  at::autocast::set_autocast_enabled(type_, true);
  at::autocast::set_autocast_dtype(type_, precision);
  at::autocast::increment_nesting();
}

AutocastGuard::~AutocastGuard() {
  if (!active_) return;
  if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
  at::autocast::set_autocast_enabled(type_, enabled_before_);
  at::autocast::set_autocast_dtype(type_, dtype_before_);
}

}  // namespace umbra
