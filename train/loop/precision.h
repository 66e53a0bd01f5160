// Where the networks compute, and in which number format.
#pragma once

#include <string>

#include <torch/types.h>

namespace umbra {

// "auto", "cpu", "cuda" or "cuda:N". Throws ConfigError for anything else, or where there is no
// GPU.
torch::Device choose_device(const std::string& name);

// The same, made ready for many batches of one shape: torch computes with `threads` threads (0: as
// it stands), and cuDNN times its algorithms for every new shape and keeps the fastest, as DeiT's
// main.py has it.
torch::Device prepare_device(const std::string& name, int64_t threads);

// "fp32" or "bf16"; "auto" is bf16 on CUDA and on CPUs with AMX or AVX512-BF16.
torch::ScalarType choose_precision(const std::string& name, const torch::Device& device);

// "fp32" or "bf16".
const char* precision_name(torch::ScalarType precision);

// One line about the device: name, threads or memory.
std::string describe(const torch::Device& device);

// Runs what is in its scope under autocast to bf16, unless the precision is fp32. Restores the
// state it found, and drops the cache of cast weights, on leaving.
class AutocastGuard {
 public:
  AutocastGuard(const torch::Device& device, torch::ScalarType precision);
  ~AutocastGuard();
  AutocastGuard(const AutocastGuard&) = delete;
  AutocastGuard& operator=(const AutocastGuard&) = delete;

 private:
  torch::DeviceType type_;
  bool active_;
  bool enabled_before_ = false;
  torch::ScalarType dtype_before_ = torch::kBFloat16;
};

}  // namespace umbra
