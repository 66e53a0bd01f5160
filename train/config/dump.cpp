#include "train/config/dump.h"

#include <map>

#include "train/config/fields.h"

namespace umbra {
namespace {

std::string quoted(const std::string& text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') result += '\\';
    if (c == '\n') {
      result += "\\n";
    } else {
      result += c;
    }
  }
  return result + '"';
}

std::string toml(bool value) { return value ? "true" : "false"; }
std::string toml(int64_t value) { return std::to_string(value); }
std::string toml(const std::string& value) { return quoted(value); }
std::string toml(const Duration& value) { return quoted(value.text()); }

std::string toml(double value) {
  std::string text = fmt::format("{}", value);  // shortest text that reads back equal
  const bool is_float = text.find_first_of(".e") != std::string::npos;
  return is_float ? text : text + ".0";
}

template <class T>
std::string toml(const std::vector<T>& values) {
  std::string text;
  for (const T& value : values) text += (text.empty() ? "" : ", ") + toml(value);
  return "[" + text + "]";
}

template <class T>
constexpr const char* type_name() {
  if constexpr (std::is_same_v<T, bool>) return "boolean";
  if constexpr (std::is_same_v<T, int64_t>) return "integer";
  if constexpr (std::is_same_v<T, double>) return "number";
  if constexpr (std::is_same_v<T, std::string>) return "string";
  if constexpr (std::is_same_v<T, Duration>) return "duration";
  if constexpr (std::is_same_v<T, std::vector<double>>) return "list of numbers";
  if constexpr (std::is_same_v<T, std::vector<std::string>>) return "list of strings";
  if constexpr (std::is_same_v<T, std::vector<Duration>>) return "list of durations";
}

struct TomlWriter {
  bool plain;
  std::string text;

  void heading(const std::string& header, const char* help) {
    if (!text.empty()) text += "\n";
    text += plain ? header + "\n" : fmt::format("{}  # {}\n", header, help);
  }

  template <class Options>
  void body(const Options& options) {
    fields(
        [&](const char* name, const auto& value, const Accepts& accepts, const char* help) {
          const std::string line = fmt::format("{} = {}", name, toml(value));
          if (plain) {
            text += line + "\n";
            return;
          }
          const std::string range = accepts.text();
          text += fmt::format("{:<32} # {}{}\n", line, help,
                              range.empty() ? "" : fmt::format(" [{}]", range));
        },
        options);
  }

  template <class Options>
  void table(const char* name, const Options& options, const char* help) {
    heading(fmt::format("[{}]", name), help);
    body(options);
  }

  template <class Options>
  void list(const char* name, const std::vector<Options>& items, const char* help) {
    for (const Options& item : items) {
      heading(fmt::format("[[{}]]", name), help);
      body(item);
    }
  }
};

struct ReferenceWriter {
  std::string text;

  template <class Options>
  void rows(const Options& options) {
    text += "| key | type | default | accepts | meaning |\n|---|---|---|---|---|\n";
    row_lines(options);
  }

  template <class Options>
  void row_lines(const Options& options) {
    fields(*this, options);
  }

  template <class T>
  void operator()(const char* name, const T& value, const Accepts& accepts, const char* help) {
    text += fmt::format("| `{}` | {} | `{}` | {} | {} |\n", name, type_name<T>(), toml(value),
                        accepts.text(), help);
  }

  template <class Options>
  void table(const char* name, const Options& options, const char* help) {
    text += fmt::format("\n## [{}]\n\n{}.\n\n", name, help);
    if constexpr (std::is_same_v<Options, ModelOptions>) {
      text += "| key | type | default | accepts | meaning |\n|---|---|---|---|---|\n";
      model_head_fields(*this, options);
      text +=
          "\nFor vision transformers (defaults of `deit_base_patch16_224`; the name decides):\n\n";
      rows(vit::VitOptions{});
      text += "\nFor convolutional networks:\n\n";
      rows(cnn::CnnOptions{});
    } else if constexpr (std::is_same_v<Options, TermOptions>) {
      text += "| key | type | default | accepts | meaning |\n|---|---|---|---|---|\n";
      all_term_fields(*this, options);
    } else {
      rows(options);
    }
  }

  template <class Options>
  void list(const char* name, const std::vector<Options>&, const char* help) {
    table(name, Options{}, help);
  }
};

// Every field as "table.key" -> text.
struct Flattener {
  std::map<std::string, std::string> values;
  std::vector<std::string> order;

  template <class Options>
  void table(const std::string& name, const Options& options, const char*) {
    fields(
        [&](const char* key, const auto& value, const Accepts&, const char*) {
          order.push_back(name + "." + key);
          values[order.back()] = toml(value);
        },
        options);
  }

  template <class Options>
  void list(const char* name, const std::vector<Options>& items, const char* help) {
    for (size_t i = 0; i < items.size(); ++i)
      table(item_key(name, i, items.size()), items[i], help);
  }
};

}  // namespace

std::string Accepts::text() const {
  if (!choices.empty()) return "one of: " + fmt::format("{}", fmt::join(choices, ", "));
  const bool low = std::isfinite(min), high = std::isfinite(max);
  if (low && high) {
    return fmt::format("{} {} x {} {}", min, above_min ? "<" : "<=", below_max ? "<" : "<=", max);
  }
  if (low) return fmt::format("x {} {}", above_min ? ">" : ">=", min);
  return "";
}

std::string dump_config(const Config& config, bool plain) {
  TomlWriter writer{plain, ""};
  tables(writer, config);
  return writer.text;
}

std::string config_reference() {
  ReferenceWriter writer;
  writer.text =
      "# Config reference\n\n"
      "Generated from the declarations in `train/config/fields.h` by `umbra config --reference`;\n"
      "a test keeps it current.\n\n"
      "A config is a TOML file. `extends = \"other.toml\"` (relative to the file) takes "
      "everything\n"
      "from another one first; `--set table.key=value` on the command line comes last. A duration "
      "is\n"
      "`\"300 epochs\"`, `\"20_000 steps\"` or `\"1_281_167 samples\"`; a bare integer counts "
      "epochs.\n"
      "An unknown key, a wrong type or a value outside its range stops before any work.\n";
  const Config defaults;
  tables(writer, defaults);
  return writer.text;
}

std::vector<ConfigDifference> config_differences(const Config& before, const Config& after) {
  Flattener a, b;
  tables(a, before);
  tables(b, after);
  std::vector<std::string> keys = a.order;
  for (const std::string& key : b.order) {
    if (!a.values.contains(key)) keys.push_back(key);
  }
  std::vector<ConfigDifference> differences;
  const auto text = [](const Flattener& side, const std::string& key) -> std::string {
    const auto found = side.values.find(key);
    return found == side.values.end() ? "(absent)" : found->second;
  };
  for (const std::string& key : keys) {
    if (text(a, key) != text(b, key)) {
      differences.push_back({key, fmt::format("{}: {} -> {}", key, text(a, key), text(b, key))});
    }
  }
  return differences;
}

}  // namespace umbra
