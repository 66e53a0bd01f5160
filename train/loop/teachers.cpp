#include "train/loop/teachers.h"

#include "train/checksum.h"
#include "train/config/dump.h"
#include "train/files.h"
#include "train/json_text.h"
#include "train/loop/precision.h"
#include "train/loop/run_folder.h"
#include "train/script_model.h"

namespace umbra {
namespace {

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
  const InputForm input = bare_input(options, config);
  if (options.format == "torchscript") {
    SavedModel saved;
    saved.model = open_torchscript(options.path, config.model.in_chans, input.image_size);
    saved.description = options.path;
    saved.input = input;
    return saved;
  }
  if (options.model.empty()) {
    throw ConfigError(fmt::format(
        "{} is a bare weight file: say which model it is, for example teacher.model = \"resnet18\"",
        options.path));
  }
  ModelOptions model = named_model(options.model);
  model.in_chans = config.model.in_chans;
  return open_bare_model(options.path, model, input);
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

// Names as a checkpoint holds them.
std::vector<std::string> as_saved(const std::vector<std::string>& names) {
  return nlohmann::json::parse(json_text(names)).get<std::vector<std::string>>();
}

std::unique_ptr<FrozenNetwork> build_teacher(const TeacherOptions& options, const Config& config,
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
  refuse_other_class_order(saved.class_names, as_saved(class_names));
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
  return std::make_unique<FrozenNetwork>(saved.description, std::move(saved.model), saved.input,
                                         student, device, saved.answers_by_mean);
}

// The table of a teacher, in messages: "teacher", or "teacher.1" of several.
std::string table_of(const Config& config, size_t index) {
  return item_key("teacher", index, config.teachers.size());
}

// Of a teacher's weights, how its images are prepared, and the file of a program.
std::string digest_of(const TeacherOptions& options, const FrozenNetwork& teacher) {
  const std::string digest = teacher.digest();
  if (options.format != "torchscript") return digest;
  return Checksum().add(digest.data(), digest.size()).add(read_bytes(options.path)).hex();
}

// With the teacher's architecture, whose weights alone might be another's, too.
std::string cache_digest_of(const RunTeacher& teacher) {
  Config architecture;
  architecture.model = teacher.network->model().options();
  const std::string text = teacher.digest + dump_config(architecture, /*plain=*/true);
  return Checksum().add(text.data(), text.size()).hex();
}

bool has_cache(const TeacherOptions& teacher) { return !teacher.cache.empty(); }

}  // namespace

ModelOutput RunTeacher::answer(const torch::Tensor& images) {
  ModelOutput output = network->forward(images);
  if (!logits_only) return output;
  ModelOutput logits;  // without feature maps, which would live on until the backward pass is done
  logits.logits = output.logits;
  return logits;
}

DataDigests digests_of(const Config& config, const RunData& data) {
  const std::string view = fmt::format("{} {} {}", config.augment.image_size,
                                       config.augment.crop_pct, config.augment.eval_interpolation);
  return {digest(*data.train_set),
          digest(*data.eval_set) + Checksum().add(view.data(), view.size()).hex()};
}

std::vector<RunTeacher> build_teachers(const Config& config, const Sources& sources,
                                       RunData& data) {
  std::vector<RunTeacher> teachers;
  for (size_t i = 0; i < config.teachers.size(); ++i) {
    RunTeacher teacher;
    try {
      teacher.network =
          build_teacher(config.teachers[i], config, data.train_set->class_names(), data.device);
    } catch (const Error& error) {
      throw ConfigError(
          fmt::format("{}teacher: {}", sources.at(table_of(config, i) + ".path"), error.what()));
    }
    teacher.name = teacher.network->name();
    teacher.digest = digest_of(config.teachers[i], *teacher.network);
    teacher.logits_only = use_of_teacher(config.distill, i).reads < TeacherUse::Reads::kNetwork;
    Model& model = teacher.network->model();
    data.notes.push_back(fmt::format("teacher {} ({}): {} parameters", teacher.name,
                                     model.options().name, count_parameters(model.module())));
    teachers.push_back(std::move(teacher));
  }
  return teachers;
}

CacheSubject cache_subject(const Config& config, const RunTeacher& teacher, const RunData& data,
                           const DataDigests& digests) {
  const int64_t images = data.train_set->size(), samples = data.math.samples_per_step;
  const int64_t views = config.augment.views(), steps = data.math.steps_per_epoch;
  const int64_t last = config.data.drop_last ? samples : images - (steps - 1) * samples;
  return {config,
          teacher.name,
          cache_digest_of(teacher),
          digests.train,
          digests.eval,
          data.device.is_cuda() ? "cuda" : "cpu",
          config.model.num_classes,
          {steps, samples * views, last * views}};
}

void use_caches(std::vector<RunTeacher>& teachers, const Config& config, const Sources& sources,
                RunData& data, int64_t epochs) {
  if (std::none_of(config.teachers.begin(), config.teachers.end(), has_cache)) return;
  const DataDigests digests = digests_of(config, data);
  for (size_t i = 0; i < teachers.size(); ++i) {
    const std::string& folder = config.teachers[i].cache;
    if (folder.empty()) continue;
    RunTeacher& teacher = teachers[i];
    try {
      teacher.cache =
          std::make_unique<TeacherCache>(folder, cache_subject(config, teacher, data, digests));
      const SparseForm& form = teacher.cache->store().form();
      const TeacherUse use = use_of_teacher(config.distill, i);
      if (use.reads >= TeacherUse::Reads::kAllLogits && !form.keeps_all()) {
        throw Error(fmt::format(
            "{} compares the logits of all classes, and the cache in {} keeps the largest {} of "
            "{}: make one with --top-k {}, or leave teacher.cache out",
            use.by, folder, form.top_k, form.classes, form.classes));
      }
      teacher.cache->require_epochs(epochs);
      data.notes.push_back(fmt::format("  its answers come from {}: {} of {} logits, made in {}",
                                       folder, form.top_k, form.classes,
                                       teacher.cache->precision()));
    } catch (const Error& error) {
      throw ConfigError(sources.at(table_of(config, i) + ".cache") + error.what());
    }
    if (teacher.cache->score()) teacher.network.reset();
  }
}

TeacherScore score_teacher(RunTeacher& teacher, size_t index, const LoadedConfig& loaded,
                           const RunData& data, Loader& loader,
                           const augment::Normalizer& normalize) {
  const Config& config = loaded.config;
  TeacherScore score;
  if (teacher.cache && teacher.cache->score()) {
    score = *teacher.cache->score();
  } else {
    const Forward forward = [&](const torch::Tensor& images) {
      const AutocastGuard autocast(data.device, data.precision);
      return teacher.network->forward(images);
    };
    const EvalResult result = evaluate(forward, loader, normalize);
    const HeadScore& head = result.head("class");
    score = {head.top1, head.top5, head.loss, result.predictions};
  }
  if (!std::isfinite(score.loss)) {
    throw ConfigError(fmt::format(
        "{}teacher {} gives logits that are no numbers: its weights are damaged, or "
        "overflow in {}",
        loaded.sources.at(table_of(config, index) + ".path"), teacher.name, config.run.precision));
  }
  const double expected = config.teachers[index].expect_top1;
  if (score.top1 >= expected) return score;
  throw ConfigError(fmt::format(
      "{}teacher {} scores top-1 {:.2f} on the evaluation set, less than expect_top1 = {}: wrong "
      "weights, normalisation (teacher.mean, teacher.std) or class order?",
      loaded.sources.at(table_of(config, index) + ".expect_top1"), teacher.name, score.top1,
      expected));
}

}  // namespace umbra
