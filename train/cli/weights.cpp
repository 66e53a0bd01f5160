#include "train/cli/commands.h"
#include "train/cli/shared.h"
#include "train/error.h"
#include "train/loop/run_folder.h"
#include "train/weights/files.h"
#include "train/weights/key_maps.h"
#include "train/weights/load.h"

namespace umbra {
namespace {

using Json = nlohmann::json;

// --- inspect ---------------------------------------------------------------------------------

std::string type_name(const torch::Tensor& tensor) { return c10::toString(tensor.scalar_type()); }

Json to_json(const TensorMap& tensors) {
  Json rows = Json::array();
  for (const auto& [name, tensor] : tensors) {
    rows.push_back({{"name", name}, {"type", type_name(tensor)}, {"shape", tensor.sizes().vec()}});
  }
  return rows;
}

void print_tensors(const TensorMap& tensors) {
  size_t width = 4;
  int64_t numbers = 0, bytes = 0;
  for (const auto& [name, tensor] : tensors) {
    width = std::max(width, name.size());
    numbers += tensor.numel();
    bytes += static_cast<int64_t>(tensor.nbytes());
  }
  for (const auto& [name, tensor] : tensors) {
    fmt::print("{:<{}}  {:<8} [{}]\n", name, width, type_name(tensor),
               fmt::join(tensor.sizes(), ", "));
  }
  fmt::print("{} tensors, {} numbers, {:.1f} MB\n", tensors.size(), numbers,
             static_cast<double>(bytes) / 1e6);
}

// The groups of tensors that the path holds: those of a checkpoint, or one of a file.
std::map<std::string, TensorMap> groups_of(const std::string& path, const RunChoice& run) {
  if (!is_run_path(path)) {
    run.refuse_for_file(path);
    WeightFile file = read_weight_file(path);
    return {{file.wrapper.empty() ? "weights" : file.wrapper, std::move(file.tensors)}};
  }
  return read_checkpoint(locate(path, run.checkpoint).checkpoint).tensors;
}

void inspect(const std::string& path, const RunChoice& run, bool json) {
  Json groups = Json::object();
  for (const auto& [group, tensors] : groups_of(path, run)) {
    if (json) {
      groups[group] = to_json(tensors);
      continue;
    }
    fmt::print("# {}\n", group);
    print_tensors(tensors);
  }
  if (json) print_json(groups);
}

// --- export ----------------------------------------------------------------------------------

struct ExportArguments {
  std::vector<std::string> paths;
  std::string out, to = "timm", model;
  RunChoice run;
  bool keep_shadows = false;
};

// Heads and tokens that the published architectures do not have.
bool is_extra_shadow(const std::string& name) {
  return name.starts_with("head_shadow.") || name.starts_with("dist_token.") ||
         name.starts_with("fc_shadow.");
}

TensorMap weights_of(const std::string& path, const ExportArguments& arguments) {
  if (is_run_path(path)) {
    const SavedModel saved = open_run_model(path, arguments.run.checkpoint, arguments.run.weights);
    fmt::print("{}; its images: {}\n", saved.description, view_text(saved.view));
    return state_of(saved.model->module());
  }
  arguments.run.refuse_for_file(path);
  const WeightFile file = open_weight_file(path);
  if (!file.wrapper.empty()) fmt::print("{}, {}\n", path, file.wrapper);
  if (arguments.model.empty()) return file.tensors;
  ModelOptions options = named_model(arguments.model);
  options.in_chans = 3;
  try {
    return translated(file, options);
  } catch (const Error& error) {
    throw Error(fmt::format("{} as {}: {}", path, options.name, error.what()));
  }
}

// Adds `weights`, as doubles. Throws umbra::Error if they have other names or shapes.
void add(TensorMap& sum, std::map<std::string, torch::ScalarType>& types, const TensorMap& weights,
         const std::string& path) {
  for (const auto& [name, tensor] : weights) {
    const auto found = sum.find(name);
    if (found == sum.end() || found->second.sizes() != tensor.sizes()) {
      throw Error(
          fmt::format("{}: {} {} the first one's; only weights of one architecture can be "
                      "averaged",
                      path, name, found == sum.end() ? "is not among" : "has another shape than"));
    }
    found->second += tensor.to(torch::kFloat64);
    types[name] = torch::promote_types(types.at(name), tensor.scalar_type());
  }
  if (weights.size() != sum.size()) {
    throw Error(
        fmt::format("{}: has {} tensors, the first one {}", path, weights.size(), sum.size()));
  }
}

// The mean of the floating-point tensors, in the widest of their types; counters are the first
// file's.
TensorMap averaged(const ExportArguments& arguments) {
  const torch::NoGradGuard no_grad;
  TensorMap first = weights_of(arguments.paths[0], arguments);
  if (arguments.paths.size() == 1) return first;
  TensorMap sum;
  std::map<std::string, torch::ScalarType> types;
  for (const auto& [name, tensor] : first) {
    sum[name] = tensor.to(torch::kFloat64).clone();
    types[name] = tensor.scalar_type();
  }
  for (size_t i = 1; i < arguments.paths.size(); ++i) {
    add(sum, types, weights_of(arguments.paths[i], arguments), arguments.paths[i]);
  }
  for (auto& [name, tensor] : first) {
    if (!tensor.is_floating_point()) continue;
    tensor = (sum.at(name) / static_cast<double>(arguments.paths.size())).to(types.at(name));
  }
  return first;
}

// The name of the model, which only a run knows by itself; empty for a bare file without --model.
std::string model_of(const ExportArguments& arguments) {
  if (!is_run_path(arguments.paths[0])) {
    return arguments.model.empty() ? "" : canonical_model_name(arguments.model);
  }
  if (!arguments.model.empty()) {
    throw ConfigError(arguments.paths[0] +
                      " is a run, which brings its own model: leave --model out");
  }
  return locate(arguments.paths[0], arguments.run.checkpoint).run.config().model.name;
}

void export_weights(const ExportArguments& arguments) {
  refuse_existing(arguments.out);
  if (!arguments.out.ends_with(".safetensors")) {
    throw ConfigError(fmt::format(
        "--out {}: what is written is safetensors; call it {}", arguments.out,
        std::filesystem::path(arguments.out).replace_extension(".safetensors").string()));
  }
  const auto folder = std::filesystem::path(arguments.out).parent_path();
  if (!folder.empty() && !std::filesystem::is_directory(folder)) {
    throw ConfigError(
        fmt::format("--out {}: there is no folder {}", arguments.out, folder.string()));
  }
  const std::string model = model_of(arguments);
  if (arguments.to == "torchvision" && model.empty()) {
    throw ConfigError(
        fmt::format("{} does not say which model it is: give --model NAME", arguments.paths[0]));
  }
  TensorMap weights = averaged(arguments);
  std::vector<std::string> left_out;
  for (const auto& [name, tensor] : weights) {
    if (!arguments.keep_shadows && is_extra_shadow(name)) left_out.push_back(name);
  }
  for (const std::string& name : left_out) weights.erase(name);
  if (arguments.to == "torchvision") weights = to_publisher(model, "torchvision", weights);
  write_safetensors(arguments.out, weights);
  fmt::print("{}: {} tensors\n", arguments.out, weights.size());
  if (model.empty())
    fmt::print("names as in the file; --model NAME translates other publishers'\n");
  if (!left_out.empty()) {
    fmt::print("left out, not in the published architecture (--keep-shadows keeps them): {}\n",
               fmt::join(left_out, ", "));
  }
}

// --- forward ---------------------------------------------------------------------------------

struct ForwardArguments {
  std::string model, weights, input, out;
  int64_t num_classes = 0, seed = 0;
  bool features = false;
};

std::unique_ptr<Model> make_model(const ForwardArguments& arguments, const torch::Tensor& images) {
  if (!arguments.weights.empty() && is_run_path(arguments.weights)) {
    if (!arguments.model.empty() || arguments.num_classes > 0) {
      throw ConfigError(
          "--weights is a run, which brings its own model: leave --model and --num-classes out");
    }
    return open_run_model(arguments.weights, "best", "auto").model;
  }
  if (arguments.model.empty()) throw ConfigError("--model NAME is missing: see umbra models");
  ModelOptions options = named_model(arguments.model);
  options.in_chans = images.size(1);
  options.num_classes = arguments.num_classes;
  options.vit.img_size = images.size(2);
  if (!arguments.weights.empty()) return open_model_file(arguments.weights, options);
  if (options.num_classes == 0) options.num_classes = 1000;
  torch::manual_seed(static_cast<uint64_t>(arguments.seed));
  return create_model(options);
}

torch::Tensor read_input(const std::string& path) {
  const TensorMap tensors = read_safetensors(path);
  const auto found = tensors.find("input");
  if (found == tensors.end()) {
    throw Error(fmt::format("{}: there is no tensor 'input', the images [N, C, H, W]", path));
  }
  if (found->second.dim() != 4 || found->second.scalar_type() != torch::kFloat32) {
    throw Error(fmt::format("{}: 'input' is {} [{}], wanted Float [N, C, H, W]", path,
                            type_name(found->second), fmt::join(found->second.sizes(), ", ")));
  }
  return found->second;
}

void forward(const ForwardArguments& arguments) {
  refuse_existing(arguments.out);
  const torch::NoGradGuard no_grad;
  const torch::Tensor images = read_input(arguments.input);
  const std::unique_ptr<Model> model = make_model(arguments, images);
  model->module().eval();
  const ModelOutput output = model->forward(images);
  TensorMap tensors = {{"logits", output.logits}, {"pooled", output.pooled}};
  for (size_t i = 0; i < output.shadow_logits.size(); ++i) {
    tensors[fmt::format("shadow_logits.{}", i)] = output.shadow_logits[i];
  }
  for (const Feature& feature : output.features) {
    if (!arguments.features) break;
    tensors[feature.name] = feature.post;
    if (!feature.pre.is_same(feature.post)) tensors[feature.name + ".pre"] = feature.pre;
  }
  write_safetensors(arguments.out, tensors);
  fmt::print("{}: {} tensors\n", arguments.out, tensors.size());
}

}  // namespace

void add_inspect_command(CLI::App& app) {
  struct Arguments {
    std::string path;
    RunChoice run;
    bool json = false;
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command =
      app.add_subcommand("inspect", "List the tensors of a weight file, a checkpoint or a run");
  command->add_option("path", arguments->path, "Weight file, checkpoint or run folder")->required();
  arguments->run.add_checkpoint_to(*command);
  command->add_flag("--json", arguments->json, "JSON on standard output");
  command->callback([=] { inspect(arguments->path, arguments->run, arguments->json); });
}

void add_export_command(CLI::App& app) {
  auto arguments = std::make_shared<ExportArguments>();
  CLI::App* command = app.add_subcommand(
      "export", "Write the weights of a run, or the mean of several, as one safetensors file");
  command->add_option("paths", arguments->paths, "Run folders, checkpoints or weight files")
      ->required();
  command->add_option("--out", arguments->out, "File to write (.safetensors)")->required();
  arguments->run.add_to(*command);
  command->add_option("--to", arguments->to, "Whose names the tensors get")
      ->check(CLI::IsMember({"timm", "torchvision"}))
      ->capture_default_str();
  command->add_option(
      "--model", arguments->model,
      "Of bare weight files: the model's name, to translate other publishers' names");
  command->add_flag("--keep-shadows", arguments->keep_shadows,
                    "Also the shadow heads and tokens that no published architecture has");
  command->callback([=] { export_weights(*arguments); });
}

void add_forward_command(CLI::App& app) {
  auto arguments = std::make_shared<ForwardArguments>();
  CLI::App* command = app.add_subcommand(
      "forward", "Run tensors through a model in eval mode: logits and stages into a file");
  command->add_option("--model", arguments->model, "Model name (umbra models)");
  command->add_option("--weights", arguments->weights,
                      "Weight file or run; default: random weights of --seed");
  command
      ->add_option("--num-classes", arguments->num_classes,
                   "Default: as the weight file has, else 1000")
      ->check(CLI::PositiveNumber);
  command->add_option("--seed", arguments->seed, "Of random weights")->capture_default_str();
  command
      ->add_option("--input", arguments->input,
                   "safetensors file with 'input', Float [N, C, H, W], normalised")
      ->required();
  command
      ->add_option("--out", arguments->out,
                   "safetensors file to write: logits (of the class head), "
                   "shadow_logits.N, pooled")
      ->required();
  command->add_flag("--features", arguments->features, "Also every stage");
  command->callback([=] { forward(*arguments); });
}

}  // namespace umbra
