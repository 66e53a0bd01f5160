#include <nlohmann/json.hpp>
#include <opencv2/imgproc.hpp>

#include "augment/pixel_ops.h"
#include "train/cli/commands.h"
#include "train/cli/shared.h"
#include "train/data/image_folder.h"
#include "train/data/known_classes.h"
#include "train/error.h"
#include "train/loop/parts.h"
#include "train/loop/precision.h"
#include "train/loop/run_folder.h"

namespace umbra {
namespace {

using Json = nlohmann::json;

struct PredictArguments {
  std::string path, model, classes, device = "auto";
  RunChoice run;
  std::vector<std::string> images;
  std::vector<double> mean, std;
  int64_t image_size = 0, top = 5;
  double crop_pct = 0.0;
  bool json = false;
};

// A network, how its images are prepared, and what its classes are called.
struct Classifier {
  std::unique_ptr<Model> model;
  augment::AugmentOptions view;
  bool answers_by_mean = false;
  std::vector<std::string> class_names;
};

Classifier open_run(const PredictArguments& arguments) {
  if (!arguments.model.empty()) {
    throw ConfigError(arguments.path + " is a run, which brings its own model: leave --model out");
  }
  if (arguments.image_size > 0) {
    throw ConfigError(arguments.path +
                      " is a run, which brings its own size: leave --image-size out");
  }
  SavedModel saved =
      open_run_model(arguments.path, arguments.run.checkpoint, arguments.run.weights);
  Classifier classifier;
  classifier.view = saved.view;
  classifier.model = std::move(saved.model);
  classifier.answers_by_mean = saved.answers_by_mean;
  classifier.class_names = std::move(saved.class_names);
  return classifier;
}

Classifier open_file(const PredictArguments& arguments) {
  if (arguments.model.empty()) {
    throw ConfigError(fmt::format(
        "{} is a bare weight file: say which model it is with --model NAME (umbra models)",
        arguments.path));
  }
  arguments.run.refuse_for_file(arguments.path);
  ModelOptions options = named_model(arguments.model);
  options.in_chans = 3;
  const PublishedInput input = published_input(arguments.model);
  Classifier classifier;
  classifier.view.image_size = arguments.image_size > 0 ? arguments.image_size : input.image_size;
  classifier.view.crop_pct = input.crop_pct;
  classifier.view.eval_interpolation = input.interpolation;
  classifier.view.mean = input.mean;
  classifier.view.std = input.std;
  SavedModel saved =
      open_bare_model(arguments.path, options, {input.mean, input.std, classifier.view.image_size});
  classifier.model = std::move(saved.model);
  classifier.answers_by_mean = saved.answers_by_mean;
  const int64_t count = classifier.model->options().num_classes;
  if (count == 1000) classifier.class_names = read_class_names("imagenet");
  return classifier;
}

Classifier open_classifier(const PredictArguments& arguments) {
  Classifier classifier = is_run_path(arguments.path) ? open_run(arguments) : open_file(arguments);
  augment::AugmentOptions& view = classifier.view;
  if (!arguments.mean.empty()) view.mean = arguments.mean;
  if (!arguments.std.empty()) view.std = arguments.std;
  if (arguments.crop_pct > 0.0) view.crop_pct = arguments.crop_pct;
  const auto channels = static_cast<size_t>(classifier.model->options().in_chans);
  if (view.mean.size() != channels || view.std.size() != channels) {
    throw ConfigError(
        fmt::format("the model takes {} channel(s): give as many --mean and --std", channels));
  }
  if (!arguments.classes.empty()) classifier.class_names = read_class_names(arguments.classes);
  const int64_t count = classifier.model->options().num_classes;
  if (classifier.class_names.empty()) {
    for (int64_t i = 0; i < count; ++i) {
      classifier.class_names.push_back(fmt::format("class {}", i));
    }
  }
  if (static_cast<int64_t>(classifier.class_names.size()) != count) {
    throw ConfigError(fmt::format("the model has {} classes, {} names are given", count,
                                  classifier.class_names.size()));
  }
  return classifier;
}

// Images as Pillow's mode "L", for models of one channel.
class GreyDataset : public Dataset {
 public:
  explicit GreyDataset(std::shared_ptr<const Dataset> colored) : colored_(std::move(colored)) {}

  int64_t size() const override { return colored_->size(); }
  int64_t channels() const override { return 1; }
  const std::vector<std::string>& class_names() const override { return colored_->class_names(); }
  int64_t label(int64_t index) const override { return colored_->label(index); }
  std::string name(int64_t index) const override { return colored_->name(index); }
  augment::LazyImage open(int64_t index) const override {
    cv::Mat grey;
    cv::extractChannel(augment::grayscale(colored_->open(index).pixels()), grey, 0);
    return augment::LazyImage(grey);
  }

 private:
  std::shared_ptr<const Dataset> colored_;
};

std::shared_ptr<const Dataset> open_images(const PredictArguments& arguments, int64_t channels) {
  for (const std::string& image : arguments.images) {
    if (!std::filesystem::exists(image)) throw ConfigError(image + ": no such image");
    if (!std::filesystem::is_directory(image)) continue;
    throw ConfigError(
        fmt::format("{0} is a folder: name the images, for example {0}/*.jpg", image));
  }
  std::shared_ptr<const Dataset> dataset =
      open_files("", arguments.images, {"unknown"},
                 std::vector<int64_t>(arguments.images.size(), 0), ReadOptions{});
  if (channels == 1) dataset = std::make_shared<GreyDataset>(std::move(dataset));
  return dataset;
}

torch::Tensor probabilities(const Classifier& classifier, const torch::Tensor& images) {
  const ModelOutput output = classifier.model->forward(images);
  const torch::Tensor logits = classifier.answers_by_mean ? mean_of_heads(output) : output.logits;
  if (!logits.isfinite().all().item<bool>()) {
    throw Error("the model gives logits that are no numbers: its weights are damaged");
  }
  return torch::softmax(logits.to(torch::kFloat32), 1).cpu();
}

struct Guess {
  int64_t index = 0;
  double probability = 0.0;
};

std::vector<Guess> best_guesses(const torch::Tensor& probabilities, int64_t top) {
  const auto [values, indices] = probabilities.topk(std::min(top, probabilities.size(0)));
  std::vector<Guess> guesses;
  for (int64_t i = 0; i < values.size(0); ++i) {
    guesses.push_back({indices[i].item<int64_t>(), values[i].item<double>()});
  }
  return guesses;
}

void print(const std::string& image, const std::vector<Guess>& guesses,
           const std::vector<std::string>& names) {
  fmt::print("{}\n", image);
  for (const Guess& guess : guesses) {
    fmt::print("  {:5.1f} %  {} ({})\n", 100.0 * guess.probability,
               names[static_cast<size_t>(guess.index)], guess.index);
  }
}

Json to_json(const std::string& image, const std::vector<Guess>& guesses,
             const std::vector<std::string>& names) {
  Json top = Json::array();
  for (const Guess& guess : guesses) {
    top.push_back({{"class", guess.index},
                   {"name", names[static_cast<size_t>(guess.index)]},
                   {"probability", guess.probability}});
  }
  return {{"image", image}, {"top", top}};
}

void predict(const PredictArguments& arguments) {
  const torch::NoGradGuard no_grad;
  const Classifier classifier = open_classifier(arguments);
  const torch::Device device = choose_device(arguments.device);
  move_to(classifier.model->module(), device);
  classifier.model->module().eval();
  LoaderOptions options;
  options.batch_size = 32;
  options.train = false;
  options.skip_broken = true;
  Loader loader(open_images(arguments, classifier.model->options().in_chans), classifier.view,
                options);
  const augment::Normalizer normalize(classifier.view.mean, classifier.view.std, device);
  if (!arguments.json) {
    fmt::print("{}; {}\n", view_text(classifier.view),
               classifier.answers_by_mean ? "mean of all heads" : "class head");
  }
  Json rows = Json::array();
  loader.seek(0, 0);
  for (RawBatch batch; loader.next(batch);) {
    const torch::Tensor p = probabilities(classifier, normalize(normalize.to_device(batch.images)));
    for (int64_t i = 0; i < batch.rows(); ++i) {
      const std::string& image =
          arguments.images[static_cast<size_t>(batch.indices[i].item<int64_t>())];
      const std::vector<Guess> guesses = best_guesses(p[i], arguments.top);
      if (arguments.json) {
        rows.push_back(to_json(image, guesses, classifier.class_names));
      } else {
        print(image, guesses, classifier.class_names);
      }
    }
  }
  if (arguments.json) print_json(rows);
  const std::vector<BrokenSample> broken = loader.take_broken();
  for (const BrokenSample& sample : broken) {
    fmt::print(stderr, "umbra: {}: {}\n", sample.name, sample.reason);
  }
  if (!broken.empty()) {
    throw Error(
        fmt::format("{} of {} images could not be read", broken.size(), arguments.images.size()));
  }
}

}  // namespace

void add_predict_command(CLI::App& app) {
  auto arguments = std::make_shared<PredictArguments>();
  CLI::App* command =
      app.add_subcommand("predict", "Classify images: the most probable classes of each");
  command->add_option("path", arguments->path, "Run folder, checkpoint folder or weight file")
      ->required();
  command->add_option("images", arguments->images, "JPEG, PNG or WebP files")->required();
  command->add_option("--model", arguments->model, "Of a bare weight file: the model's name");
  command->add_option("--top", arguments->top, "Classes for each image")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--classes", arguments->classes,
                      "Class names: a file with one on each line, or imagenet, cifar10, cifar100, "
                      "stl10, fashion-mnist. Default: the run's; imagenet for 1000 classes");
  arguments->run.add_to(*command);
  command
      ->add_option("--image-size", arguments->image_size,
                   "Of a weight file: side in pixels; default: what the model is published for")
      ->check(CLI::PositiveNumber);
  command->add_option("--crop-pct", arguments->crop_pct, "Centre share kept after the resize")
      ->check(CLI::Range(0.01, 1.0));
  command
      ->add_option("--mean", arguments->mean,
                   "Normalisation of pixels in [0, 1], one value per channel")
      ->expected(1, 3)
      ->delimiter(',');
  command->add_option("--std", arguments->std, "Normalisation")->expected(1, 3)->delimiter(',');
  command->add_option("--device", arguments->device, "auto, cpu, cuda, cuda:1, ...")
      ->capture_default_str();
  command->add_flag("--json", arguments->json, "JSON on standard output");
  command->footer(
      "The view is the evaluation's: of the run, or as the model's best known weights were "
      "published "
      "(docs/models.md); other weights of the same name may want --crop-pct, --mean and --std. A "
      "run "
      "answers by its headline head, a distilled transformer's file by the mean of its heads.");
  command->callback([=] { predict(*arguments); });
}

}  // namespace umbra
