#include "train/cli/bench.h"

#include "train/cli/commands.h"

namespace umbra {

void add_bench_command(CLI::App& app) {
  CLI::App* bench = app.add_subcommand("bench", "Measure the speed of a part");
  bench->require_subcommand(1);
  add_bench_step(*bench);
  add_bench_teacher(*bench);
  add_bench_input(*bench);
  add_bench_run(*bench);
}

}  // namespace umbra
