#include "train/loop/run_data.h"

#include "train/data/view_stats.h"
#include "train/loop/precision.h"

namespace umbra {
namespace {

// A policy under which images turn blank teaches nothing.
void refuse_blank_views(RunData& data, const Config& config, const Sources& sources) {
  if (config.augment.auto_augment.empty()) return;
  constexpr int64_t kSamples = 64;
  const ViewStats stats = view_stats(*data.train_set, config.augment, config.data_seed(), kSamples);
  const std::string found = fmt::format("{} of {} training views are blank: one colour all over",
                                        stats.blank, stats.views);
  const bool custom = config.augment.auto_augment == "custom";
  if (2 * stats.blank > stats.views) {
    throw ConfigError(
        fmt::format("{}augment.{}: {}. See umbra preview CONFIG, and weaken the policy",
                    sources.at(custom ? "augment.policy" : "augment.auto_augment"),
                    custom ? "policy" : "auto_augment", found));
  }
  if (20 * stats.blank > stats.views) data.notes.push_back("warning: " + found);
}

}  // namespace

StepMath step_math(const Config& config, int64_t images) {
  const int64_t batch = config.train.batch_size;
  StepMath math;
  math.samples_per_step = batch;
  math.steps_per_epoch = config.data.drop_last ? images / batch : (images + batch - 1) / batch;
  return math;
}

LoaderOptions loader_options(const Config& config, torch::Device device, bool train) {
  LoaderOptions options;
  options.batch_size = train ? config.train.batch_size : config.eval.batch_size;
  options.train = train;
  options.drop_last = config.data.drop_last;
  options.workers = config.data.workers;
  options.prefetch = config.data.prefetch;
  options.seed = config.data_seed();
  options.pin_memory = device.is_cuda();
  options.skip_broken = config.data.on_broken == "skip";
  return options;
}

Sets open_sets(const Config& config, const Sources& sources) {
  const DataOptions& options = config.data;
  if (options.path.empty()) {
    throw ConfigError(sources.at("data") +
                      "data.path is missing: the folder of the data set, for example --set "
                      "data.path=/data/imagenet");
  }
  const auto seed = config.data_seed();
  try {
    ReadOptions read;
    read.decode.fast = options.decode == "fast";
    read.decode.max_pixels = options.max_pixels;
    // A scaled-down decode depends on the crop, so there is no one image to keep.
    const auto budget = static_cast<int64_t>(read.decode.fast ? 0.0 : options.memory_gb * 1e9);
    DataSplits splits = open_dataset(options.format, options.path, read);
    Sets sets{splits.train, nullptr, splits.test};
    if (options.val_split > 0.0) {
      std::tie(sets.train, sets.val) = split_off(splits.train, options.val_split, seed);
    }
    if (options.train_samples > sets.train->size()) {
      throw Error(fmt::format("data.train_samples = {} but the training set has {} images",
                              options.train_samples, sets.train->size()));
    }
    if (options.train_samples > 0) {
      sets.train = balanced_subset(sets.train, options.train_samples, seed);
    }
    for (std::shared_ptr<const Dataset>* set : {&sets.train, &sets.val, &sets.test}) {
      if (*set) *set = keep_in_memory(*set, budget);
    }
    return sets;
  } catch (const Error& error) {
    const bool there = std::filesystem::exists(options.path);
    throw ConfigError(fmt::format("{}{}{}", sources.at("data.path"), error.what(),
                                  there ? "" : ": --set data.path=FOLDER names yours"));
  }
}

RunData build_data(LoadedConfig& loaded) {
  Config& config = loaded.config;
  RunData data;
  data.device = prepare_device(config.run.device, config.run.threads);
  data.precision = choose_precision(config.run.precision, data.device);
  config.run.precision = precision_name(data.precision);  // a run keeps it
  const Sets sets = open_sets(config, loaded.sources);
  if (!sets.evaluation()) {
    throw ConfigError(
        fmt::format("{}{} has no test or validation part: add one, or hold out a share of the "
                    "training set with data.val_split = 0.1",
                    loaded.sources.at("data.path"), config.data.path));
  }
  data.train_set = sets.train;
  data.eval_set = sets.evaluation();
  check_against_data(config, loaded.sources, sets.train->num_classes(), sets.train->channels());
  refuse_blank_views(data, config, loaded.sources);
  data.math = step_math(config, sets.train->size());
  if (data.math.steps_per_epoch == 0) {
    throw ConfigError(fmt::format(
        "{}train.batch_size = {} but the training set has {} images: take a smaller batch, or set "
        "data.drop_last = false",
        loaded.sources.at("train.batch_size"), config.train.batch_size, sets.train->size()));
  }
  data.notes.push_back(fmt::format("data {}: {} training and {} evaluation images, {} classes",
                                   config.data.path, sets.train->size(), data.eval_set->size(),
                                   sets.train->num_classes()));
  return data;
}

}  // namespace umbra
