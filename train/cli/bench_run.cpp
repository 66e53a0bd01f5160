#include <ATen/Parallel.h>
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

nlohmann::json result_of(const Trainer& trainer, const Speed& speed, int64_t steps) {
  const Config& config = trainer.config();
  const Parts& parts = trainer.parts();
  std::vector<std::string> teachers;
  for (const RunTeacher& teacher : parts.teachers) teachers.push_back(teacher.name);
  const double seconds_per_step = speed.seconds / static_cast<double>(steps);
  return {{"model", config.model.name},
          {"objective", describe(config.distill)},
          {"teachers", teachers},
          {"image_size", config.augment.image_size},
          {"batch_size", config.train.batch_size},
          {"accum_steps", config.train.accum_steps},
          {"precision", config.run.precision},
          {"device", describe(parts.device)},
          {"cuda_graph", config.run.cuda_graph},
          {"threads", at::get_num_threads()},
          {"workers", config.data.workers},
          {"steps", steps},
          {"seconds", speed.seconds},
          {"total_steps", parts.training_steps()},
          {"total_hours", seconds_per_step * static_cast<double>(parts.training_steps()) / 3600.0},
          {"images_per_second", static_cast<double>(config.train.batch_size) / seconds_per_step},
          {"data_share", speed.data_share},
          {"resident_gb_before", speed.resident_gb_before},
          {"resident_gb_after", speed.resident_gb_after},
          {"peak_resident_gb", speed.peak_resident_gb},
          {"torch", TORCH_VERSION},
          {"processor", cpu_name()}};
}

void bench_run(const RunBench& arguments) {
  Trainer trainer(load_config(arguments.config, arguments.overrides), RunFolder({}), std::nullopt);
  const Speed speed = trainer.measure(arguments.warm_up, arguments.steps);
  const nlohmann::json result = result_of(trainer, speed, arguments.steps);
  if (arguments.json) {
    fmt::print("{}\n", json_text(result));
    return;
  }
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
      result["images_per_second"].get<double>(), arguments.steps, 100.0 * speed.data_share,
      speed.resident_gb_before, speed.resident_gb_after, speed.peak_resident_gb,
      result["total_steps"].get<int64_t>(), result["total_hours"].get<double>());
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
