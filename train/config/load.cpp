#include "train/config/load.h"

#include <filesystem>
#include <fstream>
#include <sstream>

#include <toml++/toml.h>

#include "augment/nearest_hint.h"
#include "train/config/fields.h"

namespace umbra {
namespace {

using augment::nearest_hint;

constexpr int kMaxExtends = 16;

std::string place_of(const toml::source_region& source) {
  const std::string file = source.path ? *source.path : "config";
  if (file.starts_with("--set ")) return file + ": ";
  return fmt::format("{}:{}:{}: ", file, source.begin.line, source.begin.column);
}

// `where` is a node or a key: both know where they stand.
template <class Where>
[[noreturn]] void fail(const Where& where, const std::string& message) {
  throw ConfigError(place_of(where.source()) + message);
}

bool is_number(std::string_view text) {
  return !text.empty() && text.size() < 4 && std::all_of(text.begin(), text.end(), ::isdigit);
}

// Lays `over` upon `base`: tables merge, everything else is replaced. Nodes are moved, because only
// a move keeps their place in the file. "teacher.1.path" reaches into an array of tables,
// "teacher.path" into one of a single table.
void merge(toml::table& base, toml::table&& over) {
  for (auto&& [key, node] : over) {
    toml::node* old = base.get(key.str());
    if (old && old->is_table() && node.is_table()) {
      merge(*old->as_table(), std::move(*node.as_table()));
    } else if (old && old->is_array_of_tables() && node.is_table()) {
      if (node.as_table()->empty()) continue;  // changes nothing
      toml::array& items = *old->as_array();
      const bool by_key = items.size() == 1 && !is_number(node.as_table()->begin()->first.str());
      if (by_key) {  // of the only element
        merge(*items.get(0)->as_table(), std::move(*node.as_table()));
        continue;
      }
      for (auto&& [index, item] : *node.as_table()) {
        const std::string digits(index.str());
        toml::node* element = is_number(digits) ? items.get(std::stoul(digits)) : nullptr;
        if (!element || !item.is_table()) {
          fail(item, fmt::format("'{0}' is a list here; write {0}.N.key with N from 0 to {1}",
                                 key.str(), items.size() - 1));
        }
        merge(*element->as_table(), std::move(*item.as_table()));
      }
    } else {
      node.visit([&](auto&& value) { base.insert_or_assign(key, std::move(value)); });
    }
  }
}

toml::table parse_text(const std::string& text, const std::string& name) {
  try {
    return toml::parse(text, name);
  } catch (const toml::parse_error& error) {
    throw ConfigError(fmt::format("{}:{}:{}: {}", name, error.source().begin.line,
                                  error.source().begin.column, error.description()));
  }
}

std::string read_text(const std::string& path) {
  std::ifstream file(path);
  if (!file || std::filesystem::is_directory(path)) {
    throw ConfigError(fmt::format("{}: cannot read the config file", path));
  }
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

// The file's table on top of those that it extends.
toml::table with_bases(toml::table table, const std::filesystem::path& folder, int depth) {
  const toml::node* extends = table.get("extends");
  if (!extends) return table;
  if (!extends->is_string()) fail(*extends, "extends must be a string: the path of another config");
  if (depth == kMaxExtends) {
    fail(*extends, fmt::format("more than {} levels of extends: is there a cycle?", kMaxExtends));
  }
  const std::filesystem::path base_path = folder / extends->as_string()->get();
  if (!std::filesystem::is_regular_file(base_path)) {
    fail(*extends, fmt::format("extends: no such file: {}", base_path.string()));
  }
  toml::table base = with_bases(parse_text(read_text(base_path.string()), base_path.string()),
                                base_path.parent_path(), depth + 1);
  table.erase("extends");
  merge(base, std::move(table));
  return base;
}

// "optim.lr=5e-4": the value as TOML, or as a string where it is no TOML value.
toml::table parse_override(const std::string& text) {
  const size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0) {
    throw ConfigError(fmt::format("--set {}: want table.key=value", text));
  }
  const std::string key = text.substr(0, equals), value = text.substr(equals + 1);
  const std::string name = "--set " + text;
  try {
    return toml::parse(key + " = " + value, name);
  } catch (const toml::parse_error&) {
  }
  std::string quoted;
  for (const char c : value) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  try {
    return toml::parse(key + " = \"" + quoted + "\"", name);
  } catch (const toml::parse_error& error) {
    throw ConfigError(fmt::format("{}: {}", name, error.description()));
  }
}

std::string type_of(const toml::node& node) {
  std::stringstream text;
  text << node.type();
  return text.str();
}

// Where a key that the options do not have in this place would have a meaning; empty: nowhere.
template <class Options>
std::string reader_elsewhere(const std::string& key, const Options& options) {
  if constexpr (std::is_same_v<Options, TermOptions>) {
    std::vector<std::string> methods;
    for (const TermMethod& method : term_methods()) {
      if (method.reads(key)) methods.push_back(method.name);
    }
    if (methods.empty()) return "";
    return fmt::format("is not read by method \"{}\": it is for {}", options.method,
                       fmt::join(methods, ", "));
  } else if constexpr (std::is_same_v<Options, ModelOptions>) {
    const auto has = [&](const auto& kind) {
      bool found = false;
      fields([&](const char* name, auto&, const Accepts&, const char*) { found |= key == name; },
             kind);
      return found;
    };
    if (!options.is_vit() && has(options.vit)) {
      return fmt::format("is for transformers, and {} is a CNN", options.name);
    }
    if (options.is_vit() && has(options.cnn)) {
      return fmt::format("is for CNNs, and {} is a transformer", options.name);
    }
  }
  return "";
}

// Reads one table's fields, checking types, ranges and that no key is unknown.
class Reader {
 public:
  Reader(const toml::table& root, Sources& sources) : root_(root), sources_(sources) {}

  template <class Options>
  void table(const std::string& name, Options& options, const char*) {
    known_tables_.push_back(name);
    const toml::node* node = root_.get(name);
    if (!node) return;
    if (!node->is_table()) fail(*node, fmt::format("'{0}' must be a table: [{0}]", name));
    read(*node->as_table(), name, options);
  }

  // Replaces what a preset put into the list; but one table without a method changes the one term
  // that there is: --set distill.terms.beta=6.
  template <class Options>
  void list(const std::string& name, std::vector<Options>& options, const char*) {
    known_tables_.push_back(name);
    const toml::node* node = root_.at_path(name).node();
    if (!node) return;
    if (node->is_table()) {
      const bool changes = options.size() == 1 && !node->as_table()->contains("method");
      if (!changes) options.assign(1, {});
      read(*node->as_table(), name, options.front());
      return;
    }
    options.clear();
    if (node->is_array() && node->as_array()->empty()) return;
    if (!node->is_array_of_tables()) {
      fail(*node, fmt::format("'{0}' must be [{0}] or [[{0}]] tables", name));
    }
    const toml::array& items = *node->as_array();
    for (size_t i = 0; i < items.size(); ++i) {
      read(*items.get(i)->as_table(), item_key(name, i, items.size()), options.emplace_back());
    }
  }

  void reject_unknown_tables() const {
    for (auto&& [key, node] : root_) {
      const std::string name(key.str());
      if (std::find(known_tables_.begin(), known_tables_.end(), name) == known_tables_.end()) {
        fail(key, fmt::format("unknown {} '{}'.{}", node.is_table() ? "table" : "key", name,
                              nearest_hint(name, known_tables_)));
      }
    }
  }

 private:
  // What the value of a preset key decides before the other keys are read.
  template <class Options>
  void apply_presets(const toml::table& table, Options& options) {
    if constexpr (std::is_same_v<Options, DistillOptions>) {
      const auto preset = table["preset"].value<std::string>();
      if (preset) apply_preset(options, *preset);  // an unknown one is refused as a field
    } else if constexpr (std::is_same_v<Options, augment::AugmentOptions>) {
      const auto preset = table["preset"].value<std::string>();
      if (preset) augment::apply_preset(options, *preset);
    } else if constexpr (std::is_same_v<Options, TermOptions>) {
      const auto method = table["method"].value<std::string>();
      const TermMethod* known = method ? find_term_method(*method) : nullptr;
      if (known) options = known->defaults;
    } else if constexpr (std::is_same_v<Options, ModelOptions>) {
      const toml::node* name = table.get("name");
      if (name && name->is_string()) options.name = name->as_string()->get();
      try {
        options = named_model(options.name);
      } catch (const ConfigError& error) {
        fail(*name, error.what());
      }
    }
  }

  template <class Options>
  void read(const toml::table& table, const std::string& prefix, Options& options) {
    apply_presets(table, options);
    sources_.record(prefix, place_of(table.source()));
    std::vector<std::string> known;
    fields([&](const char* name, auto&, const Accepts&, const char*) { known.emplace_back(name); },
           options);
    if (prefix == "distill") known.emplace_back("terms");  // tables of their own
    for (auto&& [key, node] : table) {
      const std::string name(key.str());
      if (std::find(known.begin(), known.end(), name) == known.end()) {
        const std::string reader = reader_elsewhere(name, options);
        fail(key, reader.empty() ? fmt::format("unknown key '{}' in [{}].{}", name, prefix,
                                               nearest_hint(name, known))
                                 : fmt::format("{}.{} {}", prefix, name, reader));
      }
    }
    fields(
        [&](const char* name, auto& value, const Accepts& accepts, const char*) {
          const toml::node* node = table.get(name);
          if (!node) return;
          const std::string key = prefix + "." + name;
          sources_.record(key, place_of(node->source()));
          read_value(*node, key, accepts, value);
        },
        options);
    if constexpr (std::is_same_v<Options, ModelOptions>) {
      options.name = canonical_model_name(options.name);  // checked as a preset
    }
  }

  [[noreturn]] static void wrong_type(const toml::node& node, const std::string& key,
                                      const char* wanted) {
    fail(node, fmt::format("{} must be {}, not {}", key, wanted, type_of(node)));
  }

  static void check_range(const toml::node& node, const std::string& key, const Accepts& accepts,
                          double value) {
    if (!accepts.number(value)) {
      fail(node, fmt::format("{} = {} is out of range: want {}", key, value, accepts.text()));
    }
  }

  static void read_value(const toml::node& node, const std::string& key, const Accepts&,
                         bool& value) {
    if (!node.is_boolean()) wrong_type(node, key, "true or false");
    value = node.as_boolean()->get();
  }

  static void read_value(const toml::node& node, const std::string& key, const Accepts& accepts,
                         int64_t& value) {
    if (!node.is_integer()) wrong_type(node, key, "an integer");
    value = node.as_integer()->get();
    check_range(node, key, accepts, static_cast<double>(value));
  }

  static void read_value(const toml::node& node, const std::string& key, const Accepts& accepts,
                         double& value) {
    if (!node.is_number()) wrong_type(node, key, "a number");
    value = *node.value<double>();
    check_range(node, key, accepts, value);
  }

  static void read_value(const toml::node& node, const std::string& key, const Accepts& accepts,
                         std::string& value) {
    if (!node.is_string()) wrong_type(node, key, "a string");
    value = node.as_string()->get();
    const auto& choices = accepts.choices;
    if (!choices.empty() && std::find(choices.begin(), choices.end(), value) == choices.end()) {
      fail(node, fmt::format("{} = '{}': want {}.{}", key, value, accepts.text(),
                             nearest_hint(value, choices)));
    }
  }

  static void read_value(const toml::node& node, const std::string& key, const Accepts& accepts,
                         Duration& value) {
    constexpr const char* kWanted =
        "a duration such as \"300 epochs\", \"5000 steps\" or an integer";
    std::optional<Duration> duration;
    if (node.is_integer()) duration = Duration::epochs(static_cast<double>(*node.value<int64_t>()));
    if (node.is_string()) duration = Duration::parse(node.as_string()->get());
    if (!node.is_integer() && !node.is_string()) wrong_type(node, key, kWanted);
    if (!duration) {
      fail(node, fmt::format("{} = '{}': want {}", key, node.as_string()->get(), kWanted));
    }
    value = *duration;
    check_range(node, key, accepts, value.count);
  }

  template <class T>
  static void read_value(const toml::node& node, const std::string& key, const Accepts& accepts,
                         std::vector<T>& value) {
    if (!node.is_array()) wrong_type(node, key, "a list");
    value.clear();
    for (const toml::node& item : *node.as_array()) {
      T element{};
      read_value(item, key, accepts, element);
      value.push_back(std::move(element));
    }
  }

  const toml::table& root_;
  Sources& sources_;
  std::vector<std::string> known_tables_;
};

// Defaults that follow from other keys.
void derive(LoadedConfig& loaded) {
  Config& c = loaded.config;
  const Sources& sources = loaded.sources;
  const auto teachers = static_cast<int64_t>(c.teachers.size());
  if (c.model.is_vit()) {
    // The size is said once: in [augment], in [model], or by the model's name.
    if (!sources.is_set("model.img_size") && sources.is_set("augment.image_size")) {
      c.model.vit.img_size = c.augment.image_size;
    } else if (!sources.is_set("augment.image_size")) {
      c.augment.image_size = c.model.vit.img_size;
    }
  }
  if (c.distill.preset == "shake-strong-head" && !sources.is_set("model.shadow_head")) {
    (c.model.is_vit() ? c.model.vit.shadow_head : c.model.cnn.shadow_head) = "mlp";
  }
  const bool small = c.augment.image_size <= 32 && c.augment.preset == "deit";
  if (small && !sources.is_set("augment.crop")) c.augment.crop = "pad";  // as DeiT's code does
  const bool whole = c.augment.crop == "pad" || c.augment.crop == "none";
  if (whole && !sources.is_set("augment.crop_pct")) {
    c.augment.crop_pct = 1.0;  // the CIFAR recipes evaluate the whole image
  }
  if (c.optim.name == "lamb" && !sources.is_set("optim.eps")) c.optim.eps = 1e-6;  // timm's
  const bool several_heads = c.distill.method == "shake" && c.distill.shadow == "student";
  const int64_t heads = several_heads ? std::max<int64_t>(1, teachers) : 1;
  const bool wants_heads = c.distill.method == "shake" || c.distill.method.starts_with("deit");
  if (wants_heads && c.distill.shadow == "student" && !sources.is_set("model.num_shadow_heads")) {
    (c.model.is_vit() ? c.model.vit.num_shadow_heads : c.model.cnn.num_shadow_heads) = heads;
  }
}

LoadedConfig from_table(toml::table table, const std::vector<std::string>& overrides) {
  for (const std::string& text : overrides) merge(table, parse_override(text));
  LoadedConfig loaded;
  Reader reader(table, loaded.sources);
  if (!table.contains("model")) loaded.config.model = named_model(loaded.config.model.name);
  tables(reader, loaded.config);
  reader.reject_unknown_tables();
  derive(loaded);
  check_config(loaded.config, loaded.sources);
  return loaded;
}

}  // namespace

std::string Sources::at(const std::string& key) const {
  for (std::string name = key;;) {
    if (const auto found = places_.find(name); found != places_.end()) return found->second;
    const size_t dot = name.rfind('.');
    if (dot == std::string::npos) return "";
    name.resize(dot);
  }
}

LoadedConfig parse_config(const std::string& text, const std::string& name,
                          const std::vector<std::string>& overrides) {
  const std::filesystem::path folder = std::filesystem::path(name).parent_path();
  return from_table(with_bases(parse_text(text, name), folder, 0), overrides);
}

LoadedConfig load_config(const std::string& path, const std::vector<std::string>& overrides) {
  return parse_config(read_text(path), path, overrides);
}

}  // namespace umbra
