// One function per verb: adds the subcommand to the program; its callback does the work.
#pragma once

#include <string>
#include <vector>

#include <CLI/CLI.hpp>

namespace umbra {

void add_train_command(CLI::App& app);
void add_eval_command(CLI::App& app);
void add_config_command(CLI::App& app);
void add_report_command(CLI::App& app);
void add_preview_command(CLI::App& app);
void add_data_command(CLI::App& app);
void add_bench_command(CLI::App& app);
void add_models_command(CLI::App& app);
void add_inspect_command(CLI::App& app);
void add_export_command(CLI::App& app);
void add_forward_command(CLI::App& app);
void add_predict_command(CLI::App& app);
void add_compare_command(CLI::App& app);
void add_probe_command(CLI::App& app);
void add_cache_command(CLI::App& app);

// The --set option, which every command that reads a config takes.
inline void add_overrides(CLI::App& command, std::vector<std::string>& overrides) {
  command
      .add_option("--set", overrides,
                  "Override a key: table.key=value, for example augment.crop_pct=1.0 (repeatable)")
      ->take_all()
      ->expected(1)
      ->allow_extra_args(false);
}

}  // namespace umbra
