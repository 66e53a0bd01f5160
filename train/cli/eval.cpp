#include "train/cli/commands.h"
#include "train/cli/shared.h"
#include "train/error.h"
#include "train/files.h"
#include "train/loop/parts.h"
#include "train/loop/precision.h"
#include "train/loop/run_folder.h"
#include "train/weights/load.h"

namespace umbra {
namespace {

struct EvalArguments {
  std::string path, model;
  std::string config;
  RunChoice run;
  std::string split = "test";
  std::string per_class;
  std::string data;
  std::string precision = "fp32";
  std::vector<std::string> overrides;
  bool json = false;
};

// A config for a published model: its view, then what was given.
std::vector<std::string> published_overrides(const EvalArguments& arguments) {
  const PublishedInput input = published_input(arguments.model);
  std::vector<std::string> overrides = {
      "augment.preset=none",
      "model.name=" + arguments.model,
      fmt::format("augment.image_size={}", input.image_size),
      fmt::format("augment.crop_pct={}", input.crop_pct),
      "augment.eval_interpolation=" + input.interpolation,
      fmt::format("augment.mean=[{}]", fmt::join(input.mean, ", ")),
      fmt::format("augment.std=[{}]", fmt::join(input.std, ", "))};
  overrides.insert(overrides.end(), arguments.overrides.begin(), arguments.overrides.end());
  return overrides;
}

// The config to evaluate with: the run's own, or the one given, with overrides.
LoadedConfig eval_config(const EvalArguments& arguments) {
  const bool is_run = is_run_path(arguments.path);
  if (!is_run) arguments.run.refuse_for_file(arguments.path);
  if (!arguments.model.empty() && (is_run || !arguments.config.empty())) {
    throw ConfigError("--model is for a bare weight file without --config: leave it out");
  }
  if (!arguments.config.empty()) return load_config(arguments.config, arguments.overrides);
  if (!arguments.model.empty()) return parse_config("", "--model", published_overrides(arguments));
  if (!is_run) {
    throw ConfigError(fmt::format(
        "{} is a bare weight file: give --model NAME and --data PATH, or --config CONFIG.toml",
        arguments.path));
  }
  const RunFolder run = locate(arguments.path, arguments.run.checkpoint).run;
  return load_config(run.config_path().string(), arguments.overrides);
}

// Which of a checkpoint's weights to score: both unless asked, or unless there is no EMA.
std::vector<std::string> weight_kinds(const EvalArguments& arguments) {
  if (!is_run_path(arguments.path)) return {"file"};
  if (arguments.run.weights != "all") return {arguments.run.weights};
  const Config trained = locate(arguments.path, arguments.run.checkpoint).run.config();
  return trained.train.ema_decay > 0.0 ? std::vector<std::string>{"raw", "ema"}
                                       : std::vector<std::string>{"raw"};
}

SavedModel open_model(const EvalArguments& arguments, const std::string& kind,
                      const Config& config) {
  if (kind != "file") return open_run_model(arguments.path, arguments.run.checkpoint, kind);
  const augment::AugmentOptions& view = config.augment;
  return open_bare_model(arguments.path, config.model, {view.mean, view.std, view.image_size});
}

// Rows of CSV: images and top-1 of the class head for every class.
std::string per_class_rows(const std::string& weights, const EvalResult& result,
                           const std::vector<std::string>& names) {
  std::string rows;
  for (size_t c = 0; c < names.size(); ++c) {
    const torch::Tensor mine = result.labels.eq(static_cast<int64_t>(c));
    const auto images = mine.sum().item<int64_t>();
    const auto correct = mine.logical_and(result.correct).sum().item<int64_t>();
    const double share =
        images > 0 ? 100.0 * static_cast<double>(correct) / static_cast<double>(images) : 0.0;
    std::string name;  // quoted as RFC 4180 asks
    for (const char letter : names[c]) name.append(letter == '"' ? 2 : 1, letter);
    rows += fmt::format("{},{},\"{}\",{},{},{:.4f}\n", weights, c, name, images, correct, share);
  }
  return rows;
}

std::shared_ptr<const Dataset> choose_split(const Sets& sets, const std::string& name) {
  const auto& chosen = name == "train" ? sets.train : name == "val" ? sets.val : sets.test;
  if (chosen) return chosen;
  throw ConfigError(name == "val"
                        ? "--split val: the run has no data.val_split"
                        : "--split test: the data set has no test part; --split train "
                          "scores all its images, --split val what data.val_split holds out");
}

void eval(const EvalArguments& arguments) {
  LoadedConfig loaded = eval_config(arguments);
  const Config& config = loaded.config;
  const torch::Device device = prepare_device(config.run.device, config.run.threads);
  const torch::ScalarType precision = choose_precision(arguments.precision, device);
  const Sets sets = open_sets(config, loaded.sources);
  const auto dataset = choose_split(sets, arguments.split);
  check_against_data(loaded.config, loaded.sources, dataset->num_classes(), dataset->channels());

  Loader loader(dataset, config.augment, loader_options(config, device, /*train=*/false));
  const augment::Normalizer normalize(config.augment.mean, config.augment.std, device);

  std::string per_class = "weights,class,name,images,correct,top1\n";
  if (!arguments.per_class.empty()) {
    make_folder(std::filesystem::absolute(arguments.per_class).parent_path());
  }
  nlohmann::json rows = nlohmann::json::array();
  if (!arguments.json) {
    fmt::print("{} images of {}, {} on {}\n{}\n", dataset->size(), config.data.path,
               precision_name(precision), device.str(), view_text(config.augment));
  }
  for (const std::string& kind : weight_kinds(arguments)) {
    const SavedModel saved = open_model(arguments, kind, config);
    move_to(saved.model->module(), device);
    saved.model->module().eval();
    const Forward forward = [&](const torch::Tensor& images) {
      const AutocastGuard autocast(device, precision);
      return saved.model->forward(images);
    };
    const EvalResult result = evaluate(forward, loader, normalize);
    if (!arguments.json && rows.empty()) {
      fmt::print("{:<7} {:<10} {:>8} {:>8} {:>8} {:>8}\n", "weights", "head", "top-1", "top-5",
                 "loss", "ECE");
    }
    for (const HeadScore& head : result.heads) {
      rows.push_back({{"model", saved.description},
                      {"weights", kind},
                      {"head", head.head},
                      {"images", result.images},
                      {"correct1", head.correct1},
                      {"correct5", head.correct5},
                      {"top1", head.top1},
                      {"top5", head.top5},
                      {"loss", head.loss},
                      {"ece", head.ece}});
      if (!arguments.json) {
        fmt::print("{:<7} {:<10} {:>8.3f} {:>8.3f} {:>8.4f} {:>8.4f}\n", kind, head.head, head.top1,
                   head.top5, head.loss, head.ece);
      }
    }
    if (!arguments.per_class.empty()) {
      per_class += per_class_rows(kind, result, dataset->class_names());
    }
  }
  if (!arguments.per_class.empty()) write_file_synced(arguments.per_class, per_class);
  if (arguments.json) print_json(rows);
}

}  // namespace

void add_eval_command(CLI::App& app) {
  auto arguments = std::make_shared<EvalArguments>();
  CLI::App* command = app.add_subcommand(
      "eval",
      "Score a run, checkpoint or weight file: top-1, top-5, loss, calibration error (ECE)");
  command->add_option("path", arguments->path, "Run folder, checkpoint folder or weight file")
      ->required();
  command->add_option("--config", arguments->config,
                      "Model (of a weight file) and data; default: the run's own config");
  command->add_option("--model", arguments->model,
                      "Of a weight file, in place of a config: the model's name; the view is as it "
                      "was published, unless --set augment.mean=[...] and so on say otherwise");
  add_overrides(*command, arguments->overrides);
  arguments->run.add_to(*command, {"all", "raw", "ema"}, "Of a run: all, raw or ema");
  command
      ->add_option("--split", arguments->split,
                   "test, val (the share held out by data.val_split) or train")
      ->check(CLI::IsMember({"test", "val", "train"}))
      ->capture_default_str();
  command->add_option("--per-class", arguments->per_class,
                      "Write a CSV: images and top-1 of the class head for every class");
  command->add_flag("--json", arguments->json, "Rows as JSON on standard output");
  command->add_option("--precision", arguments->precision, "fp32, bf16 or auto")
      ->check(CLI::IsMember({"fp32", "bf16", "auto"}))
      ->capture_default_str();
  command->add_option("--data", arguments->data, "Another data set: short for --set data.path=...");
  command->callback([=] {
    prefer_data(arguments->overrides, arguments->data);
    eval(*arguments);
  });
}

}  // namespace umbra
