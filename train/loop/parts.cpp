#include "train/loop/parts.h"

#include "augment/rng.h"
#include "train/loop/replay.h"
#include "train/loop/run_folder.h"
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
    throw ConfigError(fmt::format("{}{} cannot have these options together: {}",
                                  sources.at("model"), config.model.name,
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

// The outputs for blank images tell objectives the shapes of what they will see.
Setting describe_networks(Parts& parts, const Config& config) {
  const torch::NoGradGuard no_grad;
  const int64_t size = config.augment.image_size;
  const torch::Tensor blank = torch::zeros({2, config.model.in_chans, size, size},
                                           torch::TensorOptions().device(parts.device));
  Setting setting;
  parts.model->module().eval();
  setting.student = {parts.model.get(), parts.model->forward(blank)};
  for (const RunTeacher& teacher : parts.teachers) {
    if (teacher.network) {
      setting.teachers.push_back({&teacher.network->model(), teacher.network->forward(blank)});
    } else {
      setting.teachers.emplace_back().example.logits =
          torch::zeros({2, config.model.num_classes}, blank.options());
    }
  }
  for (int64_t i = 0; i < parts.train_set->size(); ++i) {
    setting.train_labels.push_back(parts.train_set->label(i));
  }
  return setting;
}

// What a user may not expect of the objective, for the log.
void note_surprises(Parts& parts, const Config& config) {
  const DistillOptions& distill = config.distill;
  const bool own_shadow = distill.method.starts_with("deit") ||
                          (distill.method == "shake" && distill.shadow == "student");
  const bool taught = std::any_of(
      distill.terms.begin(), distill.terms.end(),
      [](const TermOptions& term) { return term.head == "shadow" || term.method == "one"; });
  if (config.model.num_shadow_heads() > 0 && !own_shadow && !taught) {
    parts.notes.emplace_back(
        "nothing trains the student's second head: its scores, and the mean's, say "
        "nothing");
  }
  const int64_t steps = parts.math.steps(config.train.duration);
  const auto epochs = static_cast<double>(parts.math.epochs_begun(steps));
  for (const TermOptions& term : distill.terms) {
    TermOptions warm = term;
    warm.warmup_epochs = 0.0;
    if (weight_at(term, epochs - 1.0) == weight_at(warm, epochs - 1.0)) continue;
    parts.notes.push_back(
        fmt::format("the term {} never has its full weight: its warmup_epochs are {:.4g}, the run "
                    "has {} epoch(s)",
                    term.method, term.warmup_epochs, epochs));
  }
}

void build_objective(Parts& parts, const Config& config, const Sources& sources) {
  torch::manual_seed(init_seed(config) + 1);  // what the objective trains starts from the seed, too
  try {
    parts.objective = make_objective(config.distill, config.loss, describe_networks(parts, config));
  } catch (const TermError& error) {
    const std::string table = item_key("distill.terms", error.term, config.distill.terms.size());
    throw ConfigError(sources.at(table) + error.what());
  } catch (const Error& error) {
    throw ConfigError(sources.at("distill") + error.what());
  }
  if (const auto module = parts.objective->module()) {
    move_to(*module, parts.device);
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
  if (phase.end == 0) {
    throw ConfigError(
        fmt::format("the fit \"{}\" of {} epochs is less than one step: set a larger fit_epochs",
                    fit.name, fit.epochs));
  }
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
  phase.clip_grad_norm = config.optim.clip_grad_norm;
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

// What changes from step to step must not be in a recording of one.
void check_replay(Parts& parts, const Config& config, const Sources& sources) {
  if (!config.run.cuda_graph) return;
  const auto refuse = [&](const std::string& reason) {
    throw ConfigError(fmt::format("{}run.cuda_graph = true, but {}: leave it out",
                                  sources.at("run.cuda_graph"), reason));
  };
  if (!can_record(parts.device)) refuse("this build found no headers of CUDA");
  const std::optional<double> from = parts.objective->replayable_from();
  if (!from) {
    refuse(
        fmt::format("the objective ({}) decides something on the host at every step, as crd, "
                    "sskd and distill.teacher_weights = \"aekd\" do",
                    describe(config.distill)));
  }
  if (config.model.is_vit() && config.model.vit.grad_checkpointing) {
    refuse("model.grad_checkpointing saves the state of the random numbers at every step");
  }
  if (*from >= parts.math.epochs(config.train.duration)) {
    refuse(
        fmt::format("a weight of the objective changes until epoch {}, which the run does not "
                    "reach, and no step before that can be replayed",
                    *from));
  }
  parts.notes.push_back(fmt::format("steps are replayed from epoch {} on", *from));
}

}  // namespace

Parts build_parts(LoadedConfig& loaded, bool fresh) {
  Parts parts(build_data(loaded));
  const Config& config = loaded.config;
  parts.total_steps = parts.math.steps(config.train.duration);
  check_lengths(parts, config, loaded.sources);
  parts.model = build_model(config, loaded.sources, fresh, parts.notes);
  move_to(parts.model->module(), parts.device);
  parts.teachers = build_teachers(config, loaded.sources, parts);
  use_caches(parts.teachers, config, loaded.sources, parts,
             parts.math.epochs_begun(parts.total_steps));
  build_objective(parts, config, loaded.sources);
  note_surprises(parts, config);
  check_batch_norm(parts, config, loaded.sources);
  build_phases(parts, config, loaded.sources);
  check_replay(parts, config, loaded.sources);
  if (config.train.ema_decay > 0.0) {
    std::unique_ptr<Model> average = create_model(config.model);
    move_to(average->module(), parts.device);
    parts.ema = std::make_unique<Ema>(std::move(average), *parts.model, config.train.ema_decay,
                                      config.train.ema_warmup);
  }
  return parts;
}

}  // namespace umbra
