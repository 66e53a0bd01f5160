#include "train/cli/commands.h"
#include "train/error.h"
#include "train/loop/resume.h"
#include "train/loop/trainer.h"

namespace umbra {
namespace {

struct TrainArguments {
  std::string config;
  std::string out;
  std::string resume;
  std::vector<std::string> overrides;
  bool quiet = false;
};

std::string run_folder_for(const TrainArguments& arguments) {
  if (!arguments.out.empty()) return arguments.out;
  if (arguments.config.empty()) {
    throw ConfigError("say what to train: a CONFIG.toml, or --resume with --out RUN");
  }
  const std::filesystem::path config = arguments.config;
  if (config.filename() == "resolved.toml") return config.parent_path().string();  // a run's own
  return "runs/" + config.stem().string();
}

void train(const TrainArguments& arguments, bool resume) {
  const RunFolder folder(run_folder_for(arguments));
  if (folder.exists() && !resume) {
    throw ConfigError(fmt::format(
        "{} already holds a run: add --resume to go on with it, or --out for another folder",
        folder.path().string()));
  }
  if (arguments.config.empty() && !folder.exists()) {
    throw ConfigError(
        fmt::format("{} holds no run to resume: give a CONFIG.toml, too", folder.path().string()));
  }
  if (!folder.exists() && arguments.resume != "last") {
    throw ConfigError(fmt::format("{} holds no run, so no checkpoint {}", folder.path().string(),
                                  arguments.resume));
  }
  const std::string config =
      arguments.config.empty() ? folder.config_path().string() : arguments.config;
  LoadedConfig loaded = load_config(config, arguments.overrides);
  if (folder.exists() && folder.finished()) {
    if (arguments.resume != "last") {
      throw ConfigError(
          fmt::format("{} is finished, so it does not go on from {}: give --out for "
                      "another run, which may begin with model.init_from",
                      folder.path().string(), arguments.resume));
    }
    build_data(loaded);
    refuse_other_config(folder, loaded.config);
    fmt::print("{0} is finished, with the config in {0}/resolved.toml; see umbra report {0}\n",
               folder.path().string());
    return;
  }
  const std::optional<std::string> checkpoint =
      folder.exists() ? std::optional(arguments.resume) : std::nullopt;
  const StopSignal stop;
  Trainer trainer(std::move(loaded), folder, checkpoint);
  const nlohmann::json summary = trainer.fit(stop, detect_terminal(arguments.quiet));
  fmt::print("{}: {} steps in {:.1f} min, best top-1 {:.2f} at step {}\n", folder.path().string(),
             summary["steps"].get<int64_t>(), summary["minutes"].get<double>(),
             summary["best"]["top1"].get<double>(), summary["best"]["step"].get<int64_t>());
}

}  // namespace

void add_train_command(CLI::App& app) {
  auto arguments = std::make_shared<TrainArguments>();
  CLI::App* command = app.add_subcommand("train", "Train a model as a config says");
  command->add_option("config", arguments->config, "Config file (.toml)");
  add_overrides(*command, arguments->overrides);
  command->add_option("--out", arguments->out, "Run folder; default: runs/<config's name>");
  CLI::Option* resume =
      command
          ->add_option("--resume", arguments->resume,
                       "Go on with the run in the folder (or start it, if there is none yet); "
                       "--resume=step-NNNNNNNN from that checkpoint, which removes all newer ones")
          ->expected(0, 1)
          ->default_str("last");
  command->add_flag("--quiet", arguments->quiet, "The result only");
  command->callback([=] {
    if (arguments->resume.ends_with(".toml") && arguments->config.empty()) {
      std::swap(arguments->resume, arguments->config);  // train --resume CONFIG.toml
    }
    if (arguments->resume.empty()) arguments->resume = "last";
    train(*arguments, resume->count() > 0);
  });
}

}  // namespace umbra
