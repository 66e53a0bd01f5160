#include "train/report/compare.h"
#include "train/cli/commands.h"
#include "train/cli/shared.h"
#include "train/files.h"
#include "train/loop/parts.h"
#include "train/loop/precision.h"
#include "train/loop/run_folder.h"
#include "train/report/heat_map.h"

namespace umbra {
namespace {

using Json = nlohmann::json;

struct CompareArguments {
  std::string teacher, config, out, map = "weights", data, split = "test";
  std::vector<std::string> students, overrides;
  RunChoice run;
  bool json = false, weights_only = false;
};

// MODEL=FILE; a run may have such a name, too.
bool names_a_file(const std::string& text) {
  return text.find('=') != std::string::npos && !std::filesystem::exists(text);
}

// A network that was named on the command line: a run, a checkpoint, or MODEL=FILE.
SavedModel open_network(const std::string& text, const CompareArguments& arguments) {
  if (!names_a_file(text)) {
    if (is_run_path(text)) {
      return open_run_model(text, arguments.run.checkpoint, arguments.run.weights);
    }
    throw ConfigError(fmt::format(
        "{0} is a bare weight file: say which model it is, for example resnet34={0}", text));
  }
  const size_t equals = text.find('=');
  const std::string name = text.substr(0, equals), path = text.substr(equals + 1);
  if (is_run_path(path)) {
    throw ConfigError(fmt::format("{0}: a run brings its own model: say {1} alone", text, path));
  }
  ModelOptions options = named_model(name);
  options.in_chans = 3;
  const PublishedInput input = published_input(name);
  return open_bare_model(path, options, {input.mean, input.std, input.image_size});
}

// What a pair has in common.
struct Comparison {
  std::string student;
  torch::Tensor correlation;  // [C, C]
  LogitComparison logits;
};

// The config that says which images are compared: the one given, else of the first run.
LoadedConfig data_config(const CompareArguments& arguments) {
  std::vector<std::string> overrides = arguments.overrides;
  prefer_data(overrides, arguments.data);
  if (!arguments.config.empty()) return load_config(arguments.config, overrides);
  std::vector<std::string> paths = arguments.students;
  paths.push_back(arguments.teacher);
  for (const std::string& path : paths) {
    if (names_a_file(path) || !is_run_path(path)) continue;
    const RunFolder run = locate(path, arguments.run.checkpoint).run;
    return load_config(run.config_path().string(), overrides);
  }
  throw ConfigError(
      "no run among the networks says which images to compare: give --config CONFIG.toml, or "
      "--weights-only");
}

// Throws ConfigError for a network that is not made for the data set.
void require_fit(const SavedModel& saved, const Dataset& set) {
  const ModelOptions& options = saved.model->options();
  if (options.num_classes >= set.num_classes() && options.in_chans == set.channels()) return;
  throw ConfigError(fmt::format(
      "{} takes {} channels and has {} classes, the images have {} and {}: give --config or --data "
      "with images of its kind, or --weights-only",
      saved.description, options.in_chans, options.num_classes, set.channels(), set.num_classes()));
}

// Runs all networks over the images.
void compare_logits(FrozenNetwork& teacher, std::vector<std::unique_ptr<FrozenNetwork>>& students,
                    std::vector<Comparison>& comparisons, Loader& loader,
                    const augment::Normalizer& normalize) {
  loader.seek(0, 0);
  for (RawBatch batch; loader.next(batch);) {
    if (batch.rows() == 0) continue;
    const torch::Tensor images = normalize(normalize.to_device(batch.images));
    const torch::Tensor expected = teacher.forward(images).logits;
    for (size_t i = 0; i < students.size(); ++i) {
      comparisons[i].logits.add(students[i]->forward(images).logits, expected, batch.labels);
    }
  }
  for (const BrokenSample& sample : loader.take_broken()) {
    fmt::print(stderr, "skipped, broken: {}: {}\n", sample.name, sample.reason);
  }
  if (comparisons.front().logits.images() == 0) throw Error("no image could be read");
}

Json to_json(const Comparison& c, const std::vector<std::string>& classes) {
  Json row = {{"student", c.student},
              {"correlation_difference",
               {{"mean", c.correlation.mean().item<double>()},
                {"max", c.correlation.max().item<double>()}}}};
  if (c.logits.images() == 0) return row;
  row["images"] = c.logits.images();
  row["agreement"] = 100.0 * c.logits.agreement();
  row["kl_t1"] = c.logits.kl(1.0);
  row["kl_t4"] = c.logits.kl(4.0);
  const torch::Tensor means = c.logits.class_mean_difference();
  row["class_mean_logit_difference"] = {{"mean", means.mean().item<double>()},
                                        {"max", means.max().item<double>()}};
  const torch::Tensor by_class = c.logits.agreement_by_class();
  for (size_t i = 0; i < classes.size(); ++i) {
    const auto share = by_class[static_cast<int64_t>(i)].item<double>();
    row["agreement_by_class"][classes[i]] = std::isnan(share) ? Json() : Json(100.0 * share);
  }
  return row;
}

void print(const Comparison& c, const std::vector<std::string>& classes) {
  fmt::print("{}\n  classifier correlation: mean difference {:.4f}, max {:.4f}\n", c.student,
             c.correlation.mean().item<double>(), c.correlation.max().item<double>());
  if (c.logits.images() == 0) return;
  const torch::Tensor means = c.logits.class_mean_difference();
  fmt::print("  class-mean logits: mean difference {:.4f}, max {:.4f}\n",
             means.mean().item<double>(), means.max().item<double>());
  fmt::print("  agreement {:.2f} % of {} images; KL {:.4f} at T = 1, {:.4f} at T = 4\n",
             100.0 * c.logits.agreement(), c.logits.images(), c.logits.kl(1.0), c.logits.kl(4.0));
  const torch::Tensor by_class = c.logits.agreement_by_class().nan_to_num(2.0);
  const torch::Tensor order = by_class.argsort();
  std::vector<std::string> worst;
  for (int64_t i = 0; i < std::min<int64_t>(5, order.size(0)); ++i) {
    const auto index = order[i].item<int64_t>();
    const auto share = by_class[index].item<double>();
    if (share > 1.0) break;
    worst.push_back(fmt::format("{} {:.1f}", classes[static_cast<size_t>(index)], 100.0 * share));
  }
  fmt::print("  least agreement (%): {}\n", fmt::join(worst, ", "));
}

// One map beside the other on one scale: SSKD's Figure 1, or mdistiller's picture of class-mean
// logits, whose scale ends at 3.
void save_heat_maps(const std::vector<Comparison>& comparisons,
                    const std::vector<std::string>& classes, const CompareArguments& arguments) {
  const bool of_logits = arguments.map == "logits";
  double max = of_logits ? 3.0 : 0.0;
  std::vector<HeatMap> maps;
  for (const Comparison& c : comparisons) {
    const torch::Tensor map = of_logits ? c.logits.class_mean_difference() : c.correlation;
    const double mean = map.mean().item<double>(), largest = map.max().item<double>();
    if (!of_logits) max = std::max(max, largest);
    maps.push_back({map, c.student, fmt::format("mean {:.4f}, max {:.4f}", mean, largest)});
  }
  const std::vector<uint8_t> png = draw_heat_maps(maps, max, classes);
  const std::span<const uint8_t> bytes(png);
  write_file_synced(arguments.out, std::span(&bytes, 1));
}

// Adds to the comparisons what the networks say of the images, and returns the classes' names.
std::vector<std::string> compare_on_images(SavedModel teacher, std::vector<SavedModel> students,
                                           std::vector<Comparison>& comparisons,
                                           const CompareArguments& arguments) {
  LoadedConfig loaded = data_config(arguments);
  const Config& config = loaded.config;
  const torch::Device device = prepare_device(config.run.device, config.run.threads);
  const Sets sets = open_sets(config, loaded.sources);
  const auto& set = arguments.split == "train" ? sets.train : sets.evaluation();
  if (!set) throw ConfigError("the data set has no test part: take --split train");
  check_against_data(loaded.config, loaded.sources, set->num_classes(), set->channels());
  require_fit(teacher, *set);
  for (const SavedModel& student : students) require_fit(student, *set);
  const InputForm view{config.augment.mean, config.augment.std, config.augment.image_size};
  const auto frozen = [&](SavedModel& saved) {
    return std::make_unique<FrozenNetwork>(saved.description, std::move(saved.model), saved.input,
                                           view, device, saved.answers_by_mean);
  };
  const auto first = frozen(teacher);
  std::vector<std::unique_ptr<FrozenNetwork>> others;
  for (SavedModel& student : students) others.push_back(frozen(student));
  Loader loader(set, config.augment, loader_options(config, device, /*train=*/false));
  const augment::Normalizer normalize(config.augment.mean, config.augment.std, device);
  compare_logits(*first, others, comparisons, loader, normalize);
  return set->class_names();
}

void compare(const CompareArguments& arguments) {
  const torch::NoGradGuard no_grad;
  if (!arguments.out.empty()) refuse_existing(arguments.out);
  if (arguments.weights_only && arguments.map == "logits") {
    throw ConfigError("--map logits needs images: leave --weights-only out");
  }
  SavedModel teacher = open_network(arguments.teacher, arguments);
  std::vector<SavedModel> students;
  std::vector<Comparison> comparisons;
  for (const std::string& text : arguments.students) {
    students.push_back(open_network(text, arguments));
    SavedModel& student = students.back();
    const int64_t mine = student.model->options().num_classes,
                  theirs = teacher.model->options().num_classes;
    if (mine != theirs) {
      throw ConfigError(fmt::format("{} has {} classes, {} has {}: they must agree", text, mine,
                                    arguments.teacher, theirs));
    }
    comparisons.push_back({student.description,
                           correlation_difference(student.model->classifier()->weight,
                                                  teacher.model->classifier()->weight),
                           {}});
  }
  std::vector<std::string> classes = teacher.class_names;
  const std::string description = teacher.description;
  if (!arguments.weights_only) {
    classes = compare_on_images(std::move(teacher), std::move(students), comparisons, arguments);
  }
  if (arguments.json) {
    Json rows = Json::array();
    for (const Comparison& c : comparisons) rows.push_back(to_json(c, classes));
    print_json({{"teacher", description}, {"students", rows}});
  } else {
    fmt::print("teacher {}\n", description);
    for (const Comparison& c : comparisons) print(c, classes);
  }
  if (arguments.out.empty()) return;
  save_heat_maps(comparisons, classes, arguments);
  if (!arguments.json) fmt::print("{}\n", arguments.out);
}

}  // namespace

void add_compare_command(CLI::App& app) {
  auto arguments = std::make_shared<CompareArguments>();
  CLI::App* command = app.add_subcommand(
      "compare", "How much students resemble a teacher: classifier correlations, agreement, KL");
  command->add_option("teacher", arguments->teacher, "Run, checkpoint, or MODEL=FILE")->required();
  command->add_option("students", arguments->students, "The same, one or more")->required();
  const auto is_png = [](const std::string& path) {
    return path.ends_with(".png") ? std::string() : path + " does not end in .png";
  };
  command
      ->add_option("--out", arguments->out,
                   "PNG to write: heat maps of the differences that --map names")
      ->check(is_png);
  command
      ->add_option("--map", arguments->map,
                   "weights: of the classifiers' correlations (SSKD's Figure 1); logits: of "
                   "class-mean logits, colours up to 3 (mdistiller)")
      ->check(CLI::IsMember({"weights", "logits"}))
      ->capture_default_str();
  command->add_option("--config", arguments->config,
                      "Whose images to compare on; default: the first run's");
  command->add_option("--data", arguments->data, "Another data set");
  command->add_option("--split", arguments->split, "test (or the run's val_split) or train")
      ->check(CLI::IsMember({"test", "train"}))
      ->capture_default_str();
  command->add_flag("--weights-only", arguments->weights_only, "Compare the classifiers only");
  arguments->run.add_to(*command);
  add_overrides(*command, arguments->overrides);
  command->add_flag("--json", arguments->json, "JSON on standard output");
  command->footer(
      "|R_s - R_t| with R = W W^T of the classifier's rows at length 1 is Figure 1 of SSKD's "
      "supplement.");
  command->callback([=] { compare(*arguments); });
}

}  // namespace umbra
