#pragma once

#include <string>
#include <vector>

#include "train/config/config.h"

namespace umbra {

// The config as TOML, every field with its help as a comment unless `plain`. Reads back equal.
std::string dump_config(const Config& config, bool plain = false);

// The text of docs/config.md.
std::string config_reference();

// "optim.lr: 0.001 -> 0.002" for each field that differs.
std::vector<std::string> config_differences(const Config& before, const Config& after);

}  // namespace umbra
