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

// Maps side by side in one PNG, in the same colours from 0 to `max`, with their scale. Names of the
// rows stand beside them if there is one for each, and there are 25 at most.
std::vector<uint8_t> draw_heat_maps(const std::vector<HeatMap>& maps, double max,
                                    const std::vector<std::string>& names);

}  // namespace umbra
