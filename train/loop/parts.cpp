#include "train/loop/parts.h"

#include <ATen/Parallel.h>

#include "augment/rng.h"
#include "train/data/view_stats.h"
#include "train/loop/precision.h"
#include "train/loop/run_folder.h"
#include "train/script_model.h"
#include "train/weights/load.h"

namespace umbra {
namespace {

uint64_t init_seed(const Config& config) {
  return augment::seed_of({static_cast<uint64_t>(config.run.seed), augment::Purpose::kInit});
}

// A fresh model; options that it cannot have are told by torch's errors.
std::unique_ptr<Model> draw_model(const Config& config, const Sources& sources) {
  torch::manual_seed(init_seed(config));
  try {
    return create_model(config.model);
  } catch (const c10::Error& error) {
    throw ConfigError(fmt::format("{}{}: {}", sources.at("model"), config.model.name,
                                  error.what_without_backtrace()));
  }
}

void freeze_backbone(Model& model) {
  const std::vector<std::string> heads = head_names(model);
  for (auto& item : model.module().named_parameters()) {
    const bool is_head = std::find(heads.begin(), heads.end(), item.key()) != heads.end();
    item.value().requires_grad_(is_head);
  }
}

std::unique_ptr<Model> build_model(const Config& config, const Sources& sources, bool fresh,
                                   std::vector<std::string>& notes) {
  std::unique_ptr<Model> model = draw_model(config, sources);
  if (config.model.freeze == "backbone") freeze_backbone(*model);
  notes.push_back(
      fmt::format("model {}: {} parameters", config.model.name, count_parameters(model->module())));
  if (config.model.init_from.empty() || !fresh) return model;
  LoadRule rule;
  rule.strict = config.model.init_strict;
  rule.new_head = config.model.init_head == "new";
  if (config.model.pos_embed_resize == "deit") rule.pos_embed = vit::PosEmbedResize::kDeit;
  const std::string where = fmt::format(
      "{}model.init_from = \"{}\": ", sources.at("model.init_from"), config.model.init_from);
  WeightFile file;
  try {
    file = read_weights(config.model.init_from);
  } catch (const Error& error) {
    throw ConfigError(where + error.what());
  }
  try {
    const LoadReport load = load_weights(*model, file, rule);
    notes.push_back(fmt::format("init from {}{}: {} tensors taken", config.model.init_from,
                                file.wrapper.empty() ? "" : ", " + file.wrapper, load.loaded));
    const auto list = [&](const char* what, const std::vector<std::string>& names) {
      if (!names.empty()) notes.push_back(fmt::format("  {}: {}", what, fmt::join(names, ", ")));
    };
    list("resized", load.resized);
    list("fresh", load.fresh);
    list("in the file only", load.unused);
  } catch (const Error& error) {
    throw ConfigError(where + error.what() +
                      "\nmodel.init_head = \"new\" leaves the file's class heads out, "
                      "model.init_strict = false what only one side has");
  } catch (const c10::Error& error) {
    throw ConfigError(where + error.what_without_backtrace());
  }
  return model;
}

// How images are prepared for a bare file: as the config says, else like the student's.
InputForm bare_input(const TeacherOptions& options, const Config& config) {
  const augment::AugmentOptions& student = config.augment;
  if (!options.mean.empty() && options.mean.size() != student.mean.size()) {
    throw Error(fmt::format("teacher.mean has {} values, the images {} channel(s)",
                            options.mean.size(), student.mean.size()));
  }
  return {options.mean.empty() ? student.mean : options.mean,
          options.std.empty() ? student.std : options.std,
          options.image_size > 0 ? options.image_size : student.image_size};
}

SavedModel open_bare_file(const TeacherOptions& options, const Config& config) {
  SavedModel saved;
  saved.input = bare_input(options, config);
  saved.description = options.path;
  if (options.format == "torchscript") {
    saved.model = open_torchscript(options.path, config.model.in_chans, saved.input.image_size);
    return saved;
  }
  if (options.model.empty()) {
    throw ConfigError(fmt::format(
        "{} is a bare weight file: say which model it is, for example teacher.model = \"resnet18\"",
        options.path));
  }
  ModelOptions model = named_model(options.model);
  model.in_chans = config.model.in_chans;
  model.vit.img_size = saved.input.image_size;
  std::string wrapper;
  saved.model = open_model_file(options.path, model, &wrapper);
  if (!wrapper.empty()) saved.description += ", " + wrapper;
  return saved;
}

// A teacher that knows the same classes under other numbers would teach nonsense.
void refuse_other_class_order(const std::vector<std::string>& teacher,
                              const std::vector<std::string>& student) {
  if (teacher == student) return;
  if (!std::is_permutation(teacher.begin(), teacher.end(), student.begin(), student.end())) return;
  const auto at = std::mismatch(teacher.begin(), teacher.end(), student.begin()).first;
  const auto number = at - teacher.begin();
  throw Error(fmt::format(
      "the teacher learned the same classes in another order: its class {} is \"{}\", here \"{}\". "
      "Train both on data with the same order of classes",
      number, *at, student[number]));
}

std::unique_ptr<Teacher> build_teacher(const TeacherOptions& options, const Config& config,
                                       const std::vector<std::string>& class_names,
                                       const torch::Device& device) {
  const bool is_run = is_run_path(options.path);
  if (is_run && (!options.model.empty() || !options.mean.empty() || options.image_size > 0 ||
                 options.format != "auto")) {
    throw Error(
        "it is a run, which brings its own model, image_size, mean and std: leave them and format "
        "out");
  }
  SavedModel saved = is_run ? open_run_model(options.path, options.checkpoint, options.weights)
                            : open_bare_file(options, config);
  refuse_other_class_order(saved.class_names, class_names);
  const ModelOptions& teacher = saved.model->options();
  if (teacher.num_classes != config.model.num_classes) {
    throw Error(fmt::format("the teacher has {} classes, the student {}: they must agree",
                            teacher.num_classes, config.model.num_classes));
  }
  if (teacher.in_chans != config.model.in_chans) {
    throw Error(fmt::format("the teacher takes {} image channel(s), the student {}",
                            teacher.in_chans, config.model.in_chans));
  }
  const InputForm student{config.augment.mean, config.augment.std, config.augment.image_size};
  return std::make_unique<Teacher>(saved.description, std::move(saved.model), saved.input, student,
                                   device, saved.answers_by_mean);
}

void build_teachers(Parts& parts, const Config& config, const Sources& sources) {
  for (size_t i = 0; i < config.teachers.size(); ++i) {
    const std::string table = item_key("teacher", i, config.teachers.size());
    try {
      parts.teachers.push_back(
          build_teacher(config.teachers[i], config, parts.train_set->class_names(), parts.device));
    } catch (const Error& error) {
      throw ConfigError(fmt::format("{}teacher: {}", sources.at(table + ".path"), error.what()));
    }
    Teacher& teacher = *parts.teachers.back();
    parts.notes.push_back(fmt::format("teacher {} ({}): {} parameters", teacher.name(),
                                      teacher.model().options().name,
                                      count_parameters(teacher.model().module())));
  }
}

// The outputs for blank images tell objectives the shapes of what they will see.
Setting describe_networks(Parts& parts, const Config& config) {
  const torch::NoGradGuard no_grad;
  const int64_t size = config.augment.image_size;
  const torch::Tensor blank = torch::zeros({2, config.model.in_chans, size, size},
                                           torch::TensorOptions().device(parts.device));
  Setting setting;
  parts.model->module().eval();
  setting.student = {parts.model.get(), parts.model->forward(blank)};
  for (const auto& teacher : parts.teachers) {
    setting.teachers.push_back({&teacher->model(), teacher->forward(blank)});
  }
  for (int64_t i = 0; i < parts.train_set->size(); ++i) {
    setting.train_labels.push_back(parts.train_set->label(i));
  }
  return setting;
}

void build_objective(Parts& parts, const Config& config, const Sources& sources) {
  torch::manual_seed(init_seed(config) + 1);  // what the objective trains starts from the seed, too
  try {
    parts.objective = make_objective(config.distill, config.loss, describe_networks(parts, config));
  } catch (const Error& error) {
    throw ConfigError(sources.at("distill") + error.what());
  }
  if (const auto module = parts.objective->module()) {
    module->to(parts.device);
    module->train();
    parts.notes.push_back(fmt::format("objective {}: {} parameters of its own",
                                      describe(config.distill), count_parameters(*module)));
  }
}

std::vector<ParamGroup> objective_groups(Parts& parts, const OptimOptions& options) {
  OptimOptions flat = options;
  flat.layer_decay = 1.0;  // the objective's modules are no layers of the student
  std::vector<ParamGroup> groups;
  const auto module = parts.objective->module();
  if (!module) return groups;
  for (ParamGroup& group : make_param_groups(*module, flat)) {
    group.label = "objective." + group.label;
    for (std::string& name : group.names) name = "objective." + name;
    groups.push_back(std::move(group));
  }
  return groups;
}

// SGD with momentum 0.9, as the papers fit; the rate drops to a tenth at each milestone. Weight
// decay is the training's where that is SGD, too; another optimiser's means something else, so
// there it is the papers' 5e-4.
Phase make_fit(Parts& parts, const Objective::Fit& fit, const Config& config) {
  const bool same_kind = config.optim.name == "sgd";
  if (!same_kind && fit.lr == 0.0) {
    throw ConfigError(
        fmt::format("the fit of \"{}\" before the training is done with SGD, and the training's "
                    "rate is {}'s: set fit_lr, for example to 0.05",
                    fit.name, config.optim.name));
  }
  OptimOptions options = config.optim;
  options.name = "sgd";
  options.momentum = 0.9;
  options.nesterov = false;
  if (!same_kind) options.weight_decay = 5e-4;
  ScheduleOptions schedule;
  schedule.name = "multistep";
  schedule.warmup = Duration::epochs(0);
  for (const double milestone : fit.milestones) {
    schedule.milestones.push_back(Duration::epochs(milestone));
  }
  const double lr = fit.lr > 0.0 ? fit.lr : scaled_lr(config.optim, config.train.batch_size);
  std::vector<ParamGroup> groups = objective_groups(parts, options);
  if (fit.trains_student) {
    for (ParamGroup& group : make_param_groups(parts.model->module(), options)) {
      groups.push_back(std::move(group));
    }
  }
  const Duration length = Duration::epochs(fit.epochs);
  Phase phase;
  phase.fit = fit;
  phase.end = parts.math.steps(length);
  phase.optimizer = make_optimizer(options, std::move(groups));
  phase.schedule = std::make_unique<Schedule>(schedule, lr, length, parts.math);
  parts.notes.push_back(fmt::format("first a fit, {}: {} steps at lr {:.3g}{}", fit.name, phase.end,
                                    lr, fit.trains_student ? ", of the student, too" : ""));
  return phase;
}

Phase make_training(Parts& parts, const Config& config) {
  std::vector<ParamGroup> groups = make_param_groups(parts.model->module(), config.optim);
  for (ParamGroup& group : objective_groups(parts, config.optim))
    groups.push_back(std::move(group));
  for (const ParamGroup& group : groups) {
    int64_t count = 0;
    for (const torch::Tensor& parameter : group.params) count += parameter.numel();
    parts.notes.push_back(fmt::format("{}: {} tensors, {} parameters, weight decay {}, lr x {:.3g}",
                                      group.label, group.names.size(), count, group.weight_decay,
                                      group.lr_scale));
  }
  Phase phase;
  phase.end = parts.math.steps(config.train.duration);
  phase.optimizer = make_optimizer(config.optim, std::move(groups));
  phase.schedule =
      std::make_unique<Schedule>(config.schedule, scaled_lr(config.optim, config.train.batch_size),
                                 config.train.duration, parts.math);
  return phase;
}

void build_phases(Parts& parts, const Config& config, const Sources& sources) {
  for (const Objective::Fit& fit : parts.objective->fits()) {
    if (fit.epochs == 0.0) continue;
    try {
      parts.phases.push_back(make_fit(parts, fit, config));
    } catch (const Error& error) {
      throw ConfigError(sources.at("distill") + error.what());
    }
  }
  parts.phases.push_back(make_training(parts, config));
  parts.total_steps = 0;
  for (Phase& phase : parts.phases) {
    phase.begin = parts.total_steps;
    phase.end += phase.begin;
    parts.total_steps = phase.end;
  }
}

bool has_batch_norm(const torch::nn::Module& module) {
  const auto modules = module.modules(/*include_self=*/false);
  return std::any_of(modules.begin(), modules.end(),
                     [](const auto& m) { return m->template as<torch::nn::BatchNorm2d>(); });
}

// What only the size of the training set can tell.
void check_lengths(const Parts& parts, const Config& config, const Sources& sources) {
  if (parts.total_steps == 0) {
    throw ConfigError(fmt::format("{}train.duration = {} is less than one step",
                                  sources.at("train.duration"), config.train.duration.text()));
  }
  const int64_t warmup = parts.math.steps(config.schedule.warmup);
  if (warmup > 0 && warmup >= parts.total_steps) {
    throw ConfigError(
        fmt::format("{}schedule.warmup = {} is {} steps, train.duration = {} is {}: the warm-up "
                    "must end before "
                    "the training",
                    sources.at("schedule.warmup"), config.schedule.warmup.text(), warmup,
                    config.train.duration.text(), parts.total_steps));
  }
}

// Batch norm of the student, or of what the objective trains, cannot take a single image.
void check_batch_norm(const Parts& parts, const Config& config, const Sources& sources) {
  const int64_t batch = config.train.batch_size;
  const int64_t rest = config.data.drop_last ? 0 : parts.train_set->size() % batch;
  const auto module = parts.objective->module();
  const bool normalises =
      (config.model.freeze == "none" && has_batch_norm(parts.model->module())) ||
      (module && has_batch_norm(*module));
  for (const int64_t size : {batch, rest}) {
    const bool single = size > 0 && size / std::min(size, config.train.accum_steps) == 1;
    if (!single || !normalises || config.augment.views() > 1) continue;
    throw ConfigError(fmt::format(
        "{}a batch of {} in {} part(s) leaves a part with one image, which batch norm cannot take: "
        "change train.batch_size or accum_steps, or set data.drop_last = true",
        sources.at("train.batch_size"), size, config.train.accum_steps));
  }
}

// A policy under which images turn blank teaches nothing.
void refuse_blank_views(Parts& parts, const Config& config, const Sources& sources) {
  if (config.augment.auto_augment.empty()) return;
  constexpr int64_t kSamples = 64;
  const ViewStats stats = view_stats(*parts.train_set, config.augment,
                                     static_cast<uint64_t>(config.run.seed), kSamples);
  const std::string found = fmt::format("{} of {} training views are blank: one colour all over",
                                        stats.blank, stats.views);
  const bool custom = config.augment.auto_augment == "custom";
  if (2 * stats.blank > stats.views) {
    throw ConfigError(
        fmt::format("{}augment.{}: {}. See umbra preview CONFIG, and weaken the policy",
                    sources.at(custom ? "augment.policy" : "augment.auto_augment"),
                    custom ? "policy" : "auto_augment", found));
  }
  if (20 * stats.blank > stats.views) parts.notes.push_back("warning: " + found);
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
  options.seed = static_cast<uint64_t>(config.run.seed);
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
  const auto seed = static_cast<uint64_t>(config.run.seed);
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
    throw ConfigError(sources.at("data.path") + error.what());
  }
}

Parts build_parts(LoadedConfig& loaded, bool fresh) {
  Config& config = loaded.config;
  Parts parts;
  if (config.run.threads > 0) at::set_num_threads(static_cast<int>(config.run.threads));
  parts.device = choose_device(config.run.device);
  parts.precision = choose_precision(config.run.precision, parts.device);
  config.run.precision = parts.precision == torch::kFloat32 ? "fp32" : "bf16";  // a run keeps it
  const Sets sets = open_sets(config, loaded.sources);
  if (!sets.evaluation()) {
    throw ConfigError(
        fmt::format("{}{} has no test or validation part: add one, or hold out a share of the "
                    "training set with data.val_split = 0.1",
                    loaded.sources.at("data.path"), config.data.path));
  }
  parts.train_set = sets.train;
  parts.eval_set = sets.evaluation();
  check_against_data(config, loaded.sources, sets.train->num_classes(), sets.train->channels());
  refuse_blank_views(parts, config, loaded.sources);
  parts.math = step_math(config, sets.train->size());
  if (parts.math.steps_per_epoch == 0) {
    throw ConfigError(fmt::format(
        "{}train.batch_size = {} but the training set has {} images: take a smaller batch, or set "
        "data.drop_last = false",
        loaded.sources.at("train.batch_size"), config.train.batch_size, sets.train->size()));
  }
  parts.total_steps = parts.math.steps(config.train.duration);
  check_lengths(parts, config, loaded.sources);
  parts.notes.push_back(fmt::format("data {}: {} training and {} evaluation images, {} classes",
                                    config.data.path, sets.train->size(), parts.eval_set->size(),
                                    sets.train->num_classes()));
  parts.model = build_model(config, loaded.sources, fresh, parts.notes);
  parts.model->module().to(parts.device);
  build_teachers(parts, config, loaded.sources);
  build_objective(parts, config, loaded.sources);
  check_batch_norm(parts, config, loaded.sources);
  build_phases(parts, config, loaded.sources);
  if (config.train.ema_decay > 0.0) {
    std::unique_ptr<Model> average = create_model(config.model);
    average->module().to(parts.device);
    parts.ema = std::make_unique<Ema>(std::move(average), *parts.model, config.train.ema_decay,
                                      config.train.ema_warmup);
  }
  return parts;
}

}  // namespace umbra
