// What tools/make_parity_data.py computed with PyTorch, timm, torchvision and Pillow.
#pragma once

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/support.h"
#include "train/weights/files.h"

namespace umbra::test {

inline std::string truth_folder() {
  const char* folder = std::getenv("UMBRA_PARITY_DATA");
  TORCH_CHECK(folder, "set UMBRA_PARITY_DATA to a folder made by tools/make_parity_data.py");
  return folder;
}

inline TensorMap truth(const std::string& name) {
  return read_safetensors(truth_folder() + "/" + name + ".safetensors");
}

inline nlohmann::json facts(const std::string& name) {
  std::ifstream file(truth_folder() + "/facts.json");
  return nlohmann::json::parse(file).at(name);
}

// The tensors under "prefix/", without the prefix.
inline TensorMap part(const TensorMap& tensors, const std::string& prefix) {
  TensorMap selected;
  for (const auto& [name, tensor] : tensors) {
    if (name.starts_with(prefix + "/")) selected[name.substr(prefix.size() + 1)] = tensor;
  }
  return selected;
}

inline void expect_all_close(const TensorMap& actual, const TensorMap& expected, double tolerance) {
  EXPECT_FALSE(expected.empty());
  EXPECT_EQ(actual.size(), expected.size());
  for (const auto& [name, tensor] : expected) {
    SCOPED_TRACE(name);
    ASSERT_TRUE(actual.contains(name));
    ASSERT_EQ(actual.at(name).sizes(), tensor.sizes());
    expect_close(actual.at(name).to(torch::kFloat64), tensor.to(torch::kFloat64), tolerance);
  }
}

inline TensorMap gradients_of(const torch::nn::Module& module) {
  TensorMap gradients;
  for (const auto& item : module.named_parameters()) gradients[item.key()] = item.value().grad();
  return gradients;
}

// Of the parameters that got one.
inline TensorMap given_gradients(const torch::nn::Module& module) {
  TensorMap gradients = gradients_of(module);
  std::erase_if(gradients, [](const auto& item) { return !item.second.defined(); });
  return gradients;
}

// Sets all tensors as `fill` of tools/parity_imagenet_zoo.py does.
inline void fill(const TensorMap& state, const torch::Tensor& noise) {
  int64_t k = -1;
  for (const auto& [name, tensor] : state) {
    ++k;
    if (name.ends_with("num_batches_tracked")) continue;
    const int64_t count = tensor.numel(), start = 7919 * k % noise.numel();
    torch::Tensor n =
        noise.repeat(count / noise.numel() + 2).narrow(0, start, count).view(tensor.sizes());
    if (name.ends_with("running_var")) {
      n = 0.5 + n.abs();
    } else if (tensor.dim() == 1) {
      n = name.ends_with("weight") ? 1.0 + 0.1 * n : 0.1 * n;
    } else if (tensor.dim() == 4) {
      n = n * std::sqrt(2.0 / static_cast<double>(count / tensor.size(0)));
    } else {
      n = n / std::sqrt(static_cast<double>(tensor.size(1)));
    }
    torch::Tensor(tensor).copy_(n);
  }
}

}  // namespace umbra::test
