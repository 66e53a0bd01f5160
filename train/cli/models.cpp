#include "train/cli/commands.h"
#include "train/cli/shared.h"
#include "train/macs.h"

namespace umbra {
namespace {

using Json = nlohmann::json;

struct ModelsArguments {
  std::vector<std::string> names;
  bool json = false, markdown = false;
};

struct ModelFacts {
  std::string name, family;
  int64_t input_size = 0, parameters = 0, macs = 0;
  std::vector<std::string> stages;  // "layer1 64x56x56"
};

// The sizes of a stage, without the batch: C x H x W, or N x D of tokens.
std::string stage_text(const Feature& feature) {
  return fmt::format("{} {}", feature.name, fmt::join(feature.post.sizes().slice(1), "x"));
}

ModelFacts facts_of(const std::string& name) {
  ModelOptions options = named_model(name);
  ModelFacts facts;
  facts.name = options.name;
  facts.family = options.is_vit() ? "vit" : "cnn";
  facts.input_size = published_input(options.name).image_size;
  options.num_classes = facts.input_size <= 32 ? 100 : 1000;
  options.in_chans = 3;
  const std::unique_ptr<Model> model = create_model(options);
  facts.parameters = count_parameters(model->module());
  const ModelCost cost = measure_cost(*model, facts.input_size);
  facts.macs = cost.macs;
  for (const Feature& feature : cost.output.features) facts.stages.push_back(stage_text(feature));
  return facts;
}

Json to_json(const ModelFacts& facts) {
  return {{"name", facts.name},
          {"family", facts.family},
          {"input_size", facts.input_size},
          {"parameters", facts.parameters},
          {"macs", facts.macs},
          {"stages", facts.stages}};
}

// First and last stage tell enough of a transformer, whose blocks are alike.
std::string stages_text(const ModelFacts& facts) {
  if (facts.family == "vit" && facts.stages.size() > 2) {
    return fmt::format("{} to {}", facts.stages.front(), facts.stages.back());
  }
  return fmt::format("{}", fmt::join(facts.stages, ", "));
}

void print_row(const ModelFacts& facts, bool markdown) {
  if (markdown) {
    fmt::print("| `{}` | {} | {} | {} | {:.1f} | {} |\n", facts.name, facts.family,
               facts.input_size, facts.parameters, static_cast<double>(facts.macs) / 1e6,
               stages_text(facts));
  } else {
    fmt::print("{:<34} {:<6} {:>5} {:>12} {:>9.1f}  {}\n", facts.name, facts.family,
               facts.input_size, facts.parameters, static_cast<double>(facts.macs) / 1e6,
               stages_text(facts));
  }
  std::fflush(stdout);
}

void print_header(bool markdown) {
  if (markdown) {
    fmt::print("| name | family | input | parameters | MMACs | stages |\n");
    fmt::print("|---|---|---:|---:|---:|---|\n");
  } else {
    fmt::print("{:<34} {:<6} {:>5} {:>12} {:>9}  {}\n", "name", "family", "input", "parameters",
               "MMACs", "stages");
  }
}

void models(const ModelsArguments& arguments) {
  std::vector<std::string> names = arguments.names;
  if (names.empty()) names = model_names();
  for (const std::string& name : names) named_model(name);  // throws before a table is begun
  Json rows = Json::array();
  if (!arguments.json) print_header(arguments.markdown);
  for (const std::string& name : names) {
    const ModelFacts facts = facts_of(name);
    if (arguments.json) {
      rows.push_back(to_json(facts));
    } else {
      print_row(facts, arguments.markdown);
    }
  }
  if (arguments.json) print_json(rows);
}

}  // namespace

void add_models_command(CLI::App& app) {
  auto arguments = std::make_shared<ModelsArguments>();
  CLI::App* command = app.add_subcommand(
      "models", "List the models: parameters, multiply-accumulates, input size, stages");
  command->add_option("names", arguments->names, "Only these; default: all");
  CLI::Option* json = command->add_flag("--json", arguments->json, "JSON on standard output");
  command->add_flag("--markdown", arguments->markdown, "A Markdown table")->excludes(json);
  command->footer(
      "Counted for one image at the input size, with 1000 classes (100 for models of 32 pixels).");
  command->callback([=] { models(*arguments); });
}

}  // namespace umbra
