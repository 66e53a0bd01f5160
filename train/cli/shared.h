// What several commands share.
#pragma once

#include <string>

#include <CLI/CLI.hpp>

#include "augment/options.h"
#include "train/error.h"
#include "train/json_text.h"

namespace umbra {

inline void print_json(const nlohmann::json& json) { fmt::print("{}\n", json_text(json, 1)); }

// Which weights of a run: --checkpoint and --weights.
struct RunChoice {
  std::string checkpoint = "best", weights = "auto";

  void add_to(CLI::App& command) {
    add_to(command, {"auto", "raw", "ema"}, "Of a run: raw, ema, or auto, whichever scored better");
  }

  // The same with other names for --weights; the first is the default.
  void add_to(CLI::App& command, const std::vector<std::string>& kinds, const std::string& text) {
    weights = kinds.front();
    add_checkpoint_to(command);
    options_.push_back(command.add_option("--weights", weights, text)
                           ->check(CLI::IsMember(kinds))
                           ->capture_default_str());
  }

  void add_checkpoint_to(CLI::App& command) {
    options_.push_back(
        command.add_option("--checkpoint", checkpoint, "Of a run: best, last or a name")
            ->capture_default_str());
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

// "32 pixels, 0.875 of the image, bicubic, mean 0.5, std 0.5": an evaluation view, for people.
inline std::string view_text(const augment::AugmentOptions& view) {
  const std::string part =
      view.crop_pct < 1.0 ? fmt::format("{:.4g} of the image", view.crop_pct) : "the whole image";
  return fmt::format("{} pixels, {}, {}, mean {:.4g}, std {:.4g}", view.image_size, part,
                     view.eval_interpolation, fmt::join(view.mean, " "), fmt::join(view.std, " "));
}

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
