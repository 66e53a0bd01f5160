#include "train/cli/commands.h"
#include "train/cli/shared.h"
#include "train/config/dump.h"
#include "train/files.h"
#include "train/loop/trainer.h"

namespace umbra {
namespace {

struct ProbeArguments {
  std::vector<std::string> runs, overrides;
  std::string data, out = "runs/probe";
  bool json = false, quiet = false;
};

bool contains(const std::string& text, const char* part) {
  return text.find(part) != std::string::npos;
}

// The run's backbone, frozen, under a new linear classifier; the protocol of SSKD's reproduction:
// pad, crop and flip at the run's size, SGD for 120 epochs with drops at 30, 60 and 90.
Config probe_config(const std::string& run, const ProbeArguments& arguments) {
  const Config trained = locate(run, "best").run.config();
  Config c;
  c.run = trained.run;
  c.data.path = arguments.data;
  c.data.workers = trained.data.workers;
  c.data.drop_last = false;
  augment::apply_preset(c.augment, "cifar");
  c.augment.image_size = trained.augment.image_size;
  c.augment.mean = trained.augment.mean;
  c.augment.std = trained.augment.std;
  c.model = trained.model;
  c.model.num_classes = 0;
  c.model.init_from = run;
  c.model.init_strict = false;  // the run's shadow heads are left
  c.model.init_head = "new";
  c.model.freeze = "backbone";
  c.model.cnn.num_shadow_heads = 0;
  c.optim.name = "sgd";
  const bool small_rate = contains(c.model.name, "shuffle") || contains(c.model.name, "mobilenet");
  c.optim.lr = small_rate ? 0.01 : 0.05;
  c.optim.lr_batch_size = 0;
  c.optim.momentum = 0.9;
  c.optim.weight_decay = 5e-4;
  c.optim.decay_norm_and_bias = true;
  c.optim.no_decay.clear();
  c.schedule.name = "multistep";
  c.schedule.per = "epoch";
  c.schedule.warmup = Duration::epochs(0);
  c.schedule.milestones = {Duration::epochs(30), Duration::epochs(60), Duration::epochs(90)};
  c.schedule.decay_rate = 0.1;
  c.train.duration = Duration::epochs(120);
  c.train.batch_size = 64;
  return c;
}

// Trains the classifier, goes on with a probe that was cut, or reads a finished one.
nlohmann::json probe(const std::string& run, const ProbeArguments& arguments,
                     const StopSignal& stop) {
  if (!is_run_path(run)) {
    throw ConfigError(run +
                      " is a bare weight file: a probe needs a run folder, which says what the "
                      "model is and how its images were prepared");
  }
  const std::string name = std::filesystem::path(run).lexically_normal().filename().string();
  const RunFolder folder(std::filesystem::path(arguments.out) / name);
  if (folder.exists() && folder.finished()) {
    return nlohmann::json::parse(read_file(folder.path() / "summary.json"));
  }
  const std::optional<std::string> resume =
      folder.exists() ? std::optional<std::string>("last") : std::nullopt;
  LoadedConfig loaded = parse_config(dump_config(probe_config(run, arguments), /*plain=*/true),
                                     "the probe's config", arguments.overrides);
  Trainer trainer(std::move(loaded), folder, detect_terminal(arguments.quiet || arguments.json),
                  resume);
  return trainer.fit(stop);
}

void probe_all(const ProbeArguments& arguments) {
  const StopSignal stop;
  nlohmann::json rows = nlohmann::json::array();
  for (const std::string& run : arguments.runs) {
    const nlohmann::json summary = probe(run, arguments, stop);
    rows.push_back({{"run", run},
                    {"model", summary["model"]},
                    {"data", arguments.data},
                    {"last_top1", summary["last"]["raw"]["headline"]},
                    {"best_top1", summary["best"]["top1"]}});
  }
  if (arguments.json) return print_json(rows);
  fmt::print("{:<32} {:<28} {:>10} {:>10}\n", "run", "model", "last top-1", "best top-1");
  for (const auto& row : rows) {
    fmt::print("{:<32} {:<28} {:>10.2f} {:>10.2f}\n", row["run"].get<std::string>(),
               row["model"].get<std::string>(), row["last_top1"].get<double>(),
               row["best_top1"].get<double>());
  }
}

}  // namespace

void add_probe_command(CLI::App& app) {
  auto arguments = std::make_shared<ProbeArguments>();
  CLI::App* command = app.add_subcommand(
      "probe", "Train a linear classifier on another data set, over frozen backbones of runs");
  command->add_option("runs", arguments->runs, "Run folders")->required();
  command->add_option("--data", arguments->data, "The other data set")->required();
  command
      ->add_option("--out", arguments->out,
                   "Folder for the probes, one run folder each; a probe in there that was cut "
                   "goes on, a finished one is read")
      ->capture_default_str();
  add_overrides(*command, arguments->overrides);
  command->add_flag("--json", arguments->json, "JSON on standard output");
  command->add_flag("--quiet", arguments->quiet, "The table only");
  command->footer(
      "Protocol: 120 epochs of SGD at 0.05 (0.01 for MobileNets and ShuffleNets), tenths at 30, 60 "
      "and 90, weight decay 5e-4, batch 64; images at the run's size and with its mean and std, "
      "pad "
      "4, crop, flip. Batch norm stays as in evaluation. --set changes any of it.");
  command->callback([=] { probe_all(*arguments); });
}

}  // namespace umbra
