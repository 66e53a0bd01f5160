// Options of a convolutional backbone and the names that exist. Plain data.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace umbra::cnn {

struct CnnOptions {
  int64_t in_chans = 3;
  int64_t num_classes = 1000;
  int64_t num_shadow_heads = 0;  // student-side shadow heads over the pooled vector (SHAKE v1)
  std::string shadow_head = "linear";  // "linear", or "mlp": Linear - ReLU - Linear
  int64_t expanded_channels = 0;    // of the feature transform before the pooling (NORM); 0: none
  bool zero_init_residual = false;  // last batch norm of every block starts at 0
};

std::vector<std::string> names();
int64_t input_size(std::string_view name);  // pixels that it is published for; throws if unknown

}  // namespace umbra::cnn
