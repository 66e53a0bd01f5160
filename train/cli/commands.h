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

}  // namespace umbra
