#pragma once

#include <string>
#include <vector>

#include "train/config/config.h"

namespace umbra {

// The config as TOML, every field with its help as a comment unless `plain`. Reads back equal.
std::string dump_config(const Config& config, bool plain = false);

// The text of docs/config.md.
std::string config_reference();

// A field that differs: "optim.lr", "optim.lr: 0.001 -> 0.002".
struct ConfigDifference {
  std::string key, text;
};
std::vector<ConfigDifference> config_differences(const Config& before, const Config& after);

}  // namespace umbra
