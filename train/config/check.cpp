#include <map>

#include "augment/policy.h"
#include "train/config/dump.h"
#include "train/config/load.h"

namespace umbra {
namespace {

// Collects the checks of one config: throws at the first that fails, with the key's place.
class Checker {
 public:
  explicit Checker(const Sources& sources) : sources_(sources) {}

  template <class... Args>
  void require(bool holds, const std::string& key, fmt::format_string<Args...> message,
               Args&&... args) const {
    if (holds) return;
    throw ConfigError(sources_.at(key) + fmt::format(message, std::forward<Args>(args)...));
  }

 private:
  const Sources& sources_;
};

// The largest divisor of `number` up to `limit`.
int64_t largest_divisor(int64_t number, int64_t limit) {
  while (number % limit != 0) --limit;
  return limit;
}

void check_model(const Config& c, const Checker& check) {
  check.require(
      !c.model.init_from.empty() || (c.model.init_strict && c.model.init_head == "file"),
      "model.init_from",
      "model.init_strict and init_head say how model.init_from is taken over, and there is "
      "none: set model.init_from, or leave them out");
  check.require(c.model.freeze == "none" || !c.model.init_from.empty(), "model.freeze",
                "model.freeze = \"{}\" would keep a backbone of random weights: set "
                "model.init_from",
                c.model.freeze);
  if (!c.model.is_vit()) return;
  const vit::VitOptions& o = c.model.vit;
  check.require(o.img_size % o.patch_size == 0, "model.patch_size",
                "model.patch_size = {} does not divide the image size {}; try {}", o.patch_size,
                o.img_size, largest_divisor(o.img_size, o.patch_size));
  check.require(o.embed_dim % o.num_heads == 0, "model.num_heads",
                "model.num_heads = {} does not divide model.embed_dim = {}", o.num_heads,
                o.embed_dim);
  check.require(o.img_size == c.augment.image_size, "model.img_size",
                "model.img_size = {} but augment.image_size = {}: give one of them, or the same",
                o.img_size, c.augment.image_size);
}

// Empty, or [low, high].
bool is_range(const std::vector<double>& values) {
  return values.empty() || (values.size() == 2 && values[0] <= values[1]);
}

void check_augment(const Config& c, const Checker& check) {
  const augment::AugmentOptions& o = c.augment;
  check.require(is_range(o.scale) && !o.scale.empty(), "augment.scale",
                "augment.scale must be [low, high]");
  check.require(is_range(o.ratio) && !o.ratio.empty(), "augment.ratio",
                "augment.ratio must be [low, high]");
  check.require(is_range(o.cutmix_minmax), "augment.cutmix_minmax",
                "augment.cutmix_minmax must be [low, high], or [] for none");
  check.require(!o.mean.empty() && o.mean.size() == o.std.size(), "augment.mean",
                "augment.mean has {} values and augment.std {}: want one per channel in both",
                o.mean.size(), o.std.size());
  check.require(o.color_jitter.size() <= 4, "augment.color_jitter",
                "augment.color_jitter has {} values: want up to 4, for brightness, contrast, "
                "saturation and hue",
                o.color_jitter.size());
  check.require(o.color_jitter.size() < 4 || o.color_jitter[3] <= 0.5, "augment.color_jitter",
                "augment.color_jitter: hue is in turns, want at most 0.5");
  check.require(o.erase_min_count <= o.erase_count, "augment.erase_min_count",
                "augment.erase_min_count = {} is more than augment.erase_count = {}",
                o.erase_min_count, o.erase_count);
  check.require(o.policy.empty() || o.auto_augment == "custom", "augment.policy",
                "augment.policy is given, but augment.auto_augment = \"{}\": set it to \"custom\"",
                o.auto_augment);
  try {
    if (!o.auto_augment.empty()) {
      augment::Policy::parse(o.auto_augment, augment::OpInterpolation::kBicubic, o.policy);
    }
  } catch (const std::invalid_argument& error) {
    const bool custom = o.auto_augment == "custom" && !o.policy.empty();
    check.require(false, custom ? "augment.policy" : "augment.auto_augment", "augment.{}: {}",
                  custom ? "policy" : "auto_augment", error.what());
  }
  check.require(o.blur_prob == 0.0 || o.image_size >= 12, "augment.blur_prob",
                "the blur's kernel reaches 11 pixels: set augment.image_size to 12 or more, or "
                "augment.blur_prob = 0");
  check.require(o.splits == 1 || o.pretext == "none", "augment.pretext",
                "augment.splits and augment.pretext both make views: set one of them");
  check.require(o.views() == 1 || !o.mixes(), "augment.mixup_alpha",
                "mixing would blend different views of different images: with augment.splits or "
                "augment.pretext set mixup_alpha = 0, cutmix_alpha = 0 and cutmix_minmax = []");
  check.require(o.pretext == "none" || c.distill.method == "sskd", "augment.pretext",
                "augment.pretext = \"{}\" makes transformed views that only distill.method = "
                "\"sskd\" reads: set distill.preset = \"sskd\", or augment.pretext = \"none\"",
                o.pretext);
  check.require(
      c.loss.name != "jsd" || o.splits > 1, "loss.name",
      "loss.name = \"jsd\" compares views of an image: set augment.splits, for example 3");
  check.require(c.loss.name != "bce" || o.label_smoothing == 0.0, "augment.label_smoothing",
                "label smoothing with loss.name = \"bce\" would make every class positive: set "
                "augment.label_smoothing = 0");
}

// Keys of [distill] that were changed although the method does not read them.
void check_read(const Config& c, const DistillOptions& preset, const Checker& check) {
  static const std::map<std::string, std::vector<std::string>> readers = {
      {"temperature", {"shake", "deit_soft", "sskd"}},
      {"kl_scale", {"shake", "deit_soft"}},
      {"alpha", {"deit_soft", "deit_hard"}},
      {"shadow", {"shake"}},
      {"student_mutual_weight", {"shake"}},
      {"reverse_weight", {"shake"}},
      {"inherit", {"shake"}},
      {"inherit_weight", {"shake"}},
      {"shadow_ce_weight", {"shake"}},
      {"teacher_weights", {"shake"}},
      {"teacher_weight_max", {"shake"}},
      {"direct_weight", {"shake"}},
      {"task_weight", {"none", "shake", "sskd"}},
      {"logit_norm", {"none", "shake"}},
      {"logit_scale", {"none", "shake"}},
      {"pretext_task", {"sskd"}},
      {"kd_weight", {"sskd"}},
      {"transform_weight", {"sskd"}},
      {"pretext_weight", {"sskd"}},
      {"pretext_temperature", {"sskd"}},
      {"transform_ratio", {"sskd"}},
      {"pretext_ratio", {"sskd"}},
      {"fit_epochs", {"sskd"}},
      {"fit_lr", {"sskd"}},
      {"fit_milestones", {"sskd"}}};
  Config as_preset = c;
  as_preset.distill = preset;
  for (const auto& [key, text] : config_differences(as_preset, c)) {
    const auto reader = readers.find(key.substr(key.find('.') + 1));
    if (!key.starts_with("distill.") || reader == readers.end()) continue;
    const std::vector<std::string>& methods = reader->second;
    const bool reads = std::find(methods.begin(), methods.end(), c.distill.method) != methods.end();
    check.require(reads, key,
                  "distill.method = \"{}\" does not read {}: that is for {}. A term has its own "
                  "keys, for example distill.terms.temperature",
                  c.distill.method, key, fmt::join(methods, ", "));
  }
}

void check_terms(const Config& c, const DistillOptions& preset, const Checker& check) {
  const auto& terms = c.distill.terms;
  for (const TermOptions& own : preset.terms) {
    const bool kept = std::any_of(terms.begin(), terms.end(), [&](const TermOptions& term) {
      return term.method == own.method;
    });
    check.require(kept, "distill.preset",
                  "distill.preset = \"{0}\" is the term {1}, which [[distill.terms]] leaves out: "
                  "list method = \"{1}\", too, or set distill.preset = \"none\"",
                  c.distill.preset, own.method);
  }
  for (size_t i = 0; i < terms.size(); ++i) {
    const std::string table = item_key("distill.terms", i, terms.size());
    const TermMethod& method = *find_term_method(terms[i].method);
    const auto& epochs = terms[i].factor_epochs;
    check.require(terms[i].factors.size() ==
                          (epochs.empty() && terms[i].factors.empty() ? 0 : epochs.size() + 1) &&
                      std::is_sorted(epochs.begin(), epochs.end()),
                  table + ".factors",
                  "{0}.factors needs one value more than {0}.factor_epochs, and these ascending: "
                  "factors = [1.0, "
                  "0.0], factor_epochs = [120] ends the term after 120 epochs",
                  table);
    check.require(!method.reads("fit_epochs") || terms[i].fit_epochs > 0.0 ||
                      (terms[i].method != "ft" && terms[i].weight > 0.0),
                  table + ".fit_epochs",
                  "method \"{}\" without its fit teaches nothing: set {}.fit_epochs above 0",
                  terms[i].method, table);
    check.require(c.model.freeze == "none" || method.on_logits(), "model.freeze",
                  "method \"{}\" teaches the backbone, and model.freeze = \"{}\" keeps it as it "
                  "is: take kd, dkd or dist, or do not freeze",
                  terms[i].method, c.model.freeze);
    check.require(method.takes_teacher || c.distill.method != "sskd", table + ".method",
                  "method \"{}\" learns the labels of whole batches, and with distill.method = "
                  "\"sskd\" three of four views are transformed: take one or the other",
                  terms[i].method);
    check.require(!method.takes_teacher || terms[i].teacher < std::ssize(c.teachers),
                  table + ".teacher", "method \"{}\" needs teacher {} and there {}",
                  terms[i].method, terms[i].teacher,
                  c.teachers.empty() ? std::string("is none: add a [teacher] with a path")
                                     : fmt::format("are {}, from 0", c.teachers.size()));
  }
}

// A cache holds a teacher's logits, and nothing to look into.
void check_caches(const Config& c, const Checker& check) {
  for (size_t i = 0; i < c.teachers.size(); ++i) {
    if (c.teachers[i].cache.empty()) continue;
    const std::string key = item_key("teacher", i, c.teachers.size()) + ".cache";
    for (size_t j = 0; j < i; ++j) {
      check.require(c.teachers[j].cache != c.teachers[i].cache, key,
                    "teachers {} and {} have one cache, {}: give each a folder of its own", j, i,
                    c.teachers[i].cache);
    }
    const TeacherUse use = use_of_teacher(c.distill, i);
    check.require(use.reads < TeacherUse::Reads::kNetwork, key,
                  "teacher.cache holds the teacher's logits, and {} reads more of it: leave "
                  "teacher.cache out, or take a method on logits (deit_soft, deit_hard, shake "
                  "with shadow = \"student\"; kd, dkd, dist)",
                  use.by);
    for (const TermOptions& term : c.distill.terms) {
      const TermMethod& method = *find_term_method(term.method);
      check.require(!method.reads("fit_epochs") || term.fit_epochs == 0.0, key,
                    "a cache holds the batches of the training alone, and the term {} makes a fit "
                    "before it: leave teacher.cache out",
                    term.method);
    }
  }
}

void check_sskd(const Config& c, const Checker& check) {
  const std::string &task = c.distill.sskd.task, &views = c.augment.pretext;
  check.require(c.teachers.size() == 1, "teacher",
                "distill.method = \"sskd\" takes one teacher, got {}", c.teachers.size());
  check.require(c.distill.sskd.fit_epochs > 0.0 || c.distill.sskd.pretext_weight == 0.0,
                "distill.fit_epochs",
                "distill.fit_epochs = 0 leaves the teacher's head random, and the student would "
                "imitate it: set it above 0, or distill.pretext_weight = 0");
  check.require(views != "none", "augment.pretext",
                "distill.method = \"sskd\" needs three transformed views of each image: set "
                "augment.pretext, for example to \"rotation\"");
  check.require(
      task == "contrastive" || task == "exemplar" || task == views, "distill.pretext_task",
      "distill.pretext_task = \"{0}\" needs augment.pretext = \"{0}\", got \"{1}\"", task, views);
}

// Whether a term learns from the teacher.
bool is_read(const std::vector<TermOptions>& terms, size_t teacher) {
  return std::any_of(terms.begin(), terms.end(), [&](const TermOptions& term) {
    return find_term_method(term.method)->takes_teacher &&
           term.teacher == static_cast<int64_t>(teacher);
  });
}

// Whether a term has gradients for the head: losses on features end before it, and without a
// teacher (dml, one) it is the class head's labels that are learned.
bool trains_head(const TermOptions& term, const std::string& head) {
  const TermMethod& method = *find_term_method(term.method);
  return method.on_logits() ? term.head == head : !method.takes_teacher && head == "class";
}

// What of the method itself, without terms, trains the class head.
double own_weight(const DistillOptions& o) {
  if (o.method.starts_with("deit")) return 1.0 - o.alpha;
  if (o.method == "none") return o.task_weight;
  if (o.method == "shake") return o.task_weight + o.student_mutual_weight + o.direct_weight;
  return o.task_weight + o.sskd.kd_weight + o.sskd.transform_weight;
}

// Weights change where a term's warm-up starts and at its factor_epochs.
void check_always_trained(const DistillOptions& o, const Checker& check) {
  const bool deit = o.method.starts_with("deit");
  std::vector<double> changes = {0.0};
  for (const TermOptions& term : o.terms) {
    changes.insert(changes.end(), term.factor_epochs.begin(), term.factor_epochs.end());
  }
  for (const double epoch : changes) {
    const bool trained =
        own_weight(o) > 0.0 || std::any_of(o.terms.begin(), o.terms.end(), [&](const auto& term) {
          return trains_head(term, "class") && weight_at(term, epoch) > 0.0;
        });
    check.require(trained, deit ? "distill.alpha" : "distill.task_weight",
                  "nothing trains the student's class head {}: {}, or add a term on its logits "
                  "(kd, dkd, dist) with a weight that is not 0 then",
                  epoch == 0.0 ? "in the first epoch" : fmt::format("from epoch {} on", epoch),
                  deit ? "set distill.alpha below 1" : "set distill.task_weight above 0");
  }
  const bool shadow_trained = std::any_of(
      o.terms.begin(), o.terms.end(),
      [&](const TermOptions& term) { return trains_head(term, "shadow") && term.weight > 0.0; });
  check.require(!deit || o.alpha > 0.0 || shadow_trained, "distill.alpha",
                "distill.alpha = 0 leaves the distillation head untrained: set it above 0, or "
                "distill.preset = \"none\"");
}

void check_distill(const Config& c, const Checker& check) {
  const DistillOptions& o = c.distill;
  const size_t teachers = c.teachers.size();
  for (size_t i = 0; i < teachers; ++i) {
    const std::string table = item_key("teacher", i, teachers);
    check.require(!c.teachers[i].path.empty(), table,
                  "[teacher] needs a path: a run folder or a weight file, for example --set "
                  "{}.path=runs/teacher",
                  table);
    check.require(
        c.teachers[i].format == "auto" || c.teachers[i].model.empty(), table + ".model",
        "teacher.format = \"torchscript\" brings its own network: leave teacher.model out");
    check.require(c.teachers[i].mean.size() == c.teachers[i].std.size(), table + ".mean",
                  "teacher.mean and teacher.std must have the same number of values");
  }
  DistillOptions preset;
  apply_preset(preset, o.preset);
  check_terms(c, preset, check);
  check_read(c, preset, check);
  check_always_trained(o, check);
  if (o.method == "none") {
    for (size_t i = 0; i < teachers; ++i) {
      check.require(is_read(o.terms, i), item_key("teacher", i, teachers),
                    "a teacher is given, but distill.preset = \"{}\" does not use it: remove it "
                    "(--set 'teacher=[]'), add [[distill.terms]] with teacher = {}, or choose "
                    "another preset, for example \"shake-paper\"",
                    o.preset, i);
    }
    return;
  }
  if (o.method == "sskd") return check_sskd(c, check);
  const bool shake = o.method == "shake";
  const bool inherits = o.shadow == "teacher" || (o.inherit != "none" && o.inherit_weight > 0.0);
  const bool needs_teacher = !shake || inherits || o.direct_weight > 0.0;
  check.require(!needs_teacher || teachers > 0, "distill",
                "distill.method = \"{}\" needs a [teacher] with a path", o.method);
  for (size_t i = 0; i < teachers; ++i) {
    check.require(needs_teacher || is_read(o.terms, i), item_key("teacher", i, teachers),
                  "a teacher is given, but this objective (inherit = \"{}\" of weight {}, "
                  "direct_weight = 0) does not use it: remove it (--set 'teacher=[]')",
                  o.inherit, o.inherit_weight);
  }
  check.require(shake || teachers == 1, "teacher",
                "distill.method = \"{}\" takes one teacher, got {}; \"shake\" takes several",
                o.method, teachers);
  check.require(shake || o.shadow == "student", "distill.shadow",
                "distill.shadow = \"teacher\" is for method = \"shake\" only");
  check.require(
      o.shadow == "student" || o.preset != "shake-strong-head", "distill.preset",
      "preset shake-strong-head is about the student's shadow head; it has no effect with "
      "distill.shadow = \"teacher\"");
  check.require(
      o.shadow == "student" || o.inherit != "none", "distill.inherit",
      "distill.shadow = \"teacher\" without inheriting from the teacher makes no sense: set "
      "distill.inherit to \"mse\" (public code), \"kl\" or \"hard\"");
  if (o.shadow == "teacher") return;
  const int64_t heads = c.model.num_shadow_heads();
  check.require(heads > 0, "model",
                "distill.method = \"{}\" needs a second head, and {} has none: {}", o.method,
                c.model.name,
                c.model.is_vit() ? "set model.distilled = true or take a *_distilled_* name"
                                 : "set model.num_shadow_heads = 1");
  const auto wanted = static_cast<int64_t>(std::max<size_t>(1, teachers));
  check.require(heads == wanted, "model.num_shadow_heads",
                "{} teacher(s) need {} shadow head(s), model.num_shadow_heads = {}", teachers,
                wanted, heads);
}

void check_training(const Config& c, const Checker& check) {
  check.require(c.optim.betas.size() == 2, "optim.betas", "optim.betas must be [beta1, beta2]");
  check.require(!c.optim.nesterov || c.optim.momentum > 0.0, "optim.nesterov",
                "optim.nesterov needs a momentum above 0");
  check.require(c.train.accum_steps <= c.train.batch_size, "train.accum_steps",
                "train.accum_steps = {} is more than train.batch_size = {}", c.train.accum_steps,
                c.train.batch_size);
  const ScheduleOptions& s = c.schedule;
  check.require(!s.deit_epoch_lag || s.per == "epoch", "schedule.deit_epoch_lag",
                "schedule.deit_epoch_lag needs schedule.per = \"epoch\"");
  check.require(
      s.name != "multistep" || !s.milestones.empty(), "schedule.name",
      "schedule.name = \"multistep\" needs schedule.milestones, for example [150, 180, 210]");
  const auto falls = [](const Duration& a, const Duration& b) {
    return a.unit == b.unit && a.count >= b.count;
  };
  check.require(
      std::adjacent_find(s.milestones.begin(), s.milestones.end(), falls) == s.milestones.end(),
      "schedule.milestones", "schedule.milestones must ascend, for example [150, 180, 210]");
  check.require(
      s.warmup.unit != c.train.duration.unit || s.warmup.count < c.train.duration.count ||
          s.warmup.count == 0.0,
      "schedule.warmup",
      "schedule.warmup = {} (5 epochs unless set) does not end before train.duration = {}: "
      "set schedule.warmup = \"0 epochs\", or another length",
      s.warmup.text(), c.train.duration.text());
}

}  // namespace

void check_config(const Config& config, const Sources& sources) {
  const Checker check(sources);
  check_model(config, check);
  check_augment(config, check);
  check_distill(config, check);
  check_caches(config, check);
  check_training(config, check);
}

void check_against_data(Config& config, const Sources& sources, int64_t num_classes,
                        int64_t channels) {
  const Checker check(sources);
  ModelOptions& model = config.model;
  check.require(num_classes > 1, "data.path",
                "the data set has {} class: there is nothing to tell apart. Is data.path one level "
                "too deep?",
                num_classes);
  if (model.num_classes == 0) model.num_classes = num_classes;
  if (model.in_chans == 0) model.in_chans = channels;
  check.require(model.num_classes >= num_classes, "model.num_classes",
                "model.num_classes = {} but the data set has {} classes: leave it out, or set {}",
                model.num_classes, num_classes, num_classes);
  check.require(model.in_chans == channels, "model.in_chans",
                "model.in_chans = {} but the images have {} channel(s): leave it out, or set {}",
                model.in_chans, channels, channels);
  const auto normalised = static_cast<int64_t>(config.augment.mean.size());
  check.require(normalised == channels, "augment.mean",
                "augment.mean and augment.std have {} value(s) but the images have {} channel(s), "
                "for example mean = [{}]",
                normalised, channels, channels == 1 ? "0.5" : "0.485, 0.456, 0.406");
}

}  // namespace umbra
