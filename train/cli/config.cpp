#include "train/cli/commands.h"
#include "train/config/dump.h"
#include "train/config/load.h"
#include "train/loop/parts.h"

namespace umbra {
namespace {

struct ConfigArguments {
  std::string config;
  std::vector<std::string> overrides;
  bool schedule = false;
  bool reference = false;
  int64_t images = 0;
};

// "epoch,lr": the learning rate of the first step of every epoch.
void print_schedule(const LoadedConfig& loaded, int64_t images) {
  const Config& config = loaded.config;
  if (images == 0) images = open_sets(config, loaded.sources).train->size();
  const StepMath math = step_math(config, images);
  if (math.steps_per_epoch == 0) {
    throw ConfigError(fmt::format("train.batch_size = {} is more than the {} training images",
                                  config.train.batch_size, images));
  }
  const Schedule schedule(config.schedule, scaled_lr(config.optim, config.train.batch_size),
                          config.train.duration, math);
  fmt::print("epoch,lr\n");
  const int64_t total = math.steps(config.train.duration);
  for (int64_t step = 0; step < total; step += math.steps_per_epoch) {
    fmt::print("{},{:.9g}\n", step / math.steps_per_epoch, schedule.lr(step));
  }
}

void show(const ConfigArguments& arguments) {
  if (arguments.reference) {
    fmt::print("{}", config_reference());
    return;
  }
  if (arguments.config.empty()) throw ConfigError("give a CONFIG.toml, or --reference");
  const LoadedConfig loaded = load_config(arguments.config, arguments.overrides);
  if (arguments.schedule) {
    print_schedule(loaded, arguments.images);
  } else {
    fmt::print("{}", dump_config(loaded.config));
  }
}

}  // namespace

void add_config_command(CLI::App& app) {
  auto arguments = std::make_shared<ConfigArguments>();
  CLI::App* command = app.add_subcommand("config", "Check a config and print it, resolved");
  command->add_option("config", arguments->config, "Config file (.toml)");
  add_overrides(*command, arguments->overrides);
  command->add_flag("--schedule", arguments->schedule, "Print the learning rate per epoch as CSV");
  command
      ->add_option("--images", arguments->images,
                   "For --schedule: size of the training set, instead of opening it")
      ->check(CLI::PositiveNumber);
  command->add_flag("--reference", arguments->reference, "Print docs/config.md");
  command->callback([=] { show(*arguments); });
}

}  // namespace umbra
