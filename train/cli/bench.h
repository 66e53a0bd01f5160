// The benchmarks, one function each: adds its subcommand to `umbra bench`.
#pragma once

#include <CLI/CLI.hpp>

namespace umbra {

void add_bench_input(CLI::App& bench);
void add_bench_step(CLI::App& bench);
void add_bench_teacher(CLI::App& bench);
void add_bench_run(CLI::App& bench);

}  // namespace umbra
