#include <torch/version.h>

#include "train/cli/bench.h"
#include "train/cli/commands.h"
#include "train/cli/shared.h"
#include "train/loop/trainer.h"
#include "train/machine.h"

namespace umbra {
namespace {

struct RunBench {
  std::string config;
  std::vector<std::string> overrides;
  int64_t steps = 50, warm_up = 5;
  bool json = false;
};

void bench_run(const RunBench& arguments) {
  Trainer trainer(load_config(arguments.config, arguments.overrides), RunFolder({}), std::nullopt);
  nlohmann::json result = trainer.measure(arguments.warm_up, arguments.steps);
  result["torch"] = TORCH_VERSION;
  result["processor"] = cpu_name();
  if (arguments.json) {
    fmt::print("{}\n", result.dump());
    return;
  }
  const auto number = [&](const char* key) { return result[key].get<double>(); };
  fmt::print("training of {} ({}), {} px, batch {}, {}, {} thread(s) and {} worker(s), on {}\n",
             result["model"].get<std::string>(), result["objective"].get<std::string>(),
             result["image_size"].get<int64_t>(), result["batch_size"].get<int64_t>(),
             result["precision"].get<std::string>(), result["threads"].get<int64_t>(),
             result["workers"].get<int64_t>(), result["device"].get<std::string>());
  fmt::print(
      "{:.1f} images/s over {} steps, {:.1f} % of the time waiting for data; resident memory "
      "{:.2f} "
      "-> {:.2f} GB, at most {:.2f}\n"
      "at this rate the {} steps of the training take {:.2f} hours; evaluation and fits come on "
      "top\n",
      number("images_per_second"), arguments.steps, 100.0 * number("data_share"),
      number("resident_gb_before"), number("resident_gb_after"), number("peak_resident_gb"),
      result["total_steps"].get<int64_t>(), number("total_hours"));
}

}  // namespace

void add_bench_run(CLI::App& bench) {
  auto arguments = std::make_shared<RunBench>();
  CLI::App* command = bench.add_subcommand(
      "run",
      "Images per second of whole training steps as a config says, with data and teachers; writes "
      "nothing");
  command->add_option("config", arguments->config, "Config file (.toml)")->required();
  add_overrides(*command, arguments->overrides);
  command->add_option("--steps", arguments->steps, "Steps to measure")
      ->check(CLI::Range(1, 100000000))
      ->capture_default_str();
  command->add_option("--warm-up", arguments->warm_up, "Steps before those")
      ->check(CLI::Range(0, 100000000))
      ->capture_default_str();
  command->add_flag("--json", arguments->json, "One JSON object on standard output");
  command->callback([=] { bench_run(*arguments); });
}

}  // namespace umbra
