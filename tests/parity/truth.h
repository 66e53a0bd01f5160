// What tools/make_parity_data.py computed with PyTorch, timm, torchvision and Pillow.
#pragma once

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

}  // namespace umbra::test
