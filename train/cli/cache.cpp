#include "train/cli/commands.h"
#include "train/cli/shared.h"
#include "train/loop/cache_maker.h"

namespace umbra {
namespace {

using Json = nlohmann::json;

struct CacheArguments {
  std::string config, epochs;
  std::vector<std::string> overrides;
  int64_t top_k = 0, verify = 0;
  double tolerance = 0.02;
  bool quiet = false, json = false;
};

// "31-60" or "7", named from 1, as epochs counted from 0; all of them if empty.
std::vector<int64_t> parse_epochs(const std::string& text, int64_t count) {
  int64_t first = 1, last = count;
  if (!text.empty()) {
    char* end = nullptr;
    first = last = std::strtoll(text.c_str(), &end, 10);
    if (end != text.c_str() && *end == '-') {
      const char* rest = end + 1;
      last = std::strtoll(rest, &end, 10);
      if (end == rest) last = 0;
    }
    if (*end != '\0' || first < 1 || last < first || last > count) {
      throw ConfigError(
          fmt::format("--epochs {}: want one epoch, or a range such as 1-{}, of the training's {}",
                      text, std::min<int64_t>(count, 30), count));
    }
  }
  std::vector<int64_t> epochs;
  for (int64_t epoch = first; epoch <= last; ++epoch) epochs.push_back(epoch - 1);
  return epochs;
}

Json to_json(const CacheCheck& check) {
  Json rows = Json::array();
  for (const CacheCheck::Divergence& row : check.divergences) {
    rows.push_back({{"temperature", row.temperature},
                    {"kept_probability", row.kept},
                    {"kl", row.kl},
                    {"share_of_kl_to_uniform", row.of_kl}});
  }
  return {{"teacher", check.teacher},
          {"cache", check.folder},
          {"views", check.views},
          {"top_k", check.form.top_k},
          {"classes", check.form.classes},
          {"same_top1", check.same_top1},
          {"largest_difference", check.difference},
          {"where", check.worst},
          {"divergences", rows}};
}

void print(const CacheCheck& check) {
  fmt::print("{} against {}: {} views\n", check.folder, check.teacher, check.views);
  fmt::print("same top-1 {:.2f} %, kept logits off by at most {:.4f} % of the largest ({})\n",
             check.same_top1, 100.0 * check.difference, check.worst);
  fmt::print("{:>12}{:>20}{:>22}{:>24}\n", "temperature",
             fmt::format("in the {} kept", check.form.top_k), "KL(teacher || cache)",
             "of KL(teacher || 1/C)");
  for (const CacheCheck::Divergence& row : check.divergences) {
    fmt::print("{:>12}{:>18.2f} %{:>22.6f}{:>22.3f} %\n", row.temperature, 100.0 * row.kept, row.kl,
               100.0 * row.of_kl);
  }
}

void verify(CacheMaker& maker, const CacheArguments& arguments) {
  const std::vector<CacheCheck> checks = maker.verify(arguments.verify);
  Json rows = Json::array();
  for (const CacheCheck& check : checks) {
    rows.push_back(to_json(check));
    if (!arguments.json) print(check);
  }
  if (arguments.json) print_json(rows);
  for (const CacheCheck& check : checks) {
    if (check.difference <= arguments.tolerance) continue;
    throw Error(fmt::format(
        "{} does not hold what {} answers: at {} a logit is off by {:.1f} % of the largest, more "
        "than --tolerance {} allows. Remove the folder and make it anew",
        check.folder, check.teacher, check.worst, 100.0 * check.difference, arguments.tolerance));
  }
}

void cache(const CacheArguments& arguments) {
  CacheMaker maker(load_config(arguments.config, arguments.overrides));
  if (arguments.verify > 0) return verify(maker, arguments);
  const std::vector<int64_t> epochs = parse_epochs(arguments.epochs, maker.epochs());
  const StopSignal stop;
  maker.write(epochs, arguments.top_k, stop, detect_terminal(arguments.quiet));
}

}  // namespace

void add_cache_command(CLI::App& app) {
  auto arguments = std::make_shared<CacheArguments>();
  CLI::App* command = app.add_subcommand(
      "cache",
      "Ask the teachers once: their largest logits for every view of a run go to teacher.cache, "
      "and umbra train with the same config, or with another student, reads them there");
  command->add_option("config", arguments->config, "Config file (.toml) with teacher.cache")
      ->required();
  add_overrides(*command, arguments->overrides);
  CLI::Option* epochs = command->add_option(
      "--epochs", arguments->epochs,
      "Only these, for example 1-30: several machines may each fill a part of one cache");
  CLI::Option* top_k =
      command
          ->add_option("--top-k", arguments->top_k,
                       "Logits kept of each view; default: 10, or what the cache was begun with")
          ->check(CLI::Range(1, 65536));
  CLI::Option* verify =
      command
          ->add_option("--verify", arguments->verify,
                       "Write nothing: ask again for N steps spread over the cache and compare; "
                       "fails if they differ")
          ->type_name("N")
          ->check(CLI::PositiveNumber)
          ->excludes(epochs)
          ->excludes(top_k);
  command
      ->add_option("--tolerance", arguments->tolerance,
                   "Of --verify: by how much of a view's largest logit one may be off")
      ->check(CLI::NonNegativeNumber)
      ->needs(verify)
      ->capture_default_str();
  command->add_flag("--json", arguments->json, "Of --verify: as JSON")->needs(verify);
  command->add_flag("--quiet", arguments->quiet, "Errors only");
  command->callback([=] { cache(*arguments); });
}

}  // namespace umbra
