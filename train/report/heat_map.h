#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <torch/types.h>

namespace umbra {

struct HeatMap {
  torch::Tensor values;  // [H, W], 0 or more
  std::string title, caption;
};

// Maps side by side in one PNG, in the same colours from 0 to `max`, with their scale.
std::vector<uint8_t> draw_heat_maps(const std::vector<HeatMap>& maps, double max);

}  // namespace umbra
