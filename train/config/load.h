// TOML files and --set overrides to a checked Config.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "train/config/config.h"
#include "train/error.h"

namespace umbra {

// Where each key was set ("optim.lr" -> "deit.toml:12:8"), for messages about it.
class Sources {
 public:
  void record(const std::string& key, std::string place) { places_[key] = std::move(place); }
  // "deit.toml:12:8: " for a key that was set, its table's place, or nothing for a default.
  std::string at(const std::string& key) const;
  bool is_set(const std::string& key) const { return places_.contains(key); }

 private:
  std::map<std::string, std::string> places_;
};

struct LoadedConfig {
  Config config;
  Sources sources;
};

// Reads `path`, its `extends` chain, then the overrides ("optim.lr=5e-4"; later ones win). Stops at
// the first mistake with a ConfigError "file:line:column: what" that names the nearest known name.
// What only the data or a teacher can tell is checked later, by check_against_data.
LoadedConfig load_config(const std::string& path, const std::vector<std::string>& overrides = {});

// The same for a text that has no file; `name` stands for the file in messages.
LoadedConfig parse_config(const std::string& text, const std::string& name,
                          const std::vector<std::string>& overrides = {});

// Combinations that no single field shows: sizes that do not divide, a method without its head...
void check_config(const Config& config, const Sources& sources);

// Fills model.num_classes and in_chans from the data, and checks that they fit.
void check_against_data(Config& config, const Sources& sources, int64_t num_classes,
                        int64_t channels);

}  // namespace umbra
