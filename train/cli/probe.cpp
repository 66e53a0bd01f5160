#include "train/cli/commands.h"
#include "train/cli/shared.h"
#include "train/config/dump.h"
#include "train/files.h"
#include "train/loop/resume.h"
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

// Mean and standard deviation of each channel over the training images at their evaluation view, of
// [0, 1], from 10,000 images drawn by the seed at most.
std::pair<std::vector<double>, std::vector<double>> channel_statistics(const Config& config,
                                                                       const Sources& sources) {
  constexpr int64_t kImages = 10000;
  augment::AugmentOptions plain;
  plain.image_size = config.augment.image_size;
  plain.interpolation = config.augment.interpolation;
  plain.crop = "none";
  plain.hflip = 0.0;
  const Sets sets = open_sets(config, sources);
  LoaderOptions options = loader_options(config, torch::kCPU, /*train=*/true);
  options.batch_size = std::min<int64_t>(100, sets.train->size());
  Loader loader(sets.train, plain, options);
  loader.seek(0, 0);
  torch::Tensor sum = torch::zeros({sets.train->channels()}, torch::kFloat64),
                squares = sum.clone();
  const int64_t batches = std::min(kImages, sets.train->size()) / options.batch_size;
  RawBatch batch;
  for (int64_t i = 0; i < batches && loader.next(batch); ++i) {
    const torch::Tensor pixels = batch.images.to(torch::kFloat64).div(255.0).flatten(0, 2);
    sum += pixels.mean(0);
    squares += pixels.square().mean(0);
  }
  const torch::Tensor mean = sum / batches,
                      variance = (squares / batches - mean.square()).clamp_min(1e-8);
  const auto rounded = [](const torch::Tensor& values) {
    const torch::Tensor decimals = (values * 1e4).round() / 1e4;
    return std::vector<double>(decimals.const_data_ptr<double>(),
                               decimals.const_data_ptr<double>() + decimals.size(0));
  };
  return {rounded(mean), rounded(variance.sqrt())};
}

// The run's backbone, frozen, under a new linear classifier; the protocol of SSKD's reproduction:
// pad, crop and flip at the run's size, normalised with the statistics of the other set, SGD for
// 120 epochs with drops at 30, 60 and 90.
Config probe_config(const std::string& run, const ProbeArguments& arguments) {
  const Located best = locate(run, "best");
  const Config trained = best.run.config();
  Config c;
  c.run = trained.run;
  c.data.path = std::filesystem::weakly_canonical(arguments.data).string();
  c.data.workers = trained.data.workers;
  c.data.drop_last = false;
  augment::apply_preset(c.augment, "cifar");
  c.augment.image_size = trained.augment.image_size;
  c.augment.interpolation = c.augment.eval_interpolation = "bilinear";
  c.model = trained.model;
  c.model.num_classes = 0;
  c.model.init_from = std::filesystem::weakly_canonical(best.checkpoint).string();
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

// "exp1-shake-stl10" for exp1/shake on data/stl10: a folder for each pair.
std::string folder_name(const std::string& run, const std::string& data) {
  namespace fs = std::filesystem;
  const fs::path whole = fs::weakly_canonical(run), near = fs::relative(whole);
  std::string name;
  for (const fs::path& part : near.begin()->string() == ".." ? whole : near) {
    if (part.has_filename() && part != "/") name += part.string() + "-";
  }
  const fs::path set = fs::weakly_canonical(data);
  return name + set.filename().string();
}

// An unfinished or finished probe in the folder must be of this run, at its best, and of these data
// and settings, but for what is read off the data unless it is named.
void require_same(const RunFolder& folder, const Config& wanted,
                  const std::vector<std::string>& overrides) {
  const auto of_data = [&](const std::string& key) {
    constexpr std::array<std::string_view, 4> kKeys = {"augment.mean", "augment.std",
                                                       "model.in_chans", "model.num_classes"};
    const std::string table = key.substr(0, key.find('.'));
    return std::find(kKeys.begin(), kKeys.end(), key) != kKeys.end() &&
           std::none_of(overrides.begin(), overrides.end(), [&](const std::string& override) {
             return override.starts_with(key + "=") || override.starts_with(table + "=");
           });
  };
  std::string changed;
  for (const auto& [key, text] : config_differences(folder.config(), wanted)) {
    if (key != "data.path" && changes_no_result(key)) continue;
    if (of_data(key)) continue;
    changed += "\n  " + text;
  }
  if (changed.empty()) return;
  throw ConfigError(
      fmt::format("{} holds a probe of something else. Changed:{}\nGive another folder with --out",
                  folder.path().string(), changed));
}

// Trains the classifier, goes on with a probe that was cut, or reads a finished one.
nlohmann::json probe(const std::string& run, const ProbeArguments& arguments,
                     const StopSignal& stop) {
  if (!is_run_path(run)) {
    throw ConfigError(run +
                      " is a bare weight file: a probe needs a run folder, which says what the "
                      "model is and how its images were prepared");
  }
  const RunFolder folder(std::filesystem::path(arguments.out) / folder_name(run, arguments.data));
  const bool begun = folder.exists();
  Config config = probe_config(run, arguments);
  const auto parsed = [&] {
    return parse_config(dump_config(config, /*plain=*/true), "the probe's config",
                        arguments.overrides);
  };
  LoadedConfig loaded = parsed();
  if (begun) require_same(folder, loaded.config, arguments.overrides);
  if (begun && folder.finished()) {
    return nlohmann::json::parse(read_file(folder.path() / "summary.json"));
  }
  if (begun) {
    const Config saved = folder.config();
    config.augment.mean = saved.augment.mean;
    config.augment.std = saved.augment.std;
  } else {
    std::tie(config.augment.mean, config.augment.std) =
        channel_statistics(loaded.config, loaded.sources);
  }
  loaded = parsed();
  const std::optional<std::string> resume =
      begun ? std::optional<std::string>("last") : std::nullopt;
  Trainer trainer(std::move(loaded), folder, resume);
  return trainer.fit(stop, detect_terminal(arguments.quiet || arguments.json));
}

void probe_all(const ProbeArguments& arguments) {
  if (!std::filesystem::exists(arguments.data)) {
    throw ConfigError(fmt::format("--data {}: not there", arguments.data));
  }
  const StopSignal stop;
  nlohmann::json rows = nlohmann::json::array();
  for (const std::string& run : arguments.runs) {
    const nlohmann::json summary = probe(run, arguments, stop);
    rows.push_back({{"run", run},
                    {"model", summary["model"]},
                    {"data", arguments.data},
                    {"batch_norm", "evaluation"},
                    {"last_top1", summary["last"]["raw"]["headline"]},
                    {"best_top1", summary["best"]["top1"]}});
  }
  if (arguments.json) return print_json(rows);
  fmt::print("classifier on frozen features, batch norm as in evaluation\n");
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
      "and 90, weight decay 5e-4, batch 64; images at the run's size, normalised with the mean and "
      "std of the other set's training images at that size (10,000 of them at most), pad 4, crop, "
      "flip. Batch norm stays as in evaluation. --set changes any of it.");
  command->callback([=] { probe_all(*arguments); });
}

}  // namespace umbra
