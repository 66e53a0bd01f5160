// What several commands share.
#pragma once

#include <string>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "train/error.h"

namespace umbra {

// Names of files and classes need not be UTF-8.
inline void print_json(const nlohmann::json& json) {
  fmt::print("{}\n", json.dump(1, ' ', false, nlohmann::json::error_handler_t::replace));
}

// Which weights of a run: --checkpoint and --weights.
struct RunChoice {
  std::string checkpoint = "best", weights = "auto";

  void add_to(CLI::App& command) {
    options_ = {command.add_option("--checkpoint", checkpoint, "Of a run: best, last or a name")
                    ->capture_default_str(),
                command
                    .add_option("--weights", weights,
                                "Of a run: raw, ema, or auto, whichever scored better")
                    ->check(CLI::IsMember({"auto", "raw", "ema"}))
                    ->capture_default_str()};
  }

  // Throws ConfigError if one of them was given for a bare weight file.
  void refuse_for_file(const std::string& path) const {
    for (const CLI::Option* option : options_) {
      if (option->count() == 0) continue;
      throw ConfigError(fmt::format("{} is a bare weight file, which has no {}: that is for runs",
                                    path, option->get_name()));
    }
  }

 private:
  std::vector<CLI::Option*> options_;
};

// --data PATH ahead of what --set says: another data set may have another layout.
inline void prefer_data(std::vector<std::string>& overrides, const std::string& path) {
  if (path.empty()) return;
  overrides.insert(overrides.begin(),
                   {"data.path=" + path, "data.format=auto", "data.train_samples=0"});
}

// Throws ConfigError if the file is there: nothing is overwritten.
inline void refuse_existing(const std::string& path) {
  if (!std::filesystem::exists(path)) return;
  throw ConfigError(path + " is already there: remove it or choose another name");
}

}  // namespace umbra
